//! The handle through which everything reaches agents.

use crate::{Address, Agent, AskError, Call, Clock};
use cellspace_schemas::Timestamp;
use cellspace_storage::{Partitions, StoreError, WakeIndex};
use std::{sync::Arc, time::Duration};

/// Bounds of one node.
#[derive(Debug, Clone)]
pub struct Options {
    /// An agent unused for so long is passivated.
    pub idle_after: Duration,
    /// Above so many bytes of rows in memory the least recently used agents are passivated.
    pub resident_bytes: usize,
    /// Commands waiting per agent.
    pub inbox: usize,
    /// Commands waiting or being prepared on the node.
    pub node_inbox: usize,
    /// Outbox deliveries under way at once on the node.
    pub deliveries: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { idle_after: Duration::from_secs(300), resident_bytes: 512 << 20, inbox: 256, node_inbox: 16_384, deliveries: 1_024 }
    }
}

/// Handle of the node's runtime; cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    _inner: Arc<()>,
}

#[allow(clippy::todo, clippy::unused_async, missing_docs, unused_variables)]
impl Cluster {
    #[must_use]
    pub fn new(partitions: Arc<dyn Partitions>, wake: Arc<dyn WakeIndex>, clock: Arc<dyn Clock>, options: Options) -> Self {
        todo!()
    }
    pub fn register<A: Agent>(&self, agent: Arc<A>) {
        todo!()
    }
    /// Wakes every agent with undelivered outbox rows or near deadlines, and starts the timers.
    pub async fn start(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Stops admitting, finishes running turns, releases every activation.
    pub async fn drain(&self, limit: Duration) {
        todo!()
    }
    #[must_use]
    pub fn now(&self) -> Timestamp {
        todo!()
    }
    pub async fn ask<A: Agent>(&self, address: &Address, command: A::Command, call: Call) -> Result<A::Reply, AskError<A::Refusal>> {
        todo!()
    }
    /// Reads the newest published snapshot, beside any running turn.
    pub async fn read<A: Agent, T>(&self, address: &Address, query: impl FnOnce(&A::State) -> T) -> Result<T, AskError<A::Refusal>> {
        todo!()
    }
    /// Waits until `query` is `Some` on a published snapshot; `None` at the time-out.
    pub async fn wait<A: Agent, T>(
        &self,
        address: &Address,
        timeout: Duration,
        query: impl FnMut(&A::State) -> Option<T>,
    ) -> Result<Option<T>, AskError<A::Refusal>> {
        todo!()
    }
    /// Whether the agent was ever written; activates nothing.
    pub async fn exists(&self, address: &Address) -> Result<bool, StoreError> {
        todo!()
    }
}
