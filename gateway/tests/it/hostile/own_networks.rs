//! Addresses within our own networks.

use super::{TIMEOUT, did_key, management};
use crate::{
    data_plane::{PROFILE, typed},
    hostile_peer::{Peer, forbidden_ground, now, sign},
    stage::contract_request,
    support::{DRAIN, Platform, text},
};
use aws_lc_rs::signature::KeyPair;
use cellspace_client::sharing;
use cellspace_schemas::Did;
use reqwest::{Method, StatusCode};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn own_networks_are_not_called_unless_they_may_be() {
    let p = Platform::temporary(|config| {
        config.allow_private_targets = Some(false);
        config.outbound.timeout = TIMEOUT;
    })
    .await;
    let (ground, visits) = forbidden_ground().await;
    let port = ground.port();
    let (acme, own) = (p.full_participant("acme").await, p.did("acme"));
    let peer = Peer::start().await;

    // Senders whose DID leads into our networks, in all spellings that a DID may have.
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
    ] {
        let did = format!("did:web:{host}%3A{port}:x");
        let claims = json!({"iss": did, "sub": did, "aud": own, "jti": host, "iat": now(), "exp": now() + 60});
        let header = json!({"alg": "EdDSA", "kid": format!("{did}#key-1")});
        let token = sign(&peer.key("x"), &header.to_string(), &claims.to_string());
        let (status, body) = p.catalog_for("acme", &token).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{host}: {body}");
        // Why not, is nobody's business but ours: what is in our networks cannot be probed.
        assert_eq!(body["reason"][0], format!("the DID document of {did} cannot be fetched"), "{host}");
    }

    // Addresses that a participant of ours names.
    for address in [
        format!("http://127.0.0.1:{port}/dsp"),
        format!("https://127.0.0.1:{port}/dsp"),
        format!("https://[::1]:{port}/dsp"),
        format!("https://[::ffff:127.0.0.1]:{port}/dsp"),
        format!("https://localhost:{port}/dsp"),
        format!("https://localhost.:{port}/dsp"),
        format!("https://0x7f.1:{port}/dsp"),
        "https://169.254.169.254/latest".to_owned(),
        "http://example.com/dsp".to_owned(),
    ] {
        let body = json!({"profile": PROFILE, "counterPartyAddress": address, "counterPartyId": "did:web:example.com"});
        let (status, answer) = p.call(Method::POST, &management("acme", "catalog/request"), Some(typed("CatalogRequest", body))).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{address}: {answer}");
        let told = text(&answer[0], "message");
        assert!(told.contains("is not an allowed target") || told.contains("no public address"), "{address}: {told}");
        let plane = json!({"dataplaneId": "p", "endpoint": address, "profiles": ["X-PULL"],
            "authorization": {"type": "oauth2_client_credentials", "tokenEndpoint": address, "clientId": "c", "clientSecret": "s"}});
        drop(p.as_client(&acme, Method::PUT, &management("acme", "dataplanes"), Some(&plane)).await);
        let source = json!({"baseUrl": address});
        let (status, answer) = p.as_client(&acme, Method::PUT, "/participants/acme/sources/s", Some(&source)).await;
        assert!(status == StatusCode::BAD_REQUEST || address.contains("localhost."), "{address}: {answer}");
    }
    let id = p.negotiates("acme", &format!("https://127.0.0.1:{port}/dsp"), &Did::new("did:web:example.com").unwrap()).await;
    let ended = p.negotiation_is("acme", &id, "TERMINATED").await;
    assert!(text(&ended, "errorDetail").contains("is not an allowed target"), "{ended}");

    // A counterparty that needs no server, and wants to be called back.
    for (kind, resource, body) in [
        (
            "Asset",
            "assets",
            json!({"@id": "set", "properties": {}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "profiles": [], "properties": {}}}),
        ),
        ("PolicyDefinition", "policydefinitions", json!({"@id": "any", "policy": {"@type": "Set", "permission": [{"action": "use"}]}})),
        (
            "ContractDefinition",
            "contractdefinitions",
            json!({"@id": "offer", "accessPolicyId": "any", "contractPolicyId": "any", "assetsSelector": []}),
        ),
    ] {
        p.must(Method::POST, &management("acme", resource), Some(typed(kind, body))).await;
    }
    let key = peer.key("caller");
    let caller = did_key(key.public_key().as_ref());
    let token = || {
        let claims = json!({"iss": caller, "sub": caller, "aud": own, "jti": uuid::Uuid::new_v4(), "iat": now(), "exp": now() + 60});
        sign(&key, &json!({"alg": "EdDSA"}).to_string(), &claims.to_string())
    };
    let (status, catalog) = p.catalog_for("acme", &token()).await;
    assert_eq!(status, StatusCode::OK, "{catalog}");
    let offers = sharing::offers(&catalog);
    for callback in
        [format!("http://127.0.0.1:{port}/cb"), format!("https://[::ffff:7f00:1]:{port}/cb"), format!("https://localhost:{port}/cb")]
    {
        let request = contract_request(&format!("urn:uuid:{}", uuid::Uuid::new_v4()), &callback, &offers[0], own.as_str());
        let (status, answer) = p.told("acme", "/negotiations/request", &token(), &request).await;
        assert_eq!(status, StatusCode::CREATED, "{callback}: {answer}");
        let (id, path) = (text(&answer, "providerPid"), "contractnegotiations");
        let state = p.must(Method::GET, &management("acme", &format!("{path}/{id}/state?wait=TERMINATED&timeout=20s")), None).await;
        assert_eq!(state["state"], "TERMINATED", "{callback}");
    }
    assert_eq!(*visits.lock(), 0, "somebody came");
    p.node.drain(DRAIN).await;
}
