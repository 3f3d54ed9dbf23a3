//! What the store did, for `Promised durability` to be checked from outside.

use std::sync::atomic::{AtomicU64, Ordering};

/// Running totals since the process started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Batches applied.
    pub commits: AtomicU64,
    /// Completed syncs to disk; one sync may cover many commits.
    pub syncs: AtomicU64,
    /// Bytes of keys and values handed to the store.
    pub bytes: AtomicU64,
}

impl Counters {
    /// `(commits, syncs, bytes)` now.
    #[must_use]
    pub fn read(&self) -> (u64, u64, u64) {
        (self.commits.load(Ordering::Relaxed), self.syncs.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
