//! The trait behind which agents' state is kept.

use crate::{Batch, Epoch, Head, PartitionKey, Row, RowKey, RowPage, Wake};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::ops::ControlFlow;

/// A store that cannot be used now or any more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Try again later: nothing is known to be wrong with the data.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The partition is on its way to another cell, or there.
    #[error("{0} is sealed")]
    Sealed(crate::PartitionKey),
    /// What was to be written is never taken, however often somebody tries.
    #[error("the store does not take it: {0}")]
    Refused(String),
    /// A stored thing cannot be read; never guessed at.
    #[error("the store holds unreadable data: {0}")]
    Corrupt(String),
    /// A write or sync failed; this process must not write any more, since what is on disk is not known.
    #[error("the store failed and is closed: {0}")]
    Poisoned(String),
}

/// Why a claim was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClaimError {
    /// A newer view holds the partition.
    #[error("the partition is held under a newer epoch {held:?}")]
    Newer {
        /// The epoch found.
        held: Epoch,
    },
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A successful claim: from now on nothing that an older activation still has in flight can land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The new activation's epoch.
    pub epoch: Epoch,
    /// The head as stored; `None` when the partition was never written (the id is not registered).
    pub head: Option<Head>,
    /// What the wake index says of the partition.
    pub wake: Wake,
}

/// What is known of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Durable: synced before this answer (invariant ACK).
    Applied,
    /// A newer claim exists, the seq is taken, or its permit is not given any more; nothing was written.
    Fenced,
    /// It cannot be written at all, now or later: nothing was, and sending it again is of no use.
    Refused(String),
    /// The store does not take it now, as one does that may only be read: nothing was written, and nothing of it will be. The activation must be dropped.
    NotSent(String),
    /// Not known whether it landed; the activation must be dropped.
    Unknown(String),
}

/// First character of tables that are set apart: a scan of all tables leaves them out, so that what an activation does not need costs it nothing.
pub const APART: char = '\u{7f}';

/// Whether the row of this key, as stored, is in a table that is [`APART`].
pub(crate) fn is_apart(row: &[u8]) -> bool {
    // The character is one byte.
    row.first().is_some_and(|first| char::from(*first) == APART)
}

/// Rows of one partition. Reading them may wait for the disk, or for others.
pub trait Rows {
    /// The values of these rows, in the order of the keys; `None` for one that is not there.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn values(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Which of these rows are there, in the order of the keys; mostly cheaper than their values.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn has(&self, keys: &[RowKey]) -> Result<Vec<bool>, StoreError>;

    /// Gives `take` the rows of a table behind `after`, in order of their ids: id and value, until it breaks off.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn each(&self, table: &str, after: Option<&str>, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError>;

    /// The other way round: gives `take` the rows of a table in front of `before`, from the last one on, until it breaks off.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn each_back(&self, table: &str, before: &str, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError>;
}

/// What is done with the rows of a partition where it may wait.
pub type ReadRows = Box<dyn FnOnce(&dyn Rows) + Send>;

/// Partitions of one cell.
pub trait Partitions: Send + Sync + 'static {
    /// Whether the partition was ever written. Never creates anything.
    fn exists<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Takes the partition for a new activation, which this view of the membership admits: raises the epoch above every earlier one. Never over an epoch of
    /// a newer view. A store that one process has for itself counts boots in place of views.
    fn claim<'a>(&'a self, partition: &'a PartitionKey, view: u64) -> BoxFuture<'a, Result<Claim, ClaimError>>;

    /// Rows in key order whose table is `table`, after `after`, at most `limit`. `None`: all tables but those that are [`APART`]; audit rows are in none.
    fn scan<'a>(
        &'a self,
        partition: &'a PartitionKey,
        table: Option<&'a str>,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>>;

    /// One row.
    fn get<'a>(&'a self, partition: &'a PartitionKey, key: &'a RowKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>>;

    /// Many reads at once: `read` has the rows for as long as it runs, which is not on a thread of the executor. It has run when this answers well, and else
    /// has not.
    fn read<'a>(&'a self, partition: &'a PartitionKey, read: ReadRows) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The newest audit rows, newest first, at most `limit`: `(seq, row)`.
    fn audit<'a>(
        &'a self,
        partition: &'a PartitionKey,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(crate::Seq, crate::AuditRow)>, StoreError>>;

    /// The audit row of one commit: the witness that it landed. `None` when it did not; a claim before the question makes that final.
    fn witness<'a>(&'a self, partition: &'a PartitionKey, seq: crate::Seq) -> BoxFuture<'a, Result<Option<crate::AuditRow>, StoreError>>;

    /// Writes one turn: all of it or nothing, synced before it answers [`CommitOutcome::Applied`]. A partition has one commit under way at a time: one that is
    /// handed over before the last one was answered may be fenced.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitOutcome>;

    /// Forgets a claim whose activation has ended, so that idle partitions cost no memory.
    fn release(&self, partition: &PartitionKey, epoch: Epoch);

    /// `Ok` while a commit can be expected to work; the reason otherwise. Feeds readiness.
    fn health(&self) -> Result<(), StoreError>;
}
