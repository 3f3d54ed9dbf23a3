//! Whether this node can commit in a slot that it serves: shown by a claim there, the conditional write that each activation begins with.

use crate::{Address, Cluster};
use cellspace_schemas::Owner;
use cellspace_storage::{AgentKind, ClaimError, StoreError};

/// Kind of the partitions that are claimed; no agent is of it, and nothing is ever committed to them.
const KIND: AgentKind = AgentKind("probe");
/// Owners that are tried until one's slot is served here: with hundreds of nodes, one of so many is.
const OWNERS: usize = 4_096;

/// Why it is not shown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unproven {
    /// The node serves no slot now: it has none yet, or does not hold its lease.
    #[error("the node serves no slot now")]
    NoSlot,
    /// The slot is another's already.
    #[error("the slot is held under a newer view")]
    Newer,
    /// The store does not answer, or not well.
    #[error(transparent)]
    Store(StoreError),
}

impl Cluster {
    /// Claims a partition in a slot that this node serves, and lets it go.
    ///
    /// # Errors
    /// [`Unproven`]
    pub async fn prove(&self) -> Result<(), Unproven> {
        let owner = |n: usize| Owner::new(format!("{KIND}-{n}")).ok();
        let address = |owner| Address { owner, kind: KIND, name: String::new() };
        let served = |address: Address| self.placement().serves(&address).map(|since| (address, since));
        let (address, since) = (0..OWNERS).filter_map(owner).map(address).find_map(served).ok_or(Unproven::NoSlot)?;
        match self.partitions().claim(&address.partition(), since).await {
            Ok(claim) => self.release(&address, claim.epoch),
            Err(ClaimError::Newer { .. }) => return Err(Unproven::Newer),
            Err(ClaimError::Store(error)) => return Err(Unproven::Store(error)),
        }
        if self.placement().still_serves(&address, since) { Ok(()) } else { Err(Unproven::NoSlot) }
    }
}
