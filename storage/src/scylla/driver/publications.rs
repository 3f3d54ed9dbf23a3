//! Events of commits on their way to the event log. They are written beside the partition before the commit and removed once the log has them, so that the log may be
//! away for as long as it likes. An event may come twice: when the process ends between the two.

use super::{
    hours::{BUCKETS, Class, bucket},
    marks::{Fate, Mark},
    partitions::key,
    store::Inner,
    waiting::Waiting,
};
use crate::{EventLog, PartitionKey, Publication, Seal, StoreError, Topic, backoff::Backoff, event_log::publish_each};
use cellspace_schemas::Owner;
use futures::{Stream, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use scylla::DeserializeRow;
use std::{
    collections::HashSet,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

/// Commits whose events are handed to the log at once.
const AT_ONCE: usize = 64;
/// How long until those are looked at again whose commit may be on its way.
const OPEN: Duration = Duration::from_secs(15);

/// A commit that has landed, with its events.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) partition: PartitionKey,
    pub(super) mark: Mark,
    pub(super) events: Vec<Publication>,
}

/// What waits for the log in memory. When there is too much of it, or nobody brings it away, all is left to the database.
pub(super) struct Queue {
    waiting: mpsc::Sender<Landed>,
    taken: Mutex<Option<mpsc::Receiver<Landed>>>,
    /// The database must be read.
    behind: AtomicBool,
    fell_behind: Notify,
    /// What waits there and in the database.
    pub(super) counts: Waiting,
}

impl Queue {
    pub(super) fn new(size: usize) -> Self {
        let (waiting, taken) = mpsc::channel(size.max(1));
        Self {
            waiting,
            taken: Mutex::new(Some(taken)),
            behind: AtomicBool::new(true),
            fell_behind: Notify::new(),
            counts: Waiting::default(),
        }
    }

    pub(super) fn landed(&self, landed: Landed) {
        self.counts.add(landed.events.iter().map(|event| &event.topic));
        // Those after one that was left out are left out too, so that events of one source stay in order.
        if !self.behind.load(Ordering::Acquire) && self.waiting.try_send(landed).is_err() {
            self.reread();
        }
    }

    pub(super) fn reread(&self) {
        self.behind.store(true, Ordering::Release);
        self.fell_behind.notify_one();
    }
}

#[derive(DeserializeRow)]
struct Named {
    topic: String,
}

#[derive(DeserializeRow)]
struct Stored {
    owner: String,
    kind: String,
    name: String,
    mark: Vec<u8>,
    #[allow(dead_code, reason = "rows come in its order")]
    n: i32,
    topic: String,
    key: String,
    payload: Option<Vec<u8>>,
}

impl Stored {
    /// The commit, with this event of it.
    fn read(self) -> Result<Landed, StoreError> {
        let owner = Owner::new(self.owner).map_err(|_| StoreError::Corrupt("a publication names no owner".to_owned()))?;
        let event = Publication { topic: Topic(self.topic), key: self.key, payload: self.payload.unwrap_or_default().into() };
        let partition = PartitionKey { owner, kind: self.kind, name: self.name };
        Ok(Landed { partition, mark: Mark::decode(&self.mark)?, events: vec![event] })
    }
}

impl Inner {
    /// Brings events to the log, for as long as this runs.
    pub(super) async fn publish(self: Arc<Self>, log: Arc<dyn EventLog>) {
        let Some(mut waiting) = self.queue.taken.lock().take() else { return };
        let mut sent_before = HashSet::new();
        let mut pauses = Backoff::default();
        let mut look_again = None;
        if let Err(error) = self.count_stored().await {
            tracing::warn!(category = "app", %error, "events that wait for the log are not counted");
        }
        loop {
            let outcome = if self.queue.behind.swap(false, Ordering::AcqRel) {
                // What waits in memory is in the database too; what comes from now on is in both.
                while waiting.try_recv().is_ok() {}
                sent_before.clear();
                self.publish_stored(&*log, &mut sent_before).await.map(|open| {
                    self.queue.counts.clear();
                    look_again = open.then(|| Instant::now() + OPEN);
                })
            } else {
                let mut landed = Vec::new();
                let again = look_again.unwrap_or_else(Instant::now);
                tokio::select! {
                    count = waiting.recv_many(&mut landed, AT_ONCE) => {
                        if count == 0 {
                            return;
                        }
                    }
                    () = self.queue.fell_behind.notified() => continue,
                    () = sleep_until(again), if look_again.is_some() => {
                        self.queue.behind.store(true, Ordering::Release);
                        continue;
                    }
                }
                landed.retain(|landed| {
                    let is_new = !sent_before.contains(&(landed.partition.clone(), landed.mark));
                    if !is_new {
                        self.queue.counts.remove(landed.events.iter().map(|event| &event.topic));
                    }
                    is_new
                });
                self.hand_over(&*log, landed).await
            };
            match outcome {
                Ok(()) => pauses = Backoff::default(),
                Err(error) => {
                    tracing::warn!(category = "app", %error, "events wait for the log");
                    self.queue.behind.store(true, Ordering::Release);
                    pauses.rest().await;
                }
            }
        }
    }

    /// Counts what an earlier life has left.
    async fn count_stored(&self) -> Result<(), StoreError> {
        let mut hours = pin!(self.hours_of(Class::Publications, 0..BUCKETS, i64::MAX));
        while let Some(place) = hours.try_next().await? {
            let mut rows = self.stream::<Named>(self.statements.publication_topics.clone(), place).await?;
            while let Some(Named { topic }) = rows.try_next().await? {
                self.queue.counts.add([&Topic(topic)]);
            }
        }
        Ok(())
    }

    /// Events of an hour, each with its commit.
    pub(super) async fn stored_publications(
        &self,
        bucket: i16,
        hour: i64,
    ) -> Result<impl Stream<Item = Result<Landed, StoreError>> + Unpin, StoreError> {
        let rows = self.stream::<Stored>(self.statements.publications.clone(), (bucket, hour)).await?;
        Ok(rows.map(|row| row.and_then(Stored::read)))
    }

    /// Hands over what is in the database, oldest first within each source; whether commits are open whose events lie there.
    async fn publish_stored(&self, log: &dyn EventLog, sent: &mut HashSet<(PartitionKey, Mark)>) -> Result<bool, StoreError> {
        let mut open = false;
        let mut hours = pin!(self.hours_of(Class::Publications, 0..BUCKETS, i64::MAX));
        while let Some((bucket, hour)) = hours.try_next().await? {
            let rows = self.stored_publications(bucket, hour).await?;
            let (is_open, empty) = self.settle_each(rows, log, sent).await?;
            open |= is_open;
            if empty {
                self.empty(Class::Publications, bucket, hour).await?;
            }
        }
        Ok(open)
    }

    /// Hands over what is in the database of one partition, which nobody serves any more: who is on the way with a commit is fenced, so that it is known what became of it.
    pub(super) async fn publish_of(&self, partition: &PartitionKey, log: &dyn EventLog) -> Result<(), StoreError> {
        if !self.publish_stored_of(partition, log).await? {
            return Ok(());
        }
        let found = self.head(partition).await?;
        let is_fenced = match found.fence.claimed_under(found.fence.view) {
            Some(next) if Seal::of(found.fence).is_none() => self.raise(partition, next, &found).await?,
            Some(_) | None => true,
        };
        if !is_fenced || self.publish_stored_of(partition, log).await? {
            return Err(StoreError::Unavailable(format!("commits of {partition} are on their way")));
        }
        Ok(())
    }

    /// Whether commits are open whose events lie there.
    async fn publish_stored_of(&self, partition: &PartitionKey, log: &dyn EventLog) -> Result<bool, StoreError> {
        let ((owner, kind, name), bucket, mut open) = (key(partition), bucket(partition), false);
        for hour in self.hours(Class::Publications, bucket, i64::MAX).await? {
            let rows = self.stream::<Stored>(self.statements.publications_of.clone(), (bucket, hour, owner, kind, name)).await?;
            open |= self.settle_each(rows.map(|row| row.and_then(Stored::read)), log, &mut HashSet::new()).await?.0;
        }
        Ok(open)
    }

    /// Hands over the events of commits, row by row as they are stored: whether one is open, and whether there was none.
    async fn settle_each(
        &self,
        mut rows: impl Stream<Item = Result<Landed, StoreError>> + Unpin,
        log: &dyn EventLog,
        sent: &mut HashSet<(PartitionKey, Mark)>,
    ) -> Result<(bool, bool), StoreError> {
        let (mut open, mut empty, mut commit): (_, _, Option<Landed>) = (false, true, None);
        while let Some(row) = rows.try_next().await? {
            empty = false;
            match &mut commit {
                Some(commit) if (&commit.partition, commit.mark) == (&row.partition, row.mark) => commit.events.extend(row.events),
                _ => {
                    if let Some(whole) = commit.replace(row) {
                        open |= self.settle(log, whole, sent).await?;
                    }
                }
            }
        }
        if let Some(whole) = commit {
            open |= self.settle(log, whole, sent).await?;
        }
        Ok((open, empty))
    }

    /// Hands over the events of a commit if it has landed, and forgets them if it never will; whether it is open.
    async fn settle(&self, log: &dyn EventLog, landed: Landed, sent: &mut HashSet<(PartitionKey, Mark)>) -> Result<bool, StoreError> {
        let head = self.head(&landed.partition).await?;
        if landed.mark.fate(&head, None) == Fate::Open {
            return Ok(true);
        }
        if self.has_landed(&landed.partition, &landed.mark).await? {
            // Those that are forgotten may come twice.
            if sent.len() >= self.options.publications {
                sent.clear();
            }
            sent.insert((landed.partition.clone(), landed.mark));
            self.hand_over(log, vec![landed]).await?;
        } else {
            self.remove_publications(&landed.partition, &landed.mark).await?;
        }
        Ok(false)
    }

    async fn hand_over(&self, log: &dyn EventLog, mut landed: Vec<Landed>) -> Result<(), StoreError> {
        let events: Vec<Publication> = landed.iter_mut().flat_map(|landed| std::mem::take(&mut landed.events)).collect();
        let topics: Vec<Topic> = events.iter().map(|event| event.topic.clone()).collect();
        // After a failure commits come one at a time, from the database: then one that the log does not take is found.
        if landed.len() > 1 {
            log.publish(events).await?
        } else {
            publish_each(log, events).await?
        }
        self.queue.counts.remove(&topics);
        for landed in landed {
            self.remove_publications(&landed.partition, &landed.mark).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_publications(&self, partition: &PartitionKey, mark: &Mark) -> Result<(), StoreError> {
        let (owner, kind, name) = key(partition);
        self.run(&self.statements.remove_publications, (bucket(partition), mark.hour, owner, kind, name, mark.encode())).await
    }
}
