//! The wake index of the embedded store, kept by the commits themselves.

use super::{EmbeddedStore, durable::read_error, keys, partitions::blocking, values};
use crate::{DueRow, PartitionKey, StoreError, WakeIndex};
use cellspace_schemas::Timestamp;
use fjall::Readable;
use futures::future::BoxFuture;
use std::ops::Bound;

impl WakeIndex for EmbeddedStore {
    fn awake(&self, after: Option<PartitionKey>, limit: usize) -> BoxFuture<'_, Result<Vec<PartitionKey>, StoreError>> {
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(keys::partition(&after)));
        blocking(self, move |shared| {
            let snapshot = shared.view.snapshot()?;
            let entries = snapshot.range::<Vec<u8>, _>(&shared.tables.awake, (start, Bound::Unbounded)).take(limit);
            entries
                .map(|entry| {
                    let key = entry.key().map_err(read_error)?;
                    keys::read_partition(&key).ok_or_else(|| values::unreadable("wake row"))
                })
                .collect()
        })
    }

    fn due(&self, until: Timestamp, after: Option<DueRow>, limit: usize) -> BoxFuture<'_, Result<Vec<DueRow>, StoreError>> {
        let start = after.map(|after| keys::due(after.due, &keys::partition(&after.partition)));
        let end = keys::due_after(until);
        blocking(self, move |shared| {
            if matches!((&start, &end), (Some(start), Some(end)) if start >= end) {
                return Ok(Vec::new());
            }
            let snapshot = shared.view.snapshot()?;
            let range = (start.map_or(Bound::Unbounded, Bound::Excluded), end.map_or(Bound::Unbounded, Bound::Excluded));
            let entries = snapshot.range::<Vec<u8>, _>(&shared.tables.due, range).take(limit);
            entries
                .map(|entry| {
                    let key = entry.key().map_err(read_error)?;
                    let (due, partition) = keys::read_due(&key).ok_or_else(|| values::unreadable("deadline row"))?;
                    Ok(DueRow { due, partition })
                })
                .collect()
        })
    }
}
