//! Partitions of the embedded store. Reads see synced state alone.

use super::{EmbeddedStore, committer::Write, durable::read_error, keys, store::Shared, values, values::StoredHead};
use crate::{
    APART, AuditRow, Batch, Claim, ClaimError, CommitOutcome, Epoch, PartitionKey, Partitions, ReadRows, Row, RowKey, RowPage, Rows, Seq,
    StoreError,
};
use bytes::Bytes;
use fjall::{Guard, Readable, Snapshot};
use futures::future::BoxFuture;
use std::{
    ops::{Bound, ControlFlow},
    sync::Arc,
};

impl Partitions for EmbeddedStore {
    fn exists<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        let head = keys::partition(partition);
        blocking(self, move |shared| Ok(read_head(shared, &head)?.is_some()))
    }

    fn claim<'a>(&'a self, partition: &'a PartitionKey, _: u64) -> BoxFuture<'a, Result<Claim, ClaimError>> {
        Box::pin(async move {
            let shared = self.shared();
            let mut raised = shared.claims.raise(partition);
            raised.quiet().await;
            let head = keys::partition(partition);
            let stored = blocking(self, move |shared| read_head(shared, &head)).await?;
            let epoch = raised.epoch;
            // A copy of another node's data, whose boots were counted elsewhere.
            if let Some(held) = stored.map(|stored| stored.head.epoch).filter(|held| *held >= epoch) {
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
                let wanted = keys::joined(&prefix, RowKey::new(table, "").as_bytes());
                let end = keys::after_prefix(&wanted);
                (wanted, end)
            }
            // Tables that are apart sort last.
            None => (prefix.clone(), keys::joined(&prefix, APART.to_string().as_bytes())),
        };
        let start = match after.map(|after| keys::joined(&prefix, after.as_bytes())) {
            Some(after) if after >= wanted => Bound::Excluded(after),
            Some(_) | None => Bound::Included(wanted),
        };
        blocking(self, move |shared| scan(shared, prefix.len(), (start, end), limit))
    }

    fn get<'a>(&'a self, partition: &'a PartitionKey, key: &'a RowKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        let (stored, key) = (keys::joined(&keys::partition(partition), key.as_bytes()), key.clone());
        blocking(self, move |shared| {
            let value = shared.view.snapshot()?.get(&shared.tables.rows, stored).map_err(read_error)?;
            Ok(value.map(|value| Row { key, value: Bytes::copy_from_slice(&value) }))
        })
    }

    fn read<'a>(&'a self, partition: &'a PartitionKey, read: ReadRows) -> BoxFuture<'a, Result<(), StoreError>> {
        let prefix = keys::partition(partition);
        blocking(self, move |shared| {
            read(&Synced { shared, snapshot: shared.view.snapshot()?, prefix });
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
            self.request(Write::Commit(Box::new(batch))).await
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

/// Rows of a partition, as they were synced at one moment.
struct Synced<'a> {
    shared: &'a Shared,
    snapshot: Snapshot,
    /// Of all keys of the partition.
    prefix: Vec<u8>,
}

impl Synced<'_> {
    fn stored(&self, key: &RowKey) -> Vec<u8> {
        keys::joined(&self.prefix, key.as_bytes())
    }
}

impl Rows for Synced<'_> {
    fn values(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let value = |key: &RowKey| {
            let value = self.snapshot.get(&self.shared.tables.rows, self.stored(key)).map_err(read_error)?;
            Ok(value.map(|value| Bytes::copy_from_slice(&value)))
        };
        keys.iter().map(value).collect()
    }

    fn has(&self, keys: &[RowKey]) -> Result<Vec<bool>, StoreError> {
        keys.iter().map(|key| self.snapshot.contains_key(&self.shared.tables.rows, self.stored(key)).map_err(read_error)).collect()
    }

    fn each(&self, table: &str, after: Option<&str>, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        let all = keys::joined(&self.prefix, RowKey::new(table, "").as_bytes());
        let (ids, end) = (all.len(), keys::after_prefix(&all));
        let start = match after {
            Some(after) => Bound::Excluded(keys::joined(&all, after.as_bytes())),
            None => Bound::Included(all),
        };
        give(self.snapshot.range::<Vec<u8>, _>(&self.shared.tables.rows, (start, Bound::Excluded(end))), ids, take)
    }

    fn each_back(&self, table: &str, before: &str, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        let all = keys::joined(&self.prefix, RowKey::new(table, "").as_bytes());
        let (ids, end) = (all.len(), Bound::Excluded(keys::joined(&all, before.as_bytes())));
        give(self.snapshot.range::<Vec<u8>, _>(&self.shared.tables.rows, (Bound::Included(all), end)).rev(), ids, take)
    }
}

/// Gives `take` these rows, until it breaks off; their ids stand behind so many bytes of their keys.
fn give(rows: impl Iterator<Item = Guard>, ids: usize, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
    for entry in rows {
        let (key, value) = entry.into_inner().map_err(read_error)?;
        let id = key.get(ids..).and_then(|id| std::str::from_utf8(id).ok()).ok_or_else(|| values::unreadable("row"))?;
        if take(id, &value).is_break() {
            break;
        }
    }
    Ok(())
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

fn read_head(shared: &Shared, head: &[u8]) -> Result<Option<StoredHead>, StoreError> {
    let value = shared.view.snapshot()?.get(&shared.tables.heads, head).map_err(read_error)?;
    value.map(|value| StoredHead::decode(&value)).transpose()
}

fn scan(shared: &Shared, skip: usize, (start, end): (Bound<Vec<u8>>, Vec<u8>), limit: usize) -> Result<RowPage, StoreError> {
    if matches!(&start, Bound::Excluded(start) if *start >= end) {
        return Ok(RowPage::default());
    }
    let snapshot = shared.view.snapshot()?;
    let mut page = RowPage::default();
    for entry in snapshot.range::<Vec<u8>, _>(&shared.tables.rows, (start, Bound::Excluded(end))) {
        if page.rows.len() == limit {
            page.more = true;
            break;
        }
        let (key, value) = entry.into_inner().map_err(read_error)?;
        let key = key.get(skip..).ok_or_else(|| values::unreadable("row"))?;
        page.rows.push(Row { key: RowKey::from_bytes(Bytes::copy_from_slice(key)), value: Bytes::copy_from_slice(&value) });
    }
    Ok(page)
}
