//! Partitions of the embedded store. Reads see synced state alone.

use super::{
    EmbeddedStore,
    committer::Write,
    durable::read_error,
    generations::Step,
    keys,
    rows::{END, SyncedRows, read_head},
    store::{Shared, Wear},
    values,
};
use crate::{
    AuditRow, Batch, Claim, ClaimError, CommitOutcome, Epoch, PartitionKey, Partitions, ReadRows, Row, RowKey, RowPage, Seq, StoreError,
};
use bytes::Bytes;
use fjall::Readable;
use futures::future::BoxFuture;
use std::{ops::Bound, sync::Arc};

/// Bytes of rows after which no more move with one commit than it makes necessary.
const MOVED_BYTES: usize = 64 << 10;

impl Partitions for EmbeddedStore {
    fn exists<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        let head = keys::partition(partition);
        blocking(self, move |shared| Ok(read_head(shared, &shared.view.snapshot()?, &head)?.is_some()))
    }

    fn claim<'a>(&'a self, partition: &'a PartitionKey, _: u64) -> BoxFuture<'a, Result<Claim, ClaimError>> {
        Box::pin(async move {
            let shared = self.shared();
            let mut raised = shared.claims.raise(partition);
            raised.quiet().await;
            let head = keys::partition(partition);
            let stored = blocking(self, move |shared| read_head(shared, &shared.view.snapshot()?, &head)).await?;
            let epoch = raised.epoch;
            // A copy of another node's data, whose boots were counted elsewhere.
            if let Some(held) = stored.as_ref().map(|stored| stored.head.epoch).filter(|held| *held >= epoch) {
                return Err(ClaimError::Newer { held });
            }
            Ok(raised.complete(stored.as_ref()))
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a PartitionKey,
        table: Option<&'a str>,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        let prefix = keys::partition(partition);
        let (wanted, end) = match table {
            Some(table) => {
                let wanted = RowKey::new(table, "");
                let end = keys::after_prefix(wanted.as_bytes());
                (wanted, end)
            }
            None => (RowKey::default(), END.to_vec()),
        };
        let start = match after {
            Some(after) if *after >= wanted => Bound::Excluded(after.clone()),
            Some(_) | None => Bound::Included(wanted),
        };
        blocking(self, move |shared| SyncedRows::read(shared, prefix)?.page(start.as_ref().map(RowKey::as_bytes), &end, limit))
    }

    fn get<'a>(&'a self, partition: &'a PartitionKey, key: &'a RowKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        let (prefix, key) = (keys::partition(partition), key.clone());
        blocking(self, move |shared| {
            let value = SyncedRows::read(shared, prefix)?.get(&key)?;
            Ok(value.map(|value| Row { key, value }))
        })
    }

    fn read<'a>(&'a self, partition: &'a PartitionKey, read: ReadRows) -> BoxFuture<'a, Result<(), StoreError>> {
        let prefix = keys::partition(partition);
        blocking(self, move |shared| {
            read(&SyncedRows::read(shared, prefix)?);
            Ok(())
        })
    }

    fn audit<'a>(&'a self, partition: &'a PartitionKey, limit: usize) -> BoxFuture<'a, Result<Vec<(Seq, AuditRow)>, StoreError>> {
        let prefix = keys::partition(partition);
        blocking(self, move |shared| {
            let snapshot = shared.view.snapshot()?;
            let rows = snapshot.prefix(&shared.tables.audit, prefix).rev().take(limit);
            rows.map(|entry| {
                let (key, value) = entry.into_inner().map_err(read_error)?;
                let seq = keys::read_audit(&key).ok_or_else(|| values::unreadable("audit row"))?;
                Ok((seq, AuditRow(Bytes::copy_from_slice(&value))))
            })
            .collect()
        })
    }

    fn witness<'a>(&'a self, partition: &'a PartitionKey, seq: Seq) -> BoxFuture<'a, Result<Option<AuditRow>, StoreError>> {
        let key = keys::audit(&keys::partition(partition), seq);
        blocking(self, move |shared| {
            let value = shared.view.snapshot()?.get(&shared.tables.audit, key).map_err(read_error)?;
            Ok(value.map(|value| AuditRow(Bytes::copy_from_slice(&value))))
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitOutcome> {
        Box::pin(async move {
            if let Err(failed) = self.shared().view.usable() {
                return CommitOutcome::Unknown(failed.to_string());
            }
            let step = self.step(&batch).await;
            self.request(Write::Commit(Box::new(batch), step)).await
        })
    }

    fn release(&self, partition: &PartitionKey, epoch: Epoch) {
        self.shared().claims.release(partition, epoch);
    }

    fn health(&self) -> Result<(), StoreError> {
        self.alive()?;
        self.shared().view.health()
    }
}

impl EmbeddedStore {
    /// The rows that move with a commit, when some are to. They are read before the committer has it, so that nobody else waits for that.
    async fn step(&self, batch: &Batch) -> Option<Step> {
        let Wear { deleted_rows, moved_rows } = self.wear();
        if !self.shared().claims.is_worn(batch, deleted_rows) {
            return None;
        }
        // More than the commit can put behind them, so that there is an end.
        let least = 2 * batch.rows.len();
        let (prefix, seq, most) = (keys::partition(&batch.partition), batch.seq, moved_rows.max(least));
        let read = blocking(self, move |shared| {
            let rows = SyncedRows::read(shared, prefix)?;
            // Else another commit is on its way.
            if rows.seq.next() == seq { rows.step(most, least, MOVED_BYTES).map(Some) } else { Ok(None) }
        });
        let step = read.await.inspect_err(|error| {
            tracing::warn!(category = "app", vpa = %batch.partition, %error, "rows do not move to the next generation");
            self.shared().claims.keep(&batch.partition, batch.epoch);
        });
        step.ok().flatten()
    }
}

/// Runs a read off the executor's threads: whatever is not cached waits for the disk.
pub(super) fn blocking<'a, T: Send + 'static>(
    store: &EmbeddedStore,
    read: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
) -> BoxFuture<'a, Result<T, StoreError>> {
    let shared: Arc<Shared> = store.shared().clone();
    Box::pin(async move {
        let read = tokio::task::spawn_blocking(move || read(&shared)).await;
        read.unwrap_or_else(|stopped| Err(StoreError::Unavailable(stopped.to_string())))
    })
}
