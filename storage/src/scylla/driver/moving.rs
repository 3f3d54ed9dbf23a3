//! Partitions on their way to the keyspace of another cell.
//!
//! A sealed partition stays as it is, so that copying it may be begun anew at any time. Rows are copied by conditional batches under a seal of the copy's own, and the
//! head comes last: who finds it finds all. Rows are removed as of the time at which a seal was put over them for that: all that is there has an earlier one, and what
//! comes later is never hidden, whatever clocks say, and however late the removal is. They are removed as a whole: nobody has to read over a trace of each.

use super::{
    ScyllaStore,
    commit::{Writes, blob, int, number, of},
    copying::{Copying, place_beside},
    heads::{Position, StoredHead, stored},
    hours::{Class, bucket},
    marks::Mark,
    partitions::key,
    store::{Conditional, Inner, unavailable},
};
use crate::{Epoch, Movable, PartitionKey, Seal, Seq, Standing, StoreError, relocation::copying::Progress};
use futures::future::BoxFuture;
use scylla::{DeserializeRow, value::CqlValue};

/// Tries of a seal while others change the head.
const TRIES: usize = 16;
/// Looks at a sealed partition: what is left of one that began before, and another one.
const LOOKS: usize = 2;

#[derive(DeserializeRow)]
struct Fenced {
    fence_view: Option<i64>,
    fence_count: Option<i64>,
    written: Option<i64>,
}

#[derive(DeserializeRow)]
struct Held {
    part: Option<i8>,
}

#[derive(DeserializeRow)]
struct Unpublished {
    mark: Vec<u8>,
}

impl StoredHead {
    fn seal(&self) -> Option<Seal> {
        Seal::of(self.fence)
    }

    /// Nothing, under this seal.
    fn nothing_under(seal: Seal) -> Self {
        Self { fence: seal.epoch(), ..Self::default() }
    }

    fn is_all_in(&self, progress: &Progress) -> bool {
        progress.has_all_of(self.seq(), self.at.rows.number)
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
            let inner = self.inner();
            // The head first: what is committed after the look at it is under no seal that was seen.
            let head = inner.head(partition).await?;
            let publishing = inner.publishing(partition).await?;
            let holds = inner.holds(partition).await?;
            // A copy is told by its head once it is whole.
            let ahead = if head.seal().is_some() && head.head.is_none() && holds { inner.progress(partition).await? } else { None };
            let (seq, generation) = (head.head.map(|head| head.seq), head.at.rows.number);
            Ok(Standing { seal: head.seal(), seq, generation, holds, publishing, ahead: ahead.map(|progress| progress.told()) })
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
            let found = self.inner().head(partition).await?;
            if found.seal() != Some(seal) {
                return Err(changed(partition));
            }
            let next = Seal::over(found.fence, seal.version()).ok_or_else(|| too_large(partition))?;
            self.inner().emptied(partition, &found, next).await
        })
    }
}

impl ScyllaStore {
    /// Copies a partition that is served, ahead of what is left for the time under its seal, to the keyspace of another cell: over one that stands there as it was seen to,
    /// for this version of the owner's home. What is left there of before goes, what an earlier copy for the same version has brought stays.
    ///
    /// # Errors
    /// [`StoreError`]; what was copied stays under its seal, without a head.
    pub async fn copy_ahead(&self, to: &Self, partition: &PartitionKey, over: Standing, version: u64) -> Result<(), StoreError> {
        let (from, to) = (self.inner(), to.inner());
        let (seal, progress) = to.taken(partition, over, version).await?;
        Copying { from, to, partition, seal }.look(progress).await.map(drop)
    }

    /// Copies what is left of a sealed partition, in the same way.
    ///
    /// # Errors
    /// [`StoreError`]; what was copied stays under its seal, without a head.
    pub async fn copy_sealed(&self, to: &Self, partition: &PartitionKey, over: Standing) -> Result<(), StoreError> {
        let (from, to) = (self.inner(), to.inner());
        let source = from.head(partition).await?;
        let Some(sealed) = source.seal().filter(|_| source.head.is_some()) else { return Err(changed(partition)) };
        // The version before is that of the copy ahead.
        let (seal, mut progress) = to.taken(partition, over, sealed.version().saturating_sub(1)).await?;
        let copying = Copying { from, to, partition, seal };
        for _ in 0..LOOKS {
            if !source.is_all_in(&progress) {
                progress = copying.look(progress).await?;
            }
        }
        // Whoever clears it puts another seal first: until now nothing of what was read was gone.
        let after = from.head(partition).await?;
        if !source.is_all_in(&progress) || (after.seal(), after.head) != (Some(sealed), source.head) {
            return Err(changed(partition));
        }
        to.index(partition, &source.at).await?;
        let mut writes = to.adopting(partition, &StoredHead::nothing_under(seal), &StoredHead { fence: seal.epoch(), ..source });
        writes.add(&to.statements.delete, of([], partition, place_beside()));
        written(writes.send(to).await.map_err(unavailable)?, partition)
    }
}

/// A batch that was to be the next one.
pub(super) fn written(answer: Option<Conditional>, partition: &PartitionKey) -> Result<(), StoreError> {
    match answer {
        Some(Conditional::Applied) => Ok(()),
        Some(Conditional::NotApplied) => Err(changed(partition)),
        None => Err(StoreError::Unavailable("the database's answer cannot be read".to_owned())),
    }
}

impl Inner {
    /// Whether the partition has rows, be it those of half a copy.
    pub(super) async fn holds(&self, partition: &PartitionKey) -> Result<bool, StoreError> {
        let held = self.one::<Held>(&self.statements.held, key(partition)).await?;
        Ok(held.is_some_and(|row| row.part.is_some()))
    }

    /// Puts a seal of a copy's own over what was seen to stand there, and how far the copy is.
    async fn taken(&self, partition: &PartitionKey, over: Standing, version: u64) -> Result<(Seal, Progress), StoreError> {
        let begun = self.progress(partition).await?.is_some_and(|progress| progress.is_of(version));
        let found = self.head(partition).await?;
        let is_free = found.seal().is_some() || found.head.is_none();
        if !is_free || (found.seal(), found.head.map(|head| head.seq)) != (over.seal, over.seq) {
            return Err(changed(partition));
        }
        // No relocation is of version 0: it counts for none.
        let seal = Seal::over(found.fence, 0).ok_or_else(|| too_large(partition))?;
        if !begun {
            self.emptied(partition, &found, seal).await?;
            return Ok((seal, Progress::none(version)));
        }
        self.adopt(partition, &found, &StoredHead::nothing_under(seal)).await?;
        // Whoever was at it has come no further from now on.
        let progress = self.progress(partition).await?.filter(|progress| progress.is_of(version));
        progress.map(|progress| (seal, progress)).ok_or_else(|| changed(partition))
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

    /// Puts a seal over nothing in the place of the head that was found, then removes the rows.
    async fn emptied(&self, partition: &PartitionKey, found: &StoredHead, seal: Seal) -> Result<(), StoreError> {
        self.adopt(partition, found, &StoredHead::nothing_under(seal)).await?;
        self.remove_under(partition, seal).await
    }

    /// Removes all that was written before this seal was put, as it is with a whole head; under another one somebody else has gone on, over what may be whole.
    pub(super) async fn remove_under(&self, partition: &PartitionKey, seal: Seal) -> Result<(), StoreError> {
        let (owner, kind, name) = key(partition);
        // The head has the seal's time, of which a removal would take it too.
        let before = self.sealed_at(partition, seal).await? - 1;
        self.run(&self.statements.remove, (before, owner, kind, name)).await
    }

    /// Removes the rows of generations before this one that a copy has brought there before its seal was put.
    pub(super) async fn leave_behind(&self, partition: &PartitionKey, seal: Seal, generation: i32) -> Result<(), StoreError> {
        let (owner, kind, name) = key(partition);
        let sealed = self.sealed_at(partition, seal).await?;
        self.run(&self.statements.leave_behind, (sealed, owner, kind, name, generation)).await
    }

    /// When this seal was put, by the database's time.
    async fn sealed_at(&self, partition: &PartitionKey, seal: Seal) -> Result<i64, StoreError> {
        let (owner, kind, name) = key(partition);
        let fence = self.one::<Fenced>(&self.statements.fenced, (owner, kind, name)).await?;
        let fence = fence.filter(|at| (at.fence_view, at.fence_count) == (stored(seal.epoch().view), stored(seal.epoch().count)));
        fence.and_then(|fence| fence.written).ok_or_else(|| changed(partition))
    }

    /// Puts a whole head in the place of the one that was found.
    async fn adopt(&self, partition: &PartitionKey, found: &StoredHead, next: &StoredHead) -> Result<(), StoreError> {
        written(self.adopting(partition, found, next).send(self).await.map_err(unavailable)?, partition)
    }

    fn adopting(&self, partition: &PartitionKey, found: &StoredHead, next: &StoredHead) -> Writes {
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
        writes
    }

    /// The first commit whose events lie there. Clocks of nodes may put a later one into an earlier hour, which is taken for it then.
    async fn publishing(&self, partition: &PartitionKey) -> Result<Option<Seq>, StoreError> {
        let ((owner, kind, name), bucket) = (key(partition), bucket(partition));
        for hour in self.hours(Class::Publications, bucket, i64::MAX).await? {
            let row = self.one::<Unpublished>(&self.statements.unpublished, (bucket, hour, owner, kind, name)).await?;
            if let Some(Unpublished { mark }) = row {
                return Ok(Some(Mark::decode(&mark)?.seq));
            }
        }
        Ok(None)
    }
}
