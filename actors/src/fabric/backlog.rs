//! How much provisioning waits for an event log that is away.

use std::{fmt, sync::Arc};

/// Where the store's events stand with a log elsewhere. A handle.
#[derive(Clone)]
pub struct Backlog {
    waiting: Arc<dyn Fn() -> u64 + Send + Sync>,
    is_away: Arc<dyn Fn() -> bool + Send + Sync>,
    bound: u64,
}

impl Backlog {
    /// Provisioning events that may wait, unless something else was chosen: each a few KB.
    pub const BOUND: u64 = 10_000;

    /// `waiting` counts the provisioning events in the store that the log has not got, `is_away` says whether the log was of no use when it was last needed.
    #[must_use]
    pub fn new(bound: u64, waiting: impl Fn() -> u64 + Send + Sync + 'static, is_away: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { waiting: Arc::new(waiting), is_away: Arc::new(is_away), bound }
    }

    /// Whether so many events wait that nothing new should be begun.
    #[must_use]
    pub fn is_full(&self) -> bool {
        (self.waiting)() >= self.bound
    }

    /// Whether the log is away, so that what nobody has heard of may still be on its way.
    #[must_use]
    pub fn is_away(&self) -> bool {
        (self.is_away)()
    }
}

/// Of a log that is where the store is: nothing waits for it.
impl Default for Backlog {
    fn default() -> Self {
        Self::new(Self::BOUND, || 0, || false)
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog").field("bound", &self.bound).finish_non_exhaustive()
    }
}
