//! Partitions on their way to the keyspace of another cell.
//!
//! A sealed partition stays as it is, so that copying it may be begun anew at any time. Rows are copied by conditional batches under a seal of the copy's own, and the
//! head comes last: who finds it finds all. Rows are removed as of their own times, the newest of which is read before the head is seen to be what it was decided on:
//! what comes later is never hidden, whatever clocks say, and however late the removal is.

use super::{
    ScyllaStore,
    commit::{Writes, blob, int, number, of},
    heads::{Position, StoredHead, stored},
    hours::{Class, bucket},
    partitions::{Part, key},
    store::{Conditional, Inner, unavailable},
};
use crate::{Epoch, Movable, PartitionKey, Seal, Standing, StoreError};
use futures::{TryStreamExt, future::BoxFuture};
use scylla::{DeserializeRow, value::CqlValue};

/// Rows and bytes that are copied with one batch; a single row may be larger.
const ROWS: usize = 64;
const BYTES: usize = 64 << 10;
/// Tries of a seal while others change the head.
const TRIES: usize = 16;
/// Parts of a partition: rows, audit rows, rows set apart.
const PARTS: [i8; 3] = [Part::Read as i8, 1, Part::Apart as i8];

/// Every field may be null: a partition without rows has one line for its head.
#[derive(DeserializeRow)]
struct Raw {
    part: Option<i8>,
    generation: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    mark: Option<Vec<u8>>,
}

#[derive(DeserializeRow)]
struct Written {
    written: Option<i64>,
}

#[derive(DeserializeRow)]
struct Held {
    part: Option<i8>,
}

#[derive(DeserializeRow)]
struct Unpublished {
    #[allow(dead_code, reason = "that there is one is what is asked")]
    n: i32,
}

impl StoredHead {
    fn seal(&self) -> Option<Seal> {
        Seal::of(self.fence)
    }

    /// Nothing, under this seal.
    fn nothing_under(seal: Seal) -> Self {
        Self { fence: seal.epoch(), ..Self::default() }
    }
}

fn changed(partition: &PartitionKey) -> StoreError {
    StoreError::Unavailable(format!("somebody else has changed {partition}"))
}

fn too_large(partition: &PartitionKey) -> StoreError {
    StoreError::Unavailable(format!("{partition} cannot be sealed: its view is too large"))
}

impl Movable for ScyllaStore {
    fn standing<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<Standing, StoreError>> {
        Box::pin(async move {
            let (inner, (owner, kind, name)) = (self.inner(), key(partition));
            // The head first: what is committed after the look at it is under no seal that was seen.
            let head = inner.head(partition).await?;
            let publishing = inner.has_events(partition).await?;
            let held = inner.one::<Held>(&inner.statements.held, (owner, kind, name)).await?;
            let holds = held.is_some_and(|row| row.part.is_some());
            Ok(Standing { seal: head.seal(), seq: head.head.map(|head| head.seq), holds, publishing })
        })
    }

    fn seal<'a>(&'a self, partition: &'a PartitionKey, version: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let inner = self.inner();
            for _ in 0..TRIES {
                let found = inner.head(partition).await?;
                if found.seal().is_some_and(|seal| seal.version() == version) {
                    return Ok(());
                }
                let seal = Seal::over(found.fence, version).ok_or_else(|| too_large(partition))?;
                if inner.raise(partition, seal.epoch(), &found).await? {
                    return Ok(());
                }
            }
            Err(changed(partition))
        })
    }

    fn unseal<'a>(&'a self, partition: &'a PartitionKey, seal: Seal) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let found = self.inner().head(partition).await?;
            let is_off = found.seal() == Some(seal) && self.inner().raise(partition, seal.taken_off(), &found).await?;
            if is_off { Ok(()) } else { Err(changed(partition)) }
        })
    }

    fn clear<'a>(&'a self, partition: &'a PartitionKey, seal: Seal) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let newest = self.inner().newest(partition).await?;
            let found = self.inner().head(partition).await?;
            if found.seal() != Some(seal) {
                return Err(changed(partition));
            }
            let next = Seal::over(found.fence, seal.version()).ok_or_else(|| too_large(partition))?;
            self.inner().emptied(partition, &found, next, newest).await
        })
    }
}

impl ScyllaStore {
    /// Copies a sealed partition to the keyspace of another cell, over one that stands there as it was seen to. What is left there of before goes.
    ///
    /// # Errors
    /// [`StoreError`]; what was copied stays under its seal, without a head.
    pub async fn copy_sealed(&self, to: &Self, partition: &PartitionKey, over: Standing) -> Result<(), StoreError> {
        let (from, to) = (self.inner(), to.inner());
        let source = from.head(partition).await?;
        let Some(sealed) = source.seal().filter(|_| source.head.is_some()) else { return Err(changed(partition)) };
        let newest = to.newest(partition).await?;
        let found = to.head(partition).await?;
        let is_free = found.seal().is_some() || found.head.is_none();
        if !is_free || (found.seal(), found.head.map(|head| head.seq)) != (over.seal, over.seq) {
            return Err(changed(partition));
        }
        // No relocation is of version 0: it counts for none.
        let seal = Seal::over(found.fence, 0).ok_or_else(|| too_large(partition))?;
        to.emptied(partition, &found, seal, newest).await?;
        let (owner, kind, name) = key(partition);
        let mut rows = from.stream::<Raw>(from.statements.raw.clone(), (owner, kind, name)).await?;
        let (mut writes, mut bytes) = (to.beginning(partition, seal, &source), 0);
        while let Some(Raw { part: Some(part), generation: Some(generation), key: Some(row), value, mark }) = rows.try_next().await? {
            // Generations that were left behind stay behind.
            if part == Part::Read as i8 && generation != source.at.rows.number {
                continue;
            }
            bytes += row.len() + value.as_ref().map_or(0, Vec::len);
            let place = [Some(CqlValue::TinyInt(part)), int(generation), blob(&row), value.map(CqlValue::Blob)];
            match mark {
                // A mark that is none would leave the trace of a deleted one.
                None => writes.add(&to.statements.put, of([], partition, place)),
                Some(mark) => {
                    let [part, generation, row, value] = place;
                    writes.add(&to.statements.put_marked, of([], partition, [part, generation, row, value, Some(CqlValue::Blob(mark))]));
                }
            }
            if writes.len() > ROWS || bytes > BYTES {
                let full = std::mem::replace(&mut writes, to.beginning(partition, seal, &source));
                bytes = 0;
                written(full.send(to).await.map_err(unavailable)?, partition)?;
            }
        }
        written(writes.send(to).await.map_err(unavailable)?, partition)?;
        // Whoever clears it puts another seal first: until now nothing of what was read was gone.
        let after = from.head(partition).await?;
        if (after.seal(), after.head) != (Some(sealed), source.head) {
            return Err(changed(partition));
        }
        to.index(partition, &source.at).await?;
        to.adopt(partition, &StoredHead::nothing_under(seal), &StoredHead { fence: seal.epoch(), ..source }).await
    }
}

/// A batch that was to be the next one.
fn written(answer: Option<Conditional>, partition: &PartitionKey) -> Result<(), StoreError> {
    match answer {
        Some(Conditional::Applied) => Ok(()),
        Some(Conditional::NotApplied) => Err(changed(partition)),
        None => Err(StoreError::Unavailable("the database's answer cannot be read".to_owned())),
    }
}

impl Inner {
    /// A batch of a copy.
    fn beginning(&self, partition: &PartitionKey, seal: Seal, source: &StoredHead) -> Writes {
        let mut writes = Writes::new(self);
        let condition = [number(seal.epoch().view), number(seal.epoch().count), None];
        writes.add(&self.statements.copy, of([int(source.at.rows.newest)], partition, condition));
        writes
    }

    /// What the head names beside the partition.
    async fn index(&self, partition: &PartitionKey, at: &Position) -> Result<(), StoreError> {
        let ((owner, kind, name), bucket) = (key(partition), bucket(partition));
        if let Some(mark) = at.awake {
            self.know(Class::Awake, bucket, mark.hour).await?;
            self.run(&self.statements.add_awake, (bucket, mark.hour, owner, kind, name, mark.encode())).await?;
        }
        if let Some((due, mark)) = at.due {
            self.know(Class::Due, bucket, mark.hour).await?;
            self.run(&self.statements.add_due, (bucket, mark.hour, due.0, owner, kind, name, mark.encode())).await?;
        }
        Ok(())
    }

    /// When the newest of its rows was written.
    async fn newest(&self, partition: &PartitionKey) -> Result<Option<i64>, StoreError> {
        let (owner, kind, name) = key(partition);
        let mut rows = self.stream::<Written>(self.statements.written.clone(), (owner, kind, name)).await?;
        let mut newest = None;
        while let Some(row) = rows.try_next().await? {
            newest = newest.max(row.written);
        }
        Ok(newest)
    }

    /// Puts a seal over nothing in the place of the head that was found, then removes the rows that were written until then.
    async fn emptied(&self, partition: &PartitionKey, found: &StoredHead, seal: Seal, newest: Option<i64>) -> Result<(), StoreError> {
        self.adopt(partition, found, &StoredHead::nothing_under(seal)).await?;
        let (owner, kind, name) = key(partition);
        let Some(newest) = newest else { return Ok(()) };
        for part in PARTS {
            self.run(&self.statements.remove_part, (newest, owner, kind, name, part)).await?;
        }
        Ok(())
    }

    /// Puts a whole head in the place of the one that was found.
    async fn adopt(&self, partition: &PartitionKey, found: &StoredHead, next: &StoredHead) -> Result<(), StoreError> {
        let (head, rows) = (next.head, next.at.rows);
        let of_rows = |number: i32| head.and_then(|_| int(number));
        let set = [
            number(next.fence.view),
            number(next.fence.count),
            head.and_then(|head| number(head.epoch.view)),
            head.and_then(|head| number(head.epoch.count)),
            head.and_then(|head| number(head.seq.0)),
            next.at.awake.and_then(|mark| blob(&mark.encode())),
            next.at.due.map(|(due, _)| CqlValue::BigInt(due.0)),
            next.at.due.and_then(|(_, mark)| blob(&mark.encode())),
            of_rows(rows.number),
            of_rows(rows.newest),
            of_rows(rows.kept),
            of_rows(rows.deleted),
        ];
        let fence = Some(found.fence).filter(|fence| *fence != Epoch::default());
        let seq = found.head.and_then(|head| stored(head.seq.0)).map(CqlValue::BigInt);
        let condition = [fence.and_then(|fence| number(fence.view)), fence.and_then(|fence| number(fence.count)), seq];
        let mut writes = Writes::new(self);
        writes.add(&self.statements.adopt, of(set, partition, condition));
        written(writes.send(self).await.map_err(unavailable)?, partition)
    }

    async fn has_events(&self, partition: &PartitionKey) -> Result<bool, StoreError> {
        let ((owner, kind, name), bucket) = (key(partition), bucket(partition));
        for hour in self.hours(Class::Publications, bucket, i64::MAX).await? {
            let row = self.one::<Unpublished>(&self.statements.unpublished, (bucket, hour, owner, kind, name)).await?;
            if row.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
