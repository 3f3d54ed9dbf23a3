//! Generations of rows. The database keeps the traces of deleted rows for days and reads over them each time; so when many have gathered, the rows that are left
//! are copied to the next generation. Readers look at the present one alone; the one before is dropped whole with the next copy, so that an activation that has
//! lost its partition and does not know it yet reads old rows, never none. Rows that are apart are many and no activation reads them: they are not copied.
//!
//! The copy is made under the claim, by conditional batches that hold the same fence and seq as the commit before which it is made: should anybody else take the
//! partition meanwhile, the rest is refused, and what was copied is never looked at. Numbers of generations are not used again.

use super::{
    commit::{Writes, blob, int, number, of, tiny},
    heads::Position,
    partitions::{Part, StoredRow, key},
    store::{Conditional, Inner},
};
use crate::{CommitOutcome, Epoch, PartitionKey, StoreError};
use futures::TryStreamExt;
use scylla::value::CqlValue;

/// Deleted rows after which a partition is copied however many it has: the database refuses to read over 100,000 at once.
const MOST_DELETED: u32 = 50_000;
/// Bytes of rows in one batch of a copy.
const COPIED_AT_ONCE: usize = 256 << 10;

impl Inner {
    /// Copies the rows of a partition that has gathered many deleted ones. After an error nothing more may be written under the claim.
    pub(super) async fn renew(&self, partition: &PartitionKey, epoch: Epoch, at: &mut Position) -> Result<(), CommitOutcome> {
        if at.rows.deleted.cast_unsigned() < bound(self.options.deleted_rows, at.rows.kept.cast_unsigned()) {
            return Ok(());
        }
        let (old, new) = (at.rows.number, at.rows.newest + 1);
        let condition = [number(epoch.view), number(epoch.count), Some(at.seq.0).filter(|seq| *seq > 0).and_then(number)];
        let batch = || {
            let mut writes = Writes::new(self);
            writes.add(&self.statements.copy, of([int(new)], partition, condition.clone()));
            writes
        };
        // Makes the number known before anything is written under it.
        self.copied(batch()).await?;
        let kept = self.copy(partition, old, new, batch).await?;
        let mut last = Writes::new(self);
        last.add(&self.statements.copied, of([int(new), int(kept)], partition, condition.clone()));
        self.copied(last).await?;
        at.rows = super::heads::Generation { number: new, newest: new, kept, deleted: 0 };
        self.claims.move_to(partition, epoch, new);
        // Those before, and what copies that did not end have left in between.
        let (owner, kind, name) = key(partition);
        for (from, to) in [(0, old), (old + 1, new)].into_iter().filter(|(from, to)| from < to) {
            if let Err(error) = self.run(&self.statements.forget, (owner, kind, name, from, to)).await {
                tracing::warn!(category = "app", vpa = %partition, %error, "old rows could not be removed");
            }
        }
        Ok(())
    }

    async fn copy(&self, partition: &PartitionKey, old: i32, new: i32, batch: impl Fn() -> Writes) -> Result<i32, CommitOutcome> {
        let (owner, kind, name) = key(partition);
        let failed = |error: &dyn std::fmt::Display| CommitOutcome::NotSent(format!("the rows could not be moved: {error}"));
        let pager = self.session.execute_iter(self.statements.scan_all.clone(), (owner, kind, name, old)).await;
        let mut rows = pager.map_err(|e| failed(&e))?.rows_stream::<StoredRow>().map_err(|e| failed(&e))?;
        let (mut writes, mut bytes, mut kept) = (batch(), 0, 0);
        while let Some(StoredRow { key, value }) = rows.try_next().await.map_err(|e| failed(&e))? {
            let value = value.unwrap_or_default();
            if bytes > 0 && (bytes + value.len() > COPIED_AT_ONCE || !writes.has_room()) {
                self.copied(std::mem::replace(&mut writes, batch())).await?;
                bytes = 0;
            }
            bytes += key.len() + value.len();
            kept += 1;
            writes.add(&self.statements.put, of([], partition, [tiny(Part::Read), int(new), blob(&key), Some(CqlValue::Blob(value))]));
        }
        if bytes > 0 {
            self.copied(writes).await?;
        }
        Ok(kept)
    }

    async fn copied(&self, writes: Writes) -> Result<(), CommitOutcome> {
        match writes.send(self).await {
            Ok(Some(Conditional::Applied)) => Ok(()),
            Ok(Some(Conditional::NotApplied)) => Err(CommitOutcome::Fenced),
            // Of the copy it is not known, but nobody reads it; the commit comes after it.
            Ok(None) => Err(CommitOutcome::NotSent(StoreError::Corrupt("the database's answer cannot be read".to_owned()).to_string())),
            Err(error) => Err(CommitOutcome::NotSent(error.to_string())),
        }
    }
}

/// Deleted rows that a partition may gather that began its generation with so many: of one with few `least`, of one with more twice as many.
fn bound(least: u32, kept: u32) -> u32 {
    kept.saturating_mul(2).max(least).min(MOST_DELETED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_gathers_no_more_deleted_rows_than_the_database_reads_over() {
        for (kept, expected) in [(0, 2_000), (1_000, 2_000), (1_001, 2_002), (25_000, 50_000), (60_000, 50_000), (u32::MAX, 50_000)] {
            assert_eq!(bound(2_000, kept), expected, "{kept}");
        }
        assert_eq!(bound(70_000, 0), 50_000);
    }
}
