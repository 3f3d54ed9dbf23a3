//! The wake index: which agents must come back by themselves after a restart, and when.

use crate::{PartitionKey, StoreError};
use cellspace_schemas::Timestamp;
use futures::future::BoxFuture;

/// What the wake index says of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wake {
    /// Undelivered outbox rows exist: activate as soon as a node owns the slot.
    pub awake: bool,
    /// The earliest deadline, when there is one.
    pub due: Option<Timestamp>,
}

/// An entry of the index by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRow {
    /// When the agent must be activated.
    pub due: Timestamp,
    /// Which agent.
    pub partition: PartitionKey,
}

/// Reads the index that [`crate::Partitions::commit`] keeps (invariant TIMER: every deadline fires).
pub trait WakeIndex: Send + Sync + 'static {
    /// Partitions with undelivered outbox rows, in key order after `after`, at most `limit`.
    fn awake(&self, after: Option<PartitionKey>, limit: usize) -> BoxFuture<'_, Result<Vec<PartitionKey>, StoreError>>;

    /// Deadlines up to and including `until`, earliest first, after the entry `after`, at most `limit`.
    fn due(&self, until: Timestamp, after: Option<DueRow>, limit: usize) -> BoxFuture<'_, Result<Vec<DueRow>, StoreError>>;
}
