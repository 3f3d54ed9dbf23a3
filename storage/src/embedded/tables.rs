//! The keyspaces of the store.

use super::{OpenError, durable::Durable};
use fjall::{Database, Keyspace};

/// Handles of the database and its keyspaces.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) database: Database,
    /// Partition -> head and wake state.
    pub(super) heads: Keyspace,
    /// Partition, row key -> row.
    pub(super) rows: Keyspace,
    /// Partition, seq -> audit row.
    pub(super) audit: Keyspace,
    /// Partitions with undelivered outbox rows.
    pub(super) awake: Keyspace,
    /// Time, partition.
    pub(super) due: Keyspace,
    /// Topic, offset -> event.
    pub(super) events: Keyspace,
    /// Topic -> next and oldest offset.
    pub(super) topics: Keyspace,
    /// Topic, group -> position.
    pub(super) groups: Keyspace,
    /// Settings and the database's own facts.
    pub(super) meta: Keyspace,
}

impl Tables {
    pub(super) fn open(durable: &Durable) -> Result<Self, OpenError> {
        Ok(Self {
            database: durable.database.clone(),
            heads: durable.keyspace("heads")?,
            rows: durable.keyspace("rows")?,
            audit: durable.keyspace("audit")?,
            awake: durable.keyspace("awake")?,
            due: durable.keyspace("due")?,
            events: durable.keyspace("events")?,
            topics: durable.keyspace("topics")?,
            groups: durable.keyspace("groups")?,
            meta: durable.meta.clone(),
        })
    }
}
