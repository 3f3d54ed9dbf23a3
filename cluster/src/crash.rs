//! Named crash points. They exist only with the feature `failpoints`, which nothing but the kill test builds.

/// A place where the kill test ends the process.
macro_rules! crash_point {
    ($name:literal) => {
        fail::fail_point!($name);
    };
}
pub(crate) use crash_point;

/// Arms a point, as in `before-commit:3`: the third time it is passed from now on the process aborts, with nothing flushed, closed or said.
///
/// # Errors
/// A text that says what is wrong with `spec`.
#[cfg(feature = "failpoints")]
pub fn arm_crash_point(spec: &str) -> Result<(), String> {
    use std::sync::atomic::{AtomicU32, Ordering};
    let parsed = spec.split_once(':').and_then(|(name, times)| Some((name.to_owned(), times.parse::<u32>().ok()?)));
    let Some((name, times)) = parsed.filter(|(_, times)| *times > 0) else {
        return Err(format!("{spec:?} is no crash point, expected <point>:<times>"));
    };
    let left = AtomicU32::new(times);
    fail::cfg_callback(name, move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    })
}
