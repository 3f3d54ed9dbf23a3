//! Rows of the archive, and what the state knows of it.

use super::{
    super::{negotiation::Negotiation, transfer::Transfer},
    Filed, Key,
};
use cellspace_cluster::RowOf;
use cellspace_schemas::{AssetId, NegotiationId, TransferId};
use cellspace_storage::RowKey;
use rpds::HashTrieSetSync;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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
    /// An agreement on the asset, in which it is ours, is archived: the asset must not be removed.
    Held(AssetId),
}

/// What the state knows of the archive.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Whether anything was ever archived.
    pub opened: bool,
    /// Processes archived by this activation: tells a decision that what it misses may have moved since it was prepared.
    pub moved: u64,
    held: HashTrieSetSync<AssetId>,
}

impl State {
    /// Whether an archived agreement keeps the asset from being removed.
    #[must_use]
    pub fn holds_asset(&self, asset: &AssetId) -> bool {
        self.held.contains(asset)
    }
}

/// Folds an event into the state. What is archived is not in it.
pub fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Opened => state.opened = true,
        Event::Negotiation(_) | Event::Transfer(_) => state.moved += 1,
        Event::Held(asset) => {
            state.held.insert_mut(asset.clone());
        }
        Event::Named { .. } | Event::Dropped(_) => {}
    }
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    let negotiation = |id: &NegotiationId| Key::Negotiation(id.clone()).row();
    let transfer = |id: &TransferId| Key::Transfer(id.clone()).row();
    match event {
        Event::Opened => RowOf::Put(RowKey::new("archive", "opened")),
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
    events.push(kept);
    events
}
