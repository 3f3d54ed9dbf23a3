//! State of a control plane in memory; a clone is the published snapshot and costs O(1).

use super::{Participant, archive, data_planes, negotiation, participant, resources, secrets, transfer};
use crate::records::Notes;
use cellspace_schemas::AssetId;
use std::sync::Arc;

/// Everything one control plane knows.
#[derive(Debug, Clone, Default)]
pub struct ControlPlaneState {
    /// The participant itself; `None` before it was created and after it was deleted.
    pub participant: Option<Arc<Participant>>,
    /// The participant as it was when it was deleted, as far as its open processes need it to end.
    pub deleted: Option<Arc<Participant>>,
    /// Assets, policy definitions, contract definitions.
    pub resources: resources::State,
    /// Contract negotiations.
    pub negotiations: negotiation::Negotiations,
    /// Transfer processes.
    pub transfers: transfer::Transfers,
    /// Registered data planes.
    pub data_planes: data_planes::DataPlanes,
    /// Secrets that its client has given to keep.
    pub secrets: secrets::Secrets,
    /// What is known of the processes that have left the state.
    pub archive: archive::State,
    /// Records in the vault that nothing here names.
    pub notes: Notes,
}

impl ControlPlaneState {
    /// The participant, when it may act.
    ///
    /// # Errors
    /// [`participant::Refusal::NotActive`] when it is not there or not `ACTIVATED`.
    pub fn active(&self) -> Result<&Arc<Participant>, participant::Refusal> {
        self.participant.as_ref().filter(|p| p.is_active()).ok_or(participant::Refusal::NotActive)
    }

    /// The participant, whether it is still there or was deleted: in whose name what it began is ended.
    #[must_use]
    pub fn known(&self) -> Option<&Arc<Participant>> {
        self.participant.as_ref().or(self.deleted.as_ref())
    }

    /// Whether the asset is being negotiated or was agreed on: it must not be removed then.
    #[must_use]
    pub fn holds_asset(&self, asset: &AssetId) -> bool {
        self.negotiations.holds_asset(asset) || self.archive.holds_asset(asset)
    }

    /// Whether no negotiation and no transfer is open.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.negotiations.open().all() == 0 && self.transfers.open().all() == 0
    }
}
