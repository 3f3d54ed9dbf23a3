//! Named crash points. They exist only with the feature `failpoints`, which nothing but the kill test builds.

/// A place where the kill test ends the process.
macro_rules! crash_point {
    ($name:literal) => {
        fail::fail_point!($name);
    };
}
pub(crate) use crash_point;

/// Names of the crash points in this crate, in the order of a command's life.
pub const CRASH_POINTS: [&str; 6] = [
    "before-commit",
    "after-commit-before-reply",
    "after-reply-before-send",
    "after-send-before-outcome",
    "in-passivation",
    "in-activation",
];
