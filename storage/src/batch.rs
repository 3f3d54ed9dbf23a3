//! What one turn writes, all or nothing.

use crate::{Epoch, PartitionKey, Permit, RowKey, Seq, Topic, Wake};
use bytes::Bytes;

/// Change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowChange {
    /// Insert or replace.
    Put(RowKey, Bytes),
    /// Remove; a missing row is fine.
    Delete(RowKey),
}

impl RowChange {
    /// Which row.
    #[must_use]
    pub const fn key(&self) -> &RowKey {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// The audit row of a turn: witness of the commit under its seq, and what an operator reads later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow(pub Bytes);

/// An event that the commit puts on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Where it goes.
    pub topic: Topic,
    /// Events of one key keep their order.
    pub key: String,
    /// The event itself (a CloudEvent in JSON).
    pub payload: Bytes,
}

/// One conditional write of one partition (invariant FENCE: one commit per (partition, seq)).
#[derive(Debug, Clone)]
pub struct Batch {
    /// Which partition.
    pub partition: PartitionKey,
    /// Epoch of the writing activation; must be that of its claim, and no newer claim may exist.
    pub epoch: Epoch,
    /// Number of this commit; the stored head must carry the one before.
    pub seq: Seq,
    /// Rows of entities, outbox and idempotency.
    pub rows: Vec<RowChange>,
    /// The witness.
    pub audit: AuditRow,
    /// What the wake index must say after this commit.
    pub wake: Wake,
    /// Events.
    pub publish: Vec<Publication>,
    /// Whether it may still be sent, once the wake index says what it must.
    pub permit: Permit,
}
