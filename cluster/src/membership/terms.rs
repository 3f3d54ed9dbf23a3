//! Times and sizes that all nodes of a cell agree on.

use cellspace_storage::slot::SLOTS;
use std::{ops::Add, time::Duration};

/// Time on a node's own clock, which goes on while the machine sleeps. Never compared with another node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

/// Terms under which nodes serve and judge each other.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Between two renewals of a lease.
    pub renew: Duration,
    /// How long a renewal lasts, from its start on.
    pub lease: Duration,
    /// What others wait beside: it covers clocks of which one runs up to an eighth faster than the other.
    pub margin: Duration,
    /// Between two steps of a hand-over.
    pub pace: Duration,
    /// Slots that change their owner in one step, at most.
    pub step: u16,
    /// Slots of the cell.
    pub slots: u16,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            renew: Duration::from_millis(500),
            lease: Duration::from_secs(2),
            margin: Duration::from_millis(250),
            pace: Duration::from_millis(500),
            step: 32,
            slots: SLOTS,
        }
    }
}

impl Terms {
    /// No lease is longer.
    pub const LONGEST_LEASE: Duration = Duration::from_secs(60);

    /// After so long without a renewal a lease has ended, whoever's clock it is measured by.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.lease + self.margin
    }
}
