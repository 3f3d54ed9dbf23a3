//! The one place where the runtime asks for the time of day.

use cellspace_schemas::Timestamp;
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// A source of wall-clock time; tests bring their own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since the epoch.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
