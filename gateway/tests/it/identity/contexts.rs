//! Participant contexts: their names, their lists, and what ends with them.

use super::*;

#[tokio::test]
async fn names_belong_to_one_participant() {
    let platform = start().await;
    let create = format!("{IDENTITY}/participants");
    platform.participant("acme").await;
    for path in ["/acme/did.json", "/acme/.well-known/did.json", "/acme"] {
        let (status, document) = platform.public(path).await;
        assert_eq!((status, &document["id"]), (StatusCode::OK, &json!(platform.did("acme"))));
        assert_eq!(document["verificationMethod"][0]["id"], format!("{}#key1", platform.did("acme")));
        assert_eq!(document["capabilityInvocation"][0], document["verificationMethod"][0]["id"]);
    }
    for path in ["/other/did.json", "/.well-known/did.json", "/acme/other/did.json", "/other", "/acme/other", "/api/dsp", "/did.json"] {
        assert_eq!(platform.public(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    // In use, and used up as an id.
    assert_eq!(platform.call(Method::POST, &create, Some(platform.manifest("other", "acme"))).await.0, StatusCode::CONFLICT);
    assert_eq!(platform.call(Method::POST, &create, Some(platform.manifest("acme", "other"))).await.0, StatusCode::CONFLICT);
    assert_eq!(platform.call(Method::GET, &format!("{create}/other"), None).await.0, StatusCode::NOT_FOUND);
    // Not of this installation.
    for did in ["did:web:example.com:acme", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"] {
        let mut manifest = platform.manifest("other", "other");
        manifest["did"] = json!(did);
        assert_eq!(platform.call(Method::POST, &create, Some(manifest)).await.0, StatusCode::BAD_REQUEST);
    }
    // Under a race one wins.
    let racers = (0..8).map(|n| {
        let manifest = platform.manifest(&format!("racer-{n}"), "race");
        let platform = &platform;
        let create = &create;
        async move { platform.call(Method::POST, create, Some(manifest)).await.0 }
    });
    let statuses = futures::future::join_all(racers).await;
    assert_eq!(statuses.iter().filter(|s| **s == StatusCode::OK).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|s| *s == StatusCode::OK || *s == StatusCode::CONFLICT), "{statuses:?}");
    // Where no document could be served, and ids that do not stand in URLs.
    for (id, name) in
        [("other", "api"), ("other", "keys:a"), ("other", "a:did.json"), ("a/b", "other"), ("..", "other"), ("a%2Fb", "other")]
    {
        let answer = platform.call(Method::POST, &create, Some(platform.manifest(id, name))).await;
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{id} {name}: {}", answer.1);
    }
    // Deleted: gone for everybody. The DID is free at once, the id never again.
    platform.must(Method::DELETE, &format!("{create}/acme"), None).await;
    assert_eq!(platform.public("/acme/did.json").await.0, StatusCode::NOT_FOUND);
    assert_eq!(platform.call(Method::GET, &format!("{create}/acme"), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(platform.call(Method::POST, &create, Some(platform.manifest("acme", "acme"))).await.0, StatusCode::CONFLICT);
    platform.must(Method::POST, &create, Some(platform.manifest("acme-2", "acme"))).await;
    assert_eq!(platform.public("/acme/did.json").await.0, StatusCode::OK);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_refused_create_leaves_its_name_to_others() {
    let platform = start().await;
    let create = format!("{IDENTITY}/participants");
    let mut manifest = platform.manifest("first", "acme");
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    manifest["key"] = json!({"keyId": "k", "privateKeyAlias": "not-there", "publicKeyJwk": jwk});
    assert_eq!(platform.call(Method::POST, &create, Some(manifest.clone())).await.0, StatusCode::BAD_REQUEST);
    manifest["key"] = json!([{"keyId": "k", "privateKeyAlias": "one"}, {"keyId": "l", "privateKeyAlias": "one"}]);
    assert_eq!(platform.call(Method::POST, &create, Some(manifest)).await.0, StatusCode::CONFLICT);
    platform.must(Method::POST, &create, Some(platform.manifest("second", "acme"))).await;
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_deleted_issuer_is_inherited_by_nobody() {
    let platform = start().await;
    platform.participant("holder").await;
    platform.issuer_with(&[("holder", &["membership"])]).await;
    let holders = format!("{ISSUER_ADMIN}/holders");
    let query = format!("{holders}/query");
    assert_eq!(platform.must(Method::POST, &query, Some(json!({}))).await.as_array().unwrap().len(), 1);
    platform.must(Method::DELETE, &format!("{IDENTITY}/participants/issuer"), None).await;
    let body = json!({"holderId": "h", "did": "did:web:h.example", "name": "h", "properties": {}});
    for (method, path, body) in [
        (Method::POST, query.clone(), Some(json!({}))),
        (Method::POST, format!("{ISSUER_ADMIN}/credentials/query"), Some(json!({}))),
        (Method::GET, format!("{ISSUER_ADMIN}/credentialdefinitions/membership"), None),
        (Method::DELETE, format!("{ISSUER_ADMIN}/credentialdefinitions/membership"), None),
        (Method::PUT, holders.clone(), Some(body.clone())),
        (Method::POST, holders.clone(), Some(body)),
    ] {
        assert_eq!(platform.call(method.clone(), &path, body).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    let again = platform.manifest("issuer", "another");
    assert_eq!(platform.call(Method::POST, &format!("{IDENTITY}/participants"), Some(again)).await.0, StatusCode::CONFLICT);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn secrets_end_with_the_last_context_of_their_owner() {
    let platform = start().await;
    let vault = platform.node.app.services.vault.clone();
    let at = |owner: &str, alias: &str| VaultPath { owner: (&id_of(owner)).into(), alias: alias.parse().unwrap() };
    let management = "/api/mgmt/v5beta/participants";
    for id in ["first", "second"] {
        platform.participant(id).await;
        let body = json!({"@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "ParticipantContext", "@id": id,
            "identity": platform.did(id), "state": "ACTIVATED", "properties": {}});
        platform.must(Method::POST, management, Some(body)).await;
        vault.put_secret(&at(id, "backend"), "s3cret".to_owned().into()).await.unwrap();
        // A key pair is a name of its own, whatever else lies there.
        let pairs = format!("{IDENTITY}/participants/{id}/keypairs");
        platform.must(Method::PUT, &pairs, Some(json!({"keyId": "b", "privateKeyAlias": "backend"}))).await;
        assert!(vault.public_key(&at(id, "keypair/backend")).await.is_ok());
    }
    platform.must(Method::DELETE, &format!("{IDENTITY}/participants/first"), None).await;
    assert!(vault.public_key(&at("first", "keypair/alias1")).await.is_err());
    assert!(vault.secret(&at("first", "backend")).await.is_ok(), "the other context of that id still has it");
    // Whichever of the two goes last. The end is a row of the outbox, which nobody waits for.
    platform.must(Method::DELETE, &format!("{management}/first"), None).await;
    platform.must(Method::DELETE, &format!("{management}/second"), None).await;
    platform.must(Method::DELETE, &format!("{IDENTITY}/participants/second"), None).await;
    let gone = async {
        while vault.secret(&at("first", "backend")).await.is_ok() || vault.secret(&at("second", "backend")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn only_published_documents_are_found() {
    let platform = start().await;
    let mut manifest = platform.manifest("acme", "acme");
    manifest["active"] = json!(false);
    platform.must(Method::POST, &format!("{IDENTITY}/participants"), Some(manifest)).await;
    let base = format!("{IDENTITY}/participants/acme");
    let did = json!({"did": platform.did("acme")});
    let state = || async { platform.must(Method::POST, &format!("{base}/dids/state"), Some(did.clone())).await };
    let found = || async { platform.public("/acme/did.json").await.0 };
    assert_eq!((state().await, found().await), (json!("GENERATED"), StatusCode::NOT_FOUND));
    assert_eq!(platform.call(Method::POST, &format!("{base}/dids/publish"), Some(did.clone())).await.0, StatusCode::CONFLICT);
    platform.must(Method::POST, &format!("{base}/state?isActive=true"), None).await;
    assert_eq!((state().await, found().await), (json!("PUBLISHED"), StatusCode::OK));
    platform.must(Method::POST, &format!("{base}/dids/unpublish"), Some(did.clone())).await;
    assert_eq!((state().await, found().await), (json!("UNPUBLISHED"), StatusCode::NOT_FOUND));
    platform.must(Method::POST, &format!("{base}/dids/publish"), Some(did.clone())).await;
    let endpoints = format!(
        "{base}/dids/{}/endpoints",
        url::form_urlencoded::byte_serialize(platform.did("acme").as_str().as_bytes()).collect::<String>()
    );
    let service = json!({"id": "x", "type": "DataService", "serviceEndpoint": "https://example.com"});
    platform.must(Method::POST, &endpoints, Some(service.clone())).await;
    assert_eq!(platform.call(Method::POST, &endpoints, Some(service)).await.0, StatusCode::CONFLICT);
    let documents = platform.must(Method::POST, &format!("{base}/dids/query"), Some(json!({}))).await;
    assert_eq!(documents[0]["service"].as_array().unwrap().last().unwrap()["id"], "x");
    platform.must(Method::DELETE, &format!("{endpoints}?serviceId=x"), None).await;
    assert_eq!(platform.call(Method::DELETE, &format!("{endpoints}?serviceId=x"), None).await.0, StatusCode::NOT_FOUND);
    platform.must(Method::POST, &format!("{base}/state?isActive=false"), None).await;
    assert_eq!(found().await, StatusCode::NOT_FOUND);
    let (status, _) = platform.query_presentations("acme", "x", &[MEMBERSHIP]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn lists_over_all_participants() {
    let platform = start().await;
    for id in ["consumer", "provider", "gone"] {
        platform.participant(id).await;
    }
    platform.issuer_with(&[("consumer", &["membership", "manufacturer"]), ("provider", &["membership"])]).await;
    platform.must(Method::DELETE, &format!("{IDENTITY}/participants/gone"), None).await;
    let list = |path: &'static str| {
        let platform = &platform;
        async move { platform.must(Method::GET, &format!("{IDENTITY}{path}"), None).await.as_array().unwrap().clone() }
    };
    let ids = |all: &[Value]| all.iter().map(|one| one["participantContextId"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&list("/participants").await), ["consumer", "provider", "issuer"]);
    assert_eq!(ids(&list("/participants?offset=1&limit=1").await), ["provider"]);
    assert_eq!(list("/dids?offset=2").await[0]["id"], json!(platform.did("issuer")));
    assert_eq!(ids(&list("/keypairs").await), ["consumer", "provider", "issuer"]);
    assert_eq!(ids(&list("/credentials").await), ["consumer", "consumer", "provider"]);
    assert_eq!(ids(&list("/credentials?offset=1&limit=2").await), ["consumer", "provider"]);
    assert_eq!(ids(&list("/credentials?offset=3").await), Vec::<String>::new());
    for bad in ["/participants?limit=0", "/keypairs?offset=x", "/credentials?limit=1001"] {
        assert_eq!(platform.call(Method::GET, &format!("{IDENTITY}{bad}"), None).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    platform.node.drain(DRAIN).await;
}

/// What others have spent of a participant's budget does not make a list of all fail.
#[tokio::test]
async fn lists_of_all_wait_for_room_in_a_budget() {
    let dir = tempfile::tempdir().unwrap();
    let first = Platform::start(config(dir.path())).await;
    first.participant("p1").await;
    first.node.drain(DRAIN).await;
    let mut one = config(dir.path());
    one.cluster.owner_inbox = 1;
    let again = Platform::start(one).await;
    let services = &again.node.app.services;
    let list = || listing::contexts(services, Page { offset: 0, limit: 10 }, Listed::Context);
    // Neither the directory nor the participant is in memory, and each takes one request at a time.
    let lists = futures::future::join_all((0..4).map(|_| list())).await;
    assert!(lists.iter().all(|list| list.as_ref().is_ok_and(|found| found.len() == 1)), "{lists:?}");
    again.node.drain(DRAIN).await;
}
