//! Credentials and credential requests of the Identity API.

use crate::{
    Did, ParticipantContextId, SecretText,
    dcp::CredentialFormat,
    issuer::{CredentialDefinitionId, CredentialId, HolderPid, IssuerPid, coerce},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A credential to ask an issuer for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedCredential {
    /// Format; kept and shown, the issuer's object decides.
    #[serde(with = "coerce::format")]
    pub format: CredentialFormat,
    /// Type of the credential.
    #[serde(rename = "type", alias = "credentialType")]
    pub credential_type: String,
    /// Id of the credential object in the issuer's metadata.
    pub id: CredentialDefinitionId,
}

/// What a participant asks an issuer for when it is offered, without anybody's doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRule {
    /// Who offers.
    pub issuer: Did,
    /// Types of the credentials; `*` stands for all.
    pub types: Vec<String>,
}

/// Most rules of a participant.
pub const MAX_OFFER_RULES: usize = 64;
/// Most types of a rule.
pub const MAX_OFFER_TYPES: usize = 32;
/// Longest type of a rule, in bytes.
pub const MAX_OFFER_TYPE: usize = 128;

impl OfferRule {
    /// Whether the rules are few enough, and each says something.
    #[must_use]
    pub fn are_good(rules: &[Self]) -> bool {
        let good_type = |kind: &String| (1..=MAX_OFFER_TYPE).contains(&kind.len());
        let good = |rule: &Self| (1..=MAX_OFFER_TYPES).contains(&rule.types.len()) && rule.types.iter().all(good_type);
        rules.len() <= MAX_OFFER_RULES && rules.iter().all(good)
    }

    /// Whether it is about credentials of this type by this issuer.
    #[must_use]
    pub fn means(&self, issuer: &Did, credential_type: &str) -> bool {
        self.issuer == *issuer && self.types.iter().any(|kind| kind == "*" || kind == credential_type)
    }
}

/// A request for credentials.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRequestDto {
    /// Whom to ask.
    pub issuer_did: Did,
    /// Id of the request; fresh when absent.
    pub holder_pid: Option<HolderPid>,
    /// What to ask for.
    pub credentials: Vec<RequestedCredential>,
    /// A code by which the issuer has authorized the request beforehand, where it supports that (DCP 1.0, 6.4).
    pub pre_authorized_code: Option<SecretText>,
}

/// Longest `pre_authorized_code`, in bytes.
pub const MAX_CODE_BYTES: usize = 2_048;

/// A request as shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderRequestResource {
    /// Whom it went to.
    pub issuer_did: Did,
    /// Its id here.
    pub holder_pid: HolderPid,
    /// Its id at the issuer, once known.
    pub issuer_pid: Option<IssuerPid>,
    /// State by name.
    pub status: &'static str,
    /// What was asked for.
    pub types_and_formats: Vec<TypeAndFormat>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<String>,
}

/// A credential of a request as shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeAndFormat {
    /// Id of the credential object.
    pub id: CredentialDefinitionId,
    /// Type.
    #[serde(rename = "type")]
    pub credential_type: String,
    /// Format by name.
    pub format: &'static str,
}

/// A credential to be stored as it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialManifest {
    /// Id of the resource; fresh when absent.
    pub id: Option<CredentialId>,
    /// The credential.
    pub verifiable_credential_container: CredentialPayload,
}

/// A credential in its signed form.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialPayload {
    /// The JWT.
    pub raw_vc: String,
}

/// A stored credential as shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialResource {
    /// Id of the resource.
    pub id: CredentialId,
    /// Whose.
    pub participant_context_id: ParticipantContextId,
    /// Who issued it.
    pub issuer_id: Did,
    /// Whom it speaks of.
    pub holder_id: Did,
    /// 500 ISSUED, 800 EXPIRED, 900 NOT_YET_VALID.
    pub state: u16,
    /// Always `Holder`.
    pub usage: &'static str,
    /// Kept and shown.
    pub metadata: Map<String, Value>,
    /// The credential.
    pub verifiable_credential: CredentialView,
}

/// Signed and parsed form of a credential.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialView {
    /// The JWT.
    pub raw_vc: String,
    /// Format by name.
    pub format: &'static str,
    /// What it says.
    pub credential: Value,
}
