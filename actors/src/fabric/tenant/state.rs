//! State of a tenant.

use cellspace_schemas::{
    EventPosition, ProfileId, Timestamp,
    fabric::{
        CredentialSpec, DataspaceProfileId, DeploymentState, OrchestrationId, ParticipantProfile, ParticipantProfileId, Properties, Tenant,
        VpaManifest, keys,
    },
};
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A participant profile and what the API does not show of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// What the API shows, without what the deployment brought about.
    pub profile: ParticipantProfile,
    /// Dataspaces it takes part in.
    pub dataspace_profile_ids: Vec<DataspaceProfileId>,
    /// Their names in the cell.
    pub profile_names: Vec<ProfileId>,
    /// Credentials it gets.
    pub credentials: Vec<CredentialSpec>,
    /// The running cell.
    pub external_cell_id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Orchestrations whose results count.
    pub awaits: Vec<OrchestrationId>,
    /// The last event taken from each source: an event up to it has had its effect.
    pub marks: BTreeMap<String, EventPosition>,
    /// What the deployment brought about, as its orchestration said; never a client's word.
    #[serde(default)]
    pub outputs: Properties,
    /// While it is `pending` or `disposing`: when its orchestration is looked at, in case its result does not come.
    #[serde(default)]
    pub check_at: Option<Timestamp>,
    /// How often no orchestration was found.
    #[serde(default)]
    pub missed: u32,
}

impl ProfileRecord {
    /// Whether it still has anything in the cell.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.profile.state() != DeploymentState::Disposed
    }

    /// The profile as the API shows it: with the outputs under `cfm.vpa.state`.
    #[must_use]
    pub fn view(&self) -> ParticipantProfile {
        let mut profile = self.profile.clone();
        if !self.outputs.is_empty() {
            profile.properties.insert(keys::VPA_STATE.to_owned(), self.outputs.clone().into());
        }
        profile
    }

    /// Its agents as a manifest names them.
    #[must_use]
    pub fn manifests(&self) -> Vec<VpaManifest> {
        let manifest = |vpa: &cellspace_schemas::fabric::VirtualParticipantAgent| VpaManifest {
            id: vpa.id.clone(),
            vpa_type: vpa.vpa_type,
            cell_id: vpa.cell_id.clone(),
            external_cell_id: self.external_cell_id.clone(),
            properties: vpa.properties.clone(),
        };
        self.profile.vpas.iter().map(manifest).collect()
    }
}

/// Everything one tenant knows.
#[derive(Debug, Clone, Default)]
pub struct TenantState {
    /// The tenant; `None` before it was made and after it was deleted.
    pub tenant: Option<Arc<Tenant>>,
    /// Its participant profiles by id.
    pub profiles: RedBlackTreeMapSync<ParticipantProfileId, Arc<ProfileRecord>>,
}

impl TenantState {
    /// A profile of a tenant that is there.
    #[must_use]
    pub fn profile(&self, id: &ParticipantProfileId) -> Option<&Arc<ProfileRecord>> {
        self.tenant.as_ref().and_then(|_| self.profiles.get(id))
    }

    /// All profiles as the API shows them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<ParticipantProfile> {
        let mut records: Vec<_> = self.profiles.values().collect();
        records.sort_by(|a, b| (a.created, &a.profile.id).cmp(&(b.created, &b.profile.id)));
        records.into_iter().map(|record| record.view()).collect()
    }
}
