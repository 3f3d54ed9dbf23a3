//! The static columns of a partition.

use super::{marks::Mark, partitions::key, store::Inner};
use crate::{Epoch, Head, PartitionKey, Seq, StoreError, Wake};
use cellspace_schemas::Timestamp;
use scylla::DeserializeRow;

/// As the columns are named.
#[derive(Debug, DeserializeRow)]
struct Columns {
    #[allow(dead_code, reason = "a look at static columns names the key")]
    owner: String,
    #[allow(dead_code, reason = "a look at static columns names the key")]
    kind: String,
    #[allow(dead_code, reason = "a look at static columns names the key")]
    name: String,
    fence_view: Option<i64>,
    fence_count: Option<i64>,
    epoch_view: Option<i64>,
    epoch_count: Option<i64>,
    seq: Option<i64>,
    awake: Option<Vec<u8>>,
    due: Option<i64>,
    due_mark: Option<Vec<u8>>,
    present: Option<i32>,
    copying: Option<i32>,
    kept: Option<i32>,
    deleted: Option<i32>,
}

/// A partition's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StoredHead {
    /// Epoch of the newest claim: commits of others are refused.
    pub(super) fence: Epoch,
    /// The last commit.
    pub(super) head: Option<Head>,
    pub(super) at: Position,
    /// Columns of the generations, as stored.
    pub(super) present: Option<i32>,
    pub(super) copying: Option<i32>,
}

/// What a claim knows of its partition, and the next commit goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    pub(super) seq: Seq,
    /// The row of the wake index, when outbox rows are undelivered.
    pub(super) awake: Option<Mark>,
    /// The earliest deadline, and its row in the index by time.
    pub(super) due: Option<(Timestamp, Mark)>,
    pub(super) rows: Generation,
}

/// Where the rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Generation {
    /// The generation that is read.
    pub(super) number: i32,
    /// The newest one that was ever written to.
    pub(super) newest: i32,
    /// Rows that it began with.
    pub(super) kept: i32,
    /// Rows deleted since.
    pub(super) deleted: i32,
}

impl Position {
    pub(super) fn wake(&self) -> Wake {
        Wake { awake: self.awake.is_some(), due: self.due.map(|(due, _)| due) }
    }
}

impl StoredHead {
    pub(super) fn seq(&self) -> Seq {
        self.at.seq
    }

    fn read(columns: Columns) -> Result<Self, StoreError> {
        let number = |stored: Option<i64>| stored.unwrap_or(0).cast_unsigned();
        let epoch = |view, count| Epoch { view: number(view), count: number(count) };
        let mark = |stored: Option<Vec<u8>>| stored.map(|bytes| Mark::decode(&bytes)).transpose();
        let seq = Seq(number(columns.seq));
        let due = match (columns.due, mark(columns.due_mark)?) {
            (Some(due), Some(mark)) => Some((Timestamp(due), mark)),
            (None, None) => None,
            _ => return Err(StoreError::Corrupt("a stored deadline has one half".to_owned())),
        };
        let number = columns.present.unwrap_or(0);
        let rows = Generation {
            number,
            newest: columns.copying.unwrap_or(0).max(number),
            kept: columns.kept.unwrap_or(0),
            deleted: columns.deleted.unwrap_or(0),
        };
        Ok(Self {
            fence: epoch(columns.fence_view, columns.fence_count),
            head: columns.seq.map(|_| Head { epoch: epoch(columns.epoch_view, columns.epoch_count), seq }),
            at: Position { seq, awake: mark(columns.awake)?, due, rows },
            present: columns.present,
            copying: columns.copying,
        })
    }
}

impl Inner {
    /// The partition's head; empty when it was never claimed.
    pub(super) async fn head(&self, partition: &PartitionKey) -> Result<StoredHead, StoreError> {
        let found = self.one::<Columns>(&self.statements.head, &key(partition)).await?;
        found.map_or_else(|| Ok(StoredHead::default()), StoredHead::read)
    }
}

/// How a number is stored, when it can be.
pub(super) fn stored(number: u64) -> Option<i64> {
    i64::try_from(number).ok()
}
