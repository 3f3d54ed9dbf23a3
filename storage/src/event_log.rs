//! The event log: topics with keys, consumer groups, commit after effect, replay.

use crate::StoreError;
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

/// An ordered, durable log. Events arrive by [`crate::Batch::publish`], in the commit that caused them.
pub trait EventLog: Send + Sync + 'static {
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
}
