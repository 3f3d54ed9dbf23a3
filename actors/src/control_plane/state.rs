//! State of a control plane in memory; a clone is the published snapshot and costs O(1).

use super::{Participant, data_planes, negotiation, participant, resources, transfer};
use std::sync::Arc;

/// Everything one control plane knows.
#[derive(Debug, Clone, Default)]
pub struct ControlPlaneState {
    /// The participant itself; `None` before it was created and after it was deleted.
    pub participant: Option<Arc<Participant>>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Assets, policy definitions, contract definitions.
    pub resources: resources::State,
    /// Contract negotiations.
    pub negotiations: negotiation::Negotiations,
    /// Transfer processes.
    pub transfers: transfer::Transfers,
    /// Registered data planes.
    pub data_planes: data_planes::DataPlanes,
}

impl ControlPlaneState {
    /// The participant, when it may act.
    ///
    /// # Errors
    /// [`participant::Refusal::NotActive`] when it is not there or not `ACTIVATED`.
    pub fn active(&self) -> Result<&Arc<Participant>, participant::Refusal> {
        self.participant.as_ref().filter(|p| p.is_active()).ok_or(participant::Refusal::NotActive)
    }
}
