//! The wake index: which agents must come back by themselves after a restart, and when.

use crate::{PartitionKey, Slots, StoreError};
use bytes::Bytes;
use cellspace_schemas::Timestamp;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// What the wake index says of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wake {
    /// Undelivered outbox rows exist: activate as soon as a node owns the slot.
    pub awake: bool,
    /// The earliest deadline, when there is one.
    pub due: Option<Timestamp>,
}

/// An entry of the index by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueRow {
    /// When the agent must be activated.
    pub due: Timestamp,
    /// Which agent.
    pub partition: PartitionKey,
}

/// Where the next page of the index begins; only the store that made it reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeCursor(pub(crate) Bytes);

impl WakeCursor {
    /// From what the store keeps of its place.
    #[must_use]
    pub fn new(place: impl Into<Bytes>) -> Self {
        Self(place.into())
    }

    /// What the store kept.
    #[must_use]
    pub fn place(&self) -> &[u8] {
        &self.0
    }
}

/// A page of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakePage<T> {
    /// The entries; an entry of a partition that was just written may come twice.
    pub entries: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<WakeCursor>,
}

/// A page on its way.
pub type ReadWake<'a, T> = BoxFuture<'a, Result<WakePage<T>, StoreError>>;

/// Reads the index that [`crate::Partitions::commit`] keeps (invariant TIMER: every deadline fires). The order of entries is the store's own. An entry
/// too many is harmless, and there may be some after a crash; one too few there never is.
pub trait WakeIndex: Send + Sync + 'static {
    /// Partitions of these slots with undelivered outbox rows, at most `limit`.
    fn awake(&self, of: &Slots, from: Option<WakeCursor>, limit: usize) -> ReadWake<'_, PartitionKey>;

    /// Deadlines of these slots up to and including `until`, at most `limit`.
    fn due(&self, of: &Slots, until: Timestamp, from: Option<WakeCursor>, limit: usize) -> ReadWake<'_, DueRow>;
}
