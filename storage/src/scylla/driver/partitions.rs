//! Partitions: claims and reads. Commits are in [`super::commit`].

use super::{
    ScyllaStore,
    heads::{StoredHead, stored},
    marks::Mark,
    store::{Conditional, Inner, unavailable},
};
use crate::{
    APART, AuditRow, Batch, Claim, ClaimError, CommitOutcome, Epoch, PartitionKey, Partitions, ReadRows, Row, RowKey, RowPage, Rows, Seal,
    Seq, StoreError, partitions::is_apart, relocation::copying::READ,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use scylla::DeserializeRow;
use std::ops::ControlFlow;
use tokio::{runtime, task::spawn_blocking};

/// Tries of a claim: whoever commits at the same time makes one fail.
const CLAIM_TRIES: usize = 16;
/// Tries of a read during which the rows were moved.
const READ_TRIES: usize = 5;
/// Of many rows that are read one by one so many are asked for at once, and so many of those in order.
const AT_ONCE: usize = 32;
const PAGE: usize = 256;

#[derive(DeserializeRow)]
pub(super) struct StoredRow {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

#[derive(DeserializeRow)]
struct Witness {
    value: Option<Vec<u8>>,
    mark: Option<Vec<u8>>,
}

impl From<StoredRow> for Row {
    fn from(row: StoredRow) -> Self {
        Self { key: RowKey::from_bytes(row.key.into()), value: row.value.unwrap_or_default().into() }
    }
}

/// Where a row lies in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Among those that an activation reads, in the present generation.
    Read = READ as isize,
    /// Apart from them: rows that are many and mostly stay, which are never copied, in the one generation 0.
    Apart = 2,
}

impl Part {
    pub(super) fn of(key: &[u8]) -> Self {
        if is_apart(key) { Self::Apart } else { Self::Read }
    }
}

/// A partition's key as the statements take it.
pub(super) fn key(partition: &PartitionKey) -> (&str, &str, &str) {
    (partition.owner.as_str(), &partition.kind, &partition.name)
}

/// As the database takes a limit, which is never zero.
fn bound(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX).max(1)
}

impl Partitions for ScyllaStore {
    fn exists<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let found = self.inner().head(partition).await?;
            // What is sealed is on its way to another cell, or there.
            if Seal::of(found.fence).is_some() {
                return Err(StoreError::Sealed(partition.clone()));
            }
            Ok(found.head.is_some())
        })
    }

    fn claim<'a>(&'a self, partition: &'a PartitionKey, view: u64) -> BoxFuture<'a, Result<Claim, ClaimError>> {
        Box::pin(self.inner().claim(partition, view))
    }

    fn scan<'a>(
        &'a self,
        partition: &'a PartitionKey,
        table: Option<&'a str>,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        let (wanted, end) = match table {
            Some(table) => {
                let wanted = RowKey::new(table, "").as_bytes().to_vec();
                let mut end = wanted.clone();
                // The NUL that ends the name.
                if let Some(last) = end.last_mut() {
                    *last = 1;
                }
                (wanted, end)
            }
            // Tables that are apart sort last.
            None => (Vec::new(), APART.to_string().into_bytes()),
        };
        let (start, follows) = match after.map(|after| after.as_bytes().to_vec()) {
            Some(after) if after >= wanted => (after, true),
            Some(_) | None => (wanted, false),
        };
        Box::pin(async move {
            if start >= end {
                return Ok(RowPage::default());
            }
            let inner = self.inner();
            let statement = if follows { &inner.statements.scan_after } else { &inner.statements.scan };
            let ((owner, kind, name), part, fetched) = (key(partition), Part::of(&start), limit.saturating_add(1));
            let bound = bound(fetched);
            let mut rows = inner
                .read(partition, part, |generation| {
                    Box::pin(inner.many::<StoredRow>(statement, (owner, kind, name, part as i8, generation, &start, &end, bound), fetched))
                })
                .await?;
            let more = rows.len() > limit;
            rows.truncate(limit);
            Ok(RowPage { rows: rows.into_iter().map(Row::from).collect(), more })
        })
    }

    fn get<'a>(&'a self, partition: &'a PartitionKey, row: &'a RowKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        Box::pin(async move {
            let (inner, (owner, kind, name), part) = (self.inner(), key(partition), Part::of(row.as_bytes()));
            let found = inner
                .read(partition, part, |generation| {
                    Box::pin(inner.one::<StoredRow>(&inner.statements.get, (owner, kind, name, part as i8, generation, row.as_bytes())))
                })
                .await?;
            Ok(found.map(Row::from))
        })
    }

    fn read<'a>(&'a self, partition: &'a PartitionKey, read: ReadRows) -> BoxFuture<'a, Result<(), StoreError>> {
        let rows = Fetched { store: self.clone(), partition: partition.clone(), runtime: runtime::Handle::current() };
        Box::pin(async move { spawn_blocking(move || read(&rows)).await.map_err(|stopped| StoreError::Unavailable(stopped.to_string())) })
    }

    fn audit<'a>(&'a self, partition: &'a PartitionKey, limit: usize) -> BoxFuture<'a, Result<Vec<(Seq, AuditRow)>, StoreError>> {
        Box::pin(async move {
            let ((owner, kind, name), bound) = (key(partition), bound(limit));
            let rows = self.inner().many::<StoredRow>(&self.inner().statements.newest, (owner, kind, name, bound), limit).await?;
            let read = |row: StoredRow| match row.key.try_into() {
                Ok(seq) => Ok((Seq(u64::from_be_bytes(seq)), AuditRow(row.value.unwrap_or_default().into()))),
                Err(_) => Err(StoreError::Corrupt("a stored audit row cannot be read".to_owned())),
            };
            rows.into_iter().map(read).collect()
        })
    }

    fn witness<'a>(&'a self, partition: &'a PartitionKey, seq: Seq) -> BoxFuture<'a, Result<Option<AuditRow>, StoreError>> {
        Box::pin(async move {
            let ((owner, kind, name), seq) = (key(partition), seq.0.to_be_bytes());
            let found = self.inner().one::<Witness>(&self.inner().statements.witness, (owner, kind, name, seq.as_slice()));
            Ok(found.await?.map(|witness| AuditRow(witness.value.unwrap_or_default().into())))
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitOutcome> {
        Box::pin(self.inner().commit(batch))
    }

    fn release(&self, partition: &PartitionKey, epoch: Epoch) {
        self.inner().claims.release(partition, epoch);
    }

    fn health(&self) -> Result<(), StoreError> {
        self.inner().health()
    }
}

/// Rows of a partition, fetched when they are asked for.
struct Fetched {
    store: ScyllaStore,
    partition: PartitionKey,
    runtime: runtime::Handle,
}

impl Rows for Fetched {
    fn values(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let found = stream::iter(keys).map(|key| self.store.get(&self.partition, key)).buffered(AT_ONCE);
        self.runtime.block_on(found.map_ok(|row| row.map(|row| row.value)).try_collect())
    }

    fn has(&self, keys: &[RowKey]) -> Result<Vec<bool>, StoreError> {
        Ok(self.values(keys)?.iter().map(Option::is_some).collect())
    }

    fn each(&self, table: &str, after: Option<&str>, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut after = after.map(|id| RowKey::new(table, id));
        loop {
            let page = self.runtime.block_on(self.store.scan(&self.partition, Some(table), after.as_ref(), PAGE))?;
            for row in &page.rows {
                if take(row.key.id(), &row.value).is_break() {
                    return Ok(());
                }
            }
            let Some(last) = page.rows.last().filter(|_| page.more) else { return Ok(()) };
            after = Some(last.key.clone());
        }
    }

    fn each_back(&self, table: &str, before: &str, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut before = RowKey::new(table, before);
        loop {
            let rows = self.runtime.block_on(self.store.inner().scan_back(&self.partition, table, &before))?;
            for row in &rows {
                if take(row.key.id(), &row.value).is_break() {
                    return Ok(());
                }
            }
            let Some(last) = rows.last().filter(|_| rows.len() == PAGE) else { return Ok(()) };
            before = last.key.clone();
        }
    }
}

impl Inner {
    async fn claim(&self, partition: &PartitionKey, view: u64) -> Result<Claim, ClaimError> {
        for _ in 0..CLAIM_TRIES {
            let found = self.head(partition).await?;
            if Seal::of(found.fence).is_some() {
                return Err(StoreError::Sealed(partition.clone()).into());
            }
            let Some(epoch) = found.fence.claimed_under(view) else { return Err(ClaimError::Newer { held: found.fence }) };
            if self.raise(partition, epoch, &found).await? {
                return Ok(self.claimed(partition, epoch, &found));
            }
        }
        Err(StoreError::Unavailable(format!("others keep writing {partition}")).into())
    }

    /// Raises the fence on the head exactly as found, generations of its rows included: whoever holds the partition may be moving them without a commit.
    pub(super) async fn raise(&self, partition: &PartitionKey, epoch: Epoch, found: &StoredHead) -> Result<bool, StoreError> {
        let (owner, kind, name) = key(partition);
        let fence = Some(found.fence).filter(|fence| *fence != Epoch::default());
        let values = (
            stored(epoch.view),
            stored(epoch.count),
            owner,
            kind,
            name,
            fence.and_then(|fence| stored(fence.view)),
            fence.and_then(|fence| stored(fence.count)),
            found.head.and_then(|head| stored(head.seq.0)),
            found.present,
            found.copying,
        );
        let answer = self.conditional(&self.statements.claim, values).await.map_err(unavailable)?;
        Ok(matches!(answer, Some(Conditional::Applied)))
    }

    fn claimed(&self, partition: &PartitionKey, epoch: Epoch, head: &StoredHead) -> Claim {
        self.claims.hold(partition, epoch, head.at);
        Claim { epoch, head: head.head, wake: head.at.wake() }
    }

    /// The rows of a table in front of `before`, from the last one on, [`PAGE`] at most.
    async fn scan_back(&self, partition: &PartitionKey, table: &str, before: &RowKey) -> Result<Vec<Row>, StoreError> {
        let ((owner, kind, name), first) = (key(partition), RowKey::new(table, "").as_bytes().to_vec());
        let (end, part) = (before.as_bytes().to_vec(), Part::of(&first));
        let rows = self.read(partition, part, |generation| {
            let values = (owner, kind, name, part as i8, generation, &first, &end, bound(PAGE));
            Box::pin(self.many::<StoredRow>(&self.statements.scan_before, values, PAGE))
        });
        Ok(rows.await?.into_iter().map(Row::from).collect())
    }

    /// Reads rows of the generation that is the present one before and after.
    async fn read<'a, T>(
        &self,
        partition: &PartitionKey,
        part: Part,
        rows: impl Fn(i32) -> BoxFuture<'a, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if part == Part::Apart {
            return rows(0).await;
        }
        let mut generation = self.generation(partition).await?;
        for _ in 0..READ_TRIES {
            let found = rows(generation).await?;
            let after = self.generation(partition).await?;
            if after == generation {
                return Ok(found);
            }
            generation = after;
        }
        Err(StoreError::Unavailable(format!("the rows of {partition} are being moved")))
    }

    async fn generation(&self, partition: &PartitionKey) -> Result<i32, StoreError> {
        match self.claims.generation(partition) {
            Some(generation) => Ok(generation),
            None => Ok(self.head(partition).await?.at.rows.number),
        }
    }

    /// Whether the commit under this mark has landed; asked when no other answer can come any more.
    pub(super) async fn has_landed(&self, partition: &PartitionKey, mark: &Mark) -> Result<bool, StoreError> {
        let ((owner, kind, name), seq) = (key(partition), mark.seq.0.to_be_bytes());
        let found = self.one::<Witness>(&self.statements.witness_now, (owner, kind, name, seq.as_slice())).await?;
        Ok(found.is_some_and(|witness| witness.mark == Some(mark.encode())))
    }
}
