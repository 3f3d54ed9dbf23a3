//! What an issuer says of itself and of requests (DCP 1.0, sections 6.6 to 6.8).

use super::{CredentialDefinitionId, HolderPid, IssuerPid};
use crate::{
    Did,
    dcp::{
        Message,
        messages::{Context, context},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// State of a request as its holder may see it (DCP 1.0, 6.8.1 `status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RequestStatus {
    /// Known, not yet delivered.
    Received,
    /// Not issued.
    Rejected,
    /// Delivered.
    Issued,
}

/// Answer to the question for a request's state (DCP 1.0, 6.8.1).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// JSON-LD contexts.
    #[serde(rename = "@context")]
    pub context: Context,
    /// Always `CredentialStatus`.
    #[serde(rename = "type")]
    pub message_type: &'static str,
    /// The process on the issuer's side.
    pub issuer_pid: IssuerPid,
    /// The request on the holder's side.
    pub holder_pid: HolderPid,
    /// Its state.
    pub status: RequestStatus,
}

impl CredentialStatus {
    /// The state of this request.
    #[must_use]
    pub fn new(issuer_pid: IssuerPid, holder_pid: HolderPid, status: RequestStatus) -> Self {
        Self { context: context(), message_type: "CredentialStatus", issuer_pid, holder_pid, status }
    }
}

/// What another issuer says of a request, as far as a holder looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherStatus {
    /// The process on the issuer's side.
    pub issuer_pid: String,
    /// Its state.
    pub status: RequestStatus,
}

impl Message for OtherStatus {}

/// A credential that an issuer can issue (DCP 1.0, 6.6.2).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialObject {
    /// Its id, stable.
    pub id: CredentialDefinitionId,
    /// Always `CredentialObject`.
    #[serde(rename = "type")]
    pub object_type: &'static str,
    /// Type of the credential.
    pub credential_type: String,
    /// Where the schema of its subject is.
    pub credential_schema: String,
    /// Why it is offered.
    pub offer_reason: &'static str,
    /// What it is bound to.
    pub binding_methods: Vec<&'static str>,
    /// Alias of its profile.
    pub profile: &'static str,
    /// Presentation definition of what a holder must present.
    pub issuance_policy: Value,
}

/// What an issuer can issue (DCP 1.0, 6.7.1).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerMetadata {
    /// JSON-LD contexts.
    #[serde(rename = "@context")]
    pub context: Context,
    /// Always `IssuerMetadata`.
    #[serde(rename = "type")]
    pub message_type: &'static str,
    /// The issuer.
    pub issuer: Did,
    /// What it issues.
    pub credentials_supported: Vec<CredentialObject>,
}

/// What another issuer says of itself, as far as a holder looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherIssuer {
    /// The issuer.
    pub issuer: Did,
    /// What it issues.
    pub credentials_supported: Vec<OtherObject>,
}

/// A credential that another issuer can issue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherObject {
    /// Its id.
    pub id: String,
    /// Type of the credential.
    pub credential_type: String,
    /// Alias of its profile; one whose profile is not said cannot be asked for.
    pub profile: Option<String>,
}

impl IssuerMetadata {
    /// What this issuer issues.
    #[must_use]
    pub fn new(issuer: Did, credentials_supported: Vec<CredentialObject>) -> Self {
        Self { context: context(), message_type: "IssuerMetadata", issuer, credentials_supported }
    }
}
