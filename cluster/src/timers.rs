//! One timer for all deadlines of a node: sleeps until the earliest.

use crate::{Address, Clock};
use cellspace_schemas::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// Longest single sleep: the clock may be set, and the machine may sleep too.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

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

    /// When the agent is woken, as far as it is known here.
    pub(crate) fn get(&self, address: &Address) -> Option<Timestamp> {
        self.entries.lock().by_address.get(address).copied()
    }

    /// For the one who knows all deadlines of the agent.
    pub(crate) fn set(&self, address: &Address, due: Option<Timestamp>) {
        self.replace(self.entries.lock(), address, due);
    }

    /// For others: they cannot know that nothing is due earlier.
    pub(crate) fn set_if_earlier(&self, address: &Address, due: Timestamp) {
        let entries = self.entries.lock();
        if entries.by_address.get(address).is_none_or(|known| due < *known) {
            self.replace(entries, address, Some(due));
        }
    }

    fn replace(&self, mut entries: MutexGuard<'_, Entries>, address: &Address, due: Option<Timestamp>) {
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

    fn take_due(&self) -> Result<Vec<Address>, Option<Duration>> {
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
                        biased;
                        () = changed => {}
                        // A millisecond more: the clock counts in whole ones.
                        () = tokio::time::sleep((pause + Duration::from_millis(1)).min(LONGEST_SLEEP)) => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::Owner;
    use cellspace_storage::AgentKind;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Debug)]
    struct SetClock(AtomicI64);

    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
    }

    fn agent(name: &str) -> Address {
        Address { owner: Owner::new(name).unwrap(), kind: AgentKind("k"), name: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_forward_is_noticed_within_a_minute() {
        let clock = Arc::new(SetClock(AtomicI64::new(0)));
        let timers = Timers::new(clock.clone());
        timers.set(&agent("a"), Some(Timestamp(3_600_000)));
        let began = tokio::time::Instant::now();
        let (due, ()) = tokio::join!(timers.next(), async {
            tokio::task::yield_now().await;
            clock.0.store(7_200_000, Ordering::SeqCst);
        });
        assert_eq!(due, [agent("a")]);
        assert_eq!(began.elapsed(), LONGEST_SLEEP);
    }

    #[test]
    fn what_others_know_moves_a_timer_only_forward() {
        let timers = Timers::new(Arc::new(SetClock(AtomicI64::new(0))));
        let a = agent("a");
        timers.set_if_earlier(&a, Timestamp(50));
        timers.set_if_earlier(&a, Timestamp(60));
        assert_eq!(timers.get(&a), Some(Timestamp(50)));
        timers.set_if_earlier(&a, Timestamp(40));
        assert_eq!(timers.get(&a), Some(Timestamp(40)));
        timers.set(&a, Some(Timestamp(70)));
        assert_eq!(timers.get(&a), Some(Timestamp(70)), "the agent itself knows better");
        timers.set(&a, None);
        assert_eq!(timers.get(&a), None);
    }
}
