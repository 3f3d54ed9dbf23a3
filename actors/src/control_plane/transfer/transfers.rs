//! All transfers of one participant, found by every id they are asked for with.

use super::Transfer;
use crate::control_plane::dsp::{Correlations, Open};
use cellspace_cluster::RowOf;
use cellspace_schemas::{Did, Pid, Timestamp, TransferId};
use cellspace_storage::RowKey;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A change of one transfer's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The transfer as it now is.
    Set(Arc<Transfer>),
    /// It is in the archive now.
    Removed(TransferId),
}

/// The transfers; ids made here grow with time, so that their order is that of their beginning.
#[derive(Debug, Clone, Default)]
pub struct Transfers {
    by_id: RedBlackTreeMapSync<TransferId, Arc<Transfer>>,
    by_counterparty: Correlations<TransferId>,
    open: Open,
    /// Those at rest, by the time of their end.
    finished: RedBlackTreeSetSync<(Timestamp, TransferId)>,
}

impl Transfers {
    /// One of them.
    #[must_use]
    pub fn get(&self, id: &TransferId) -> Option<&Arc<Transfer>> {
        self.by_id.get(id)
    }

    /// All, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Transfer>> {
        self.by_id.values()
    }

    /// The one that `peer` calls `pid`.
    #[must_use]
    pub fn of_counterparty(&self, peer: &Did, pid: &Pid) -> Option<&Arc<Transfer>> {
        self.by_counterparty.get(peer, pid).and_then(|id| self.by_id.get(id))
    }

    /// Those that any counterparty calls `pid`: their `correlationId`.
    pub fn correlated(&self, pid: &Pid) -> impl Iterator<Item = &Arc<Transfer>> {
        self.by_counterparty.of_any(pid).filter_map(|id| self.by_id.get(id))
    }

    /// How many have not ended.
    #[must_use]
    pub const fn open(&self) -> &Open {
        &self.open
    }

    /// All but the `kept` that ended last of those at rest; what ended first comes first.
    pub fn finished(&self, kept: usize) -> impl Iterator<Item = &Arc<Transfer>> {
        self.finished.iter().take(self.finished.size().saturating_sub(kept)).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Set(transfer) => {
                self.forget(&transfer.id);
                self.remember(transfer.clone());
            }
            Event::Removed(id) => self.forget(id),
        }
    }

    fn remember(&mut self, transfer: Arc<Transfer>) {
        if !transfer.state.is_final() {
            self.open.add(&transfer.counterparty);
        }
        if transfer.is_at_rest() {
            self.finished.insert_mut((transfer.state_at, transfer.id.clone()));
        }
        if let Some(pid) = &transfer.counterparty_pid {
            self.by_counterparty.insert(&transfer.counterparty, pid, transfer.id.clone());
        }
        self.by_id.insert_mut(transfer.id.clone(), transfer);
    }

    fn forget(&mut self, id: &TransferId) {
        let Some(old) = self.by_id.get(id).cloned() else { return };
        if !old.state.is_final() {
            self.open.remove(&old.counterparty);
        }
        self.finished.remove_mut(&(old.state_at, id.clone()));
        if let Some(pid) = &old.counterparty_pid {
            self.by_counterparty.remove(&old.counterparty, pid, id);
        }
        self.by_id.remove_mut(id);
    }
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    match event {
        Event::Set(transfer) => RowOf::Put(RowKey::new(super::TABLE, transfer.id.as_str())),
        Event::Removed(id) => RowOf::Delete(RowKey::new(super::TABLE, id.as_str())),
    }
}

/// The deadline that the event's transfer now has.
#[must_use]
pub fn deadline(event: &Event) -> (&TransferId, Option<Timestamp>) {
    match event {
        Event::Set(transfer) => (&transfer.id, transfer.due()),
        Event::Removed(id) => (id, None),
    }
}
