//! What stands between a process and the world: it may be paused or dead, and its clocks are its own.

use super::world::ms;
use cellspace_cluster::{Clock, Uptime, membership::Moment};
use cellspace_schemas::Timestamp;
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// The time of day at the beginning.
pub const DAWN: i64 = 1_800_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    Paused(Instant),
    Dead,
}

/// Through which everything goes that a process says or hears.
pub struct Gate {
    life: Mutex<Life>,
    changed: Notify,
    /// Milliseconds that it was paused.
    slept: AtomicU64,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { life: Mutex::new(Life::Runs), changed: Notify::new(), slept: AtomicU64::new(0) })
    }

    /// Waits while it is paused; for ever when it is dead.
    pub async fn pass(&self) {
        loop {
            let changed = self.changed.notified();
            match *self.life.lock() {
                Life::Runs => return,
                Life::Paused(_) | Life::Dead => {}
            }
            changed.await;
        }
    }

    pub async fn died(&self) {
        loop {
            let changed = self.changed.notified();
            if *self.life.lock() == Life::Dead {
                return;
            }
            changed.await;
        }
    }

    pub fn pause(&self) {
        let mut life = self.life.lock();
        if *life == Life::Runs {
            *life = Life::Paused(Instant::now());
        }
    }

    pub fn resume(&self) {
        let mut life = self.life.lock();
        if let Life::Paused(since) = *life {
            self.slept.fetch_add(u64::try_from(since.elapsed().as_millis()).unwrap(), Relaxed);
            *life = Life::Runs;
        }
        drop(life);
        self.changed.notify_waiters();
    }

    pub fn die(&self) {
        *self.life.lock() = Life::Dead;
        self.changed.notify_waiters();
    }

    /// How long it was paused, until now.
    fn slept(&self) -> Duration {
        let now = match *self.life.lock() {
            Life::Paused(since) => since.elapsed(),
            Life::Runs | Life::Dead => Duration::ZERO,
        };
        now + ms(self.slept.load(Relaxed))
    }
}

/// A node's clocks: they run a little fast or slow, and began at some time of their own.
pub struct Clocks {
    pub began: Instant,
    pub offset: Duration,
    /// In thousandths.
    pub rate: u32,
    /// Of the time of day, in milliseconds.
    pub skew: i64,
    /// Whose sleep is not counted.
    pub sleeps: Option<Arc<Gate>>,
}

impl fmt::Debug for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clocks").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl Uptime for Clocks {
    fn now(&self) -> Moment {
        let slept = self.sleeps.as_ref().map(|gate| gate.slept()).unwrap_or_default();
        Moment(self.offset + (self.began.elapsed().saturating_sub(slept)) * self.rate / 1_000)
    }
}

impl Clock for Clocks {
    fn now(&self) -> Timestamp {
        Timestamp(DAWN + self.skew).plus(self.began.elapsed())
    }
}
