//! A process that is killed has forgotten which tokens were used, and all the same takes none of them again.

use crate::{
    data_plane::{PROFILE, typed},
    hostile_peer::{Peer, now},
    process::Up,
    stage::{contract_request, dsp},
    support::{ok, text},
};
use cellspace_client::sharing;
use cellspace_schemas::Did;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use std::time::SystemTime;

impl Up {
    pub async fn must(&self, method: Method, path: &str, body: Value) -> Value {
        ok(self.admin(method, path).json(&body).send().await.unwrap()).await
    }

    pub fn did(&self, name: &str) -> Did {
        let host = text(&self.line, "public").trim_start_matches("http://").replace(':', "%3A");
        Did::new(format!("did:web:{host}:{name}")).unwrap()
    }

    /// A message of the protocol to `acme`.
    async fn tell(&self, path: &str, token: &str, body: &Value) -> Response {
        let url = format!("{}/api/dsp/acme/{PROFILE}{path}", text(&self.line, "public"));
        self.http.post(url).bearer_auth(token).json(body).send().await.unwrap()
    }

    /// The counterparty's ids of all negotiations of `acme`.
    async fn negotiations(&self) -> Vec<String> {
        let path = "/api/mgmt/v5beta/participants/acme/contractnegotiations/request";
        let all = self.must(Method::POST, path, typed("QuerySpec", json!({"limit": 1000}))).await;
        all.as_array().unwrap().iter().map(|negotiation| text(negotiation, "correlationId")).collect()
    }
}

/// Milliseconds since the epoch.
fn millis() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() * 1_000.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_used_before_a_kill_counts_no_second_time() {
    let (dir, peer) = (tempfile::tempdir().unwrap(), Peer::start().await);
    let first = Up::start(dir.path(), "", None).await;
    let (secret, acme) = (text(&first.line, "clientSecret"), first.did("acme"));
    let identity = json!({"participantContextId": "acme", "did": acme, "active": true, "serviceEndpoints": []});
    first.must(Method::POST, "/api/identity/v1beta/participants", identity).await;
    let context = typed("ParticipantContext", json!({"@id": "acme", "identity": acme, "state": "ACTIVATED"}));
    first.must(Method::POST, "/api/mgmt/v5beta/participants", context).await;
    let policy = json!({"@id": "any", "policy": {"@type": "Set", "permission": [{"action": "use"}]}});
    let definition = json!({"@id": "offer", "accessPolicyId": "any", "contractPolicyId": "any", "assetsSelector": []});
    for (kind, resource, body) in [
        (
            "Asset",
            "assets",
            json!({"@id": "set", "properties": {}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "profiles": [], "properties": {}}}),
        ),
        ("PolicyDefinition", "policydefinitions", policy),
        ("ContractDefinition", "contractdefinitions", definition),
    ] {
        first.must(Method::POST, &format!("/api/mgmt/v5beta/participants/acme/{resource}"), typed(kind, body)).await;
    }
    // Without a way to transfer it nothing is offered.
    let authorization = json!({"type": "oauth2_client_credentials", "tokenEndpoint": peer.url("friend", "/token"), "clientId": "cp", "clientSecret": "s3cret"});
    let plane = json!({"dataplaneId": "plane", "endpoint": peer.url("friend", "/flows"), "profiles": ["HttpData-PULL"], "authorization": authorization});
    let answer = first.admin(Method::PUT, "/api/mgmt/v5beta/participants/acme/dataplanes").json(&plane).send().await.unwrap();
    let (status, told) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{told}");
    let catalog = first.tell("/catalog/request", &peer.token("friend", &acme, &json!({})), &dsp("CatalogRequestMessage", json!({}))).await;
    let offer = sharing::offers(&ok(catalog).await).remove(0);
    let message = |pid: &str| contract_request(pid, &peer.url("friend", "/dsp"), &offer, acme.as_str());
    let used = peer.token("friend", &acme, &json!({}));
    assert_eq!(first.tell("/negotiations/request", &used, &message("urn:uuid:c-1")).await.status(), StatusCode::CREATED);
    assert_eq!(first.tell("/negotiations/request", &used, &message("urn:uuid:c-2")).await.status(), StatusCode::UNAUTHORIZED);
    first.kill().await;

    let again = Up::start(dir.path(), "", Some(&secret)).await;
    assert_eq!(again.negotiations().await, ["urn:uuid:c-1"]);
    // With another message, with the same, and as often as one likes: it may have been used, so that it is neither taken nor refused for good.
    for pid in ["urn:uuid:c-2", "urn:uuid:c-1", "urn:uuid:c-2"] {
        let answer = again.tell("/negotiations/request", &used, &message(pid)).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{pid}");
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1", "{pid}");
    }
    assert_eq!(again.negotiations().await, ["urn:uuid:c-1"]);
    // One that is signed anew is taken. Its clock is as far ahead as a clock may be, so that it is soon later than the start.
    let fresh = loop {
        let token = peer.token("friend", &acme, &json!({"iat": (millis() + 900.0) / 1_000.0, "exp": now() + 60}));
        let answer = again.tell("/negotiations/request", &token, &message("urn:uuid:c-3")).await;
        if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
            break answer.status();
        }
    };
    assert_eq!(fresh, StatusCode::CREATED);
    let mut all = again.negotiations().await;
    all.sort();
    assert_eq!(all, ["urn:uuid:c-1", "urn:uuid:c-3"]);
    again.kill().await;
}
