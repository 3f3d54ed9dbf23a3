//! Consumer groups over the event log: wait, fetch, effect, and only then commit.
//!
//! Up to [`Settings::window`] events are at work at once, those of one key one after the other. The group's position moves over the longest
//! prefix of events that have had their effect, so that a crash repeats events and never loses one; handlers must bear repeats. An event that
//! cannot be handled after a bounded number of tries goes to the topic's dead letters, with the reason. One that waits for an agent of this
//! installation is never given up, and holds up nothing but the events of its key.

mod window;

use cellspace_cluster::{AskError, trace};
use cellspace_schemas::CloudEvent;
use cellspace_storage::{EventLog, EventRecord, Group, Offset, StoreError, Topic};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Fuse, FusedFuture},
    stream::FuturesUnordered,
};
use metrics::counter;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::watch;
use tracing::field::Empty;
use window::Window;

/// Why an event had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An agent of this installation is out of reach. It comes back, so the event is tried until it does.
    #[error("{0}")]
    Unavailable(String),
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
            AskError::TooMany { .. } | AskError::Unavailable { .. } | AskError::Parked { .. } => Self::Unavailable(error.to_string()),
            AskError::Unknown { .. } => Self::Retry(error.to_string()),
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
    /// Events known at once: those at work, and finished ones behind an unfinished one.
    pub span: usize,
    /// Tries before an event goes to the dead letters.
    pub tries: u32,
    /// Pause before the second try; doubled each time.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for Settings {
    /// 256 events at once, 16,384 known; 20 tries, over about seven minutes.
    fn default() -> Self {
        Self { window: 256, span: 16_384, tries: 20, first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(30) }
    }
}

/// Pauses that grow.
pub(super) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// From the settings' first pause to their longest.
    pub(super) const fn of(settings: &Settings) -> Self {
        Self { next: settings.first_pause, longest: settings.longest_pause }
    }

    /// Waits; the next time twice as long.
    pub(super) async fn rest(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(self.longest);
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

impl Consumer {
    /// Runs until `stop` changes to `true`, or nobody can change it any more. What is at work then is dropped, and handled again after the
    /// next start.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.keep_consuming() => {}
        }
    }

    async fn keep_consuming(&self) {
        loop {
            self.consume().await;
            tracing::warn!(
                category = "app", action = "consumer.lost", topic = %self.topic, group = %self.group.0,
                "another process reads for the group now, or its log was away for long"
            );
        }
    }

    /// Until another process takes this one's place: it handles again what is at work here.
    async fn consume(&self) {
        let Settings { window: at_once, span, .. } = self.settings;
        let mut position = self.until("the position cannot be read", || self.log.committed(&self.topic, &self.group)).await;
        let mut lost = self.log.lost(&self.topic, &self.group);
        let (mut fetched, mut told) = (position, position);
        let mut window = Window::default();
        let mut at_work: FuturesUnordered<BoxFuture<'_, (Offset, String)>> = FuturesUnordered::new();
        // Beside the work: nothing waits for the position to be stored.
        let mut storing: Fuse<BoxFuture<'_, ()>> = Fuse::terminated();
        loop {
            let room = window.room(at_once, span);
            tokio::select! {
                Some((offset, key)) = at_work.next(), if !at_work.is_empty() => {
                    at_work.extend(window.finish(offset, &key).map(|record| self.effect(record).boxed()));
                    position = window.settled().unwrap_or(position);
                }
                () = &mut lost => return,
                () = &mut storing, if !storing.is_terminated() => {}
                records = self.next(fetched, room), if room > 0 => {
                    for record in records {
                        fetched = record.offset;
                        at_work.extend(window.admit(record).map(|record| self.effect(record).boxed()));
                    }
                }
            }
            if position > told && storing.is_terminated() {
                told = position;
                storing = self.store(position).boxed().fuse();
            }
        }
    }

    async fn store(&self, position: Offset) {
        // The next one covers what could not be stored; until then a restart would repeat some events.
        if let Err(e) = self.log.commit(&self.topic, &self.group, position).await {
            self.warn("the position cannot be stored", &e);
        }
    }

    fn warn(&self, what: &str, error: &StoreError) {
        tracing::warn!(category = "app", topic = %self.topic, group = %self.group.0, %error, "{what}");
    }

    /// Asks the log until it answers.
    async fn until<'a, T>(&'a self, complaint: &str, ask: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>) -> T {
        let mut pauses = Pauses::of(&self.settings);
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(e) => self.warn(complaint, &e),
            }
            pauses.rest().await;
        }
    }

    /// The next events, as soon as there are any. Dropping the future loses nothing.
    async fn next(&self, after: Offset, limit: usize) -> Vec<EventRecord> {
        let read = move || {
            let read = async move {
                self.log.wait(&self.topic, after).await?;
                self.log.fetch(&self.topic, after, limit).await
            };
            read.boxed()
        };
        loop {
            let records = self.until("events cannot be read", read).await;
            if !records.is_empty() {
                return records;
            }
        }
    }

    /// Handles one event to its end: its effect, or the dead letters.
    async fn effect(&self, record: EventRecord) -> (Offset, String) {
        let (offset, key) = (record.offset, record.key.clone());
        if let Err(reason) = self.handle(&record).await {
            tracing::error!(
                category = "app", action = "event.given-up", topic = %self.topic, group = %self.group.0, offset = offset.0, reason,
                "event given up: it is among the dead letters"
            );
            let store = || self.log.dead_letter(&self.topic, record.clone(), reason.clone());
            self.until("the dead letter cannot be stored", store).await;
            counter!("cellspace_dead_letters_total", "topic" => self.topic.0.clone(), "group" => self.group.0.clone()).increment(1);
        }
        (offset, key)
    }

    async fn handle(&self, record: &EventRecord) -> Result<(), String> {
        let event = CloudEvent::parse(&record.payload).map_err(|e| e.to_string())?;
        // What is logged on the way belongs to the trace that the event came from.
        let span = tracing::info_span!(
            "event",
            otel.name = %format_args!("consume {}", self.topic),
            otel.kind = "consumer",
            topic = %self.topic,
            event = event.id,
            trace_id = Empty,
            tenant = event.tenant,
        );
        trace::within(span, event.traceparent.as_ref(), self.attempts(&event)).await
    }

    async fn attempts(&self, event: &CloudEvent) -> Result<(), String> {
        let mut pauses = Pauses::of(&self.settings);
        let mut tries = 0;
        loop {
            // The handler's call is inside: a panic before its future exists must not take the group with it either.
            let outcome = AssertUnwindSafe(async { self.handler.handle(event).await }).catch_unwind().await;
            let reason = match outcome.unwrap_or_else(|_| Err(Failure::Retry("the handler failed".to_owned()))) {
                Ok(()) => return Ok(()),
                Err(Failure::Poison(reason)) => return Err(reason),
                Err(Failure::Unavailable(reason)) => reason,
                Err(Failure::Retry(reason)) => {
                    tries += 1;
                    if tries >= self.settings.tries {
                        return Err(format!("gave up after {tries} tries: {reason}"));
                    }
                    reason
                }
            };
            counter!("cellspace_event_retries_total", "topic" => self.topic.0.clone(), "group" => self.group.0.clone()).increment(1);
            tracing::debug!(category = "app", reason, tries, "event is tried again");
            pauses.rest().await;
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
