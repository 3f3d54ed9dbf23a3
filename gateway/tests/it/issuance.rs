//! Credential issuance over real sockets: issuer and holder are two participants of one node and talk like strangers.

mod attested;
mod lists;

use crate::{
    identity::claims,
    support::{DRAIN, IDENTITY, ISSUER_ADMIN, Platform, config, id_of},
};
use attested::Office;
use cellspace::NodeConfig;
use cellspace_actors::{
    credential_service::{self, CredentialService},
    issuer::{Issuer, issuance::State},
    trust,
};
use cellspace_cluster::Address;
use cellspace_schemas::{dcp::CredentialFormat, issuer::CredentialId};
use lists::bit;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};

const CONTEXT: &str = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld";

async fn start(dir: &Path) -> Platform {
    Platform::start(NodeConfig { status_list_age: Duration::from_secs(2), ..config(dir) }).await
}

impl Platform {
    /// An issuer `issuer` that knows `acme` and issues both formats, and a second participant `stranger` that it does not know.
    pub async fn seeded(dir: &Path) -> Self {
        let platform = start(dir).await;
        platform.fill().await;
        platform
    }

    async fn fill(&self) {
        for name in ["issuer", "acme", "stranger"] {
            self.participant(name).await;
        }
        let acme =
            json!({"holderId": "acme", "did": self.did("acme"), "name": "Acme", "properties": {"signed": true, "since": "2026-01-01"}});
        self.made("holders", acme).await;
        self.made("attestations", json!({"id": "registration", "attestationType": "holder", "configuration": {}})).await;
        for (id, format) in [("membership", "vc20-bssl/jwt"), ("manufacturer", "VC1_0_JWT")] {
            self.made("credentialdefinitions", definition(id, format)).await;
        }
    }

    pub fn identity(&self, method: Method, path: &str) -> RequestBuilder {
        self.admin(method, &format!("{IDENTITY}{path}"))
    }

    pub fn issuer(&self, method: Method, path: &str) -> RequestBuilder {
        self.admin(method, &format!("{ISSUER_ADMIN}/{path}"))
    }

    pub async fn made(&self, resource: &str, body: Value) {
        let answer = self.issuer(Method::POST, resource).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{resource}");
        let location = answer.headers()[header::LOCATION].to_str().unwrap();
        assert!(location.starts_with(&format!("{ISSUER_ADMIN}/{resource}/")), "{location}");
    }

    pub async fn query(&self, resource: &str, query: Value) -> Vec<Value> {
        let answer = self.issuer(Method::POST, &format!("{resource}/query")).json(&query).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{resource}");
        answer.json().await.unwrap()
    }

    /// A request through the holder's Identity API, waited for.
    async fn issue(&self, holder: &str, holder_pid: &str) -> Value {
        let body = json!({"issuerDid": self.did("issuer"), "holderPid": holder_pid, "credentials": [
            {"format": "vc20-bssl/jwt", "type": "membershipCredential", "id": "membership"},
            {"format": "vc11-sl2021/jwt", "type": "manufacturerCredential", "id": "manufacturer"}
        ]});
        let answer = self.identity(Method::POST, &format!("/participants/{holder}/credentials/request")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let path = format!("/participants/{holder}/credentials/request/{holder_pid}?wait=ISSUED&timeout=30s");
        self.identity(Method::GET, &path).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until every process of the issuer is DELIVERED.
    async fn all_delivered(&self) {
        let address = Address::of::<Issuer>(&id_of("issuer"));
        let delivered = self.node.app.services.cluster.wait::<Issuer, _>(&address, DRAIN, |state| {
            state.processes.values().all(|process| process.state == State::Delivered).then_some(())
        });
        assert_eq!(delivered.await.unwrap(), Some(()));
    }

    /// An ID token of `from` for `audience`.
    pub async fn id_token(&self, from: &str, audience: &str) -> String {
        trust::token_with_access(&self.node.app.services, &id_of(from), &self.did(audience), None).await.unwrap()
    }

    pub fn issuance(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.node.urls.issuer_service(&id_of("issuer")));
        self.http.request(method, url).bearer_auth(token)
    }

    pub async fn ask_as(&self, from: &str, body: &Value) -> Response {
        let token = self.id_token(from, "issuer").await;
        self.issuance(Method::POST, "/credentials", &token).json(body).send().await.unwrap()
    }

    async fn list(&self, list: &str, accept: &str) -> Response {
        let url = self.node.urls.status_list(&id_of("issuer"), list);
        self.http.get(url).header(header::ACCEPT, accept).send().await.unwrap()
    }
}

pub fn definition(id: &str, format: &str) -> Value {
    json!({
        "id": id, "credentialType": format!("{id}Credential"), "format": format, "validity": "604800", "attestations": ["registration"],
        "rules": [{"type": "expression", "configuration": {"claim": "signed", "operator": "eq", "value": true}}],
        "mappings": [{"input": "since", "output": "credentialSubject.since", "required": "true"}, {"input": "id", "output": "credentialSubject.id"}]
    })
}

pub fn request(holder_pid: &str, ids: &[&str]) -> Value {
    let credentials: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    json!({"@context": [CONTEXT], "type": "CredentialRequestMessage", "holderPid": holder_pid, "credentials": credentials})
}

pub fn location(answer: &Response) -> String {
    answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

fn tag(answer: &Response) -> String {
    answer.headers()[header::ETAG].to_str().unwrap().to_owned()
}

/// With a participant `acme`, and an issuer `shop` that is none of ours and answers everything with this status.
async fn with_shop(dir: &Path, status: u16) -> (Platform, Arc<Office>) {
    let platform = start(dir).await;
    platform.participant("acme").await;
    let shop = Arc::new(Office::default());
    *shop.says.lock() = (status, json!({}));
    let mut manifest = platform.manifest("shop", "shop");
    manifest["serviceEndpoints"] = json!([{"id": "shop-issuer", "type": "IssuerService", "serviceEndpoint": shop.open().await}]);
    assert!(platform.identity(Method::POST, "/participants").json(&manifest).send().await.unwrap().status().is_success());
    (platform, shop)
}

#[tokio::test]
async fn a_request_carries_the_code_by_which_its_issuer_has_authorized_it() {
    let dir = tempfile::tempdir().unwrap();
    let (platform, shop) = with_shop(dir.path(), 201).await;
    let ask = async |holder_pid: &str, code: Option<&str>| {
        let body = json!({"issuerDid": platform.did("shop"), "holderPid": holder_pid, "preAuthorizedCode": code,
            "credentials": [{"format": "vc20-bssl/jwt", "type": "Member", "id": "m"}]});
        platform.identity(Method::POST, "/participants/acme/credentials/request").json(&body).send().await.unwrap().status()
    };
    for (holder_pid, code) in [("with", Some("SplxlOBe")), ("without", None)] {
        assert_eq!(ask(holder_pid, code).await, StatusCode::CREATED);
        let path = format!("/participants/acme/credentials/request/{holder_pid}?wait=REQUESTED&timeout=20s");
        let request: Value = platform.identity(Method::GET, &path).send().await.unwrap().json().await.unwrap();
        assert_eq!(request["status"], "REQUESTED", "{request}");
        assert!(!request.to_string().contains("SplxlOBe"), "{request}");
        let (token, message) = shop.asked.lock().pop().unwrap();
        let claims = claims(&token);
        assert_eq!((&message["holderPid"], &claims["aud"]), (&json!(holder_pid), &json!(platform.did("shop"))));
        assert_eq!(claims.get("pre-authorized_code"), code.map(|code| json!(code)).as_ref());
    }
    for bad in [String::new(), "x".repeat(2_049)] {
        assert_eq!(ask("bad", Some(&bad)).await, StatusCode::BAD_REQUEST);
    }
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn what_an_offer_says_of_its_objects_is_not_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    // It has no metadata.
    let (platform, _) = with_shop(dir.path(), 404).await;
    let rules = json!([{"issuer": platform.did("shop"), "types": ["Member"]}]);
    assert!(
        platform
            .identity(Method::PUT, "/participants/acme/credentials/offers/rules")
            .json(&rules)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let offer = async |objects: Value| {
        let body = json!({"@context": [CONTEXT], "type": "CredentialOfferMessage", "issuer": platform.did("shop"), "credentials": objects});
        let url = format!("{}/offers", platform.node.urls.credential_service(&id_of("acme")));
        let token = platform.id_token("shop", "acme").await;
        platform.http.post(url).bearer_auth(token).json(&body).send().await.unwrap().status()
    };
    let address = Address::of::<CredentialService>(&id_of("acme"));
    let asked = || async {
        let asked = |state: &credential_service::State| {
            Some(
                state
                    .requests
                    .values()
                    .flat_map(|request| request.asked.iter())
                    .map(|asked| (asked.id.to_string(), asked.format))
                    .collect::<Vec<_>>(),
            )
        };
        platform.node.app.services.cluster.wait::<CredentialService, _>(&address, DRAIN, asked).await.unwrap().unwrap()
    };
    // Sparse ones are described by metadata alone.
    assert_eq!(offer(json!([{"id": "m", "type": "CredentialObject"}])).await, StatusCode::OK);
    assert!(asked().await.is_empty());
    let whole = |id: &str| json!({"id": id, "type": "CredentialObject", "credentialType": "Member", "profile": "vc11-sl2021/jwt"});
    assert_eq!(offer(json!([whole("m"), {"id": "n", "credentialType": "Member"}])).await, StatusCode::OK);
    assert_eq!(asked().await, [("m".to_owned(), CredentialFormat::Vc1Jwt)]);
    let mut long = whole("m");
    long["offerReason"] = json!("x".repeat(513));
    assert_eq!(offer(json!([long])).await, StatusCode::BAD_REQUEST);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_credential_is_renewed_before_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::seeded(dir.path()).await;
    let brief = Value::Object(
        definition("brief", "vc20-bssl/jwt").as_object().unwrap().clone().into_iter().chain([("validity".into(), json!(4))]).collect(),
    );
    platform.made("credentialdefinitions", brief).await;
    let body = json!({"issuerDid": platform.did("issuer"), "holderPid": "hp-1",
        "credentials": [{"format": "vc20-bssl/jwt", "type": "briefCredential", "id": "brief"}]});
    let asked = platform.identity(Method::POST, "/participants/acme/credentials/request").json(&body).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::CREATED);
    let address = Address::of::<CredentialService>(&id_of("acme"));
    let services = &platform.node.app.services;
    // The second one takes the place of the first, the third that of the second.
    let mut seen: Vec<CredentialId> = Vec::new();
    for _ in 0..3 {
        let fresh = |state: &credential_service::State| {
            let held: Vec<CredentialId> = state.credentials.keys().cloned().collect();
            (held.len() == 1 && !seen.contains(&held[0])).then(|| (held[0].clone(), state.requests.size()))
        };
        let (held, requests) = services.cluster.wait::<CredentialService, _>(&address, DRAIN, fresh).await.unwrap().unwrap();
        assert_eq!(requests, if seen.is_empty() { 1 } else { 2 }, "the first request, and the renewal");
        seen.push(held);
    }
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn credentials_are_issued_revoked_and_still_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::seeded(dir.path()).await;
    let issued = platform.issue("acme", "hp-1").await;
    assert_eq!(issued["status"], "ISSUED", "{issued}");

    // Both sides agree on what was issued, the issuer a moment later.
    platform.all_delivered().await;
    let process = platform.query("issuanceprocesses", json!({})).await.remove(0);
    assert_eq!((&process["state"], &process["holderPid"]), (&json!("DELIVERED"), &json!("hp-1")));
    assert_eq!(process["id"], issued["issuerPid"]);
    let held = platform.identity(Method::GET, "/participants/acme/credentials?type=membershipCredential").send().await.unwrap();
    let held: Vec<Value> = held.json().await.unwrap();
    assert_eq!(held.len(), 1);
    let criteria = json!({"filterExpression": [
        {"operandLeft": "verifiableCredential.credential.type", "operator": "contains", "operandRight": "membershipCredential"},
        {"operandLeft": "holderId", "operator": "=", "operandRight": "acme"}
    ]});
    let credentials = platform.query("credentials", criteria).await;
    assert_eq!(credentials.len(), 1, "{credentials:?}");
    let credential = &credentials[0];
    assert_eq!(credential["credential"]["id"], held[0]["verifiableCredential"]["credential"]["id"]);
    let subject = json!({"id": platform.did("acme"), "since": "2026-01-01"});
    assert_eq!(credential["credential"]["credentialSubject"][0], subject);

    // Revocation shows in the list that is served.
    let id = credential["id"].as_str().unwrap();
    let entry = &credential["credential"]["credentialStatus"][0];
    let index: usize = entry["statusListIndex"].as_str().unwrap().parse().unwrap();
    let name = entry["statusListCredential"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let before = platform.list(&name, "application/json").await;
    let (tag_before, list) = (tag(&before), before.json::<Value>().await.unwrap());
    assert!(!bit(&list, index));
    for _ in 0..2 {
        let revoked = platform.issuer(Method::POST, &format!("credentials/{id}/revoke")).send().await.unwrap();
        assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    }
    let after = platform.list(&name, "application/json").await;
    assert_ne!(tag(&after), tag_before);
    assert!(bit(&after.json().await.unwrap(), index));
    let status = platform.issuer(Method::GET, &format!("credentials/{id}/status")).send().await.unwrap();
    assert_eq!(status.json::<Value>().await.unwrap(), json!({"credentialId": id, "status": "revoked", "reason": null}));
    let resumed = platform.issuer(Method::POST, &format!("credentials/{id}/resume")).send().await.unwrap();
    assert_eq!(resumed.status(), StatusCode::CONFLICT);

    platform.node.drain(DRAIN).await;
    let again = start(dir.path()).await;
    assert!(bit(&again.list(&name, "application/json").await.json().await.unwrap(), index));
    assert_eq!(again.query("issuanceprocesses", json!({})).await.remove(0), process);
    again.node.drain(DRAIN).await;
}

#[tokio::test]
async fn requests_are_judged_by_sender_and_content() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::seeded(dir.path()).await;

    for (name, body, status) in [
        ("empty", request("hp", &[]), 400),
        ("twice", request("hp", &["membership", "membership"]), 400),
        ("unknown", request("hp", &["gold"]), 400),
        (
            "other context",
            json!({"@context": ["https://example.com"], "type": "CredentialRequestMessage", "holderPid": "hp", "credentials": [{"id": "membership"}]}),
            400,
        ),
        ("no holderPid", json!({"@context": [CONTEXT], "type": "CredentialRequestMessage", "credentials": [{"id": "membership"}]}), 400),
        (
            "other type",
            json!({"@context": [CONTEXT], "type": "CredentialMessage", "holderPid": "hp", "credentials": [{"id": "membership"}]}),
            400,
        ),
    ] {
        assert_eq!(platform.ask_as("acme", &body).await.status(), status, "{name}");
    }
    let good = request("hp-1", &["membership"]);
    assert_eq!(platform.ask_as("stranger", &good).await.status(), 401);
    let wrong_audience = platform.id_token("acme", "stranger").await;
    for token in [wrong_audience.as_str(), "no.jwt.atall"] {
        assert_eq!(platform.issuance(Method::POST, "/credentials", token).json(&good).send().await.unwrap().status(), 401);
    }
    let bare = platform.http.post(format!("{}/credentials", platform.node.urls.issuer_service(&id_of("issuer"))));
    assert_eq!(bare.json(&good).send().await.unwrap().status(), 401);
    let elsewhere = platform.http.post(format!("{}/credentials", platform.node.urls.issuer_service(&id_of("nobody"))));
    assert_eq!(elsewhere.bearer_auth("x").json(&good).send().await.unwrap().status(), 404);
    assert_eq!(platform.query("issuanceprocesses", json!({})).await.len(), 0, "nothing refused is stored");

    // A token is used once, a request has one process.
    let token = platform.id_token("acme", "issuer").await;
    let first = platform.issuance(Method::POST, "/credentials", &token).json(&good).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(platform.issuance(Method::POST, "/credentials", &token).json(&good).send().await.unwrap().status(), 401);
    let repeat = platform.ask_as("acme", &good).await;
    assert_eq!((repeat.status(), location(&repeat)), (StatusCode::CREATED, location(&first)));
    assert_eq!(platform.ask_as("acme", &request("hp-1", &["manufacturer"])).await.status(), 409);
    assert_eq!(platform.query("credentials", json!({})).await.len(), 1);

    // Only the requester sees its request.
    let path = format!("/requests/{}", location(&first).rsplit('/').next().unwrap());
    let own = platform.issuance(Method::GET, &path, &platform.id_token("acme", "issuer").await).send().await.unwrap();
    let own: Value = own.json().await.unwrap();
    assert_eq!((&own["type"], &own["holderPid"]), (&json!("CredentialStatus"), &json!("hp-1")));
    let other = platform.issuance(Method::GET, &path, &platform.id_token("stranger", "issuer").await).send().await.unwrap();
    let none = platform.issuance(Method::GET, "/requests/none", &platform.id_token("acme", "issuer").await).send().await.unwrap();
    assert_eq!((other.status().as_u16(), none.status().as_u16()), (404, 404));
    assert_eq!(other.text().await.unwrap(), none.text().await.unwrap());

    let metadata: Value = platform.issuance(Method::GET, "/metadata", "").send().await.unwrap().json().await.unwrap();
    assert_eq!(metadata["issuer"], json!(platform.did("issuer")));
    let profiles: Vec<&Value> = metadata["credentialsSupported"].as_array().unwrap().iter().map(|o| &o["profile"]).collect();
    assert_eq!(profiles, ["vc11-sl2021/jwt", "vc20-bssl/jwt"]);
    // Each names the schema that the operator names, or that it has given.
    let mut given = definition("given/1", "vc20-bssl/jwt");
    let schema = json!({"properties": {"since": {"type": "string"}}});
    (given["credentialType"], given["jsonSchema"]) = (json!("Given"), json!(schema.to_string()));
    platform.made("credentialdefinitions", given.clone()).await;
    (given["id"], given["jsonSchemaUrl"]) = (json!("named"), json!("https://schemas.example/member.json"));
    platform.made("credentialdefinitions", given).await;
    let metadata: Value = platform.issuance(Method::GET, "/metadata", "").send().await.unwrap().json().await.unwrap();
    let mut served = 0;
    for object in metadata["credentialsSupported"].as_array().unwrap() {
        let url = object["credentialSchema"].as_str().unwrap();
        if object["id"] == "named" {
            assert_eq!(url, "https://schemas.example/member.json");
            continue;
        }
        let answer = platform.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{url}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/schema+json");
        let expected = if object["id"] == "given/1" { schema.clone() } else { json!({}) };
        assert_eq!(answer.json::<Value>().await.unwrap(), expected);
        served += 1;
    }
    assert_eq!(served, 3);
    let unknown = format!("{}/schemas/none", platform.node.urls.issuer_service(&id_of("issuer")));
    assert_eq!(platform.http.get(unknown).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn operators_get_the_promised_answers() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::seeded(dir.path()).await;
    let unknown_source = json!({"id": "a-2", "attestationType": "crystal-ball"});
    let acme = json!({"holderId": "acme", "did": platform.did("acme"), "name": "Acme"});
    let clash = json!({"holderId": "acme-2", "did": platform.did("acme"), "name": "Acme"});
    for (method, path, body, status) in [
        (Method::POST, "holders", acme.clone(), 409),
        (Method::POST, "holders", clash, 409),
        (Method::POST, "holders", json!({"holderId": "x", "did": "acme"}), 400),
        (Method::PUT, "holders", acme, 200),
        (Method::PUT, "holders", json!({"holderId": "x", "did": "did:web:x"}), 404),
        (Method::POST, "attestations", unknown_source, 400),
        (Method::POST, "credentialdefinitions", definition("membership", "VC2_0_JOSE"), 409),
        (Method::POST, "credentialdefinitions", definition("paper", "paper"), 400),
        (Method::PUT, "credentialdefinitions", definition("membership", "VC2_0_JOSE"), 200),
        (Method::DELETE, "attestations/registration", json!(null), 409),
        (Method::DELETE, "credentialdefinitions/gold", json!(null), 404),
        (Method::GET, "credentialdefinitions/membership", json!(null), 200),
        (Method::GET, "holders/nobody", json!(null), 404),
        (Method::POST, "holders/query", json!({"limit": 0}), 400),
        (
            Method::POST,
            "credentials/query",
            json!({"filterExpression": [{"operandLeft": "secret", "operator": "=", "operandRight": 1}]}),
            400,
        ),
        (Method::POST, "credentials/none/revoke", json!({}), 404),
        (Method::POST, "credentials/offer", json!({"holderId": "acme", "credentials": ["membership"]}), 204),
        (Method::POST, "credentials/offer", json!({"holderId": "acme", "credentials": []}), 400),
    ] {
        let answer = platform.issuer(method.clone(), path).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path} {body}");
        if status >= 400 {
            assert!(answer.json::<Value>().await.unwrap()[0]["message"].is_string(), "{method} {path}");
        }
    }
    // A DID as holder id, put into the path as it is, or encoded.
    for encode in [false, true] {
        let did = platform.did("stranger").to_string();
        platform.made("holders", json!({"holderId": did, "did": did})).await;
        let path = if encode { did.replace('%', "%25") } else { did };
        assert_eq!(platform.issuer(Method::GET, &format!("holders/{path}")).send().await.unwrap().status(), 200);
        assert_eq!(platform.issuer(Method::DELETE, &format!("holders/{path}")).send().await.unwrap().status(), 204);
    }
    // No issuer without a participant context.
    let nobody = platform.node.urls.admin("/api/admin/v1beta/participants/nobody/attestations");
    let body = json!({"id": "a", "attestationType": "holder"});
    assert_eq!(platform.http.post(nobody).bearer_auth(&platform.token).json(&body).send().await.unwrap().status(), 404);
    platform.node.drain(DRAIN).await;
}
