//! Requests for credentials that somebody has to approve, over real sockets.

use crate::{
    issuance::{definition, location, request},
    process_events::Receiver,
    support::{DRAIN, PATIENCE, Platform, config, id_of},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_actors::{
    credential_service::issuance::request_status,
    issuer::{Issuer, issuance::State},
};
use cellspace_cluster::Address;
use cellspace_schemas::issuer::metadata::RequestStatus;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

impl Platform {
    /// An issuer whose definition `guarded` asks for approval.
    async fn guarded(dir: &std::path::Path, approval: Value) -> Self {
        let platform = Self::seeded(dir).await;
        let mut body = definition("guarded", "vc20-bssl/jwt");
        body["approval"] = approval;
        platform.made("credentialdefinitions", body).await;
        platform
    }

    /// `acme` asks its own credential service for the credential.
    async fn want(&self, holder_pid: &str) {
        let body = json!({"issuerDid": self.did("issuer"), "holderPid": holder_pid,
            "credentials": [{"format": "vc20-bssl/jwt", "type": "guardedCredential", "id": "guarded"}]});
        let answer = self.identity(Method::POST, "/participants/acme/credentials/request").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    /// What `acme` knows of its request, once it is in the state.
    async fn known(&self, holder_pid: &str, state: &str) -> Value {
        let path = format!("/participants/acme/credentials/request/{holder_pid}?wait={state}&timeout=30s");
        let known: Value = self.identity(Method::GET, &path).send().await.unwrap().json().await.unwrap();
        assert_eq!(known["status"], state, "{known}");
        known
    }

    async fn decide(&self, process: &str, verdict: &str, body: Value) -> StatusCode {
        let path = format!("issuanceprocesses/{process}/{verdict}");
        self.issuer(Method::POST, &path).json(&body).send().await.unwrap().status()
    }

    /// The one public key in its DID document, as anybody gets it.
    async fn published_key(&self, name: &str) -> Vec<u8> {
        let did = self.did(name).to_string();
        let (_, document) = self.public(&format!("/{}/did.json", did.split(':').skip(3).collect::<Vec<_>>().join("/"))).await;
        URL_SAFE_NO_PAD.decode(document["verificationMethod"][0]["publicKeyJwk"]["x"].as_str().unwrap()).unwrap()
    }

    /// What the issuer tells the holder of its request.
    async fn told_of(&self, process: &str) -> Value {
        let token = self.id_token("acme", "issuer").await;
        self.issuance(Method::GET, &format!("/requests/{process}"), &token).send().await.unwrap().json().await.unwrap()
    }
}

/// What `acme` hears of its request when it asks the issuer by itself.
async fn heard(platform: &Platform, process: &str) -> Option<RequestStatus> {
    let (services, issuer) = (&platform.node.app.services, platform.did("issuer"));
    request_status(services, &id_of("acme"), &issuer, &process.parse().unwrap(), None).await.unwrap()
}

#[tokio::test]
async fn an_authority_is_told_and_approves() {
    let dir = tempfile::tempdir().unwrap();
    let mut office = Receiver::open(503).await;
    let platform = Platform::guarded(dir.path(), json!({"hook": office.url})).await;
    platform.want("hp-1").await;
    // It is told until it listens.
    assert_eq!(office.next().await.0, 503);
    office.answer(204);
    let post = office.taken().await;
    let (protected, told) = (post.protected(), post.json());
    post.check(&platform.published_key("issuer").await);
    assert_eq!((&protected["typ"], &told["type"]), (&json!("issuance-process+json"), &json!("IssuanceProcessSubmitted")));
    let payload = &told["payload"];
    assert_eq!((&payload["participantContextId"], &payload["holderPid"]), (&json!("issuer"), &json!("hp-1")));
    assert_eq!((&payload["holder"]["did"], &payload["holder"]["name"]), (&json!(platform.did("acme")), &json!("Acme")));
    assert_eq!(payload["credentials"][0]["id"], "guarded");
    assert_eq!(payload["credentials"][0]["credentialSubject"]["since"], "2026-01-01");
    let process = payload["issuanceProcessId"].as_str().unwrap();
    assert_eq!(platform.told_of(process).await["status"], "RECEIVED");
    assert_eq!((heard(&platform, process).await, heard(&platform, "none").await), (Some(RequestStatus::Received), None));
    let waiting = platform
        .query("issuanceprocesses", json!({"filterExpression": [{"operandLeft": "state", "operator": "=", "operandRight": "SUBMITTED"}]}));
    assert_eq!(waiting.await[0]["id"], process);
    assert!(platform.query("credentials", json!({})).await.is_empty());
    for _ in 0..2 {
        assert_eq!(platform.decide(process, "approve", json!(null)).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(platform.decide(process, "reject", json!({"reason": "no"})).await, StatusCode::CONFLICT);
    platform.known("hp-1", "ISSUED").await;
    let delivered = async {
        while heard(&platform, process).await != Some(RequestStatus::Issued) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, delivered).await.unwrap();
    assert_eq!(platform.query("credentials", json!({})).await.len(), 1);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_rejection_reaches_the_holder_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::guarded(dir.path(), json!({})).await;
    platform.want("hp-1").await;
    let process = platform.known("hp-1", "REQUESTED").await["issuerPid"].as_str().unwrap().to_owned();
    assert_eq!(platform.decide("none", "reject", json!({})).await, StatusCode::NOT_FOUND);
    assert_eq!(platform.decide(&process, "reject", json!({"reason": "x".repeat(2_000)})).await, StatusCode::BAD_REQUEST);
    for _ in 0..2 {
        assert_eq!(platform.decide(&process, "reject", json!({"reason": "no member of the dataspace"})).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(platform.decide(&process, "approve", json!(null)).await, StatusCode::CONFLICT);
    assert_eq!(platform.told_of(&process).await["status"], "REJECTED");
    assert_eq!(heard(&platform, &process).await, Some(RequestStatus::Rejected));
    let known = platform.known("hp-1", "ERROR").await;
    assert!(known.to_string().contains("no member of the dataspace"), "{known}");
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn what_nobody_decides_is_rejected_in_time_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::guarded(dir.path(), json!({"timeout": 2})).await;
    let asked = platform.ask_as("acme", &request("hp-1", &["guarded"])).await;
    assert_eq!(asked.status(), StatusCode::CREATED);
    let process = location(&asked).rsplit('/').next().unwrap().to_owned();
    platform.node.drain(DRAIN).await;
    let again = Platform::start(config(dir.path())).await;
    let address = Address::of::<Issuer>(&id_of("issuer"));
    let ended = again.node.app.services.cluster.wait::<Issuer, _>(&address, PATIENCE, |state| {
        state.processes.values().all(|process| process.state == State::Errored).then_some(())
    });
    assert_eq!(ended.await.unwrap(), Some(()));
    assert_eq!(again.told_of(&process).await["status"], "REJECTED");
    assert_eq!(again.decide(&process, "approve", json!(null)).await, StatusCode::CONFLICT);
    again.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_hook_that_may_not_be_called_is_not_named() {
    let platform = Platform::temporary(|config| config.allow_private_targets = Some(false)).await;
    platform.participant("issuer").await;
    for (hook, expected) in [("http://127.0.0.1:1/a", StatusCode::BAD_REQUEST), ("https://office.example/a", StatusCode::CREATED)] {
        let mut body = definition("guarded", "vc20-bssl/jwt");
        (body["approval"], body["attestations"]) = (json!({"hook": hook}), json!([]));
        let answer = platform.issuer(Method::POST, "credentialdefinitions").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{hook}");
    }
    platform.node.drain(DRAIN).await;
}
