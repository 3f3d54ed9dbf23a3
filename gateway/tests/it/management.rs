//! The Management API: what it promises about repeats, identities and the end of participants.

use crate::support::{DRAIN, IDENTITY, Platform, read};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const MANAGEMENT: &str = "/api/mgmt/v5beta";
const CONTEXT: &str = "https://w3id.org/edc/connector/management/v2";
/// Where nobody answers.
const NOWHERE: &str = "http://127.0.0.1:1/dsp";

fn body(kind: &str, fields: Value) -> Value {
    let mut body = json!({"@context": [CONTEXT], "@type": kind});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn context(platform: &Platform, name: &str, more: Value) -> Value {
    let mut body = body("ParticipantContext", json!({"identity": platform.did(name), "state": "ACTIVATED"}));
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

impl Platform {
    async fn keyed(&self, path: &str, key: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.admin(Method::POST, &format!("{MANAGEMENT}{path}")).header("Idempotency-Key", key).json(body);
        read(request.send().await.unwrap()).await
    }

    async fn manage(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.call(method, &format!("{MANAGEMENT}{path}"), body).await
    }

    fn negotiation(&self) -> Value {
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
    let mut status = StatusCode::CONFLICT;
    for _ in 0..1_000 {
        status = create(context(&p, "acme", json!({"@id": "other"}))).await;
        if status != StatusCode::CONFLICT {
            break;
        }
    }
    assert_eq!(status, StatusCode::OK);
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

#[tokio::test]
async fn callbacks_are_not_promised() {
    let p = Platform::temporary(|_| {}).await;
    assert_eq!(p.manage(Method::POST, "/participants", Some(context(&p, "acme", json!({"@id": "acme"})))).await.0, StatusCode::OK);
    let mut request = p.negotiation();
    request["callbackAddresses"] = json!([{"uri": "https://app.example/cb", "events": ["contract"], "transactional": true}]);
    let (status, refused) = p.manage(Method::POST, "/participants/acme/contractnegotiations", Some(request)).await;
    assert_eq!((status, &refused[0]["path"]), (StatusCode::BAD_REQUEST, &json!("$.callbackAddresses[0].transactional")));
    p.node.drain(DRAIN).await;
}
