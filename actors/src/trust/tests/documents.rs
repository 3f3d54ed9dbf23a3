//! DID documents: how long they count, and what a change of keys does.

use super::scene::{Scene, after, refused, settle, unreachable};
use crate::trust::{
    TrustOptions,
    world::{NOW, World},
};
use cellspace_schemas::dcp::{DidDocument, Service};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn documents_are_checked_and_kept() {
    let scene = Scene::with_member(TrustOptions::default()).await;
    let url = World::document_url("holder");
    for seconds in [0, 10, 14] {
        scene.verify(&[], true, after(seconds)).await.unwrap();
    }
    assert_eq!(scene.world.asked(&url), 1);
    scene.world.page(&url, r#"{"id":"did:web:other.example"}"#);
    assert!(refused(scene.verify(&[], true, after(30)).await).contains("id of the DID document"));
    scene.world.take_down(&url);
    // The failure is remembered for a second, then it is tried again.
    refused(scene.verify(&[], true, NOW.plus(Duration::from_millis(30_999))).await);
    unreachable(scene.verify(&[], true, after(31)).await);
    assert_eq!(scene.world.asked(&url), 3);
}

#[tokio::test]
async fn a_path_below_a_service_has_no_empty_part() {
    let scene = Scene::new(TrustOptions::default()).await;
    for (seconds, service, expected) in [
        (0, "https://holder.example", "https://holder.example/requests/a%2Fb"),
        (100, "https://holder.example/", "https://holder.example/requests/a%2Fb"),
        (200, "https://holder.example/is//", "https://holder.example/is/requests/a%2Fb"),
        (300, "https://holder.example/is//?tenant=1", "https://holder.example/is/requests/a%2Fb?tenant=1"),
    ] {
        let service = Service::new("#is", "IssuerService", service);
        let document = DidDocument::new(scene.holder.did.clone(), Vec::new(), vec![service]);
        scene.world.page(&World::document_url("holder"), serde_json::to_vec(&document).unwrap());
        let below = scene.trust.resolver.below(&scene.holder.did, "IssuerService", &["requests", "a/b"], after(seconds)).await;
        assert_eq!(below.unwrap().as_str(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_in_use_is_loaded_again_before_somebody_waits_for_it() {
    let scene = Scene::with_member(TrustOptions { presentation_age: Duration::from_secs(3_600), ..TrustOptions::default() }).await;
    let url = World::document_url("holder");
    scene.verify(&[], true, NOW).await.unwrap();
    // Its key is taken out: that counts within the bound, here as soon as the document was loaded again.
    let next = scene.world.key("holder", "k2").await;
    scene.world.publish("holder", std::slice::from_ref(&next)).await;
    scene.verify(&[], true, after(14)).await.unwrap();
    scene.verify(&[], true, after(15)).await.unwrap();
    settle().await;
    assert_eq!(scene.world.asked(&url), 2);
    assert!(refused(scene.verify(&[], true, NOW.plus(Duration::from_millis(15_500))).await).contains("signing key"));
    // One that cannot be had is used to the end of its age, however often it is tried.
    let scene = Scene::with_member(TrustOptions { presentation_age: Duration::from_secs(3_600), ..TrustOptions::default() }).await;
    scene.verify(&[], true, NOW).await.unwrap();
    scene.world.take_down(&url);
    for (seconds, asked) in [(20, 2), (20, 2), (29, 3)] {
        scene.verify(&[], true, after(seconds)).await.unwrap();
        settle().await;
        assert_eq!(scene.world.asked(&url), asked, "{seconds}");
    }
    unreachable(scene.verify(&[], true, after(30)).await);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_seen_at_once_and_a_revocation_in_time() {
    let mut scene = Scene::with_member(TrustOptions::default()).await;
    scene.verify(&[], true, NOW).await.unwrap();
    let (old, new) = (scene.holder.clone(), scene.world.key("holder", "k2").await);
    scene.world.publish("holder", &[old.clone(), new.clone()]).await;
    scene.holder = new.clone();
    scene.verify(&[], true, after(2)).await.unwrap();
    // A made-up key makes nobody fetch more than once a second.
    let asked = scene.world.asked(&World::document_url("holder"));
    scene.holder = scene.world.key("holder", "k3").await;
    for _ in 0..5 {
        assert!(refused(scene.verify(&[], true, after(4)).await).contains("signing key"));
    }
    assert_eq!(scene.world.asked(&World::document_url("holder")), asked + 1);
    scene.world.publish("holder", std::slice::from_ref(&new)).await;
    scene.holder = old;
    refused(scene.verify(&[], true, after(60)).await);
    // The issuer's key is judged at every use, too: what it signed counts no more when it is gone.
    scene.world.sign_presentations("holder", &new);
    scene.holder = new;
    scene.verify(&[], true, after(61)).await.unwrap();
    let next = scene.world.key("issuer", "k2").await;
    scene.world.publish("issuer", &[next]).await;
    assert!(refused(scene.verify(&[], true, after(120)).await).contains("signing key"));
}

#[tokio::test(start_paused = true)]
async fn a_made_up_key_takes_no_document_away_from_others() {
    let mut scene = Scene::with_member(TrustOptions::default()).await;
    let url = World::document_url("holder");
    scene.verify(&[], true, NOW).await.unwrap();
    scene.world.take_down(&url);
    let (own, made_up) = (scene.holder.clone(), scene.world.key("holder", "k3").await);
    // The document that is held counts to the end of its age, whatever strangers say.
    for (seconds, asked) in [(2, 2), (4, 3)] {
        scene.holder = made_up.clone();
        for _ in 0..3 {
            unreachable(scene.verify(&[], true, after(seconds)).await);
        }
        assert_eq!(scene.world.asked(&url), asked, "at most once a second");
        scene.holder = own.clone();
        scene.verify(&[], true, after(seconds)).await.unwrap();
    }
    // One that comes takes its place, for messages that come together too.
    scene.world.bring_back(&url);
    let next = scene.world.key("holder", "k2").await;
    scene.world.publish("holder", &[own, next.clone()]).await;
    scene.holder = next;
    let (one, other) = futures::future::join(scene.verify(&[], true, after(6)), scene.verify(&[], true, after(6))).await;
    one.unwrap();
    other.unwrap();
    assert_eq!(scene.world.asked(&url), 4);
    // So does the answer that there is none any more.
    scene.world.page(&url, r#"{"id":"did:web:other.example"}"#);
    let known = std::mem::replace(&mut scene.holder, made_up);
    assert!(refused(scene.verify(&[], true, after(8)).await).contains("id of the DID document"));
    scene.holder = known;
    assert!(refused(scene.verify(&[], true, after(8)).await).contains("id of the DID document"));
}
