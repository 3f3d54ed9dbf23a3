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
    /// Where it stood there.
    pub offset: Offset,
    /// Why it was given up.
    pub reason: String,
    /// The event; as text when it is no JSON.
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
}

/// An ordered, durable log. Events arrive by [`crate::Batch::publish`]: a store that holds both writes them with the commit that caused them, any other one
/// brings them here after it.
pub trait EventLog: Send + Sync + 'static {
    /// Appends events, those of a key in their order; durable when this answers. After an error some of them may be there.
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

    /// Puts a poison event aside with the reason, on the topic `<topic>.dead`.
    fn dead_letter<'a>(&'a self, topic: &'a Topic, event: EventRecord, reason: String) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Topics with dead letters, by name. Dead letters are kept until somebody takes them away.
    fn topics_with_dead_letters(&self) -> BoxFuture<'_, Result<Vec<Topic>, StoreError>>;

    /// Dead letters of a topic after `after` in order, at most `limit`.
    fn dead_letters<'a>(&'a self, topic: &'a Topic, after: Offset, limit: usize) -> BoxFuture<'a, Result<Vec<DeadLetter>, StoreError>> {
        Box::pin(async move { self.fetch(&topic.dead(), after, limit).await?.iter().map(DeadLetter::read).collect() })
    }
}
