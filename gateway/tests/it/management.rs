//! The Management API: what it promises about repeats, identities and the end of participants.

mod single_participant;

use crate::{
    stage::{self, Stage},
    support::{DRAIN, IDENTITY, PATIENCE, Platform, id_of, read, text},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

pub const MANAGEMENT: &str = "/api/mgmt/v5beta";
const CONTEXT: &str = "https://w3id.org/edc/connector/management/v2";
/// Where nobody answers.
const NOWHERE: &str = "http://127.0.0.1:1/dsp";

pub fn body(kind: &str, fields: Value) -> Value {
    let mut body = json!({"@context": [CONTEXT], "@type": kind});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

pub fn context(platform: &Platform, name: &str, more: Value) -> Value {
    let mut body = body("ParticipantContext", json!({"identity": platform.did(name), "state": "ACTIVATED"}));
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

impl Platform {
    async fn keyed(&self, path: &str, key: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.admin(Method::POST, &format!("{MANAGEMENT}{path}")).header("Idempotency-Key", key).json(body);
        read(request.send().await.unwrap()).await
    }

    pub async fn manage(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.call(method, &format!("{MANAGEMENT}{path}"), body).await
    }

    pub fn negotiation(&self) -> Value {
        let policy = json!({"@type": "Offer", "@id": "o", "assigner": self.did("provider"), "target": "a", "permission": []});
        body("ContractRequest", json!({"counterPartyAddress": NOWHERE, "policy": policy}))
    }
}

#[tokio::test]
async fn a_repeat_under_one_key_answers_the_same() {
    let p = Platform::temporary(|_| {}).await;
    let (made, first) = p.keyed("/participants", "k-participant", &context(&p, "acme", json!({}))).await;
    assert_eq!(made, StatusCode::OK, "{first}");
    let (_, again) = p.keyed("/participants", "k-participant", &context(&p, "acme", json!({}))).await;
    assert_eq!(first, again);
    let own = format!("/participants/{}", first["@id"].as_str().unwrap());
    let expression = json!({"leftOperand": "M", "expression": "true", "description": "x"});
    let (policy, mut definition) = (json!({"policy": {"@type": "Set", "permission": [{"action": "use"}]}}), json!({"assetsSelector": []}));
    let mut posts = vec![
        ("/celexpressions".to_owned(), body("CelExpression", expression)),
        ("/dcpscopes".to_owned(), body("DcpScope", json!({"value": "org.eclipse.dspace.dcp.vc.type:M:read"}))),
        (format!("{own}/assets"), body("Asset", json!({"properties": {"a": "b"}}))),
        (format!("{own}/policydefinitions"), body("PolicyDefinition", policy)),
        (format!("{own}/contractnegotiations"), p.negotiation()),
    ];
    let mut at = 0;
    while let Some((path, body)) = posts.get(at).cloned() {
        let (status, first) = p.keyed(&path, &format!("k-{at}"), &body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {first}");
        assert!(first["@id"].as_str().is_some_and(|id| !id.is_empty()), "{path}: {first}");
        assert_eq!(p.keyed(&path, &format!("k-{at}"), &body).await, (StatusCode::OK, first.clone()), "{path}");
        // Under another key it is another thing.
        let (_, other) = p.keyed(&path, &format!("other-{at}"), &body).await;
        assert_ne!(other["@id"], first["@id"], "{path}: {other}");
        if path.ends_with("policydefinitions") {
            definition["accessPolicyId"] = first["@id"].clone();
            definition["contractPolicyId"] = first["@id"].clone();
            posts.push((format!("{own}/contractdefinitions"), self::body("ContractDefinition", definition.clone())));
        }
        at += 1;
    }
    assert_eq!(at, 6);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_did_belongs_to_one_participant_and_to_this_installation() {
    let p = Platform::temporary(|_| {}).await;
    let create = async |body: Value| p.manage(Method::POST, "/participants", Some(body)).await.0;
    for did in ["did:web:evil.example:x", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"] {
        assert_eq!(create(context(&p, "x", json!({"identity": did}))).await, StatusCode::BAD_REQUEST, "{did}");
    }
    // The credential service has the name for this id, and for no other.
    p.participant("acme").await;
    assert_eq!(create(context(&p, "acme", json!({"@id": "other"}))).await, StatusCode::CONFLICT);
    assert_eq!(create(context(&p, "acme", json!({"@id": "acme"}))).await, StatusCode::OK);
    // The other way round it is the same.
    assert_eq!(create(context(&p, "first", json!({"@id": "first"}))).await, StatusCode::OK);
    let identity = |id| p.call(Method::POST, "/api/identity/v1beta/participants", Some(p.manifest(id, "first")));
    assert_eq!((identity("second").await.0, identity("first").await.0), (StatusCode::CONFLICT, StatusCode::OK));
    // Under a race one wins.
    let racers = (0..8).map(|n| create(context(&p, "race", json!({"@id": format!("racer-{n}")}))));
    let statuses = futures::future::join_all(racers).await;
    assert_eq!(statuses.iter().filter(|s| **s == StatusCode::OK).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|s| matches!(*s, StatusCode::OK | StatusCode::CONFLICT)), "{statuses:?}");
    // It does not change.
    let update = async |name: &str| p.manage(Method::PUT, "/participants/acme", Some(context(&p, name, json!({})))).await.0;
    assert_eq!((update("acme2").await, update("acme").await), (StatusCode::BAD_REQUEST, StatusCode::NO_CONTENT));
    // It is free again when both have left.
    assert_eq!(p.manage(Method::DELETE, "/participants/acme", None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(create(context(&p, "acme", json!({"@id": "other"}))).await, StatusCode::CONFLICT);
    p.must(Method::DELETE, &format!("{IDENTITY}/participants/acme"), None).await;
    let free = async {
        loop {
            let status = create(context(&p, "acme", json!({"@id": "other"}))).await;
            if status != StatusCode::CONFLICT {
                return status;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, free).await.unwrap(), StatusCode::OK);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn what_a_deleted_participant_began_is_over() {
    let p = Platform::temporary(|_| {}).await;
    p.participant("acme").await;
    assert_eq!(p.manage(Method::POST, "/participants", Some(context(&p, "acme", json!({"@id": "acme"})))).await.0, StatusCode::OK);
    let (status, begun) = p.manage(Method::POST, "/participants/acme/contractnegotiations", Some(p.negotiation())).await;
    assert_eq!(status, StatusCode::OK, "{begun}");
    let own = format!("/participants/acme/contractnegotiations/{}", begun["@id"].as_str().unwrap());
    for path in [own.clone(), format!("{own}/state")] {
        assert_eq!(p.manage(Method::GET, &path, None).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(p.manage(Method::DELETE, "/participants/acme", None).await.0, StatusCode::NO_CONTENT);
    let address = cellspace_cluster::Address::of::<cellspace_actors::ControlPlane>(&crate::support::id_of("acme"));
    let services = &p.node.app.services;
    let at_rest = services.cluster.read::<cellspace_actors::ControlPlane, _>(&address, |state| state.is_at_rest()).await.unwrap();
    assert!(at_rest, "the deletion was answered before the negotiation was over");
    for path in [own.clone(), format!("{own}/state"), "/participants/acme".to_owned()] {
        assert_eq!(p.manage(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(p.manage(Method::DELETE, "/participants/acme", None).await.0, StatusCode::NOT_FOUND);
    p.node.drain(DRAIN).await;
}

/// The participant context that a PUT changes is the one that its body names.
#[tokio::test]
async fn the_body_says_which_participant_is_changed() {
    let p = Platform::temporary(|_| {}).await;
    for id in ["acme", "other"] {
        assert_eq!(p.manage(Method::POST, "/participants", Some(context(&p, id, json!({"@id": id})))).await.0, StatusCode::OK);
    }
    let tier = async |id: &str| p.manage(Method::GET, &format!("/participants/{id}"), None).await.1["properties"]["tier"].clone();
    let gold = |id: Option<&str>, of: &str, tier: &str| {
        let mut body = context(&p, of, json!({"properties": {"tier": tier}}));
        id.into_iter().for_each(|id| body["@id"] = json!(id));
        body
    };
    for (body, expected) in [
        (gold(Some("other"), "other", "gold"), StatusCode::NO_CONTENT),
        (gold(None, "acme", "silver"), StatusCode::NO_CONTENT),
        (gold(Some("nobody"), "other", "lead"), StatusCode::NOT_FOUND),
    ] {
        assert_eq!(p.manage(Method::PUT, "/participants/acme", Some(body)).await.0, expected);
    }
    assert_eq!((tier("acme").await, tier("other").await), (json!("silver"), json!("gold")));
    // Who is bound to one participant changes that alone.
    let secret = p.client(json!({"id": "agents", "role": "provisioner", "mayExchange": true})).await;
    let subject = p.token_of("agents", &secret).await;
    p.map("agents", "acme", &["management-api:admin"]).await;
    let token = text(&p.exchange(&subject, "acme").await.1, "access_token");
    for (id, expected) in [("other", StatusCode::FORBIDDEN), ("acme", StatusCode::NO_CONTENT)] {
        let request = p.bare(Method::PUT, &format!("{MANAGEMENT}/participants/acme")).bearer_auth(&token);
        let (status, answer) = read(request.json(&gold(Some(id), id, "bronze")).send().await.unwrap()).await;
        assert_eq!(status, expected, "{answer}");
    }
    assert_eq!((tier("acme").await, tier("other").await), (json!("bronze"), json!("gold")));
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn participants_are_listed() {
    let p = Platform::temporary(|_| {}).await;
    let path = |query: &str| format!("{MANAGEMENT}/participants{query}");
    for name in ["a", "b", "c"] {
        p.must(Method::POST, &path(""), Some(context(&p, name, json!({"@id": name})))).await;
        // A list has them as soon as the directory was told.
        while p.must(Method::GET, &path(""), None).await.as_array().unwrap().iter().all(|listed| listed["@id"] != name) {
            tokio::task::yield_now().await;
        }
    }
    let page = p.admin(Method::GET, &path("?offset=1&limit=1")).send().await.unwrap();
    assert_eq!((page.status(), page.headers()["x-total-count"].to_str().unwrap()), (StatusCode::OK, "3"));
    let link = page.headers()["link"].to_str().unwrap().to_owned();
    assert!(link.contains("offset=2&limit=1>; rel=\"next\"") && link.contains("offset=0&limit=1>; rel=\"prev\""), "{link}");
    let page: Value = page.json().await.unwrap();
    assert_eq!(page.as_array().unwrap().len(), 1);
    assert_eq!(page[0], p.must(Method::GET, &path("/b"), None).await);
    assert_eq!(p.call(Method::GET, &path("?limit=0"), None).await.0, StatusCode::BAD_REQUEST);
    p.must(Method::DELETE, &path("/b"), None).await;
    let ids = |all: &Value| all.as_array().unwrap().iter().map(|one| one["@id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&p.must(Method::GET, &path(""), None).await), ["a", "c"]);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn versions_of_a_counterparty_are_discovered() {
    // What is changed in a DID document is seen at once.
    let stage = Stage::with(|config| config.trust.did_document_age = Duration::ZERO).await;
    let ask = async |fields: Value| {
        let answer = stage.manage(&stage.consumer, Method::POST, "discover/request", Some(body("DiscoveryRequest", fields))).await;
        (answer.status, answer.body)
    };
    let urls = &stage.node().urls;
    let versions = urls.dsp_versions(&stage::context(&stage.provider));
    let base = versions.strip_suffix("/.well-known/dspace-version").unwrap();
    let mut answers = Vec::new();
    for named in [
        json!({"counterPartyId": stage.provider.did}),
        json!({"counterPartyAddress": versions}),
        // The address goes before the DID.
        json!({"counterPartyId": "did:web:nobody.invalid", "counterPartyAddress": base}),
    ] {
        let (status, found) = ask(named.clone()).await;
        assert_eq!((status, found.as_array().map(Vec::len)), (200, Some(1)), "{named}: {found}");
        answers.push(found[0].clone());
    }
    let found = &answers[0];
    assert_eq!((&found["@type"], &found["version"], &found["binding"]), (&json!("DiscoveryResponse"), &json!("2025-1"), &json!("HTTPS")));
    assert_eq!(found["counterParty"]["dataServiceEndpoint"], versions);
    assert_eq!(found["counterParty"]["counterPartyAddress"], stage.provider.dsp);
    assert!(answers.iter().all(|answer| answer == found), "{answers:?}");
    // One that names only where it takes messages tells its versions one level above.
    let did: String = url::form_urlencoded::byte_serialize(stage.provider.did.as_bytes()).collect();
    let context = &stage.provider.context;
    let service = format!("{IDENTITY}/participants/{context}/dids/{did}/endpoints?serviceId={context}-dataservice");
    stage.base.must(Method::DELETE, &service, None).await;
    let (status, found) = ask(json!({"counterPartyId": stage.provider.did})).await;
    assert_eq!((status, &found[0]), (200, &answers[0]), "{found}");
    // Whoever does not answer with versions is a bad gateway, and nobody is no counterparty.
    assert_eq!(ask(json!({"counterPartyAddress": NOWHERE})).await.0, 502);
    assert_eq!(ask(json!({"counterPartyAddress": urls.public("/keys")})).await.0, 502);
    assert_eq!(ask(json!({"counterPartyId": "did:web:nobody.invalid"})).await.0, 502);
    assert_eq!(ask(json!({})).await.0, 400);
    stage.close().await;
}

/// Secrets are kept where nothing shows them, told to who may write them, and gone with their participant.
#[tokio::test]
async fn secrets_are_the_participants_own() {
    let p = Platform::temporary(|_| {}).await;
    p.participant("acme").await;
    let made = p.manage(Method::POST, "/participants", Some(context(&p, "acme", json!({"@id": "acme"})))).await;
    assert_eq!(made.0, StatusCode::OK);
    let own = "/participants/acme/secrets";
    let secret = |id: &str, value: Value| Some(body("Secret", json!({"@id": id, "value": value})));
    let one = format!("{own}/cb-key");
    assert_eq!(p.manage(Method::PUT, own, secret("cb-key", json!("s3cret"))).await.0, StatusCode::NOT_FOUND);
    let (status, made) = p.manage(Method::POST, own, secret("cb-key", json!("s3cret"))).await;
    assert_eq!((status, &made["@id"]), (StatusCode::OK, &json!("cb-key")), "{made}");
    assert_eq!(p.manage(Method::POST, own, secret("cb-key", json!("s3cret-2"))).await.0, StatusCode::CONFLICT);
    let answer = p.admin(Method::GET, &format!("{MANAGEMENT}{one}")).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let shown = read(answer).await.1;
    assert_eq!(shown, body("Secret", json!({"@id": "cb-key", "value": "s3cret", "createdAt": made["createdAt"]})));
    assert_eq!(p.manage(Method::PUT, own, secret("cb-key", json!("other"))).await.0, StatusCode::NO_CONTENT);
    assert_eq!(p.manage(Method::GET, &one, None).await.1["value"], "other");
    // A key changes nothing, since nothing is kept by which the value could be tried: the secret is known again by its id.
    for value in ["one", "two", "other"] {
        let keyed = p.admin(Method::PUT, &format!("{MANAGEMENT}{own}")).header("idempotency-key", "k");
        let replaced = read(keyed.json(&secret("cb-key", json!(value))).send().await.unwrap()).await;
        assert_eq!(replaced.0, StatusCode::NO_CONTENT, "{value}: {}", replaced.1);
    }
    // What is wrong with it is told without it.
    let (status, wrong) = p.manage(Method::POST, own, secret("long", json!("s3cret".repeat(20_000)))).await;
    assert_eq!((status, &wrong[0]["path"], &wrong[0]["invalidValue"]), (StatusCode::BAD_REQUEST, &json!("$.value"), &Value::Null));
    // Who only reads sees which there are.
    let client = json!({"id": "dashboard", "role": "participant", "participantContext": "acme", "scopes": ["management-api:read"]});
    let reader = p.client(client).await;
    let reader = p.token_of("dashboard", &reader).await;
    let reads = async |method: Method, path: &str| {
        let request = p.bare(method, &format!("{MANAGEMENT}{path}")).bearer_auth(&reader).json(&body("QuerySpec", json!({})));
        read(request.send().await.unwrap()).await
    };
    let listed = body("Secret", json!({"@id": "cb-key", "createdAt": made["createdAt"]}));
    assert_eq!(reads(Method::POST, &format!("{own}/request")).await, (StatusCode::OK, json!([listed])));
    assert_eq!(reads(Method::GET, &one).await.0, StatusCode::FORBIDDEN);

    // Its record is not readable in the store, and leaves the vault with the participant, though the credential service's keys stay.
    let services = &p.node.app.services;
    let address = cellspace_cluster::Address::of::<cellspace_actors::ControlPlane>(&id_of("acme"));
    let id = "cb-key".parse().unwrap();
    let read = services.cluster.read::<cellspace_actors::ControlPlane, _>(&address, |state| state.secrets.get(&id).cloned());
    let kept = read.await.unwrap().unwrap();
    assert!(!serde_json::to_string(&*kept).unwrap().contains("other"));
    let at = |alias: &str| cellspace_storage::VaultPath { owner: (&id_of("acme")).into(), alias: alias.parse().unwrap() };
    assert!(services.vault.secret(&at(kept.record.as_str())).await.is_ok());
    // What a crash left between vault and row goes with them.
    services.vault.put_secret(&at("secret/left"), "s3cret".to_owned().into()).await.unwrap();
    assert_eq!(p.manage(Method::DELETE, "/participants/acme", None).await.0, StatusCode::NO_CONTENT);
    let none = |state: &cellspace_actors::control_plane::ControlPlaneState| (state.secrets.iter().count() == 0).then_some(());
    let gone = services.cluster.wait::<cellspace_actors::ControlPlane, _>(&address, std::time::Duration::from_secs(20), none);
    assert_eq!(gone.await.unwrap(), Some(()));
    for record in ["secret/left", kept.record.as_str()] {
        assert!(services.vault.secret(&at(record)).await.is_err(), "{record}");
    }
    assert!(services.vault.public_key(&at("keypair/alias1")).await.is_ok());
    assert_eq!(p.manage(Method::GET, &one, None).await.0, StatusCode::NOT_FOUND);
    p.node.drain(DRAIN).await;
}
