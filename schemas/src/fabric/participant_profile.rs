//! Participant profiles and their virtual participant agents.

use super::{
    CellId, DataspaceProfileId, ParticipantProfileId, Properties, TenantId, VpaId,
    wire::{blank_as_none, date_time, null_as_default},
};
use crate::{Did, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// State of a deployable thing: a cell, a dataspace deployment, a virtual participant agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// Known, nothing started.
    Initial,
    /// Being deployed.
    Pending,
    /// Works.
    Active,
    /// Being disposed of.
    Disposing,
    /// Gone.
    Disposed,
    /// Held by an operator.
    Locked,
    /// Out of reach.
    Offline,
    /// Failed.
    Error,
}

impl DeploymentState {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Disposing => "disposing",
            Self::Disposed => "disposed",
            Self::Locked => "locked",
            Self::Offline => "offline",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Kind of virtual participant agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VpaType {
    /// Control plane.
    #[serde(rename = "cfm.connector")]
    Connector,
    /// Credential service.
    #[serde(rename = "cfm.credentialservice")]
    CredentialService,
    /// Data plane.
    #[serde(rename = "cfm.dataplane")]
    DataPlane,
    /// What the issuer knows of the participant.
    #[serde(rename = "cfm.issuer")]
    Issuer,
}

impl VpaType {
    /// All four, in the order in which profiles list them.
    pub const ALL: [Self; 4] = [Self::Connector, Self::CredentialService, Self::DataPlane, Self::Issuer];

    /// The word on the wire, also the key in `vpaProperties`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connector => "cfm.connector",
            Self::CredentialService => "cfm.credentialservice",
            Self::DataPlane => "cfm.dataplane",
            Self::Issuer => "cfm.issuer",
        }
    }
}

/// A virtual participant agent of a profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualParticipantAgent {
    /// Its id.
    pub id: VpaId,
    /// Raised by every change.
    pub version: i64,
    /// Its kind.
    #[serde(rename = "type")]
    pub vpa_type: VpaType,
    /// Where it runs.
    pub cell_id: CellId,
    /// Its state.
    pub state: DeploymentState,
    /// Since when.
    #[serde(with = "date_time")]
    pub state_timestamp: Timestamp,
    /// What the client said about it (`vpaProperties`).
    #[serde(default)]
    pub properties: Properties,
}

/// A participant profile: one participant of a tenant, in one or more dataspaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantProfile {
    /// Its id.
    pub id: ParticipantProfileId,
    /// Raised by every change.
    pub version: i64,
    /// The participant's DID.
    pub identifier: Did,
    /// Whose participant.
    pub tenant_id: TenantId,
    /// Roles by dataspace profile.
    #[serde(default)]
    pub participant_roles: BTreeMap<String, Vec<String>>,
    /// Its agents, one of each [`VpaType`].
    pub vpas: Vec<VirtualParticipantAgent>,
    /// Free properties; `cfm.vpa.state` holds what the deployment brought about.
    #[serde(default)]
    pub properties: Properties,
    /// Whether the last deployment or disposal failed.
    pub error: bool,
    /// Why.
    #[serde(default)]
    pub error_detail: String,
}

impl ParticipantProfile {
    /// The state that all agents share; without one, the first that is not `active`.
    #[must_use]
    pub fn state(&self) -> DeploymentState {
        let mut states = self.vpas.iter().map(|vpa| vpa.state);
        states.find(|state| *state != DeploymentState::Active).unwrap_or(DeploymentState::Active)
    }
}

/// A participant profile to make and deploy. The whole shape of a profile is accepted; what only the platform says is ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewParticipantProfileDeployment {
    /// The participant's DID.
    pub identifier: Did,
    /// The cell; absent means the only active one.
    #[serde(default, deserialize_with = "blank_as_none")]
    pub cell_id: Option<CellId>,
    /// Dataspaces to take part in; empty means all.
    #[serde(default, deserialize_with = "null_as_default")]
    pub dataspace_profile_ids: Vec<DataspaceProfileId>,
    /// Roles by dataspace profile.
    #[serde(default, deserialize_with = "null_as_default")]
    pub participant_roles: BTreeMap<String, Vec<String>>,
    /// Properties of the agents by [`VpaType`].
    #[serde(default, deserialize_with = "null_as_default")]
    pub vpa_properties: BTreeMap<String, Properties>,
    /// Free properties.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: Properties,
}

/// A virtual participant agent in an orchestration's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VpaManifest {
    /// Its id.
    pub id: VpaId,
    /// Its kind.
    pub vpa_type: VpaType,
    /// The registered cell.
    pub cell_id: CellId,
    /// The running cell.
    pub external_cell_id: String,
    /// What the client said about it.
    #[serde(default)]
    pub properties: Properties,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_whole_profile_shape_is_accepted() {
        let body = json!({"id": "", "version": 0, "identifier": "did:web:ih.example%3A7083:acme", "tenantId": "", "cellId": "c-1", "vpas": null,
            "participantRoles": null, "error": false, "errorDetail": "", "properties": null, "vpaProperties": {"cfm.issuer": {"membershipType": "full"}}});
        let new: NewParticipantProfileDeployment = serde_json::from_value(body).unwrap();
        assert_eq!(new.cell_id.as_ref().map(CellId::as_str), Some("c-1"));
        assert!(new.dataspace_profile_ids.is_empty() && new.participant_roles.is_empty() && new.properties.is_empty());
        assert!(serde_json::from_value::<NewParticipantProfileDeployment>(json!({"identifier": "acme"})).is_err());
    }

    #[test]
    fn words_on_the_wire() {
        for kind in VpaType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        use DeploymentState::{Active, Disposed, Disposing, Error, Initial, Locked, Offline, Pending};
        for state in [Initial, Pending, Active, Disposing, Disposed, Locked, Offline, Error] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
