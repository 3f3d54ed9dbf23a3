//! Copies of partitions to the keyspace of another cell: the shell of [`crate::relocation::copying`]. Rows are copied by conditional batches, each with how far that is.

use super::{
    commit::{Writes, blob, int, number, of},
    moving::written,
    partitions::key,
    store::{Inner, unavailable},
};
use crate::{
    PartitionKey, Seal, Seq, StoreError,
    backup::Blob,
    relocation::copying::{Change, Found, Moment, Place, Progress},
};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use scylla::{DeserializeRow, value::CqlValue};

/// Rows and bytes that are copied with one batch; a single row may be larger.
const ROWS: usize = 64;
const BYTES: usize = 64 << 10;
/// Rows that are read at once, one by one, where few are brought.
const AT_ONCE: usize = 16;
/// The part of a partition that holds no rows of its owner's, but how far a copy is.
pub(super) const BESIDE: i8 = 3;
const PROGRESS: &[u8] = b"progress";

/// Where how far a copy is lies.
pub(super) fn place_beside() -> [Option<CqlValue>; 3] {
    [Some(CqlValue::TinyInt(BESIDE)), int(0), blob(PROGRESS)]
}

#[derive(Debug, DeserializeRow)]
struct Held {
    value: Option<Vec<u8>>,
    mark: Option<Vec<u8>>,
}

/// Every field may be null: a partition without rows has one line for its head.
#[derive(DeserializeRow)]
struct Placed {
    part: Option<i8>,
    generation: Option<i32>,
    key: Option<Vec<u8>>,
    written: Option<i64>,
}

#[derive(DeserializeRow)]
struct Whole {
    part: Option<i8>,
    generation: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    mark: Option<Vec<u8>>,
    written: Option<i64>,
}

#[derive(DeserializeRow)]
struct LastCommit {
    key: Vec<u8>,
    written: Option<i64>,
    headed: Option<i64>,
}

#[derive(DeserializeRow)]
struct Stored {
    value: Option<Vec<u8>>,
}

/// A row here, and what it holds unless that is yet to be read.
type Here = Found<Option<Held>>;

/// A copy of a partition under its seal.
pub(super) struct Copying<'a> {
    pub(super) from: &'a Inner,
    pub(super) to: &'a Inner,
    pub(super) partition: &'a PartitionKey,
    pub(super) seal: Seal,
}

impl Copying<'_> {
    /// One look at all rows, or what is left of one.
    pub(super) async fn look(&self, progress: Progress) -> Result<Progress, StoreError> {
        let mut progress = progress.going_on(self.from.now(self.partition).await?);
        // At once: of many that go one by one the database keeps so many traces that it refuses to read over them.
        if let Some(generation) = progress.leaves_behind() {
            self.to.leave_behind(self.partition, self.seal, generation).await?;
        }
        let mut changes = self.changes(&progress).await?;
        let generation = progress.began().generation;
        let mut batch = self.batch(generation);
        while let Some(change) = changes.try_next().await? {
            let place = change.place().clone();
            match change {
                Change::Bring(_, Some(holds)) => self.put(&mut batch, &place, holds),
                Change::Remove(_) => self.delete(&mut batch, &place),
                // Gone since it was found: so it goes with the next look.
                Change::Bring(_, None) | Change::Pass(_) => {}
            }
            progress.pass(place);
            if batch.is_full() || progress.passed().is_multiple_of(self.to.options.copied_places) {
                self.send(std::mem::replace(&mut batch, self.batch(generation)), &progress).await?;
                tracing::trace!(category = "app", action = "owner.relocation_copied", partition = %self.partition);
            }
        }
        let ended = progress.ended();
        self.send(batch, &ended).await?;
        Ok(ended)
    }

    /// What is to be done at the places after the one that the look has come to, in their order.
    async fn changes(&self, progress: &Progress) -> Result<BoxStream<'_, Result<Change<Option<Held>>, StoreError>>, StoreError> {
        let (look, here, there) = (progress.clone(), self.here(progress).await?, self.there(progress).await?);
        let heads = (look, here, there, None, None);
        let changes = stream::try_unfold(heads, |(look, mut here, mut there, mut row, mut place)| async move {
            if row.is_none() {
                row = here.try_next().await?;
            }
            if place.is_none() {
                place = there.try_next().await?;
            }
            let change = look.next(&mut row, &mut place);
            Ok::<_, StoreError>(change.map(|change| (change, (look, here, there, row, place))))
        });
        let read = move |change| async move {
            match change {
                Change::Bring(place, None) => {
                    let holds = self.held(&place).await?;
                    Ok(Change::Bring(place, holds))
                }
                other => Ok(other),
            }
        };
        Ok(changes.map_ok(read).try_buffered(AT_ONCE).boxed())
    }

    /// The rows. What each holds comes along where most are to be brought.
    async fn here(&self, progress: &Progress) -> Result<BoxStream<'_, Result<Here, StoreError>>, StoreError> {
        let ((owner, kind, name), (part, generation, row), statements) = (key(self.partition), start(progress), &self.from.statements);
        let values = (owner, kind, name, part, generation, row);
        if progress.brings_most() {
            let found = |row: Whole| {
                let holds = Some(Held { value: row.value, mark: row.mark });
                place(row.part, row.generation, row.key).map(|place| Found { place, written: row.written, holds })
            };
            let rows = self.from.stream::<Whole>(statements.whole_after.clone(), values).await?;
            return Ok(rows.try_filter_map(move |row| std::future::ready(Ok(found(row)))).boxed());
        }
        let found = |row: Placed| place(row.part, row.generation, row.key).map(|place| Found { place, written: row.written, holds: None });
        let rows = self.from.stream::<Placed>(statements.placed_after.clone(), values).await?;
        Ok(rows.try_filter_map(move |row| std::future::ready(Ok(found(row)))).boxed())
    }

    /// The places that are taken at the other side.
    async fn there(&self, progress: &Progress) -> Result<BoxStream<'_, Result<Place, StoreError>>, StoreError> {
        let ((owner, kind, name), (part, generation, row)) = (key(self.partition), start(progress));
        let rows = self.to.stream::<Placed>(self.to.statements.placed_after.clone(), (owner, kind, name, part, generation, row)).await?;
        let found = |row: Placed| place(row.part, row.generation, row.key);
        Ok(rows.try_filter_map(move |row| std::future::ready(Ok(found(row)))).boxed())
    }

    async fn held(&self, Place { part, generation, key: Blob(row) }: &Place) -> Result<Option<Held>, StoreError> {
        let (owner, kind, name) = key(self.partition);
        self.from.one::<Held>(&self.from.statements.held_at, (owner, kind, name, part, generation, &row[..])).await
    }

    fn batch(&self, generation: i32) -> Batch {
        let mut writes = Writes::new(self.to);
        let condition = [number(self.seal.epoch().view), number(self.seal.epoch().count), None];
        writes.add(&self.to.statements.copy, of([int(generation)], self.partition, condition));
        Batch { writes, bytes: 0 }
    }

    fn put(&self, batch: &mut Batch, place: &Place, Held { value, mark }: Held) {
        batch.bytes += place.key.0.len() + value.as_ref().map_or(0, Vec::len);
        let ([part, generation, row], value) = (at(place), value.map(CqlValue::Blob));
        match mark {
            // A mark that is none would leave the trace of a deleted one.
            None => batch.writes.add(&self.to.statements.put, of([], self.partition, [part, generation, row, value])),
            Some(mark) => {
                let all = [part, generation, row, value, Some(CqlValue::Blob(mark))];
                batch.writes.add(&self.to.statements.put_marked, of([], self.partition, all));
            }
        }
    }

    fn delete(&self, batch: &mut Batch, place: &Place) {
        batch.writes.add(&self.to.statements.delete, of([], self.partition, at(place)));
    }

    async fn send(&self, mut batch: Batch, progress: &Progress) -> Result<(), StoreError> {
        let text = serde_json::to_vec(progress).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let [part, generation, row] = place_beside();
        let beside = [part, generation, row, Some(CqlValue::Blob(text))];
        batch.writes.add(&self.to.statements.put, of([], self.partition, beside));
        written(batch.writes.send(self.to).await.map_err(unavailable)?, self.partition)
    }
}

/// A conditional batch being put together.
struct Batch {
    writes: Writes,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.writes.len() > ROWS || self.bytes > BYTES
    }
}

/// In front of all rows, or where the look has come to.
fn start(progress: &Progress) -> (i8, i32, Vec<u8>) {
    progress.after().cloned().map_or((-1, 0, Vec::new()), |Place { part, generation, key: Blob(key) }| (part, generation, key))
}

fn at(place: &Place) -> [Option<CqlValue>; 3] {
    [Some(CqlValue::TinyInt(place.part)), int(place.generation), blob(&place.key.0)]
}

/// Where a row is; `None` for a line that is of no row of its owner's.
fn place(part: Option<i8>, generation: Option<i32>, key: Option<Vec<u8>>) -> Option<Place> {
    Some(Place { part: part.filter(|part| *part != BESIDE)?, generation: generation?, key: Blob(key?) })
}

impl Inner {
    /// How the partition stands. Who reads rows after this finds all commits up to that: one that is decided, and not yet where reads find it, is brought there by this
    /// look at the last one; those before it were, before it was decided.
    pub(super) async fn now(&self, partition: &PartitionKey) -> Result<Moment, StoreError> {
        let last = self.one::<LastCommit>(&self.statements.last_commit_now, key(partition)).await?;
        // After it: of an earlier generation rows may be gone.
        let generation = self.head(partition).await?.at.rows.number;
        let Some(LastCommit { key, written, headed }) = last else { return Ok(Moment { generation, ..Moment::default() }) };
        let seq = key.try_into().map_err(|_| StoreError::Corrupt("a stored audit row cannot be read".to_owned()))?;
        Ok(Moment { seq: Seq(u64::from_be_bytes(seq)), generation, written: written.max(headed) })
    }

    /// How far a copy is that is made there.
    pub(super) async fn progress(&self, partition: &PartitionKey) -> Result<Option<Progress>, StoreError> {
        let (owner, kind, name) = key(partition);
        let found = self.one::<Stored>(&self.statements.beside, (owner, kind, name, BESIDE, PROGRESS)).await?;
        let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(|e| StoreError::Corrupt(e.to_string()));
        found.and_then(|found| found.value).map(read).transpose()
    }
}
