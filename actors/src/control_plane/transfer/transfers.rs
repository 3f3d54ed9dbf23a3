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
            Event::Set(transfer) => self.replace(&transfer.id, Some(transfer)),
            Event::Removed(id) => self.replace(id, None),
        }
    }

    /// Puts a transfer, or none, in the place of what has the id. What finds it changes seldom, and is touched only then.
    fn replace(&mut self, id: &TransferId, new: Option<&Arc<Transfer>>) {
        let old = self.by_id.get(id).cloned();
        let (was, is) = (old.as_deref(), new.map(|transfer| &**transfer));

        let (before, after) = (was.and_then(open_with), is.and_then(open_with));
        if before != after {
            before.iter().for_each(|peer| self.open.remove(peer));
            after.iter().for_each(|peer| self.open.add(peer));
        }
        let (before, after) = (was.and_then(rests_since), is.and_then(rests_since));
        if before != after {
            before.iter().for_each(|since| {
                self.finished.remove_mut(&(*since, id.clone()));
            });
            after.iter().for_each(|since| self.finished.insert_mut((*since, id.clone())));
        }
        let (before, after) = (was.and_then(correlation), is.and_then(correlation));
        if before != after {
            if let Some((peer, pid)) = before {
                self.by_counterparty.remove(peer, pid, id);
            }
            if let Some((peer, pid)) = after {
                self.by_counterparty.insert(peer, pid, id.clone());
            }
        }
        match new {
            Some(transfer) => self.by_id.insert_mut(id.clone(), transfer.clone()),
            None => {
                self.by_id.remove_mut(id);
            }
        }
    }
}

fn open_with(transfer: &Transfer) -> Option<&Did> {
    (!transfer.state.is_final()).then_some(&transfer.counterparty)
}

fn rests_since(transfer: &Transfer) -> Option<Timestamp> {
    transfer.is_at_rest().then_some(transfer.state_at)
}

/// What its counterparty calls it.
fn correlation(transfer: &Transfer) -> Option<(&Did, &Pid)> {
    transfer.counterparty_pid.as_ref().map(|pid| (&transfer.counterparty, pid))
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
