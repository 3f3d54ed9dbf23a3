//! Consumer groups over the event log: wait, fetch, effect, and only then commit.
//!
//! Up to [`Settings::window`] events are at work at once, those of one key one after the other. The group's position moves over the longest
//! prefix of events that have had their effect, so that a crash repeats events and never loses one; handlers must bear repeats. An event that
//! cannot be handled after a bounded number of tries goes to the topic's dead letters, with the reason.

use cellspace_cluster::AskError;
use cellspace_schemas::CloudEvent;
use cellspace_storage::{EventLog, EventRecord, Group, Offset, StoreError, Topic};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Why an event had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may have one later.
    #[error("{0}")]
    Retry(String),
    /// It never will.
    #[error("{0}")]
    Poison(String),
}

impl<R: std::error::Error> From<AskError<R>> for Failure {
    fn from(error: AskError<R>) -> Self {
        match error {
            AskError::Refused(_) | AskError::NotRegistered | AskError::KeyReused => Self::Poison(error.to_string()),
            AskError::TooMany { .. } | AskError::Unavailable { .. } | AskError::Unknown { .. } => Self::Retry(error.to_string()),
        }
    }
}

/// What a group does with an event. Must bear repeats.
pub trait Handler: Send + Sync + 'static {
    /// Gives the event its effect.
    fn handle<'a>(&'a self, event: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Bounds of a consumer.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Events at work at once.
    pub window: usize,
    /// Tries before an event goes to the dead letters.
    pub tries: u32,
    /// Pause before the second try; doubled each time.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for Settings {
    /// 256 events at once; 20 tries, over about seven minutes.
    fn default() -> Self {
        Self { window: 256, tries: 20, first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(30) }
    }
}

/// One group on one topic.
pub struct Consumer {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Where events come from.
    pub topic: Topic,
    /// Whose position is moved.
    pub group: Group,
    /// What is done with them.
    pub handler: Arc<dyn Handler>,
    /// Bounds.
    pub settings: Settings,
}

/// Events fetched and not yet covered by the group's position.
#[derive(Default)]
struct Window {
    /// By offset: whether the event has had its effect.
    open: BTreeMap<Offset, bool>,
    /// Events that wait for an earlier one of their key.
    queues: HashMap<String, VecDeque<EventRecord>>,
}

impl Window {
    /// Takes an event in; it comes back when it can start at once.
    fn admit(&mut self, record: EventRecord) -> Option<EventRecord> {
        self.open.insert(record.offset, false);
        match self.queues.get_mut(&record.key) {
            Some(queue) => {
                queue.push_back(record);
                None
            }
            None => {
                self.queues.insert(record.key.clone(), VecDeque::new());
                Some(record)
            }
        }
    }

    /// An event has had its effect: the next one of its key can start.
    fn finish(&mut self, offset: Offset, key: &str) -> Option<EventRecord> {
        self.open.insert(offset, true);
        let next = self.queues.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.queues.remove(key);
        }
        next
    }

    /// Takes out the finished prefix; its last offset is the new position.
    fn settled(&mut self) -> Option<Offset> {
        let mut last = None;
        while let Some(entry) = self.open.first_entry().filter(|entry| *entry.get()) {
            last = Some(*entry.key());
            entry.remove();
        }
        last
    }
}

impl Consumer {
    /// Runs until `stop` changes to `true`. What is at work then is dropped, and handled again after the next start.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.consume() => {}
        }
    }

    async fn consume(&self) {
        let mut position = self.position().await;
        let (mut fetched, mut committed) = (position, position);
        let mut window = Window::default();
        let mut at_work: FuturesUnordered<BoxFuture<'_, (Offset, String)>> = FuturesUnordered::new();
        loop {
            let room = self.settings.window.saturating_sub(window.open.len());
            tokio::select! {
                Some((offset, key)) = at_work.next(), if !at_work.is_empty() => {
                    at_work.extend(window.finish(offset, &key).map(|record| self.effect(record).boxed()));
                    position = window.settled().unwrap_or(position);
                }
                records = self.next(fetched, room), if room > 0 => {
                    for record in records {
                        fetched = record.offset;
                        at_work.extend(window.admit(record).map(|record| self.effect(record).boxed()));
                    }
                }
            }
            if position > committed {
                match self.log.commit(&self.topic, &self.group, position).await {
                    Ok(()) => committed = position,
                    // The next commit covers it; until then a restart would repeat some events.
                    Err(e) => self.warn("the position cannot be stored", &e),
                }
            }
        }
    }

    fn warn(&self, what: &str, error: &StoreError) {
        tracing::warn!(category = "app", topic = %self.topic, group = %self.group.0, %error, "{what}");
    }

    /// Where the group stands; asked until the log answers.
    async fn position(&self) -> Offset {
        let mut pause = self.settings.first_pause;
        loop {
            match self.log.committed(&self.topic, &self.group).await {
                Ok(position) => return position,
                Err(e) => self.warn("the position cannot be read", &e),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.settings.longest_pause);
        }
    }

    /// The next events, as soon as there are any. Dropping the future loses nothing.
    async fn next(&self, after: Offset, limit: usize) -> Vec<EventRecord> {
        let mut pause = self.settings.first_pause;
        loop {
            let found = match self.log.wait(&self.topic, after).await {
                Ok(()) => self.log.fetch(&self.topic, after, limit).await,
                Err(e) => Err(e),
            };
            match found {
                Ok(records) if !records.is_empty() => return records,
                Ok(_) => continue,
                Err(e) => self.warn("events cannot be read", &e),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.settings.longest_pause);
        }
    }

    /// Handles one event to its end: its effect, or the dead letters.
    async fn effect(&self, record: EventRecord) -> (Offset, String) {
        let (offset, key) = (record.offset, record.key.clone());
        if let Err(reason) = self.handle(&record).await {
            tracing::error!(category = "app", topic = %self.topic, group = %self.group.0, offset = offset.0, reason, "event given up");
            let mut pause = self.settings.first_pause;
            while let Err(e) = self.log.dead_letter(&self.topic, record.clone(), reason.clone()).await {
                self.warn("the dead letter cannot be stored", &e);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(self.settings.longest_pause);
            }
        }
        (offset, key)
    }

    async fn handle(&self, record: &EventRecord) -> Result<(), String> {
        let event = CloudEvent::parse(&record.payload).map_err(|e| e.to_string())?;
        let mut pause = self.settings.first_pause;
        let mut tries = 1;
        loop {
            let outcome = AssertUnwindSafe(self.handler.handle(&event)).catch_unwind().await;
            let reason = match outcome.unwrap_or_else(|_| Err(Failure::Retry("the handler failed".to_owned()))) {
                Ok(()) => return Ok(()),
                Err(Failure::Poison(reason)) => return Err(reason),
                Err(Failure::Retry(reason)) => reason,
            };
            if tries >= self.settings.tries {
                return Err(format!("gave up after {tries} tries: {reason}"));
            }
            tracing::debug!(category = "app", topic = %self.topic, event = event.id, reason, tries, "event is tried again");
            tokio::time::sleep(pause).await;
            tries += 1;
            pause = (pause * 2).min(self.settings.longest_pause);
        }
    }
}
