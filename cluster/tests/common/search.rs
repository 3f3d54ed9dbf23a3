//! Running many histories, each from a seed of its own, until one breaks an invariant.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

/// Environment variable that says how many.
pub const HISTORIES: &str = "CELLSPACE_HISTORIES";

/// As many as the environment says.
pub fn histories(otherwise: u64) -> u64 {
    std::env::var(HISTORIES).map_or(otherwise, |text| text.parse().unwrap())
}

/// What came of the histories that were run.
#[derive(Default)]
pub struct Found<F> {
    /// The lowest seed that broke an invariant, of those under way when one did, and how.
    pub broken: Option<(u64, String)>,
    pub run: u64,
    /// All figures together.
    pub figures: F,
}

/// Runs histories from `seed` on, on all processors, until one breaks an invariant.
pub fn search<F: Default + Send>(
    seed: u64,
    count: u64,
    history: impl Fn(u64) -> (Result<(), String>, F) + Sync,
    add: impl Fn(&mut F, F) + Sync,
) -> Found<F> {
    let (next, done, found) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Found::default()));
    let work = || {
        while !done.load(Relaxed) {
            let n = next.fetch_add(1, Relaxed);
            if n >= count {
                break;
            }
            let seed = seed.wrapping_add(n);
            // Whatever is wrong with it, its seed is told.
            let came = catch_unwind(AssertUnwindSafe(|| history(seed)));
            let mut found = found.lock().unwrap();
            found.run += 1;
            let outcome = came.map_err(|_| "it panicked, as told above".to_owned()).and_then(|(outcome, figures)| {
                add(&mut found.figures, figures);
                outcome
            });
            if let Err(broken) = outcome {
                done.store(true, Relaxed);
                if found.broken.as_ref().is_none_or(|(earlier, _)| seed < *earlier) {
                    found.broken = Some((seed, broken));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().unwrap()
}
