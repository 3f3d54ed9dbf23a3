//! What may be chosen of an embedded store. Nothing here turns syncing off.

use std::{fmt, sync::Arc};

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
    /// Events kept of a topic that no consumer group ever read; the oldest go first. A topic with groups keeps what any of them still needs.
    pub unread_events: u64,
    /// Told of every completed sync.
    pub on_sync: Option<SyncObserver>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { queue: 4_096, group: 1_024, group_bytes: 8 << 20, cache_bytes: 64 << 20, unread_events: 1_000_000, on_sync: None }
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("queue", &self.queue)
            .field("group", &self.group)
            .field("group_bytes", &self.group_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .field("unread_events", &self.unread_events)
            .field("on_sync", &self.on_sync.is_some())
            .finish()
    }
}
