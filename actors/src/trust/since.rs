//! The moment from which on something is under way: others take their time to prove what they say.

use cellspace_schemas::Timestamp;
use tokio::time::Instant;

/// A moment that was given, and the time that has passed since. What others sign meanwhile is not from the future.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    at: Timestamp,
    begun: Instant,
}

impl Since {
    /// The moment that is `at` by the clock that dates are judged by.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self { at, begun: Instant::now() }
    }

    /// That moment.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// What it is now, by a clock that nobody sets.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at.plus(self.begun.elapsed())
    }
}
