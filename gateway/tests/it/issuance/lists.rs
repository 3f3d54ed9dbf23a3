//! Status lists as they are served.

use super::{start, tag};
use crate::support::{DRAIN, Platform, config, id_of};
use cellspace::NodeConfig;
use cellspace_actors::issuer::ListBits;
use cellspace_schemas::{
    Timestamp,
    bitstring::{Bitstring, Encoding, MIN_BITS},
};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(super) fn bit(list: &Value, index: usize) -> bool {
    let encoded = list["credentialSubject"]["encodedList"].as_str().unwrap();
    let bits = Bitstring::decode(encoded, Encoding::Bitstring).unwrap();
    assert_eq!(bits.len(), MIN_BITS);
    // Some verifiers look at nothing else to know for how long it counts.
    let date = |names: [&str; 2]| names.iter().find_map(|name| Timestamp::parse_rfc3339(list[*name].as_str()?)).unwrap();
    assert_eq!(date(["validUntil", "expirationDate"]).since(date(["validFrom", "issuanceDate"])), Duration::from_secs(300));
    bits.get(index).unwrap()
}

#[tokio::test]
async fn a_list_for_a_million_is_served_and_keeps_its_bits_when_lists_become_smaller() {
    let dir = tempfile::tempdir().unwrap();
    let large = ListBits::new(1 << 20).unwrap();
    let platform = Platform::start(NodeConfig { status_list_bits: large, ..config(dir.path()) }).await;
    platform.fill().await;
    for n in 0..8 {
        assert_eq!(platform.issue("acme", &format!("hp-{n}")).await["status"], "ISSUED");
    }
    let credentials = platform.query("credentials", json!({})).await;
    let on_list = |credential: &Value| {
        let entry = &credential["credential"]["credentialStatus"][0];
        entry["statusListCredential"].as_str().unwrap().ends_with("/bssl-revocation-1")
    };
    let index = |credential: &Value| -> usize {
        credential["credential"]["credentialStatus"][0]["statusListIndex"].as_str().unwrap().parse().unwrap()
    };
    let farthest = credentials.iter().filter(|credential| on_list(credential)).max_by_key(|credential| index(credential)).unwrap();
    assert!(index(farthest) >= MIN_BITS, "eight positions of a million, all in the first eighth");
    let id = farthest["id"].as_str().unwrap();
    assert_eq!(platform.issuer(Method::POST, &format!("credentials/{id}/revoke")).send().await.unwrap().status(), 204);
    let bits = async |platform: &Platform| {
        let list: Value = platform.list("bssl-revocation-1", "application/json").await.json().await.unwrap();
        Bitstring::decode(list["credentialSubject"]["encodedList"].as_str().unwrap(), Encoding::Bitstring).unwrap()
    };
    let served = bits(&platform).await;
    assert_eq!((served.len(), served.get(index(farthest))), (1 << 20, Ok(true)));
    platform.node.drain(DRAIN).await;
    let again = start(dir.path()).await;
    let served = bits(&again).await;
    assert_eq!((served.len(), served.get(index(farthest))), ((index(farthest) + 1).next_power_of_two(), Ok(true)));
    again.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_changed_list_is_signed_once_for_all_who_ask_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::seeded(dir.path()).await;
    assert_eq!(platform.issue("acme", "hp-1").await["status"], "ISSUED");
    let (services, issuer) = (&platform.node.app.services, id_of("issuer"));
    let list = "bssl-revocation-1".parse().unwrap();
    let ask = || services.status_lists.list(services, &issuer, list);
    let lists = futures::future::try_join_all((0..16).map(|_| ask())).await.unwrap();
    assert!(lists.iter().all(|other| Arc::ptr_eq(other, &lists[0])));
    let credential = platform.query("credentials", json!({})).await.into_iter().map(|c| c["id"].as_str().unwrap().to_owned());
    for id in credential {
        assert_eq!(platform.issuer(Method::POST, &format!("credentials/{id}/revoke")).send().await.unwrap().status(), 204);
    }
    let revoked = ask().await.unwrap();
    assert!(revoked.tag != lists[0].tag && Arc::ptr_eq(&revoked, &ask().await.unwrap()));
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn status_lists_are_served_in_both_forms() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::seeded(dir.path()).await;
    assert_eq!(platform.list("bssl-revocation-1", "*/*").await.status(), 404, "nothing is on it yet");
    assert_eq!(platform.issue("acme", "hp-1").await["status"], "ISSUED");
    for list in ["bssl-revocation-1", "bssl-suspension-1", "sl2021-revocation-1", "sl2021-suspension-1"] {
        let signed = platform.list(list, "application/vc+jwt").await;
        assert_eq!((signed.status(), &signed.headers()[header::CONTENT_TYPE]), (StatusCode::OK, &"application/vc+jwt".parse().unwrap()));
        assert_eq!(signed.headers()[header::CACHE_CONTROL], "public, max-age=2");
        let known = tag(&signed);
        assert_eq!(signed.text().await.unwrap().split('.').count(), 3);
        let url = platform.node.urls.status_list(&id_of("issuer"), list);
        let fresh = platform.http.get(&url).header(header::IF_NONE_MATCH, &known).send().await.unwrap();
        assert_eq!((fresh.status(), tag(&fresh)), (StatusCode::NOT_MODIFIED, known));
        assert_eq!(platform.list(list, "application/json").await.json::<Value>().await.unwrap()["id"], url);
        assert_eq!(platform.list(list, "text/html").await.status(), 415);
    }
    // A new key signs anew what the old one signed.
    let kid = |jwt: String| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').next().unwrap()).unwrap()).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    };
    let signed = || async { kid(platform.list("bssl-revocation-1", "*/*").await.text().await.unwrap()) };
    let old = signed().await;
    let pairs = platform.must(Method::GET, "/api/identity/v1beta/participants/issuer/keypairs", None).await;
    let pair = pairs[0]["id"].as_str().unwrap();
    platform.must(Method::POST, &format!("/api/identity/v1beta/participants/issuer/keypairs/{pair}/rotate"), None).await;
    assert_ne!(signed().await, old);
    for unknown in ["bssl-revocation-2", "bssl-revocation-01", "x"] {
        assert_eq!(platform.list(unknown, "*/*").await.status(), 404, "{unknown}");
    }
    platform.node.drain(DRAIN).await;
}
