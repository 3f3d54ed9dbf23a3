//! What this node serves now: read by every request, without a lock.

use crate::{
    Slot,
    membership::{Moment, Node, ServedLast},
    watched::{Watched, Watcher},
};
use cellspace_schemas::Timestamp;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
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
    /// When others had stopped to serve each slot before that, in microseconds, what its last owner has told of that, and when that one had, in milliseconds of the
    /// day by its own clock; 0: that is not known.
    others: Box<[AtomicU64]>,
    told: Box<[AtomicI64]>,
    owner: Box<[AtomicI64]>,
    /// End of the lease, in microseconds.
    until: AtomicU64,
    /// [`Node::serves_until`], in milliseconds; the greatest number where there is none.
    serves_until: AtomicI64,
    uptime: Arc<dyn Uptime>,
    /// Changes with each opening.
    opened: Watched<()>,
}

impl OpenSlots {
    pub(crate) fn new(slots: u16, uptime: Arc<dyn Uptime>) -> Self {
        let zeros = || (0..slots).map(|_| AtomicU64::new(0)).collect();
        let times = || (0..slots).map(|_| AtomicI64::new(0)).collect();
        Self {
            since: zeros(),
            at: zeros(),
            others: zeros(),
            told: times(),
            owner: times(),
            until: AtomicU64::new(0),
            serves_until: AtomicI64::new(i64::MAX),
            uptime,
            opened: Watched::new(()),
        }
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

    /// When others served the slot before it opened last.
    pub(crate) fn served_last(&self, slot: Slot) -> Option<ServedLast> {
        let n = usize::from(slot.number());
        let others = Some(self.others.get(n)?.load(Ordering::Acquire)).filter(|others| *others > 0)?;
        let told = Some(self.told.get(n)?.load(Ordering::Acquire)).filter(|told| *told > 0).map(Timestamp);
        Some(ServedLast {
            others: Moment(Duration::from_micros(others)),
            told,
            owner: Timestamp(self.owner.get(n)?.load(Ordering::Acquire)),
        })
    }

    /// [`Node::serves_until`]
    pub(crate) fn serves_until(&self) -> Option<Timestamp> {
        Some(self.serves_until.load(Ordering::Acquire)).filter(|until| *until < i64::MAX).map(Timestamp)
    }

    pub(crate) fn watch(&self) -> Watcher<()> {
        self.opened.watch()
    }

    /// Something else is to be looked at by whoever watches.
    pub(crate) fn tell(&self) {
        self.opened.set(());
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
                let last = node.served_last(*slot);
                if let (Some(others), Some(told), Some(owner)) = (self.others.get(n), self.told.get(n), self.owner.get(n)) {
                    told.store(last.and_then(|last| last.told).map_or(0, Timestamp::millis), Ordering::Release);
                    owner.store(last.map_or(0, |last| last.owner.millis()), Ordering::Release);
                    others.store(last.map_or(0, |last| micros(last.others)), Ordering::Release);
                }
                since.store(node.open_since(*slot).unwrap_or(0), Ordering::Release);
            }
        }
        self.opened.set(());
    }

    /// The lease as it is; closed slots have been closed before.
    pub(crate) fn renew(&self, node: &Node) {
        // First: nobody takes what this does not cover.
        self.serves_until.store(node.serves_until().map_or(i64::MAX, Timestamp::millis), Ordering::Release);
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
