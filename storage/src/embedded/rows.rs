//! Rows of a partition as they were synced at one moment, in whichever generation they are.

use super::{
    durable::read_error,
    generations::{Generation, Span, Step},
    keys,
    store::Shared,
    values::{self, StoredHead},
};
use crate::{APART, Row, RowKey, RowPage, Rows, Seq, StoreError};
use bytes::Bytes;
use fjall::{Guard, Readable, Snapshot, UserKey, UserValue};
use std::ops::{Bound, ControlFlow};

/// Behind all rows that activations read: tables that are apart sort last.
pub(super) const END: [u8; 1] = [APART as u8];

/// The rows of one partition.
pub(super) struct SyncedRows<'a> {
    shared: &'a Shared,
    snapshot: Snapshot,
    /// Of all keys of the partition.
    prefix: Vec<u8>,
    /// The last commit; 0 before the first.
    pub(super) seq: Seq,
    generation: Generation,
}

/// A range of stored keys.
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A row that was found.
struct Found {
    key: UserKey,
    /// Bytes of the key in front of the row's own.
    skip: usize,
    value: UserValue,
}

impl Found {
    /// The row's key from so many bytes on.
    fn key(&self, from: usize) -> Result<&[u8], StoreError> {
        self.key.get(self.skip + from..).ok_or_else(|| values::unreadable("row"))
    }

    fn row(&self) -> Result<Row, StoreError> {
        Ok(Row { key: RowKey::from_bytes(Bytes::copy_from_slice(self.key(0)?)), value: Bytes::copy_from_slice(&self.value) })
    }
}

impl<'a> SyncedRows<'a> {
    /// Of the partition whose keys have this prefix.
    pub(super) fn read(shared: &'a Shared, prefix: Vec<u8>) -> Result<Self, StoreError> {
        let snapshot = shared.view.snapshot()?;
        let (seq, generation) =
            read_head(shared, &snapshot, &prefix)?.map_or_else(Default::default, |stored| (stored.head.seq, stored.rows));
        Ok(Self { shared, snapshot, prefix, seq, generation })
    }

    /// Rows from `start` to before `end`, in their order, at most `limit`. Both bounds are apart or neither is.
    pub(super) fn page(&self, start: Bound<&[u8]>, end: &[u8], limit: usize) -> Result<RowPage, StoreError> {
        let mut page = RowPage::default();
        for found in self.range(start, end) {
            if page.rows.len() == limit {
                page.more = true;
                break;
            }
            page.rows.push(found?.row()?);
        }
        Ok(page)
    }

    /// The row of this key.
    pub(super) fn get(&self, row: &RowKey) -> Result<Option<Bytes>, StoreError> {
        let value = self.snapshot.get(&self.shared.tables.rows, self.stored(row)).map_err(read_error)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// The next rows that move on: so many, but no more behind `least` once they have `bytes` bytes.
    pub(super) fn step(&self, most: usize, least: usize, bytes: usize) -> Result<Step, StoreError> {
        let (mut step, mut size) = (Step { rows: Vec::new(), ends: true }, 0);
        let left = self.generation.moving.as_ref().map_or(Bound::Included(&[][..]), |moving| Bound::Excluded(moving.last.as_bytes()));
        for found in self.range(left, &END) {
            if step.rows.len() == most || (size >= bytes && step.rows.len() >= least) {
                step.ends = false;
                break;
            }
            let row = found?.row()?;
            size += row.key.as_bytes().len() + row.value.len();
            step.rows.push(row);
        }
        Ok(step)
    }

    /// Where the rows are.
    #[cfg(test)]
    pub(super) const fn generation(&self) -> &Generation {
        &self.generation
    }

    fn stored(&self, row: &RowKey) -> Vec<u8> {
        keys::row(&self.prefix, self.generation.of(row), row.as_bytes())
    }

    fn range<'b>(&'b self, start: Bound<&'b [u8]>, end: &'b [u8]) -> impl DoubleEndedIterator<Item = Result<Found, StoreError>> + 'b {
        self.bounds(start, end).into_iter().flat_map(|(skip, bounds)| {
            let found = move |entry: Guard| {
                let (key, value) = entry.into_inner().map_err(read_error)?;
                Ok(Found { key, skip, value })
            };
            self.snapshot.range::<Vec<u8>, _>(&self.shared.tables.rows, bounds).map(found)
        })
    }

    /// What is read of the database for these rows, in their order, and how many bytes of the keys stand in front of the rows' own.
    pub(super) fn bounds(&self, start: Bound<&[u8]>, end: &[u8]) -> Vec<(usize, Bounds)> {
        let stored = |span: Span<'_>| {
            let prefix = keys::rows(&self.prefix, span.generation);
            (prefix.len(), (span.start.map(|key| keys::joined(&prefix, key)), span.end.map(|key| keys::joined(&prefix, key))))
        };
        self.generation.spans(start, end).into_iter().map(stored).collect()
    }
}

impl Rows for SyncedRows<'_> {
    fn values(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn has(&self, keys: &[RowKey]) -> Result<Vec<bool>, StoreError> {
        keys.iter().map(|key| self.snapshot.contains_key(&self.shared.tables.rows, self.stored(key)).map_err(read_error)).collect()
    }

    fn each(&self, table: &str, after: Option<&str>, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        let all = RowKey::new(table, "");
        let (first, end) = (all.as_bytes(), keys::after_prefix(all.as_bytes()));
        let after = after.map(|after| keys::joined(first, after.as_bytes()));
        let start = after.as_deref().map_or(Bound::Included(first), Bound::Excluded);
        give(self.range(start, &end), first.len(), take)
    }

    fn each_back(&self, table: &str, before: &str, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        let all = RowKey::new(table, "");
        let (first, end) = (all.as_bytes(), keys::joined(all.as_bytes(), before.as_bytes()));
        give(self.range(Bound::Included(first), &end).rev(), first.len(), take)
    }
}

/// The head of the partition whose keys have this prefix; `None` before the first commit.
pub(super) fn read_head(shared: &Shared, snapshot: &Snapshot, prefix: &[u8]) -> Result<Option<StoredHead>, StoreError> {
    let value = snapshot.get(&shared.tables.heads, prefix).map_err(read_error)?;
    value.map(|value| StoredHead::decode(&value)).transpose()
}

/// Gives `take` these rows, until it breaks off; their ids stand behind so many bytes of their keys.
fn give(
    rows: impl Iterator<Item = Result<Found, StoreError>>,
    ids: usize,
    take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    for found in rows {
        let found = found?;
        let id = std::str::from_utf8(found.key(ids)?).map_err(|_| values::unreadable("row"))?;
        if take(id, &found.value).is_break() {
            break;
        }
    }
    Ok(())
}
