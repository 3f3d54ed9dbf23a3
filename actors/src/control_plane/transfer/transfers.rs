//! All transfers of one participant.

use super::Transfer;
use crate::control_plane::dsp::{Process, Processes};
use cellspace_cluster::RowOf;
use cellspace_schemas::{Did, Pid, Timestamp, TransferId};
use cellspace_storage::RowKey;
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

/// The transfers.
pub type Transfers = Processes<Transfer>;

impl Transfers {
    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Set(transfer) => self.replace(&transfer.id, Some(transfer), false),
            Event::Removed(id) => self.replace(id, None, false),
        }
    }
}

impl Process for Transfer {
    type Id = TransferId;

    fn open_with(&self) -> Option<&Did> {
        (!self.state.is_final()).then_some(&self.counterparty)
    }

    fn correlation(&self) -> Option<(&Did, &Pid)> {
        self.counterparty_pid.as_ref().map(|pid| (&self.counterparty, pid))
    }

    fn rests_since(&self) -> Option<Timestamp> {
        self.is_at_rest().then_some(self.state_at)
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
