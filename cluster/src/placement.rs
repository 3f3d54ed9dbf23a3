//! Which agents this node may run: the ring of the present view, and the lease under which it serves.

use crate::{
    Address, Slot,
    ring::{NodeName, Ring},
};
use cellspace_storage::slot::SLOTS;
use std::sync::Arc;

/// The node's place in the cell. On an embedded node view and lease are constants: the lock on the data directory is the fence.
#[derive(Debug, Clone)]
pub struct Placement {
    node: NodeName,
    ring: Arc<Ring>,
}

impl Placement {
    /// A node that owns every slot for as long as the process lives.
    #[must_use]
    pub fn alone(node: NodeName) -> Self {
        let ring = Arc::new(Ring::of(std::slice::from_ref(&node), SLOTS));
        Self { node, ring }
    }

    /// Version of the view that agents are claimed under.
    #[must_use]
    #[allow(clippy::unused_self, reason = "a constant only while there is one node")]
    pub const fn view(&self) -> u64 {
        0
    }

    /// Whether this node owns the agent's slot.
    #[must_use]
    pub fn owns(&self, address: &Address) -> bool {
        self.owner(Slot::of(&address.owner)) == Some(&self.node)
    }

    /// The node that owns the slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&NodeName> {
        self.ring.owner(slot)
    }

    /// Whether the node still holds its lease: checked before a commit is sent and before an answer leaves.
    #[must_use]
    #[allow(clippy::unused_self, reason = "a constant only while there is one node")]
    pub const fn lease_held(&self) -> bool {
        true
    }
}
