//! The wake index of the embedded store, kept by the commits themselves. A cursor is the key of the last entry.

use super::{EmbeddedStore, durable::read_error, keys, partitions::blocking, store::Shared, values};
use crate::{DueRow, PartitionKey, StoreError, WakeCursor, WakeIndex, WakePage};
use cellspace_schemas::Timestamp;
use fjall::{Keyspace, Readable};
use futures::future::BoxFuture;
use std::ops::Bound;

impl WakeIndex for EmbeddedStore {
    fn awake(&self, from: Option<WakeCursor>, limit: usize) -> BoxFuture<'_, Result<WakePage<PartitionKey>, StoreError>> {
        blocking(self, move |shared| {
            let read = |key: &[u8]| keys::read_partition(key).ok_or_else(|| values::unreadable("wake row"));
            page(shared, &shared.tables.awake, from, None, limit, read)
        })
    }

    fn due(&self, until: Timestamp, from: Option<WakeCursor>, limit: usize) -> BoxFuture<'_, Result<WakePage<DueRow>, StoreError>> {
        blocking(self, move |shared| {
            let read = |key: &[u8]| {
                let (due, partition) = keys::read_due(key).ok_or_else(|| values::unreadable("deadline row"))?;
                Ok(DueRow { due, partition })
            };
            page(shared, &shared.tables.due, from, keys::due_after(until), limit, read)
        })
    }
}

/// Entries after `from` and before `end`.
fn page<T>(
    shared: &Shared,
    table: &Keyspace,
    from: Option<WakeCursor>,
    end: Option<Vec<u8>>,
    limit: usize,
    read: impl Fn(&[u8]) -> Result<T, StoreError>,
) -> Result<WakePage<T>, StoreError> {
    let from = from.map(|from| from.place().to_vec());
    let mut page = WakePage { entries: Vec::new(), next: None };
    if matches!((&from, &end), (Some(from), Some(end)) if from >= end) {
        return Ok(page);
    }
    let snapshot = shared.view.snapshot()?;
    let range = (from.map_or(Bound::Unbounded, Bound::Excluded), end.map_or(Bound::Unbounded, Bound::Excluded));
    for entry in snapshot.range::<Vec<u8>, _>(table, range).take(limit) {
        let key = entry.key().map_err(read_error)?;
        page.entries.push(read(&key)?);
        page.next = (page.entries.len() == limit).then(|| WakeCursor::new(key.to_vec()));
    }
    Ok(page)
}
