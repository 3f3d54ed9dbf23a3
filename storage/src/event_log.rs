//! The event log: topics with keys, consumer groups, commit after effect, replay.

use crate::{Publication, StoreError};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A topic of the log, for example `provisioning.requests`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topic(pub String);

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// End of the name of a topic of dead letters.
const DEAD: &str = ".dead";

impl Topic {
    /// Where events of this topic that cannot be handled are put aside: `<topic>.dead`.
    #[must_use]
    pub fn dead(&self) -> Self {
        Self(format!("{self}{DEAD}"))
    }

    /// The topic whose dead letters are here; `None` when this is no topic of dead letters.
    #[must_use]
    pub fn of_dead(&self) -> Option<Self> {
        self.0.strip_suffix(DEAD).map(|topic| Self(topic.to_owned()))
    }
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Group(pub String);

/// Position in a topic; the first event has 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

/// An event as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Where it stands.
    pub offset: Offset,
    /// Its ordering key.
    pub key: String,
    /// The event itself.
    pub payload: Bytes,
}

/// An event that was put aside, as its topic's dead letters have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where it stands among the dead letters; read pages after it.
    #[serde(skip)]
    pub position: Offset,
    /// Its ordering key.
    #[serde(skip)]
    pub key: String,
    /// The topic it came from.
    pub topic: Topic,
    /// Where it stood there; 0 when it never came there.
    pub offset: Offset,
    /// Why it was given up.
    pub reason: String,
    /// The event; as text when it is no JSON, and null when it is too long for a letter: then it stands where it stood.
    pub event: serde_json::Value,
}

impl DeadLetter {
    /// Reads a record of a topic of dead letters.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is none.
    fn read(record: &EventRecord) -> Result<Self, StoreError> {
        let letter: Self = serde_json::from_slice(&record.payload).map_err(|e| StoreError::Corrupt(format!("dead letter: {e}")))?;
        Ok(Self { position: record.offset, key: record.key.clone(), ..letter })
    }

    /// The letter for an event that is put aside.
    pub(crate) fn of(topic: &Topic, event: &EventRecord, reason: String) -> Self {
        let event_content = content(&event.payload);
        Self {
            position: Offset::default(),
            key: event.key.clone(),
            topic: topic.clone(),
            offset: event.offset,
            reason,
            event: event_content,
        }
    }

    /// Whether this is the event: where it stood there may be another one, when the topic was made anew.
    fn is_of(&self, event: &EventRecord) -> bool {
        let is_same = self.event.is_null() || self.event == content(&event.payload);
        event.offset == self.offset && event.key == self.key && is_same
    }

    /// The event, as the letter has it; `None` when it has it not.
    fn event_bytes(&self) -> Option<Bytes> {
        match &self.event {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone().into()),
            json => Some(json.to_string().into()),
        }
    }

    /// As a topic of dead letters has it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::json!({ "topic": self.topic, "offset": self.offset, "reason": self.reason, "event": self.event })
            .to_string()
            .into_bytes()
    }
}

/// An event, as a letter has it.
fn content(payload: &[u8]) -> serde_json::Value {
    serde_json::from_slice(payload).unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(payload).into_owned()))
}

/// Group on a topic of dead letters: how far they were published again.
const AGAIN: &str = "dead-letters";
/// Dead letters that are read at once.
const LETTERS_AT_ONCE: usize = 64;

/// What became of dead letters that were to be published again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Published again.
    pub published: u64,
    /// Too long for a letter, and not where they stood any more.
    pub gone: u64,
}

/// Publishes a topic's dead letters on it again, in their order, those alone that were not before.
///
/// # Errors
/// [`StoreError`] of the log. Some of them may be published then, and are again the next time.
pub async fn replay(log: &dyn EventLog, topic: &Topic) -> Result<Replayed, StoreError> {
    let (dead, group) = (topic.dead(), Group(AGAIN.to_owned()));
    let mut position = log.committed(&dead, &group).await?;
    let mut done = Replayed::default();
    // What is published now may be a dead letter again at once: that one is for the next time, or there would be no end.
    let mut end = position;
    while let Some(last) = log.dead_letters(topic, end, LETTERS_AT_ONCE).await?.last().map(|letter| letter.position) {
        end = last;
    }
    while position < end {
        let letters = log.dead_letters(topic, position, LETTERS_AT_ONCE).await?;
        let Some(last) = letters.last() else { break };
        position = last.position.min(end);
        for letter in letters.into_iter().filter(|letter| letter.position <= end) {
            let before = Offset(letter.offset.0.saturating_sub(1));
            let there = log.fetch(topic, before, 1).await?.pop().filter(|event| letter.is_of(event));
            // As it was, when it is still there.
            match there.map(|event| event.payload).or_else(|| letter.event_bytes()) {
                Some(payload) => {
                    // One that is refused again is a letter again, behind the end.
                    publish_each(log, vec![Publication { topic: topic.clone(), key: letter.key, payload }]).await?;
                    done.published += 1;
                }
                None => done.gone += 1,
            }
        }
        log.commit(&dead, &group, position).await?;
    }
    Ok(done)
}

/// Publishes events one after the other. One that the log never takes is put aside with the reason, so that it holds up no other.
pub(crate) async fn publish_each(log: &dyn EventLog, events: Vec<Publication>) -> Result<(), StoreError> {
    for event in events {
        match log.publish(vec![event.clone()]).await {
            Err(StoreError::Refused(reason)) => {
                let Publication { topic, key, payload } = event;
                tracing::error!(category = "app", action = "event.refused", %topic, key, reason, "an event that the log does not take is put aside");
                log.dead_letter(&topic, EventRecord { offset: Offset::default(), key, payload }, reason).await?;
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

/// An ordered, durable log. Events arrive by [`crate::Batch::publish`]: a store that holds both writes them with the commit that caused them, any other one
/// brings them here after it.
pub trait EventLog: Send + Sync + 'static {
    /// Appends events, those of a key in their order; durable when this answers. After an error some of them may be there. [`StoreError::Refused`] when one of
    /// them is never taken.
    fn publish(&self, events: Vec<Publication>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Events after `after` in order, at most `limit`.
    fn fetch<'a>(&'a self, topic: &'a Topic, after: Offset, limit: usize) -> BoxFuture<'a, Result<Vec<EventRecord>, StoreError>>;

    /// Waits until the topic holds an event after `after`.
    fn wait<'a>(&'a self, topic: &'a Topic, after: Offset) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The group's position: everything up to it has taken effect. The first call makes the group known; from then on events are kept
    /// until every known group of the topic has moved past them, so ask once before the first [`EventLog::fetch`].
    fn committed<'a>(&'a self, topic: &'a Topic, group: &'a Group) -> BoxFuture<'a, Result<Offset, StoreError>>;

    /// Moves the group's position, after the effect of the events up to `offset` is durable. Never moves back.
    fn commit<'a>(&'a self, topic: &'a Topic, group: &'a Group, offset: Offset) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Ends when another process has taken this one's place in the group, since its position was asked for: what is at work for it is done again there. Never,
    /// where the log is one process's own.
    fn lost<'a>(&'a self, _: &'a Topic, _: &'a Group) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }

    /// Puts a poison event aside with the reason, on the topic `<topic>.dead`.
    fn dead_letter<'a>(&'a self, topic: &'a Topic, event: EventRecord, reason: String) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Topics with dead letters, by name. Dead letters are kept until somebody takes them away.
    fn topics_with_dead_letters(&self) -> BoxFuture<'_, Result<Vec<Topic>, StoreError>>;

    /// Dead letters of a topic after `after` in order, at most `limit`.
    fn dead_letters<'a>(&'a self, topic: &'a Topic, after: Offset, limit: usize) -> BoxFuture<'a, Result<Vec<DeadLetter>, StoreError>> {
        Box::pin(async move { self.fetch(&topic.dead(), after, limit).await?.iter().map(DeadLetter::read).collect() })
    }
}
