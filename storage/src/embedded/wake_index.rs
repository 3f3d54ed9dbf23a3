//! The wake index of the embedded store, kept by the commits themselves. A cursor is the key of the last entry.

use super::{EmbeddedStore, durable::read_error, keys, partitions::blocking, store::Shared, values};
use crate::{DueRow, PartitionKey, ReadWake, Slots, StoreError, WakeCursor, WakeIndex, WakePage};
use cellspace_schemas::Timestamp;
use fjall::{Keyspace, Readable};
use std::ops::Bound;

impl WakeIndex for EmbeddedStore {
    fn awake(&self, of: &Slots, from: Option<WakeCursor>, limit: usize) -> ReadWake<'_, PartitionKey> {
        let of = of.clone();
        blocking(self, move |shared| {
            let read = |key: &[u8]| {
                let partition = keys::read_partition(key).ok_or_else(|| values::unreadable("wake row"))?;
                Ok(of.have(&partition.owner).then_some(partition))
            };
            page(shared, &shared.tables.awake, from, None, limit, read)
        })
    }

    fn due(&self, of: &Slots, until: Timestamp, from: Option<WakeCursor>, limit: usize) -> ReadWake<'_, DueRow> {
        let of = of.clone();
        blocking(self, move |shared| {
            let read = |key: &[u8]| {
                let (due, partition) = keys::read_due(key).ok_or_else(|| values::unreadable("deadline row"))?;
                Ok(of.have(&partition.owner).then_some(DueRow { due, partition }))
            };
            page(shared, &shared.tables.due, from, keys::due_after(until), limit, read)
        })
    }
}

/// Entries after `from` and before `end`, those that `read` takes.
fn page<T>(
    shared: &Shared,
    table: &Keyspace,
    from: Option<WakeCursor>,
    end: Option<Vec<u8>>,
    limit: usize,
    read: impl Fn(&[u8]) -> Result<Option<T>, StoreError>,
) -> Result<WakePage<T>, StoreError> {
    let from = from.map(|from| from.place().to_vec());
    let mut page = WakePage { entries: Vec::new(), next: None };
    if matches!((&from, &end), (Some(from), Some(end)) if from >= end) {
        return Ok(page);
    }
    let snapshot = shared.view.snapshot()?;
    let range = (from.map_or(Bound::Unbounded, Bound::Excluded), end.map_or(Bound::Unbounded, Bound::Excluded));
    for entry in snapshot.range::<Vec<u8>, _>(table, range) {
        let key = entry.key().map_err(read_error)?;
        page.entries.extend(read(&key)?);
        if page.entries.len() >= limit {
            page.next = Some(WakeCursor::new(key.to_vec()));
            break;
        }
    }
    Ok(page)
}
