//! The one thread that writes. It takes all that waits, checks each commit, applies the admitted ones as one atomic write, syncs, and
//! only then answers (invariant ACK). Who writes alone waits for nobody; where several write at once, a group is held open for a moment.

use super::{
    EmbeddedOptions,
    claims::Admitted,
    durable::{Durable, panic_text},
    generations::Step,
    keys,
    store::Shared,
    topics::TopicState,
    values::{StoredHead, encode_event, encode_number},
};
use crate::{
    Batch, CommitOutcome, DeadLetter, EventRecord, Group, Head, Offset, PartitionKey, Publication, Row, RowChange, RowKey, StoreError,
    Topic, Wake,
};
use fjall::{Keyspace, OwnedWriteBatch};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Events removed at most by one commit of a group's position; the rest goes with later ones.
const TRIM_AT_ONCE: u64 = 4_096;

/// How long a group that follows a shared one takes in more. A sync costs the processor nearly as much as a turn, however little it writes, and
/// where several write at once the next ones are on their way.
const HELD_OPEN: Duration = Duration::from_micros(300);

/// Something to write.
#[derive(Debug)]
pub(super) enum Write {
    /// A turn, and rows that move with it to the next generation.
    Commit(Box<Batch>, Option<Step>),
    /// Makes a consumer group known, at the beginning of the topic.
    Join(Topic, Group),
    /// Moves a group's position forward.
    Advance(Topic, Group, Offset),
    /// Events of commits in another store.
    Publish(Vec<Publication>),
    /// Puts a poison event aside.
    DeadLetter(Topic, EventRecord, String),
    /// A setting of the installation: metadata key and value.
    Setting(String, String),
}

impl Write {
    /// Whether all its keys are short enough for the database, which would otherwise panic.
    fn fits(&self) -> bool {
        let published = |event: &Publication| keys::fit([event.topic.0.as_str()], 8);
        match self {
            Self::Commit(batch, _) => {
                let PartitionKey { owner, kind, name } = &batch.partition;
                let longest = batch.rows.iter().map(|change| change.key().as_bytes().len()).max().unwrap_or(0).max(8);
                keys::fit([owner.as_str(), kind, name], keys::GENERATION_BYTES + longest) && batch.publish.iter().all(published)
            }
            Self::Publish(events) => events.iter().all(published),
            Self::Join(topic, group) | Self::Advance(topic, group, _) => keys::fit([topic.0.as_str(), group.0.as_str()], 0),
            Self::DeadLetter(topic, _, _) => keys::fit([topic.0.as_str()], 32),
            Self::Setting(key, _) => keys::fit([key.as_str()], 0),
        }
    }
}

/// A write and whom to tell.
pub(super) struct Request {
    pub(super) write: Write,
    pub(super) answer: oneshot::Sender<CommitOutcome>,
}

/// State of the committer's thread.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) durable: Durable,
    pub(super) topics: HashMap<Topic, TopicState>,
    pub(super) options: EmbeddedOptions,
    /// Whether several wrote the last group.
    pub(super) shared_before: bool,
}

/// One group while it is made.
struct Staged {
    batch: OwnedWriteBatch,
    bytes: usize,
    commits: u64,
    topics: BTreeSet<Topic>,
}

impl Staged {
    fn put(&mut self, table: &Keyspace, key: Vec<u8>, value: impl Into<fjall::UserValue>) {
        let value = value.into();
        self.bytes += key.len() + value.len();
        self.batch.insert(table, key, value);
    }

    fn remove(&mut self, table: &Keyspace, key: Vec<u8>) {
        self.bytes += key.len();
        self.batch.remove(table, key);
    }
}

impl Committer {
    /// Runs until every sender is gone and all that waited is answered; then leaves little for the next opening to bring back.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            if let Err(failed) = self.shared.view.usable() {
                let _ = first.answer.send(CommitOutcome::Unknown(failed.to_string()));
                continue;
            }
            self.group(first, &mut requests);
        }
        if self.shared.view.usable().is_ok() {
            self.durable.settle();
        }
    }

    /// Makes, writes and answers one group.
    fn group(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) {
        let mut answers = Vec::new();
        let written = catch_unwind(AssertUnwindSafe(|| {
            let mut staged = Staged { batch: self.shared.tables.database.batch(), bytes: 0, commits: 0, topics: BTreeSet::new() };
            let mut next = Some(first);
            let mut held_open = self.shared_before;
            while let Some(Request { write, answer }) = next {
                // The answer is kept before staging, so that a panic cannot lose it.
                answers.push((answer, CommitOutcome::Unknown("the committer failed".to_owned())));
                let outcome = self.stage(&mut staged, write);
                if let Some((_, kept)) = answers.last_mut() {
                    *kept = outcome;
                }
                let room = answers.len() < self.options.group && staged.bytes < self.options.group_bytes;
                next = room.then(|| requests.try_recv().ok()).flatten();
                if room && next.is_none() && std::mem::take(&mut held_open) {
                    thread::sleep(HELD_OPEN);
                    next = requests.try_recv().ok();
                }
            }
            self.write(staged)
        }));
        let failure = match written {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(panic) => Some(panic_text(panic.as_ref())),
        };
        if let Some(failure) = &failure {
            self.shared.view.poison(failure);
        }
        self.shared_before = answers.len() > 1;
        self.shared.claims.settle();
        for (answer, outcome) in answers {
            let outcome = match (&failure, outcome) {
                (Some(failure), CommitOutcome::Applied) => CommitOutcome::Unknown(failure.clone()),
                (_, outcome) => outcome,
            };
            // Who no longer waits has dropped its activation.
            let _ = answer.send(outcome);
        }
    }

    /// Writes and syncs a group. Whatever fails here leaves the disk in a state that is not known.
    fn write(&mut self, staged: Staged) -> Result<(), String> {
        if staged.batch.is_empty() {
            return Ok(());
        }
        let Staged { batch, bytes, commits, topics } = staged;
        let (counters, on_sync) = (&self.shared.counters, &self.options.on_sync);
        self.shared.view.write(&mut self.durable, batch, |group| {
            counters.commits.fetch_add(commits, Ordering::Relaxed);
            counters.syncs.fetch_add(1, Ordering::Relaxed);
            counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            if let Some(on_sync) = on_sync {
                on_sync(group);
            }
        })?;
        for topic in &topics {
            if let Some(state) = self.topics.get(topic) {
                self.shared.views.show(topic, state);
            }
        }
        Ok(())
    }

    /// Adds one write to the group; the outcome holds once the group is synced.
    fn stage(&mut self, staged: &mut Staged, write: Write) -> CommitOutcome {
        if !write.fits() {
            return CommitOutcome::Refused("a key is too long for the store".to_owned());
        }
        match write {
            Write::Commit(batch, step) => self.stage_commit(staged, *batch, step),
            Write::Join(topic, group) => {
                if !self.topics.get(&topic).is_some_and(|state| state.groups.contains_key(&group)) {
                    self.move_group(staged, &topic, group, Offset(0));
                }
                CommitOutcome::Applied
            }
            Write::Advance(topic, group, offset) => {
                let state = self.topics.entry(topic.clone()).or_default();
                // Past the end lie events that nobody has seen yet.
                let offset = offset.min(state.newest());
                if state.groups.get(&group).is_none_or(|position| *position < offset) {
                    self.move_group(staged, &topic, group, offset);
                }
                CommitOutcome::Applied
            }
            Write::Publish(events) => {
                for event in events {
                    self.publish(staged, event.topic, &event.key, &event.payload);
                }
                CommitOutcome::Applied
            }
            Write::DeadLetter(topic, event, reason) => {
                let letter = DeadLetter::of(&topic, &event, reason);
                self.publish(staged, topic.dead(), &letter.key, &letter.encode());
                CommitOutcome::Applied
            }
            Write::Setting(key, value) => {
                let meta = self.shared.tables.meta.clone();
                staged.put(&meta, key.into_bytes(), value.into_bytes());
                CommitOutcome::Applied
            }
        }
    }

    fn stage_commit(&mut self, staged: &mut Staged, batch: Batch, step: Option<Step>) -> CommitOutcome {
        let prefix = keys::partition(&batch.partition);
        let Some(Admitted { before, from, rows }) = self.shared.claims.admit(&batch, step.as_ref()) else {
            return CommitOutcome::Fenced;
        };
        let shared = self.shared.clone();
        let tables = &shared.tables;
        let at = |key: &RowKey, generation: u64| keys::row(&prefix, generation, key.as_bytes());
        if let Some(step) = step {
            let changed: HashSet<&RowKey> = batch.rows.iter().map(RowChange::key).collect();
            for Row { key, value } in step.rows {
                staged.remove(&tables.rows, at(&key, from));
                // Of two writes of one key in one batch the database would keep either.
                if !changed.contains(&key) {
                    staged.put(&tables.rows, at(&key, from + 1), &*value);
                }
            }
        }
        for change in batch.rows {
            match change {
                RowChange::Put(key, value) => staged.put(&tables.rows, at(&key, rows.of(&key)), &*value),
                RowChange::Delete(key) => staged.remove(&tables.rows, at(&key, rows.of(&key))),
            }
        }
        staged.put(&tables.audit, keys::audit(&prefix, batch.seq), &*batch.audit.0);
        let head = StoredHead { head: Head { epoch: batch.epoch, seq: batch.seq }, wake: batch.wake, rows };
        staged.put(&tables.heads, prefix.clone(), head.encode());
        self.stage_wake(staged, &prefix, before, batch.wake);
        for publication in batch.publish {
            self.publish(staged, publication.topic, &publication.key, &publication.payload);
        }
        staged.commits += 1;
        CommitOutcome::Applied
    }

    /// Makes the wake index say what the commit says (invariant TIMER), in the commit's own write.
    fn stage_wake(&self, staged: &mut Staged, prefix: &[u8], before: Wake, after: Wake) {
        let tables = &self.shared.tables;
        match (before.awake, after.awake) {
            (false, true) => staged.put(&tables.awake, prefix.to_vec(), Vec::new()),
            (true, false) => staged.remove(&tables.awake, prefix.to_vec()),
            (false, false) | (true, true) => {}
        }
        if before.due != after.due {
            if let Some(due) = before.due {
                staged.remove(&tables.due, keys::due(due, prefix));
            }
            if let Some(due) = after.due {
                staged.put(&tables.due, keys::due(due, prefix), Vec::new());
            }
        }
    }

    fn publish(&mut self, staged: &mut Staged, topic: Topic, key: &str, payload: &[u8]) {
        let tables = &self.shared.tables;
        let prefix = keys::topic(&topic);
        let state = self.topics.entry(topic.clone()).or_default();
        staged.put(&tables.events, keys::event(&prefix, Offset(state.stored.next)), encode_event(key, payload));
        state.stored.next += 1;
        let unread = state.groups.is_empty() || (state.only_waits() && self.options.facts.contains(&topic));
        if unread && state.stored.next - state.stored.oldest > self.options.unread_events_of(&topic) {
            staged.remove(&tables.events, keys::event(&prefix, Offset(state.stored.oldest)));
            state.stored.oldest += 1;
            state.lost += 1;
            // Every one of very many would be no message any more.
            if state.lost.is_power_of_two() {
                tracing::warn!(category = "app", action = "events.lost", %topic, lost = state.lost, "nobody takes this topic's events: the oldest go");
            }
        }
        staged.put(&tables.topics, prefix, state.stored.encode());
        staged.topics.insert(topic);
    }

    /// Puts a group at a position, and removes events that every known group has moved past.
    fn move_group(&mut self, staged: &mut Staged, topic: &Topic, group: Group, offset: Offset) {
        let tables = &self.shared.tables;
        let prefix = keys::topic(topic);
        staged.put(&tables.groups, keys::group(&prefix, &group), encode_number(offset.0));
        let state = self.topics.entry(topic.clone()).or_default();
        state.groups.insert(group, offset);
        staged.topics.insert(topic.clone());
        let Some(needless) = state.needless() else { return };
        let keep_from = (needless.0 + 1).min(state.stored.oldest.saturating_add(TRIM_AT_ONCE));
        if keep_from > state.stored.oldest {
            for offset in state.stored.oldest..keep_from {
                staged.remove(&tables.events, keys::event(&prefix, Offset(offset)));
            }
            state.stored.oldest = keep_from;
            staged.put(&tables.topics, prefix, state.stored.encode());
        }
    }
}

/// The answer to a write that has no epoch and so cannot be fenced.
pub(super) fn plain_answer(outcome: CommitOutcome) -> Result<(), StoreError> {
    match outcome {
        CommitOutcome::Applied => Ok(()),
        CommitOutcome::Fenced => Err(StoreError::Unavailable("fenced".to_owned())),
        CommitOutcome::Refused(reason) | CommitOutcome::NotSent(reason) => Err(StoreError::Unavailable(reason)),
        CommitOutcome::Unknown(reason) => Err(StoreError::Poisoned(reason)),
    }
}
