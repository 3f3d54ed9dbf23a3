//! One timer for all deadlines of a node: sleeps until the earliest, never polls.

use crate::{Address, Clock};
use cellspace_schemas::Timestamp;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use tokio::sync::Notify;

#[derive(Default)]
struct Entries {
    by_time: BTreeSet<(Timestamp, Address)>,
    by_address: HashMap<Address, Timestamp>,
}

/// At most one entry per agent: its earliest deadline.
pub(crate) struct Timers {
    entries: Mutex<Entries>,
    changed: Notify,
    clock: Arc<dyn Clock>,
}

impl Timers {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { entries: Mutex::new(Entries::default()), changed: Notify::new(), clock }
    }

    pub(crate) fn set(&self, address: &Address, due: Option<Timestamp>) {
        let mut entries = self.entries.lock();
        if entries.by_address.get(address).copied() == due {
            return;
        }
        if let Some(before) = entries.by_address.remove(address) {
            entries.by_time.remove(&(before, address.clone()));
        }
        if let Some(due) = due {
            entries.by_address.insert(address.clone(), due);
            entries.by_time.insert((due, address.clone()));
        }
        let first = entries.by_time.first().map(|(_, a)| a) == Some(address);
        drop(entries);
        if first {
            self.changed.notify_one();
        }
    }

    fn take_due(&self) -> Result<Vec<Address>, Option<std::time::Duration>> {
        let now = self.clock.now();
        let mut entries = self.entries.lock();
        let mut due = Vec::new();
        while let Some((at, _)) = entries.by_time.first() {
            if *at > now {
                break;
            }
            if let Some((_, address)) = entries.by_time.pop_first() {
                entries.by_address.remove(&address);
                due.push(address);
            }
        }
        if due.is_empty() { Err(entries.by_time.first().map(|(at, _)| at.since(now))) } else { Ok(due) }
    }

    /// Waits for the next deadlines to pass.
    pub(crate) async fn next(&self) -> Vec<Address> {
        loop {
            let changed = self.changed.notified();
            match self.take_due() {
                Ok(due) => return due,
                Err(None) => changed.await,
                Err(Some(pause)) => {
                    tokio::select! {
                        () = changed => {}
                        // A millisecond more: the clock counts in whole ones.
                        () = tokio::time::sleep(pause + std::time::Duration::from_millis(1)) => {}
                    }
                }
            }
        }
    }
}
