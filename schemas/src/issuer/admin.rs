//! Bodies of the Issuer admin API (plain JSON; unknown members are ignored).

use super::{
    AttestationId, CredentialDefinitionId, CredentialId, HolderId, HolderPid, IssuerPid,
    coerce::{self, null_is_default},
};
use crate::{Did, ParticipantContextId, Timestamp, dcp::CredentialFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A holder to be created or updated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderBody {
    /// Its id.
    pub holder_id: HolderId,
    /// Its DID; no two holders of one issuer share it.
    pub did: Did,
    /// For people.
    #[serde(default, alias = "holderName", deserialize_with = "null_is_default")]
    pub name: String,
    /// What the attestation source `holder` attests.
    #[serde(default, deserialize_with = "null_is_default")]
    pub properties: Map<String, Value>,
}

/// A holder as it is answered.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderView {
    /// Same as `holderId`.
    pub id: HolderId,
    /// Its id.
    pub holder_id: HolderId,
    /// Its DID.
    pub did: Did,
    /// For people.
    pub holder_name: String,
    /// Whether it was made by a request instead of by an operator.
    pub anonymous: bool,
    /// What the attestation source `holder` attests.
    pub properties: Map<String, Value>,
    /// The issuer.
    pub participant_context_id: ParticipantContextId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub last_modified_at: Timestamp,
}

/// An attestation definition to be created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttestationBody {
    /// Its id.
    pub id: AttestationId,
    /// Name of its source, for example `holder`.
    pub attestation_type: String,
    /// Settings of the source.
    #[serde(default, deserialize_with = "null_is_default")]
    pub configuration: Map<String, Value>,
}

/// An attestation definition as it is answered.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttestationView {
    /// Its definition.
    #[serde(flatten)]
    pub body: AttestationBody,
    /// The issuer.
    pub participant_context_id: ParticipantContextId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A rule that attested claims must fulfil.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleBody {
    /// Its kind, `expression`.
    #[serde(rename = "type")]
    pub rule_type: String,
    /// `claim`, `operator` and `value` of an expression.
    #[serde(default, deserialize_with = "null_is_default")]
    pub configuration: Map<String, Value>,
}

/// How an attested claim becomes a member of the credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingBody {
    /// Path in the attested claims, segments separated by dots.
    pub input: String,
    /// Path in the credential.
    pub output: String,
    /// Whether nothing is issued without the claim.
    #[serde(default, deserialize_with = "coerce::boolean")]
    pub required: bool,
}

/// How long a request waits for approval when its definition does not say: a week.
const APPROVAL_SECONDS: u64 = 7 * 86_400;

/// That somebody has to approve before anything is issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalBody {
    /// Who is told of requests that wait: the URL of a service. Without one, who decides looks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// How long a request waits, in seconds; nobody's decision rejects it.
    #[serde(default = "approval_seconds", deserialize_with = "coerce::unsigned")]
    pub timeout: u64,
}

const fn approval_seconds() -> u64 {
    APPROVAL_SECONDS
}

/// A credential definition to be created or updated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionBody {
    /// Its id.
    pub id: CredentialDefinitionId,
    /// Type of the credentials, beside `VerifiableCredential`.
    pub credential_type: String,
    /// How the credentials are written; read in either spelling, answered as the alias of the profile.
    #[serde(with = "coerce::format")]
    pub format: CredentialFormat,
    /// How long they are valid, in seconds.
    #[serde(deserialize_with = "coerce::unsigned")]
    pub validity: u64,
    /// JSON schema of the subject, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<String>,
    /// Where the schema is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema_url: Option<String>,
    /// JSON-LD contexts beside those of the profile.
    #[serde(default, deserialize_with = "null_is_default")]
    pub additional_context: Vec<String>,
    /// Sources of claims.
    #[serde(default, deserialize_with = "null_is_default")]
    pub attestations: Vec<AttestationId>,
    /// What the claims must fulfil.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rules: Vec<RuleBody>,
    /// How claims become members of the credential.
    #[serde(default, deserialize_with = "null_is_default")]
    pub mappings: Vec<MappingBody>,
    /// That somebody has to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalBody>,
    /// Whether holders may ask that nobody has registered.
    #[serde(default, deserialize_with = "coerce::boolean", skip_serializing_if = "std::ops::Not::not")]
    pub anonymous_allowed: bool,
}

/// A credential definition as it is answered.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionView {
    /// Its definition.
    #[serde(flatten)]
    pub body: DefinitionBody,
    /// The issuer.
    pub participant_context_id: ParticipantContextId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An issued credential as it is answered; never with its proof.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialView {
    /// Its id.
    pub id: CredentialId,
    /// The issuer.
    pub participant_context_id: ParticipantContextId,
    /// Name of its format, for example `VC2_0_JOSE`.
    pub format: &'static str,
    /// The credential, in the resource form of the Identity API.
    pub credential: Value,
}

/// Status of an issued credential.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatusView {
    /// Which credential.
    pub credential_id: CredentialId,
    /// `active`, `suspended` or `revoked`.
    pub status: &'static str,
    /// Why, when a reason was given.
    pub reason: Option<String>,
}

/// Optional body of revoke, suspend, resume and reject.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonBody {
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Credentials to be offered to a holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferBody {
    /// To whom.
    pub holder_id: HolderId,
    /// Which credential definitions.
    pub credentials: Vec<CredentialDefinitionId>,
    /// Why, for example `reissue` or `proof-key-revocation` (DCP 1.0, 6.6.2).
    pub offer_reason: Option<String>,
}

/// An issuance process as it is answered.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessView {
    /// Its id, the `issuerPid`.
    pub id: IssuerPid,
    /// For whom.
    pub holder_id: HolderId,
    /// The issuer.
    pub participant_context_id: ParticipantContextId,
    /// The request on the holder's side.
    pub holder_pid: HolderPid,
    /// What was attested.
    pub claims: Map<String, Value>,
    /// What was asked for.
    pub credential_definitions: Vec<CredentialDefinitionId>,
    /// Name of the format by definition.
    pub credential_formats: BTreeMap<CredentialDefinitionId, &'static str>,
    /// Its state, for example `DELIVERED`.
    pub state: &'static str,
    /// Why it is `ERRORED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn definitions_with_numbers_and_booleans_as_text() {
        let body: DefinitionBody = serde_json::from_value(json!({
            "id": "d", "credentialType": "MembershipCredential", "format": "VC2_0_JOSE", "validity": "604800", "attestations": ["a"], "rules": [],
            "mappings": [{"input": "since", "output": "credentialSubject.since", "required": "true"}, {"input": "a", "output": "credentialSubject.a"}],
            "participantContextId": "ignored", "additionalContext": null
        }))
        .unwrap();
        assert_eq!((body.validity, body.format), (604_800, CredentialFormat::Vc2Jose));
        assert_eq!(body.mappings.iter().map(|m| m.required).collect::<Vec<_>>(), [true, false]);
        assert_eq!(body.approval, None);
        let approval = |approval| serde_json::from_value::<ApprovalBody>(approval).map(|body| body.timeout).ok();
        assert_eq!(
            (approval(json!({})), approval(json!({"timeout": "60"})), approval(json!({"timeout": -1}))),
            (Some(604_800), Some(60), None)
        );
        for bad in [json!({}), json!({"id": "d", "credentialType": "M", "format": "paper", "validity": 1})] {
            assert!(serde_json::from_value::<DefinitionBody>(bad).is_err());
        }
    }

    #[test]
    fn holders_need_an_id_and_a_did() {
        let body: HolderBody =
            serde_json::from_value(json!({"holderId": "h", "did": "did:web:a", "holderName": "A", "properties": null})).unwrap();
        assert_eq!((body.name.as_str(), body.properties.len()), ("A", 0));
        for bad in [json!({"holderId": "h"}), json!({"holderId": "h", "did": "acme"}), json!({"holderId": "", "did": "did:web:a"})] {
            assert!(serde_json::from_value::<HolderBody>(bad).is_err());
        }
    }
}
