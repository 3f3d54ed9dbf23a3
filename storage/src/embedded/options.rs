//! What may be chosen of an embedded store. Nothing here turns syncing off.

use super::synced_view::DISK_TIMEOUT;
use crate::Topic;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

/// Called on the committer's thread after each completed sync and before any answer, with the number of the group just synced.
pub type SyncObserver = Arc<dyn Fn(u64) + Send + Sync>;

/// Bounds of an embedded store.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Commits that may wait for the committer; more callers wait in turn.
    pub queue: usize,
    /// Commits that one sync may cover.
    pub group: usize,
    /// Bytes of keys and values after which a group takes no more commits.
    pub group_bytes: usize,
    /// Block cache of the database, in bytes.
    pub cache_bytes: u64,
    /// Deleted rows that a partition may gather before its rows move on; a partition with more rows may gather as many as are left.
    pub deleted_rows: u64,
    /// Rows that move on with one commit at most, and some 64 KiB of them; or twice as many as the commit changes, when that is more.
    pub moved_rows: usize,
    /// Events kept of a topic that no consumer group ever read; the oldest go first, which is logged, counted and seen in
    /// [`super::EmbeddedStore::topics`]. A topic with groups keeps what any of them still needs.
    pub unread_events: u64,
    /// The same for single topics: those whose events must not go, and which an operator wants to be warned of.
    pub unread_events_of: BTreeMap<Topic, u64>,
    /// Topics that are told without promises: while their events wait for a log elsewhere, those over the bound go as if nobody read them.
    pub facts: BTreeSet<Topic>,
    /// How long the disk may take for one write before the store counts as unfit, and how long closing waits at most.
    pub disk_timeout: Duration,
    /// Told of every completed sync.
    pub on_sync: Option<SyncObserver>,
}

impl EmbeddedOptions {
    /// Events kept of the topic while no consumer group reads it.
    #[must_use]
    pub fn unread_events_of(&self, topic: &Topic) -> u64 {
        self.unread_events_of.get(topic).copied().unwrap_or(self.unread_events)
    }
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            queue: 4_096,
            group: 1_024,
            group_bytes: 8 << 20,
            cache_bytes: 64 << 20,
            deleted_rows: 512,
            moved_rows: 64,
            unread_events: 1_000_000,
            unread_events_of: BTreeMap::new(),
            facts: BTreeSet::new(),
            disk_timeout: DISK_TIMEOUT,
            on_sync: None,
        }
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("queue", &self.queue)
            .field("group", &self.group)
            .field("group_bytes", &self.group_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .field("deleted_rows", &self.deleted_rows)
            .field("moved_rows", &self.moved_rows)
            .field("unread_events", &self.unread_events)
            .field("unread_events_of", &self.unread_events_of)
            .field("facts", &self.facts)
            .field("disk_timeout", &self.disk_timeout)
            .field("on_sync", &self.on_sync.is_some())
            .finish()
    }
}
