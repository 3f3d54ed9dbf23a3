//! Ids of agents that were never written, remembered for a moment: a flood of made-up ids is not a flood of reads.

use crate::Address;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use std::time::Duration;
use tokio::time::Instant;

/// Ids remembered at most.
const CAPACITY: usize = 16_384;
/// How long an absence is believed. First commits of this node end it at once; this bounds what else may come.
const BELIEVED: Duration = Duration::from_secs(5);

pub(crate) struct Absent {
    /// When it was seen, and under which view the slot was served then.
    ids: Cache<Address, (Instant, u64)>,
    /// First commits so far.
    births: Mutex<u64>,
}

impl Absent {
    pub(crate) fn new() -> Self {
        Self { ids: Cache::new(CAPACITY), births: Mutex::new(0) }
    }

    pub(crate) fn contains(&self, address: &Address, view: u64) -> bool {
        self.ids.get(address).is_some_and(|(since, seen)| seen == view && since.elapsed() < BELIEVED)
    }

    /// To be taken before the store is asked.
    pub(crate) fn ticket(&self) -> u64 {
        *self.births.lock()
    }

    /// The store says that there is no such agent, while its slot is served under this view. Not believed when one was born since the question.
    pub(crate) fn note(&self, address: &Address, view: u64, ticket: u64) {
        let births = self.births.lock();
        if *births == ticket {
            self.ids.insert(address.clone(), (Instant::now(), view));
        }
    }

    /// The agent's first commit is about to be sent.
    pub(crate) fn born(&self, address: &Address) {
        let mut births = self.births.lock();
        *births += 1;
        self.ids.remove(address);
    }
}
