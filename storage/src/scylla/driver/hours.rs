//! What lies beside the partitions is kept by bucket and hour, so that who reads it does not read over what has long been removed. The hours that hold something
//! are known by a row each.

use super::store::Inner;
use crate::{PartitionKey, Slot, Slots, StoreError};
use cellspace_schemas::Timestamp;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use scylla::DeserializeRow;
use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Buckets that slots fall into.
pub(super) const BUCKETS: i16 = 64;
/// Hours known in memory; above that all are forgotten, which costs a write each.
const KNOWN: usize = 100_000;
/// Buckets that are asked for in one question. Most hold nothing, and a question for each would cost far more than its answer, when a node has died and all are read, with
/// requests beside; one for all of them would be too much for whoever of the database answers it.
const TOGETHER: usize = 16;
/// So many hours back nothing is written any more: clocks of nodes may differ by less.
const SETTLED: i64 = 3;
const MILLIS: i64 = 3_600_000;

/// What is kept by hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
pub(super) enum Class {
    Awake = 0,
    Due = 1,
    Publications = 2,
}

/// Hours that were written down, and the present one.
#[derive(Debug, Default)]
pub(super) struct Hours {
    known: Mutex<HashSet<(i8, i16, i64)>>,
    latest: AtomicI64,
}

#[derive(DeserializeRow)]
struct HourRow {
    hour: i64,
}

#[derive(DeserializeRow)]
struct BucketRow {
    bucket: i16,
    hour: i64,
}

/// The bucket of a partition.
pub(super) fn bucket(partition: &PartitionKey) -> i16 {
    of_slot(Slot::of(&partition.owner))
}

/// The buckets of these slots. Neighbouring ones share one, as those do that are handed over together.
pub(super) fn buckets(of: &Slots) -> BTreeSet<i16> {
    match of {
        Slots::All => (0..BUCKETS).collect(),
        Slots::These(slots) => slots.iter().map(|slot| of_slot(*slot)).collect(),
    }
}

fn of_slot(slot: Slot) -> i16 {
    // There are fewer than 2^15.
    (slot.number() / (crate::slot::SLOTS / BUCKETS.cast_unsigned())).cast_signed()
}

/// The hour of a time.
pub(super) const fn hour_of(at: Timestamp) -> i64 {
    at.0.div_euclid(MILLIS)
}

/// The present hour.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() / 3_600).unwrap_or(i64::MAX)
}

/// As they are asked for together.
fn together(buckets: impl IntoIterator<Item = i16>) -> Vec<Vec<i16>> {
    let buckets: Vec<i16> = buckets.into_iter().collect();
    buckets.chunks(TOGETHER).map(<[i16]>::to_vec).collect()
}

impl Inner {
    /// The present hour, which never goes back: what one agent writes later must not lie in an earlier one.
    pub(super) fn hour(&self) -> i64 {
        let now = now();
        self.hours.latest.fetch_max(now, Ordering::AcqRel).max(now)
    }

    /// Makes known that the hour holds something. Before the first such row.
    pub(super) async fn know(&self, class: Class, bucket: i16, hour: i64) -> Result<(), StoreError> {
        let key = (class as i8, bucket, hour);
        if self.hours.known.lock().contains(&key) {
            return Ok(());
        }
        self.run(&self.statements.add_hour, key).await?;
        let mut known = self.hours.known.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(key);
        Ok(())
    }

    /// Hours up to `until` that may hold something, in order.
    pub(super) async fn hours(&self, class: Class, bucket: i16, until: i64) -> Result<Vec<i64>, StoreError> {
        let rows = self.many::<HourRow>(&self.statements.hours, (class as i8, bucket, until), usize::MAX).await?;
        Ok(rows.into_iter().map(|row| row.hour).collect())
    }

    /// The same of several buckets, one after the other, as they are asked for.
    pub(super) fn hours_of(
        &self,
        class: Class,
        buckets: impl IntoIterator<Item = i16>,
        until: i64,
    ) -> impl Stream<Item = Result<(i16, i64), StoreError>> {
        let asked = stream::iter(together(buckets)).then(move |buckets| async move {
            let rows = self.many::<BucketRow>(&self.statements.hours_of, (class as i8, buckets, until), usize::MAX).await?;
            // The database has an order of its own for buckets.
            let found: BTreeSet<_> = rows.into_iter().map(|BucketRow { bucket, hour }| (bucket, hour)).collect();
            Ok::<_, StoreError>(stream::iter(found.into_iter().map(Ok)))
        });
        asked.try_flatten()
    }

    /// The hour was found empty: it is forgotten, unless something may still be written there.
    pub(super) async fn empty(&self, class: Class, bucket: i16, hour: i64) -> Result<(), StoreError> {
        if hour < now() - SETTLED { self.run(&self.statements.remove_hour, (class as i8, bucket, hour)).await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::turn::partition;

    #[test]
    fn every_slot_has_a_bucket() {
        let used: HashSet<i16> = (0..5_000).map(|n| bucket(&partition(&n.to_string(), "k", ""))).collect();
        assert_eq!(used.len(), usize::from(BUCKETS.cast_unsigned()));
        assert!(used.iter().all(|bucket| (0..BUCKETS).contains(bucket)));
        assert_eq!([-1, 0, MILLIS - 1, MILLIS].map(|at| hour_of(Timestamp(at))), [-1, 0, 0, 1]);
    }

    #[test]
    fn all_buckets_are_asked_for_in_a_few_questions_and_each_once() {
        let asked = together(buckets(&Slots::All));
        assert!(asked.len() <= 4, "{asked:?}");
        assert_eq!(asked.concat(), (0..BUCKETS).collect::<Vec<_>>());
        assert_eq!(together([]), Vec::<Vec<i16>>::new());
        assert_eq!(together([7, 9]), [[7, 9]]);
    }
}
