//! All transfers of one participant, found by every id they are asked for with.

use super::Transfer;
use crate::control_plane::dsp::{Correlations, Open};
use cellspace_cluster::RowOf;
use cellspace_schemas::{Did, Pid, Timestamp, TransferId};
use cellspace_storage::RowKey;
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A change of one transfer's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The transfer as it now is.
    Set(Arc<Transfer>),
}

/// The transfers; ids made here grow with time, so that their order is that of their beginning.
#[derive(Debug, Clone, Default)]
pub struct Transfers {
    by_id: RedBlackTreeMapSync<TransferId, Arc<Transfer>>,
    by_counterparty: Correlations<TransferId>,
    open: Open,
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

    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        let Event::Set(transfer) = event;
        if let Some(old) = self.by_id.get(&transfer.id).filter(|old| !old.state.is_final()) {
            self.open.remove(&old.counterparty);
        }
        if !transfer.state.is_final() {
            self.open.add(&transfer.counterparty);
        }
        if let Some(pid) = &transfer.counterparty_pid {
            self.by_counterparty.insert(&transfer.counterparty, pid, transfer.id.clone());
        }
        self.by_id.insert_mut(transfer.id.clone(), transfer.clone());
    }
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    let Event::Set(transfer) = event;
    RowOf::Put(RowKey::new(super::TABLE, transfer.id.as_str()))
}

/// The deadline that the event's transfer now has.
#[must_use]
pub fn deadline(event: &Event) -> (&TransferId, Option<Timestamp>) {
    let Event::Set(transfer) = event;
    (&transfer.id, transfer.due())
}
