//! Identity, issuance and proof over real sockets: participants of one node that deal with each other like strangers.

mod contexts;
mod credentials;
mod keys;
mod tokens;

use crate::support::{DRAIN, IDENTITY, ISSUER_ADMIN, PATIENCE, Platform, config, id_of, read};
use cellspace_actors::{
    CredentialService, DcpOptions,
    credential_service::{self, listing, questions::Listed},
    issuer,
    settings::TrustedIssuer,
    trust::{PeerError, TrustOptions, VerifiedPeer, VerifyRequest, self_issued_token, signing_key, verify_peer},
};
use cellspace_cluster::Address;
use cellspace_schemas::{
    dcp::{CredentialFormat, DCP_CONTEXT},
    fabric::Page,
    identity::key_pair::KeyUsage,
    issuer::CredentialId,
};
use cellspace_storage::VaultPath;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const MEMBERSHIP: &str = "org.eclipse.dspace.dcp.vc.type:MembershipCredential:read";
const MANUFACTURER: &str = "org.eclipse.dspace.dcp.vc.type:ManufacturerCredential:read";

/// Nothing is believed without asking again, so that what was changed is seen at once.
async fn start() -> Platform {
    let trust = TrustOptions { did_document_age: Duration::ZERO, ..TrustOptions::default() };
    Platform::temporary(|config| (config.trust, config.status_list_age) = (trust, Duration::ZERO)).await
}

impl Platform {
    /// An issuer with two credential definitions, and holders that get what is listed.
    async fn issuer_with(&self, holders: &[(&str, &[&str])]) {
        self.participant("issuer").await;
        let attestation = json!({"id": "att", "attestationType": "holder", "configuration": {}});
        self.must(Method::POST, &format!("{ISSUER_ADMIN}/attestations"), Some(attestation)).await;
        for (id, name, format) in
            [("membership", "MembershipCredential", "vc20-bssl/jwt"), ("manufacturer", "ManufacturerCredential", "vc11-sl2021/jwt")]
        {
            let definition = json!({"id": id, "credentialType": name, "format": format, "validity": "604800", "jsonSchema": "{}",
                "jsonSchemaUrl": "https://example.com/schema.json", "attestations": ["att"], "rules": [],
                "mappings": [{"input": "level", "output": "credentialSubject.level", "required": "true"}]});
            self.must(Method::POST, &format!("{ISSUER_ADMIN}/credentialdefinitions"), Some(definition)).await;
        }
        for (holder, wanted) in holders {
            let body = json!({"holderId": self.did(holder), "did": self.did(holder), "name": holder, "properties": {"level": "full"}});
            self.must(Method::POST, &format!("{ISSUER_ADMIN}/holders"), Some(body)).await;
            self.request_credentials(holder, "hp-1", wanted).await;
        }
    }

    async fn request_credentials(&self, holder: &str, holder_pid: &str, wanted: &[&str]) {
        let name = |id: &str| if id == "membership" { "MembershipCredential" } else { "ManufacturerCredential" };
        let credentials: Vec<Value> = wanted.iter().map(|id| json!({"format": "vc20-bssl/jwt", "type": name(id), "id": id})).collect();
        let path = format!("{IDENTITY}/participants/{holder}/credentials/request");
        let body = json!({"issuerDid": self.did("issuer"), "holderPid": holder_pid, "credentials": credentials});
        self.must(Method::POST, &path, Some(body)).await;
        let request = self.must(Method::GET, &format!("{path}/{holder_pid}?wait=ISSUED&timeout=20s"), None).await;
        assert_eq!(request["status"], "ISSUED", "{request}");
    }

    /// `to` verifies a message of `from`.
    async fn verify(&self, from: &str, to: &str, optional: &[&str]) -> Result<VerifiedPeer, PeerError> {
        let services = &self.node.app.services;
        let scopes = [MEMBERSHIP.to_owned(), MANUFACTURER.to_owned()];
        let token = self_issued_token(services, &id_of(from), &self.did(to), &scopes).await.unwrap();
        self.verify_token(to, &token, optional).await
    }

    async fn verify_token(&self, to: &str, token: &str, optional: &[&str]) -> Result<VerifiedPeer, PeerError> {
        let optional: Vec<String> = optional.iter().map(|scope| (*scope).to_owned()).collect();
        let request = VerifyRequest {
            participant: &id_of(to),
            own_did: &self.did(to),
            token,
            call: None,
            required: &[MEMBERSHIP.to_owned()],
            named: &[],
            optional: &optional,
            trusted_issuers: &[TrustedIssuer { id: self.did("issuer"), supported_types: vec!["*".to_owned()] }],
            slot: None,
            believe_absence: true,
        };
        verify_peer(&self.node.app.services, request).await
    }

    /// Queries the credential service of `holder` with a token of `sender`.
    async fn query_presentations(&self, holder: &str, token: &str, scopes: &[&str]) -> (StatusCode, Value) {
        let body = json!({"@context": [DCP_CONTEXT], "type": "PresentationQueryMessage", "scope": scopes});
        let url = format!("{}/presentations/query", self.node.urls.credential_service(&id_of(holder)));
        read(self.http.post(url).bearer_auth(token).json(&body).send().await.unwrap()).await
    }
}

fn types(peer: &VerifiedPeer) -> Vec<String> {
    let mut types: Vec<String> = peer.credentials.iter().map(|c| c.json()["type"][1].as_str().unwrap().to_owned()).collect();
    types.sort();
    types
}

fn rule(error: &PeerError) -> String {
    assert!(matches!(error, PeerError::Refused(_)), "{error:?}");
    error.to_string()
}

/// Claims of a JWT, unverified.
pub fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
