//! Rows of the archive, and what the state knows of it.

use super::{
    super::{negotiation::Negotiation, transfer::Transfer},
    Filed, Key, Mark,
};
use cellspace_cluster::RowOf;
use cellspace_schemas::{AssetId, NegotiationId, TransferId};
use cellspace_storage::RowKey;
use rpds::{HashTrieSetSync, RedBlackTreeMapSync};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Moves that are remembered: more than end while one request is prepared.
const REMEMBERED: u64 = 4_096;

/// A change of the archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// From now on there is an archive.
    Opened,
    /// A finished negotiation, as it is for good.
    Negotiation(Arc<Negotiation>),
    /// A finished transfer, as it is for good.
    Transfer(Arc<Transfer>),
    /// Another id of an archived process.
    Named {
        /// The other id.
        key: Key,
        /// Our id.
        id: String,
    },
    /// What this id led to is not there any more.
    Dropped(Key),
    /// From now on whatever is archived is marked. What was archived before this was written is not.
    Marking,
    /// A value by which an archived process is found in lists.
    Marked(Mark),
    /// The process is not there any more.
    Unmarked(Mark),
    /// An agreement on the asset, in which it is ours, is archived: the asset must not be removed.
    Held(AssetId),
}

/// What the state knows of the archive.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Whether anything was ever archived.
    pub opened: bool,
    /// Whether all that was archived is marked.
    pub marked: bool,
    /// Processes archived by this activation.
    pub moved: u64,
    /// The ids of the last of them, by their number.
    recent: RedBlackTreeMapSync<u64, Arc<[Key]>>,
    held: HashTrieSetSync<AssetId>,
}

impl State {
    /// Whether an archived agreement keeps the asset from being removed.
    #[must_use]
    pub fn holds_asset(&self, asset: &AssetId) -> bool {
        self.held.contains(asset)
    }

    /// Whether the process of this id may have moved since `moved` processes had.
    #[must_use]
    pub(super) fn has_moved(&self, key: &Key, since: u64) -> bool {
        self.moved.saturating_sub(since) > REMEMBERED || self.recent.range(since + 1..).any(|(_, keys)| keys.contains(key))
    }

    fn remember<T: Filed>(&mut self, process: &T) {
        self.moved += 1;
        let keys = process.names().into_iter().chain(T::key(process.id())).collect();
        self.recent.insert_mut(self.moved, keys);
        if let Some(old) = self.moved.checked_sub(REMEMBERED) {
            self.recent.remove_mut(&old);
        }
    }
}

/// Folds an event into the state. What is archived is not in it.
pub fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Opened => state.opened = true,
        Event::Marking => state.marked = true,
        Event::Negotiation(process) => state.remember(process.as_ref()),
        Event::Transfer(process) => state.remember(process.as_ref()),
        Event::Held(asset) => {
            state.held.insert_mut(asset.clone());
        }
        Event::Named { .. } | Event::Dropped(_) | Event::Marked(_) | Event::Unmarked(_) => {}
    }
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    let negotiation = |id: &NegotiationId| Key::Negotiation(id.clone()).row();
    let transfer = |id: &TransferId| Key::Transfer(id.clone()).row();
    match event {
        Event::Opened => RowOf::Put(RowKey::new("archive", "opened")),
        Event::Marking => RowOf::Put(RowKey::new("archive", "marked")),
        Event::Marked(mark) => RowOf::Put(mark.row()),
        Event::Unmarked(mark) => RowOf::Delete(mark.row()),
        Event::Negotiation(process) => RowOf::Put(negotiation(&process.id)),
        Event::Transfer(process) => RowOf::Put(transfer(&process.id)),
        Event::Named { key, .. } => RowOf::Put(key.row()),
        Event::Dropped(key) => RowOf::Delete(key.row()),
        Event::Held(asset) => RowOf::Put(RowKey::new("archive-held", asset.as_str())),
    }
}

/// The rows of a process that moves into the archive.
pub(super) fn filing<T: Filed>(process: &Arc<T>, kept: Event) -> Vec<Event> {
    let mut events: Vec<Event> = process.names().into_iter().map(|key| Event::Named { key, id: process.id().to_owned() }).collect();
    events.extend(Mark::all(process.as_ref()).map(Event::Marked));
    events.push(kept);
    events
}
