//! What this node serves now: read by every request, without a lock.

use crate::{
    Slot,
    membership::{Moment, Node},
    watched::{Watched, Watcher},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A clock that goes on while the machine sleeps, and that nobody sets.
pub trait Uptime: Send + Sync + 'static {
    /// Time since some start.
    fn now(&self) -> Moment;
}

/// The machine's clock since it was started.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Uptime for BootClock {
    fn now(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
    }
}

pub(crate) struct OpenSlots {
    /// The view since which each slot is open; 0: it is not.
    since: Box<[AtomicU64]>,
    /// When each slot was opened last, in microseconds.
    at: Box<[AtomicU64]>,
    /// End of the lease, in microseconds.
    until: AtomicU64,
    uptime: Arc<dyn Uptime>,
    /// Changes with each opening.
    opened: Watched<()>,
}

impl OpenSlots {
    pub(crate) fn new(slots: u16, uptime: Arc<dyn Uptime>) -> Self {
        let zeros = || (0..slots).map(|_| AtomicU64::new(0)).collect();
        Self { since: zeros(), at: zeros(), until: AtomicU64::new(0), uptime, opened: Watched::new(()) }
    }

    pub(crate) fn now(&self) -> Moment {
        self.uptime.now()
    }

    pub(crate) fn lease_held(&self) -> bool {
        micros(self.now()) < self.until.load(Ordering::Acquire)
    }

    /// The view since which the slot is open, while the lease holds.
    pub(crate) fn serves(&self, slot: Slot) -> Option<u64> {
        let since = self.since.get(usize::from(slot.number()))?.load(Ordering::Acquire);
        (since > 0 && self.lease_held()).then_some(since)
    }

    /// Whether it is open, with the lease or without.
    pub(crate) fn is_open(&self, slot: Slot) -> bool {
        self.since.get(usize::from(slot.number())).is_some_and(|since| since.load(Ordering::Acquire) > 0)
    }

    /// For how long the slot has been open; `None`: it is not.
    pub(crate) fn open_for(&self, slot: Slot) -> Option<Duration> {
        self.serves(slot)?;
        self.opened_for(slot)
    }

    /// How long ago the slot opened last, whether it is open still or not.
    pub(crate) fn opened_for(&self, slot: Slot) -> Option<Duration> {
        let at = self.at.get(usize::from(slot.number()))?.load(Ordering::Acquire);
        Some(Duration::from_micros(micros(self.now()).saturating_sub(at)))
    }

    pub(crate) fn watch(&self) -> Watcher<()> {
        self.opened.watch()
    }

    /// From now on nothing of these slots is admitted.
    pub(crate) fn close(&self, slots: &[u16]) {
        for since in slots.iter().filter_map(|slot| self.since.get(usize::from(*slot))) {
            since.store(0, Ordering::Release);
        }
    }

    pub(crate) fn open(&self, slots: &[u16], node: &Node) {
        for slot in slots {
            let n = usize::from(*slot);
            if let (Some(since), Some(at)) = (self.since.get(n), self.at.get(n)) {
                // First: nobody sees it open with an earlier time.
                at.store(micros(self.now()), Ordering::Release);
                since.store(node.open_since(*slot).unwrap_or(0), Ordering::Release);
            }
        }
        self.opened.set(());
    }

    /// The lease as it is; closed slots have been closed before.
    pub(crate) fn renew(&self, node: &Node) {
        self.until.store(micros(node.lease_until()), Ordering::Release);
        self.opened.set(());
    }

    /// This life is over.
    pub(crate) fn end(&self) {
        self.until.store(0, Ordering::Release);
        self.since.iter().for_each(|since| since.store(0, Ordering::Release));
        self.opened.set(());
    }
}

impl fmt::Debug for OpenSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSlots").field("slots", &self.since.len()).field("lease_held", &self.lease_held()).finish_non_exhaustive()
    }
}

fn micros(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_micros()).unwrap_or(u64::MAX)
}
