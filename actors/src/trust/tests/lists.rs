//! Status lists: when they are looked at, how old they may be, and what counts when they cannot be had.

use super::scene::{MAKER, Scene, after, refused, settle, types, unreachable};
use crate::trust::{
    TrustOptions,
    world::{NOW, World},
};
use cellspace_schemas::bitstring::{Bitstring, Encoding, MIN_BITS};
use serde_json::{Value, json};
use std::time::Duration;

/// What an issuer signs while something else is waited for, or while it is itself asked, is not from the future.
#[tokio::test(start_paused = true)]
async fn a_list_may_be_signed_meanwhile() {
    const SCHEMA: &str = "https://issuer.example/schemas/member";
    let slow = Duration::from_secs(5);
    // The holder is slow, the list is, a schema in a credential is.
    for url in [World::query_url("holder"), World::list_url("issuer"), SCHEMA.to_owned()] {
        for (seconds, good) in [(5, true), (7, false)] {
            let scene = Scene::new(TrustOptions::default()).await;
            let (issuer, world) = (&scene.issuer, &scene.world);
            let dated = |kind: &str, subject: Value| json!({"type": ["VerifiableCredential", kind], "issuer": issuer.did, "validFrom": after(seconds).to_rfc3339(), "credentialSubject": subject});
            let (page, claims, change) = if url == SCHEMA {
                let subject = json!({"id": SCHEMA, "jsonSchema": {}});
                (
                    SCHEMA.to_owned(),
                    dated("JsonSchemaCredential", subject),
                    json!({"credentialSchema": {"id": SCHEMA, "type": "JsonSchemaCredential"}}),
                )
            } else {
                let encoded = Bitstring::zeroes(MIN_BITS).encode(Encoding::Bitstring);
                let subject = json!({"type": "BitstringStatusList", "statusPurpose": "revocation", "encodedList": encoded});
                (World::list_url("issuer"), dated("BitstringStatusListCredential", subject), json!({}))
            };
            world.page(&page, issuer.sign(&world.vault, "vc+jwt", &claims).await.unwrap());
            scene.hold(&["Member"], change).await;
            world.slow_down(&url, slow);
            let outcome = scene.verify(&[], true, NOW).await;
            assert_eq!(outcome.is_ok(), good, "{url}: {outcome:?}");
            assert!(good || refused(outcome).contains("valid already"), "{url}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn status_is_looked_up_at_every_use() {
    let scene = Scene::with_member(TrustOptions { status_list_age: Duration::from_secs(2), ..TrustOptions::default() }).await;
    let index = scene.holder.did.as_str().len();
    scene.verify(&[], true, NOW).await.unwrap();
    scene.world.status_list("issuer", &scene.issuer, &[index], json!({})).await;
    // Not older than two seconds, and no sooner than it has to be.
    scene.verify(&[], true, NOW.plus(Duration::from_millis(1_999))).await.unwrap();
    assert!(refused(scene.verify(&[], true, after(2)).await).contains("revoked"));
    scene.world.status_list("issuer", &scene.issuer, &[index + 1], json!({})).await;
    scene.verify(&[], true, after(4)).await.unwrap();
    // A list that cannot be had past its age refuses, and says that it is not the credential's fault.
    scene.world.take_down(&World::list_url("issuer"));
    scene.verify(&[], true, after(5)).await.unwrap();
    unreachable(scene.verify(&[], true, after(6)).await);
}

#[tokio::test(start_paused = true)]
async fn a_list_may_shorten_its_age() {
    let scene = Scene::with_member(TrustOptions::default()).await;
    scene.world.status_list("issuer", &scene.issuer, &[], json!({"ttl": 0})).await;
    for seconds in 0..3 {
        scene.verify(&[], true, after(seconds)).await.unwrap();
    }
    assert_eq!(scene.world.asked(&World::list_url("issuer")), 3);
    scene.world.status_list("issuer", &scene.issuer, &[], json!({"ttl": 3_600_000})).await;
    for seconds in [3, 5, 8] {
        scene.verify(&[], true, after(seconds)).await.unwrap();
    }
    assert_eq!(scene.world.asked(&World::list_url("issuer")), 5);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let options = || TrustOptions { status_list_age: Duration::from_secs(2), ..TrustOptions::default() };
    let scene = Scene::with_member(options()).await;
    let (url, index) = (World::list_url("issuer"), scene.holder.did.as_str().len());
    for seconds in [0, 2, 4] {
        scene.verify(&[], true, after(seconds)).await.unwrap();
    }
    assert_eq!((scene.world.asked(&url), scene.world.sent(&url)), (3, 1));
    scene.world.status_list("issuer", &scene.issuer, &[index], json!({})).await;
    assert!(refused(scene.verify(&[], true, after(6)).await).contains("revoked"));
    assert_eq!(scene.world.sent(&url), 2);
    // The same bytes count no more when the key that signed them is gone.
    let scene = Scene::with_member(options()).await;
    let lists = scene.world.key("issuer", "k2").await;
    scene.world.publish("issuer", &[scene.issuer.clone(), lists.clone()]).await;
    scene.world.status_list("issuer", &lists, &[], json!({})).await;
    scene.verify(&[], true, NOW).await.unwrap();
    scene.world.publish("issuer", std::slice::from_ref(&scene.issuer)).await;
    assert!(refused(scene.verify(&[], true, after(31)).await).contains("signing key"));
}

#[tokio::test(start_paused = true)]
async fn every_rule_for_lists() {
    let scene = Scene::with_member(TrustOptions { status_list_age: Duration::ZERO, ..TrustOptions::default() }).await;
    let other = scene.world.party("other").await;
    scene.world.status_list("issuer", &other, &[], json!({})).await;
    assert!(refused(scene.verify(&[], true, after(0)).await).contains("issued by the issuer"));
    scene.world.status_list("issuer", &scene.issuer, &[], json!({"statusPurpose": "suspension"})).await;
    assert!(refused(scene.verify(&[], true, after(1)).await).contains("purpose"));
    // Unsigned lists prove nothing.
    scene.world.page(&World::list_url("issuer"), r#"{"type":["VerifiableCredential","BitstringStatusListCredential"]}"#);
    refused(scene.verify(&[], true, after(2)).await);
}

/// A prohibition may be about a credential that nobody requires: what is not known of it is not its absence.
#[tokio::test(start_paused = true)]
async fn a_credential_that_is_not_required_is_not_absent_while_its_list_cannot_be_had() {
    const OTHER_LIST: &str = "https://issuer.example/other";
    let scene = Scene::new(TrustOptions { status_list_age: Duration::ZERO, ..TrustOptions::default() }).await;
    let status = json!({"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "9", "statusListCredential": OTHER_LIST});
    let maker = json!({"vc": {"type": ["VerifiableCredential", "Maker"], "credentialSubject": {"id": scene.holder.did}, "credentialStatus": status}});
    scene.world.hold("holder", vec![scene.draft("Member", json!({})).await, scene.draft("Maker", maker).await]);
    unreachable(scene.verify(&[MAKER], true, after(0)).await);
    // Who has no use for it is not held up by it.
    assert_eq!(types(&scene.verify(&[], true, after(1)).await.unwrap()), ["Member"]);
    for (seconds, set, expected) in [(2, 8, &["Maker", "Member"][..]), (4, 9, &["Member"])] {
        let mut bits = Bitstring::zeroes(MIN_BITS);
        bits.set(set, true).unwrap();
        let list = json!({"type": ["VerifiableCredential", "BitstringStatusListCredential"], "issuer": scene.issuer.did,
            "credentialSubject": {"type": "BitstringStatusList", "statusPurpose": "revocation", "encodedList": bits.encode(Encoding::Bitstring)}});
        scene.world.page(OTHER_LIST, scene.issuer.sign(&scene.world.vault, "vc+jwt", &list).await.unwrap());
        assert_eq!(types(&scene.verify(&[MAKER], true, after(seconds)).await.unwrap()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn short_lists_count_only_where_that_is_chosen() {
    for (lenient, kind) in
        [(false, Encoding::Bitstring), (false, Encoding::StatusList2021), (true, Encoding::Bitstring), (true, Encoding::StatusList2021)]
    {
        let options = TrustOptions { status_list_age: Duration::ZERO, lenient_lists: lenient, ..TrustOptions::default() };
        let scene = Scene::new(options).await;
        let name = if kind == Encoding::Bitstring { "BitstringStatusList" } else { "StatusList2021" };
        let status = json!({"type": format!("{name}Entry"), "statusPurpose": "revocation", "statusListIndex": "9",
            "statusListCredential": World::list_url("issuer")});
        scene.hold(&["Member"], json!({ "credentialStatus": status })).await;
        for (seconds, bits, long) in [(0, MIN_BITS, true), (1, MIN_BITS - 8, false), (2, 16, false), (3, 2 * MIN_BITS, true)] {
            let list = json!({"type": ["VerifiableCredential", format!("{name}Credential")], "issuer": scene.issuer.did,
                "credentialSubject": {"type": name, "statusPurpose": "revocation", "encodedList": Bitstring::zeroes(bits).encode(kind)}});
            scene.world.page(&World::list_url("issuer"), scene.issuer.sign(&scene.world.vault, "vc+jwt", &list).await.unwrap());
            match scene.verify(&[], true, after(seconds)).await {
                Ok(peer) => assert!((long || lenient) && types(&peer) == ["Member"], "{name} {bits} {lenient}"),
                refusal => assert!(!long && !lenient && refused(refusal).contains("131072 entries"), "{name} {bits} {lenient}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_had_hides_nothing_that_another_one_says() {
    let scene = Scene::new(TrustOptions { status_list_age: Duration::ZERO, ..TrustOptions::default() }).await;
    let entry = |list: &str, purpose: &str| json!({"type": "BitstringStatusListEntry", "statusPurpose": purpose, "statusListIndex": "9", "statusListCredential": list});
    let list = World::list_url("issuer");
    let status = [entry("https://issuer.example/none", "suspension"), entry(&list, "suspension"), entry(&list, "revocation")];
    scene.hold(&["Member"], json!({ "credentialStatus": status })).await;
    scene.world.status_list("issuer", &scene.issuer, &[9], json!({"statusPurpose": ["suspension", "revocation"]})).await;
    assert!(refused(scene.verify(&[], true, after(0)).await).contains("revoked"));
    scene.world.status_list("issuer", &scene.issuer, &[8], json!({"statusPurpose": ["suspension", "revocation"]})).await;
    unreachable(scene.verify(&[], true, after(2)).await);
}

#[tokio::test(start_paused = true)]
async fn a_list_in_use_is_looked_at_again_before_somebody_waits_for_it() {
    let scene = Scene::with_member(TrustOptions { status_list_age: Duration::from_secs(4), ..TrustOptions::default() }).await;
    let (url, index) = (World::list_url("issuer"), scene.holder.did.as_str().len());
    scene.verify(&[], true, NOW).await.unwrap();
    scene.world.status_list("issuer", &scene.issuer, &[index], json!({})).await;
    for (seconds, asked) in [(1, 1), (2, 2)] {
        scene.verify(&[], true, after(seconds)).await.unwrap();
        settle().await;
        assert_eq!(scene.world.asked(&url), asked, "{seconds}");
    }
    // Nobody asks any more, and all the same it is known.
    scene.world.take_down(&url);
    assert!(refused(scene.verify(&[], true, after(3)).await).contains("revoked"));
    assert!(refused(scene.verify(&[], true, after(5)).await).contains("revoked"));
    settle().await;
    // Out of reach, the one that is held counts until its age and no longer.
    assert_eq!(scene.world.asked(&url), 3);
    unreachable(scene.verify(&[], true, after(6)).await);
}
