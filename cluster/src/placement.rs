//! Which agents this node may run.

use crate::{
    Address, Slot,
    cell::Cell,
    codec::LEVEL,
    ring::{NodeName, Ring},
};
use cellspace_schemas::Timestamp;
use cellspace_storage::slot::SLOTS;
use std::sync::Arc;

/// Since when a node has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The slot.
    pub slot: Slot,
    /// When it was opened here, by the time of day as it is now. One that is not open opens now at the earliest.
    pub at: Timestamp,
    /// When others served it before, as far as that is known better than that they do not any more.
    pub before: Option<ServedBefore>,
    /// When the owner came from another cell: what was done there nobody here knows.
    pub came: Option<Timestamp>,
    /// The lease of this node ends before that by its own clock, and so says its row: what is as of a later time is not taken, so that others know later on that it was not.
    pub until: Option<Timestamp>,
}

/// When others served a slot whose last owner did not leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedBefore {
    /// By then all but its last owner had stopped, by the time of day as it is here, or was there.
    pub others: Timestamp,
    /// By then its last owner had, by its own clock: [`Opening::until`], at that node.
    pub owner: Timestamp,
}

/// The node's place in the cell. On an embedded node view and lease are constants: the lock on the data directory is the fence.
#[derive(Debug, Clone)]
pub struct Placement(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Alone(Arc<Ring>),
    Cell(Arc<Cell>),
}

impl Placement {
    /// A node that owns every slot for as long as the process lives.
    #[must_use]
    pub fn alone(node: NodeName) -> Self {
        Self(Kind::Alone(Arc::new(Ring::of(&[node], SLOTS))))
    }

    /// A node that shares the slots with others.
    #[must_use]
    pub const fn in_cell(cell: Arc<Cell>) -> Self {
        Self(Kind::Cell(cell))
    }

    /// The view since which this node serves the agent's slot: its agents are claimed under it. `None`: not now.
    #[must_use]
    pub fn serves(&self, address: &Address) -> Option<u64> {
        match &self.0 {
            Kind::Alone(_) => Some(0),
            Kind::Cell(cell) => cell.serves_of(&address.owner),
        }
    }

    /// Whether it has served the slot since then without a break: asked before a commit or an effect is sent, and before an answer leaves.
    #[must_use]
    pub fn still_serves(&self, address: &Address, since: u64) -> bool {
        self.serves(address) == Some(since)
    }

    /// The node that owns the slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<NodeName> {
        match &self.0 {
            Kind::Alone(ring) => ring.owner(slot).cloned(),
            Kind::Cell(cell) => cell.owner(slot),
        }
    }

    /// Highest level of rows that are read here.
    pub(crate) fn reads(&self) -> u16 {
        self.cell().map_or(LEVEL, |cell| cell.reads())
    }

    /// Level at which rows are written here now: one that whoever may have the slot next reads too.
    pub(crate) fn writes(&self) -> u16 {
        self.cell().map_or(LEVEL, |cell| cell.writes())
    }

    pub(crate) const fn cell(&self) -> Option<&Arc<Cell>> {
        match &self.0 {
            Kind::Alone(_) => None,
            Kind::Cell(cell) => Some(cell),
        }
    }
}
