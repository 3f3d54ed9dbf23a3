//! One turn: what lies beside the partition first, then the conditional batch, then what is no longer needed beside it.

use super::{
    ScyllaError,
    heads::{Position, stored},
    hours::{Class, bucket, hour_of},
    marks::Mark,
    partitions::{Part, key},
    publications::Landed,
    store::{Conditional, Inner, applied},
};
use crate::{Batch, CommitOutcome, PartitionKey, Publication, RowChange, RowKey, Seal, StoreError};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use scylla::{
    statement::{batch::Batch as CqlBatch, batch::BatchType, prepared::PreparedStatement},
    value::CqlValue,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

/// Statements that a batch may hold, by its wire format.
const STATEMENTS: usize = u16::MAX as usize;
/// Publications written at once.
const AT_ONCE: usize = 16;

/// A conditional batch being put together.
pub(super) struct Writes {
    batch: CqlBatch,
    values: Vec<Vec<Option<CqlValue>>>,
}

impl Writes {
    pub(super) fn new(inner: &Inner) -> Self {
        let mut batch = CqlBatch::new(BatchType::Unlogged);
        batch.set_execution_profile_handle(Some(inner.statements.once.clone().into_handle()));
        Self { batch, values: Vec::new() }
    }

    pub(super) fn add(&mut self, statement: &PreparedStatement, values: Vec<Option<CqlValue>>) {
        self.batch.append_statement(statement.clone());
        self.values.push(values);
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Sends it, once.
    pub(super) async fn send(self, inner: &Inner) -> Result<Option<Conditional>, scylla::errors::ExecutionError> {
        inner.noted(inner.session.batch(&self.batch, self.values).await).map(applied)
    }
}

pub(super) fn text(text: &str) -> Option<CqlValue> {
    Some(CqlValue::Text(text.to_owned()))
}

pub(super) fn number(number: u64) -> Option<CqlValue> {
    stored(number).map(CqlValue::BigInt)
}

pub(super) fn int(number: i32) -> Option<CqlValue> {
    Some(CqlValue::Int(number))
}

pub(super) fn tiny(part: Part) -> Option<CqlValue> {
    Some(CqlValue::TinyInt(part as i8))
}

pub(super) fn blob(bytes: &[u8]) -> Option<CqlValue> {
    Some(CqlValue::Blob(bytes.to_vec()))
}

/// `values`, then the partition's key, then `more`.
pub(super) fn of<const A: usize, const B: usize>(
    values: [Option<CqlValue>; A],
    partition: &PartitionKey,
    more: [Option<CqlValue>; B],
) -> Vec<Option<CqlValue>> {
    let (owner, kind, name) = key(partition);
    values.into_iter().chain([text(owner), text(kind), text(name)]).chain(more).collect()
}

impl Inner {
    pub(super) async fn commit(self: &Arc<Self>, mut batch: Batch) -> CommitOutcome {
        self.queue.counts.leave_out(&mut batch.publish, &self.options.facts);
        let Some(mut at) = self.claims.take(&batch.partition, batch.epoch, batch.seq) else { return CommitOutcome::Fenced };
        let bytes = size(&batch);
        if bytes > self.options.commit_bytes || batch.rows.len() + 2 > STATEMENTS || batch.publish.len() > STATEMENTS {
            self.claims.put(&batch.partition, batch.epoch, at);
            return CommitOutcome::Refused(format!("a commit of {bytes} bytes is too large for the store"));
        }
        match self.renew(&batch.partition, batch.epoch, &mut at).await {
            Ok(()) => {}
            Err(outcome) => return outcome,
        }
        let mark = Mark { hour: self.hour(), epoch: batch.epoch, seq: batch.seq };
        let mut next = Position {
            seq: batch.seq,
            awake: batch.wake.awake.then(|| at.awake.unwrap_or(mark)),
            due: batch.wake.due.map(|due| match at.due {
                Some((before, mark)) if before == due => (due, mark),
                // What is overdue is looked for in the present hour.
                _ => (due, Mark { hour: hour_of(due).max(mark.hour), ..mark }),
            }),
            rows: at.rows,
        };
        let publish = !batch.publish.is_empty();
        if let Err(error) = self.write_beside(&batch, &mark, &at, &next).await {
            if publish {
                self.queue.reread();
            }
            return CommitOutcome::NotSent(error.to_string());
        }
        // Who serves it next reads the index when nobody else has the lease any more: what is named later would not be seen.
        if !batch.permit.is_given() {
            self.forget_events(publish, &batch.partition, &mark).await;
            return CommitOutcome::Fenced;
        }
        let changes = last_changes(&batch.rows);
        let deleted = changes.iter().filter(|(row, value)| value.is_none() && Part::of(row.as_bytes()) == Part::Read).count();
        next.rows.deleted = next.rows.deleted.saturating_add(i32::try_from(deleted).unwrap_or(i32::MAX));
        let outcome = match self.batch_of(&batch, &changes, &mark, &next).send(self).await {
            Ok(Some(Conditional::Applied)) => CommitOutcome::Applied,
            Ok(Some(Conditional::NotApplied)) => self.refused(&batch.partition, &mark).await,
            Ok(None) => CommitOutcome::Unknown("the database's answer cannot be read".to_owned()),
            Err(error) if ScyllaError::is_invalid(&error) => CommitOutcome::Refused(error.to_string()),
            Err(error) if ScyllaError::is_not_done(&error) => CommitOutcome::NotSent(error.to_string()),
            Err(error) => CommitOutcome::Unknown(error.to_string()),
        };
        match &outcome {
            CommitOutcome::Applied => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                if publish {
                    self.queue.landed(Landed { partition: batch.partition.clone(), mark, events: batch.publish });
                }
                self.remove_beside(&batch.partition, &at, &next).await;
                self.claims.put(&batch.partition, batch.epoch, next);
            }
            // Whether they are to go out is found out from the database, once it answers: nobody waits for it meanwhile.
            CommitOutcome::Unknown(_) | CommitOutcome::NotSent(_) if publish => self.queue.reread(),
            CommitOutcome::Fenced | CommitOutcome::Refused(_) => self.forget_events(publish, &batch.partition, &mark).await,
            CommitOutcome::Unknown(_) | CommitOutcome::NotSent(_) => {}
        }
        outcome
    }

    /// Of a commit that has not landed and never will, whose events nobody is to wait for.
    async fn forget_events(&self, publish: bool, partition: &PartitionKey, mark: &Mark) {
        if publish && self.remove_publications(partition, mark).await.is_err() {
            self.queue.reread();
        }
    }

    /// A refusal may be the answer to a write that has landed before it, sent again on its way.
    async fn refused(&self, partition: &PartitionKey, mark: &Mark) -> CommitOutcome {
        match self.has_landed(partition, mark).await {
            Ok(true) => CommitOutcome::Applied,
            Ok(false) => match self.head(partition).await {
                // It may have landed, and gone to another cell with all that was there.
                Ok(found) if Seal::of(found.fence).is_some() && found.head.is_none() => CommitOutcome::Unknown("it is sealed".to_owned()),
                Ok(_) => CommitOutcome::Fenced,
                Err(error) => CommitOutcome::Unknown(error.to_string()),
            },
            Err(error) => CommitOutcome::Unknown(error.to_string()),
        }
    }

    fn batch_of(&self, batch: &Batch, changes: &BTreeMap<&RowKey, Option<&Bytes>>, mark: &Mark, next: &Position) -> Writes {
        let (statements, partition) = (&self.statements, &batch.partition);
        let mut writes = Writes::new(self);
        let before = batch.seq.0.checked_sub(1).filter(|seq| *seq > 0);
        let set = [
            number(batch.epoch.view),
            number(batch.epoch.count),
            number(batch.seq.0),
            next.awake.and_then(|mark| blob(&mark.encode())),
            next.due.map(|(due, _)| CqlValue::BigInt(due.0)),
            next.due.and_then(|(_, mark)| blob(&mark.encode())),
            int(next.rows.deleted),
        ];
        let condition = [number(batch.epoch.view), number(batch.epoch.count), before.and_then(number)];
        writes.add(&statements.commit, of(set, partition, condition));
        for (row, value) in changes {
            let (part, row) = (Part::of(row.as_bytes()), blob(row.as_bytes()));
            let generation = int(if part == Part::Apart { 0 } else { next.rows.number });
            match value {
                Some(value) => writes.add(&statements.put, of([], partition, [tiny(part), generation, row, blob(value)])),
                None => writes.add(&statements.delete, of([], partition, [tiny(part), generation, row])),
            }
        }
        let audit = [blob(&batch.seq.0.to_be_bytes()), blob(&batch.audit.0), blob(&mark.encode())];
        writes.add(&statements.audit, of([], partition, audit));
        writes
    }

    /// Index rows that the commit will name, and its publications.
    pub(super) async fn write_beside(&self, batch: &Batch, mark: &Mark, at: &Position, next: &Position) -> Result<(), StoreError> {
        let (partition, (owner, kind, name), bucket) = (&batch.partition, key(&batch.partition), bucket(&batch.partition));
        let awake = async {
            let Some(mark) = next.awake.filter(|mark| at.awake != Some(*mark)) else { return Ok(()) };
            self.know(Class::Awake, bucket, mark.hour).await?;
            self.run(&self.statements.add_awake, (bucket, mark.hour, owner, kind, name, mark.encode())).await
        };
        let due = async {
            let Some((due, mark)) = next.due.filter(|due| at.due != Some(*due)) else { return Ok(()) };
            self.know(Class::Due, bucket, mark.hour).await?;
            self.run(&self.statements.add_due, (bucket, mark.hour, due.0, owner, kind, name, mark.encode())).await
        };
        let publish = async {
            if batch.publish.is_empty() {
                return Ok(());
            }
            self.know(Class::Publications, bucket, mark.hour).await?;
            let mut writes = Vec::with_capacity(batch.publish.len());
            for (n, Publication { topic, key, payload }) in (0_i32..).zip(&batch.publish) {
                let values = (bucket, mark.hour, owner, kind, name, mark.encode(), n, topic.0.as_str(), key.as_str(), payload.to_vec());
                writes.push(self.run(&self.statements.add_publication, values));
            }
            stream::iter(writes).buffer_unordered(AT_ONCE).try_collect::<()>().await
        };
        futures::try_join!(awake, due, publish).map(drop).inspect_err(|error| {
            tracing::warn!(category = "app", vpa = %partition, %error, "a commit was not sent");
        })
    }

    /// Index rows that the commit no longer names. What cannot be removed is seen to be stale by who reads the index, and no row has the name of another one: so
    /// nobody waits for it, unless too many are under way.
    async fn remove_beside(self: &Arc<Self>, partition: &PartitionKey, at: &Position, next: &Position) {
        let awake = at.awake.filter(|mark| next.awake != Some(*mark));
        let due = at.due.filter(|due| next.due != Some(*due));
        if awake.is_none() && due.is_none() {
            return;
        }
        let (inner, partition) = (self.clone(), partition.clone());
        let removal = async move {
            let awake = async {
                match awake {
                    Some(mark) => inner.remove_awake(&partition, &mark).await,
                    None => Ok(()),
                }
            };
            let due = async {
                match due {
                    Some((due, mark)) => inner.remove_due(&partition, due, &mark).await,
                    None => Ok(()),
                }
            };
            let _ = futures::join!(awake, due);
        };
        match self.removals.clone().try_acquire_owned() {
            Ok(place) => {
                tokio::spawn(async move {
                    removal.await;
                    drop(place);
                });
            }
            Err(_) => removal.await,
        }
    }
}

/// The last change of each row: within a batch all have one time, and order would not count.
fn last_changes(rows: &[RowChange]) -> BTreeMap<&RowKey, Option<&Bytes>> {
    let mut changes = BTreeMap::new();
    for row in rows {
        match row {
            RowChange::Put(key, value) => changes.insert(key, Some(value)),
            RowChange::Delete(key) => changes.insert(key, None),
        };
    }
    changes
}

/// Bytes of keys and values.
fn size(batch: &Batch) -> usize {
    let row = |row: &RowChange| match row {
        RowChange::Put(key, value) => key.as_bytes().len() + value.len(),
        RowChange::Delete(key) => key.as_bytes().len(),
    };
    batch.rows.iter().map(row).sum::<usize>() + batch.audit.0.len() + batch.publish.iter().map(|event| event.payload.len()).sum::<usize>()
}

impl Writes {
    /// Whether another statement still fits.
    pub(super) fn has_room(&self) -> bool {
        self.len() < STATEMENTS
    }
}
