//! Issued credentials: what is stored of them, and the claims that are signed.
//!
//! The signed claims follow from the stored credential alone, so that a delivery repeated after a crash carries the same credential.

use super::{
    claims::Claims,
    mappings::Mapped,
    status_list::{Purpose, Slot, Status, StatusChanges, StatusListId},
};
use crate::PublicUrls;
use cellspace_schemas::{
    Did, ParticipantContextId, Timestamp,
    dcp::{CredentialFormat, VC1_CONTEXT, VC2_CONTEXT},
    issuer::{CredentialDefinitionId, CredentialId, HolderId, IssuerPid, admin::CredentialView},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Type of every credential, beside its own.
pub const BASE_TYPE: &str = "VerifiableCredential";
/// JSON-LD context of `StatusList2021` entries and lists.
pub const STATUS_LIST_2021_CONTEXT: &str = "https://w3id.org/vc/status-list/2021/v1";
/// Longest signed claims, in bytes of JSON.
pub const MAX_CLAIMS_BYTES: usize = 64 << 10;

/// A credential as its issuer keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IssuedCredential {
    /// Its id.
    pub id: CredentialId,
    /// By which definition.
    pub definition: CredentialDefinitionId,
    /// In which process.
    pub process: IssuerPid,
    /// For whom.
    pub holder: HolderId,
    /// The holder's DID, to which it is bound.
    pub holder_did: Did,
    /// The issuer's DID.
    pub issuer: Did,
    /// Its type, beside `VerifiableCredential`.
    pub credential_type: String,
    /// How it is written.
    pub format: CredentialFormat,
    /// JSON-LD contexts beside those of the format.
    pub contexts: Vec<String>,
    /// Members of the subject, without its id.
    pub subject: Arc<Claims>,
    /// Name, when the definition maps one.
    pub name: Option<String>,
    /// Description, when the definition maps one.
    pub description: Option<String>,
    /// From when it is valid.
    pub valid_from: Timestamp,
    /// Until when it is valid.
    pub valid_until: Timestamp,
    /// Its place on the status lists.
    pub slot: Slot,
    /// Its status.
    pub status: StatusChanges,
    /// Why it has this status, when a reason was given.
    pub reason: Option<String>,
}

impl IssuedCredential {
    /// The credential's own `id`.
    #[must_use]
    pub fn urn(&self) -> String {
        format!("urn:uuid:{}", self.id)
    }

    /// Sets what the mappings made of the claims. The subject's id is always the holder.
    pub fn describe(&mut self, mapped: Mapped) {
        let Mapped { mut subject, name, description } = mapped;
        subject.remove("id");
        self.subject = Arc::new(subject);
        self.name = name;
        self.description = description;
    }

    /// The status list that this credential is on.
    #[must_use]
    pub const fn list(&self, purpose: Purpose) -> StatusListId {
        StatusListId { format: self.format, purpose, number: self.slot.number }
    }

    /// The claims to be signed: for data model 2.0 the credential itself with the registered JWT claims beside it (Securing Verifiable Credentials
    /// using JOSE and COSE, 3.1), for data model 1.1 JWT claims with the credential in `vc` (VC Data Model 1.1, 6.3.1).
    #[must_use]
    pub fn jwt_claims(&self, issuer: &ParticipantContextId, urls: &PublicUrls) -> Map<String, Value> {
        let credential = self.credential(issuer, urls);
        let registered = [
            ("iss", json!(self.issuer)),
            ("sub", json!(self.holder_did)),
            ("jti", json!(self.urn())),
            ("iat", json!(self.valid_from.seconds())),
            ("nbf", json!(self.valid_from.seconds())),
            ("exp", json!(self.valid_until.seconds())),
        ];
        secured(self.format, credential, registered)
    }

    /// The credential in the form of its data model.
    #[must_use]
    pub fn credential(&self, issuer: &ParticipantContextId, urls: &PublicUrls) -> Map<String, Value> {
        let (from, until) = validity_names(self.format);
        let mut subject = Claims::clone(&self.subject);
        subject.insert("id".to_owned(), json!(self.holder_did));
        let mut credential = Map::from_iter([
            ("@context".to_owned(), self.all_contexts()),
            ("id".to_owned(), json!(self.urn())),
            ("type".to_owned(), json!([BASE_TYPE, self.credential_type])),
            ("issuer".to_owned(), json!(self.issuer)),
            (from.to_owned(), json!(self.valid_from.to_rfc3339())),
            (until.to_owned(), json!(self.valid_until.to_rfc3339())),
            ("credentialSubject".to_owned(), Value::Object(subject)),
            ("credentialStatus".to_owned(), self.status_entries(issuer, urls)),
        ]);
        for (name, text) in [("name", &self.name), ("description", &self.description)] {
            if let Some(text) = text {
                credential.insert(name.to_owned(), json!(text));
            }
        }
        credential
    }

    fn all_contexts(&self) -> Value {
        let base: &[&str] = match self.format {
            CredentialFormat::Vc2Jose => &[VC2_CONTEXT],
            CredentialFormat::Vc1Jwt => &[VC1_CONTEXT, STATUS_LIST_2021_CONTEXT],
        };
        base.iter().copied().chain(self.contexts.iter().map(String::as_str).filter(|c| !base.contains(c))).collect()
    }

    fn status_entries(&self, issuer: &ParticipantContextId, urls: &PublicUrls) -> Value {
        let kind = match self.format {
            CredentialFormat::Vc2Jose => "BitstringStatusListEntry",
            CredentialFormat::Vc1Jwt => "StatusList2021Entry",
        };
        let entry = |purpose: Purpose| {
            let list = urls.status_list(issuer, &self.list(purpose).to_string());
            json!({
                "id": format!("{list}#{}", self.slot.index),
                "type": kind,
                "statusPurpose": purpose.name(),
                "statusListIndex": self.slot.index.to_string(),
                "statusListCredential": list,
            })
        };
        Purpose::ALL.into_iter().map(entry).collect()
    }

    /// As it is answered to operators: in the resource form of the Identity API, without its proof.
    #[must_use]
    pub fn view(&self, issuer: &ParticipantContextId, urls: &PublicUrls) -> CredentialView {
        let mut subject = Claims::clone(&self.subject);
        subject.insert("id".to_owned(), json!(self.holder_did));
        let model = match self.format {
            CredentialFormat::Vc2Jose => "V_2_0",
            CredentialFormat::Vc1Jwt => "V_1_1",
        };
        let credential = json!({
            "@context": self.all_contexts(),
            "id": self.urn(),
            "type": [BASE_TYPE, self.credential_type],
            "issuer": {"id": self.issuer},
            "issuanceDate": self.valid_from.to_rfc3339(),
            "expirationDate": self.valid_until.to_rfc3339(),
            "credentialSubject": [subject],
            "credentialStatus": self.status_entries(issuer, urls),
            "dataModelVersion": model,
            "name": self.name,
            "description": self.description,
        });
        CredentialView { id: self.id.clone(), participant_context_id: issuer.clone(), format: self.format.name(), credential }
    }

    /// The fields that queries may name: those of the peers' stored resource, whose credential lies below `verifiableCredential`.
    #[must_use]
    pub fn query_view(&self, issuer: &ParticipantContextId, urls: &PublicUrls, now: Timestamp) -> Value {
        let CredentialView { credential, format, .. } = self.view(issuer, urls);
        json!({
            "id": self.id,
            "participantContextId": issuer,
            "issuerId": self.issuer,
            "holderId": self.holder,
            "state": self.state_code(now),
            "status": self.status.status().name(),
            "format": format,
            "credential": credential,
            "verifiableCredential": {"format": format, "credential": credential},
            "metadata": {"credentialDefinitionId": self.definition, "issuanceProcessId": self.process},
            "timestamp": self.valid_from,
        })
    }

    /// Code of its state in the peers' API: ISSUED 500, REVOKED 600, SUSPENDED 700, EXPIRED 800.
    fn state_code(&self, now: Timestamp) -> u32 {
        match self.status.status() {
            Status::Revoked => 600,
            Status::Suspended => 700,
            Status::Active if self.valid_until <= now => 800,
            Status::Active => 500,
        }
    }
}

/// Leaves the first status, the revocation, in the claims of a credential of either form, and no list around it.
pub fn keep_revocation_alone(claims: &mut Map<String, Value>) {
    let credential = match claims.get_mut("vc") {
        Some(Value::Object(credential)) => credential,
        _ => claims,
    };
    if let Some(status) = credential.get_mut("credentialStatus")
        && let Some(revocation) = status.get(0).cloned()
    {
        *status = revocation;
    }
}

/// Names of the dates of a credential's validity in its data model.
#[must_use]
pub const fn validity_names(format: CredentialFormat) -> (&'static str, &'static str) {
    match format {
        CredentialFormat::Vc2Jose => ("validFrom", "validUntil"),
        CredentialFormat::Vc1Jwt => ("issuanceDate", "expirationDate"),
    }
}

/// Puts the credential and the registered JWT claims together as the format wants it.
#[must_use]
pub fn secured<const N: usize>(
    format: CredentialFormat,
    credential: Map<String, Value>,
    registered: [(&str, Value); N],
) -> Map<String, Value> {
    let registered = registered.into_iter().map(|(name, value)| (name.to_owned(), value));
    match format {
        CredentialFormat::Vc2Jose => credential.into_iter().chain(registered).collect(),
        CredentialFormat::Vc1Jwt => registered.chain([("vc".to_owned(), Value::Object(credential))]).collect(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn urls() -> PublicUrls {
        PublicUrls { public: "http://localhost:8080".parse().unwrap(), admin: "http://localhost:8081".parse().unwrap() }
    }

    pub fn issuer() -> ParticipantContextId {
        ParticipantContextId::new("issuer").unwrap()
    }

    pub fn credential(format: CredentialFormat) -> IssuedCredential {
        IssuedCredential {
            id: CredentialId::new("5a2f3a8e-38ae-4cd8-8a4c-6b2f6b5a2f3a").unwrap(),
            definition: CredentialDefinitionId::new("membership").unwrap(),
            process: IssuerPid::new("p-1").unwrap(),
            holder: HolderId::new("acme").unwrap(),
            holder_did: Did::new("did:web:localhost%3A8080:acme").unwrap(),
            issuer: Did::new("did:web:localhost%3A8080:issuer").unwrap(),
            credential_type: "MembershipCredential".to_owned(),
            format,
            contexts: vec!["https://example.com/v1".to_owned()],
            subject: Arc::default(),
            name: None,
            description: None,
            valid_from: Timestamp(1_790_000_000_123),
            valid_until: Timestamp(1_790_604_800_123),
            slot: Slot { number: 1, index: 7 },
            status: StatusChanges::default(),
            reason: None,
        }
    }

    #[test]
    fn the_subject_is_always_the_holder() {
        let mut credential = credential(CredentialFormat::Vc2Jose);
        let subject = json!({"id": "did:web:mallory", "since": "2026"}).as_object().unwrap().clone();
        credential.describe(Mapped { subject, name: Some("Member".to_owned()), description: None });
        let claims = credential.jwt_claims(&issuer(), &urls());
        assert_eq!(claims["credentialSubject"], json!({"id": "did:web:localhost%3A8080:acme", "since": "2026"}));
        assert_eq!((&claims["name"], claims.get("description")), (&json!("Member"), None));
    }

    #[test]
    fn both_forms() {
        let v2 = credential(CredentialFormat::Vc2Jose).jwt_claims(&issuer(), &urls());
        assert_eq!(v2["@context"], json!([VC2_CONTEXT, "https://example.com/v1"]));
        assert_eq!((&v2["validFrom"], &v2["exp"]), (&json!("2026-09-21T14:13:20.123Z"), &json!(1_790_604_800)));
        let list = "http://localhost:8080/statuslist/issuer/bssl-revocation-1";
        let revocation = json!({"id": format!("{list}#7"), "type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "7",
            "statusListCredential": list});
        assert_eq!(v2["credentialStatus"][0], revocation);
        assert_eq!(v2["credentialStatus"][1]["statusPurpose"], "suspension");

        let v1 = credential(CredentialFormat::Vc1Jwt).jwt_claims(&issuer(), &urls());
        assert_eq!((&v1["sub"], &v1["iss"]), (&json!("did:web:localhost%3A8080:acme"), &json!("did:web:localhost%3A8080:issuer")));
        assert_eq!(v1["vc"]["@context"], json!([VC1_CONTEXT, STATUS_LIST_2021_CONTEXT, "https://example.com/v1"]));
        assert_eq!(v1["vc"]["credentialStatus"][0]["type"], "StatusList2021Entry");
        assert_eq!(v1["vc"]["issuanceDate"], v2["validFrom"]);

        for (mut claims, place) in [(v1, "/vc/credentialStatus"), (v2, "/credentialStatus")] {
            let before = Value::Object(claims.clone());
            keep_revocation_alone(&mut claims);
            let mut expected = before.clone();
            *expected.pointer_mut(place).unwrap() = before.pointer(&format!("{place}/0")).unwrap().clone();
            assert_eq!((&Value::Object(claims), &expected.pointer(place).unwrap()["statusPurpose"]), (&expected, &json!("revocation")));
        }
    }

    #[test]
    fn queries_see_the_resource() {
        let credential = credential(CredentialFormat::Vc2Jose);
        let view = credential.query_view(&issuer(), &urls(), Timestamp(0));
        assert_eq!(view["verifiableCredential"]["credential"]["type"][1], "MembershipCredential");
        assert_eq!((&view["holderId"], &view["state"]), (&json!("acme"), &json!(500)));
        assert_eq!(credential.query_view(&issuer(), &urls(), credential.valid_until)["state"], 800);
    }
}
