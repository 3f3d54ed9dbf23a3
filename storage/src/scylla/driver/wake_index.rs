//! The wake index: rows by bucket of slots and hour, each held against the head of its partition when it is read.

use super::{
    ScyllaStore,
    hours::{self, Class, bucket, hour_of},
    marks::{Fate, Mark},
    partitions::key,
    store::Inner,
};
use crate::{DueRow, PartitionKey, ReadWake, Seal, Slots, StoreError, WakeCursor, WakeIndex, WakePage};
use cellspace_schemas::{Owner, Timestamp};
use futures::{StreamExt, TryFutureExt, TryStreamExt, future::ready, stream};
use scylla::DeserializeRow;
use serde::{Deserialize, Serialize};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep};

/// Entries fetched first of an hour, and at least, however few are wanted: a bucket is shared by many slots, and most may be of others.
const FETCH: usize = 256;
/// How many times as long as it took to read the beginning of an hour nothing is read before the next one of the same page; and what counts as that at most.
const REST: u32 = 4;
const LONGEST: Duration = Duration::from_millis(10);
/// Heads looked at side by side.
const AT_ONCE: usize = 32;

/// Where a page begins: after `last` in the hour, at its beginning without.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Place {
    bucket: i16,
    hour: Option<i64>,
    last: Option<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// In the index by time.
    due: Option<i64>,
    owner: String,
    kind: String,
    name: String,
    mark: Vec<u8>,
}

#[derive(DeserializeRow)]
struct Awake {
    owner: String,
    kind: String,
    name: String,
    mark: Vec<u8>,
}

#[derive(DeserializeRow)]
struct Due {
    due: i64,
    owner: String,
    kind: String,
    name: String,
    mark: Vec<u8>,
}

impl WakeIndex for ScyllaStore {
    fn awake(&self, of: &Slots, from: Option<WakeCursor>, limit: usize) -> ReadWake<'_, PartitionKey> {
        let of = of.clone();
        Box::pin(async move {
            let page = self.inner().page(of, None, from, limit).await?;
            Ok(WakePage { entries: page.entries.into_iter().map(|row| row.partition).collect(), next: page.next })
        })
    }

    fn due(&self, of: &Slots, until: Timestamp, from: Option<WakeCursor>, limit: usize) -> ReadWake<'_, DueRow> {
        Box::pin(self.inner().page(of.clone(), Some(until), from, limit))
    }
}

impl Inner {
    /// Entries of the index of those that are awake, or by time up to `until`. Only buckets of these slots are read, and only heads of theirs looked at.
    async fn page(
        &self,
        of: Slots,
        until: Option<Timestamp>,
        from: Option<WakeCursor>,
        limit: usize,
    ) -> Result<WakePage<DueRow>, StoreError> {
        let unreadable = |_| StoreError::Corrupt("a cursor cannot be read".to_owned());
        let place: Place = match from {
            Some(cursor) => serde_json::from_slice(cursor.place()).map_err(unreadable)?,
            None => Place::default(),
        };
        // What is overdue when it is written is in the hour of then.
        let (class, last_hour) = match until {
            None => (Class::Awake, i64::MAX),
            Some(until) => (Class::Due, hour_of(until).max(self.hour() + 1)),
        };
        // One after the other, with rests: after a node's death nearly all buckets are read, by all nodes that go on with its slots, and must not crowd out requests.
        let buckets = hours::buckets(&of).into_iter().filter(|bucket| *bucket >= place.bucket);
        let places = self.hours_of(class, buckets, last_hour).try_filter_map(|(bucket, hour)| {
            ready(Ok(match (bucket == place.bucket, place.hour) {
                (true, Some(at)) if hour < at => None,
                (true, Some(at)) if hour == at => Some((bucket, hour, place.last.clone())),
                _ => Some((bucket, hour, None)),
            }))
        });
        let mut places = pin!(places);
        let (mut entries, mut rest) = (Vec::new(), Duration::ZERO);
        while let Some((bucket, hour, mut last)) = places.try_next().await? {
            sleep(rest).await;
            let began = Instant::now();
            let mut rows = self.entries(until, (bucket, hour), last.as_ref(), FETCH).await?;
            rest = began.elapsed().min(LONGEST) * REST;
            if rows.is_empty() && last.is_none() && until.is_none_or(|until| hour < hour_of(until)) {
                self.empty(class, bucket, hour).await?;
            }
            let mut fetched = FETCH;
            loop {
                let (ended, mut left) = (rows.len() < fetched, rows.len());
                let checked = rows.into_iter().map(|row| {
                    let at = row.clone();
                    self.checked(&of, bucket, hour, row).map_ok(move |counts| (at, counts))
                });
                let mut checked = stream::iter(checked).buffered(AT_ONCE);
                while let Some((at, counts)) = checked.try_next().await? {
                    last = Some(at);
                    entries.extend(counts);
                    left -= 1;
                    if entries.len() == limit.max(1) {
                        let place = if ended && left == 0 {
                            Place { bucket, hour: Some(hour + 1), last: None }
                        } else {
                            Place { bucket, hour: Some(hour), last }
                        };
                        let next = serde_json::to_vec(&place).map_err(unreadable)?;
                        return Ok(WakePage { entries, next: Some(WakeCursor::new(next)) });
                    }
                }
                if ended {
                    break;
                }
                fetched = limit.max(FETCH);
                rows = self.entries(until, (bucket, hour), last.as_ref(), fetched).await?;
            }
        }
        Ok(WakePage { entries, next: None })
    }

    async fn entries(
        &self,
        until: Option<Timestamp>,
        (bucket, hour): (i16, i64),
        last: Option<&Entry>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let statements = &self.statements;
        let Some(until) = until else {
            let rows = match last {
                None => self.many::<Awake>(&statements.awake, (bucket, hour), limit).await?,
                Some(Entry { owner, kind, name, mark, .. }) => {
                    self.many::<Awake>(&statements.awake_after, (bucket, hour, owner, kind, name, mark), limit).await?
                }
            };
            return Ok(rows.into_iter().map(|Awake { owner, kind, name, mark }| Entry { due: None, owner, kind, name, mark }).collect());
        };
        let rows = match last {
            None => self.many::<Due>(&statements.due, (bucket, hour, until.0), limit).await?,
            Some(Entry { due, owner, kind, name, mark }) => {
                self.many::<Due>(&statements.due_after, (bucket, hour, due, owner, kind, name, mark), limit).await?
            }
        };
        let early = rows.into_iter().take_while(|row| row.due <= until.0);
        Ok(early.map(|Due { due, owner, kind, name, mark }| Entry { due: Some(due), owner, kind, name, mark }).collect())
    }

    /// The entry, when it is of one of these slots, unless its partition's head says that it is of no use: then it is removed.
    async fn checked(&self, of: &Slots, bucket: i16, hour: i64, entry: Entry) -> Result<Option<DueRow>, StoreError> {
        let unreadable = |_| StoreError::Corrupt("a wake row names no owner".to_owned());
        let partition = PartitionKey { owner: Owner::new(entry.owner).map_err(unreadable)?, kind: entry.kind, name: entry.name };
        debug_assert_eq!(bucket, hours::bucket(&partition));
        if !of.have(&partition.owner) {
            return Ok(None);
        }
        let mark = Mark::decode(&entry.mark)?;
        debug_assert_eq!(hour, mark.hour);
        let head = self.head(&partition).await?;
        let due = entry.due.map(Timestamp);
        let named = match due {
            None => head.at.awake,
            Some(due) => head.at.due.filter(|(named, _)| *named == due).map(|(_, mark)| mark),
        };
        if mark.fate(&head, named) == Fate::Stale {
            // While it is sealed it may be of a copy whose head is still to come.
            if Seal::of(head.fence).is_some() {
                return Ok(None);
            }
            match due {
                None => self.remove_awake(&partition, &mark).await?,
                Some(due) => self.remove_due(&partition, due, &mark).await?,
            }
            return Ok(None);
        }
        Ok(Some(DueRow { due: due.unwrap_or_default(), partition }))
    }

    pub(super) async fn remove_awake(&self, partition: &PartitionKey, mark: &Mark) -> Result<(), StoreError> {
        let (owner, kind, name) = key(partition);
        self.run(&self.statements.remove_awake, (bucket(partition), mark.hour, owner, kind, name, mark.encode())).await
    }

    pub(super) async fn remove_due(&self, partition: &PartitionKey, due: Timestamp, mark: &Mark) -> Result<(), StoreError> {
        let (owner, kind, name) = key(partition);
        self.run(&self.statements.remove_due, (bucket(partition), mark.hour, due.0, owner, kind, name, mark.encode())).await
    }
}
