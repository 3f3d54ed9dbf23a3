//! Dataspace profiles: what membership in a dataspace takes, and where it has been deployed.

use super::{
    CellId, DataspaceProfileId, DeploymentId, DeploymentState, Properties,
    wire::{blank_as_none, date_time, null_as_default},
};
use crate::{Did, Timestamp};
use serde::{Deserialize, Serialize};

/// A credential of the dataspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialSpec {
    /// Id of the credential definition at the issuer.
    pub id: String,
    /// Credential type, for example `MembershipCredential`.
    #[serde(rename = "type")]
    pub credential_type: String,
    /// Who issues it.
    pub issuer: Did,
    /// Format, for example `vc20-bssl/jwt`.
    pub format: String,
    /// Only participants in this role get it; without one, all do.
    #[serde(default, deserialize_with = "blank_as_none", skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// What the dataspace consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataspaceSpec {
    /// Protocols, for example `dsp-2025-1`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub protocol_stack: Vec<String>,
    /// Its credentials.
    #[serde(default, deserialize_with = "null_as_default")]
    pub credential_specs: Vec<CredentialSpec>,
}

/// A dataspace profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataspaceProfile {
    /// Its id.
    pub id: DataspaceProfileId,
    /// Raised by every change.
    pub version: i64,
    /// Protocols and credentials.
    #[serde(default)]
    pub dataspace_spec: DataspaceSpec,
    /// Artifacts of the dataspace, kept for clients.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Free properties.
    #[serde(default)]
    pub properties: Properties,
    /// Where it has been deployed, at most once per cell.
    #[serde(default)]
    pub deployments: Vec<DataspaceDeployment>,
}

/// A dataspace profile's settings in a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataspaceDeployment {
    /// Its id.
    pub id: DeploymentId,
    /// Raised by every change.
    pub version: i64,
    /// `pending` until the cell took the settings.
    pub state: DeploymentState,
    /// Since when.
    #[serde(with = "date_time")]
    pub state_timestamp: Timestamp,
    /// The registered cell.
    pub cell_id: CellId,
    /// The running cell.
    pub external_cell_id: String,
    /// Free properties; `error` says why a deployment failed.
    #[serde(default)]
    pub properties: Properties,
}

/// A dataspace profile to make.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDataspaceProfile {
    /// Protocols and credentials.
    #[serde(default, deserialize_with = "null_as_default")]
    pub dataspace_spec: DataspaceSpec,
    /// Artifacts.
    #[serde(default, deserialize_with = "null_as_default")]
    pub artifacts: Vec<String>,
    /// Free properties.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: Properties,
}

/// A deployment to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDataspaceDeployment {
    /// The dataspace profile; when absent, the one of the path.
    #[serde(default, deserialize_with = "blank_as_none")]
    pub profile_id: Option<DataspaceProfileId>,
    /// The cell.
    pub cell_id: CellId,
}
