//! What holders are asked for, how often, and how long it counts.

use super::scene::{MAKER, MEMBER, OTHER, Scene, after, refused, settle, types};
use crate::{
    settings::TrustedIssuer,
    trust::{
        SigningKey, TrustOptions, VerifyRequest,
        world::{NOW, Tokens, World},
    },
};
use cellspace_schemas::ParticipantContextId;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn presentations_are_asked_for_once() {
    let scene = Scene::with_member(TrustOptions::default()).await;
    for seconds in [0, 1, 100, 599] {
        let peer = scene.verify(&[], true, after(seconds)).await.unwrap();
        assert_eq!((types(&peer), &peer.did), (vec!["Member"], &scene.holder.did));
    }
    assert_eq!(scene.world.queries("holder"), 1);
    scene.verify(&[], true, after(600)).await.unwrap();
    assert_eq!(scene.world.queries("holder"), 2);
    // Other scopes are another question.
    scene.verify(&[MAKER], true, after(600)).await.unwrap();
    assert_eq!(scene.world.queries("holder"), 3);
}

/// What a holder signs when it answers late is not from the future, also when its document was slow already.
#[tokio::test(start_paused = true)]
async fn a_holder_may_take_its_time() {
    let scene = Scene::with_member(TrustOptions::default()).await;
    let signed_at = |seconds| json!({"iat": after(seconds).seconds()});
    scene.world.slow_down(&World::document_url("holder"), Duration::from_secs(4));
    scene.world.slow_down(&World::query_url("holder"), Duration::from_secs(5));
    scene.world.change_presentations("holder", signed_at(11));
    assert!(refused(scene.verify(&[], true, NOW).await).contains("valid now"));
    scene.world.change_presentations("holder", signed_at(5));
    scene.verify(&[], true, NOW).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn concurrent_messages_share_a_query() {
    let scene = Scene::with_member(TrustOptions::default()).await;
    let all = futures::future::join_all((0..16).map(|_| scene.verify(&[], true, NOW))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!((scene.world.queries("holder"), scene.world.asked(&World::document_url("holder"))), (1, 1));
    assert_eq!(scene.world.asked(&World::list_url("issuer")), 1);
}

#[tokio::test(start_paused = true)]
async fn both_formats_in_one_answer() {
    let scene = Scene::new(TrustOptions::default()).await;
    scene.hold(&["Member", "Maker"], json!({})).await;
    let peer = scene.verify(&[MAKER], true, NOW).await.unwrap();
    assert_eq!(types(&peer), ["Maker", "Member"]);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_grants_less_is_asked_for_what_is_required() {
    let scene = Scene::with_member(TrustOptions::default()).await;
    scene.world.grant("holder", &["Member"]);
    assert_eq!(types(&scene.verify(&[MAKER], true, NOW).await.unwrap()), ["Member"]);
    assert_eq!(scene.world.asked_scopes(), [vec![MAKER, MEMBER], vec![MEMBER]]);
    scene.world.grant("holder", &[]);
    assert!(refused(scene.verify(&[MAKER], false, after(1)).await).contains("grant"));
}

#[tokio::test(start_paused = true)]
async fn what_a_message_names_is_asked_for_before_less() {
    let scene = Scene::new(TrustOptions::default()).await;
    scene.hold(&["Member", "Maker"], json!({})).await;
    scene.world.grant("holder", &["Member", "Maker"]);
    let (maker, other) = ([MAKER.to_owned()], [MAKER.to_owned(), OTHER.to_owned()]);
    let verify = async |now| {
        let request = VerifyRequest {
            participant: &ParticipantContextId::new("verifier").unwrap(),
            own_did: &scene.verifier.did,
            token: &scene.message(now).await,
            call: None,
            required: &[MEMBER.to_owned()],
            optional: &other,
            named: &maker,
            trusted_issuers: &[TrustedIssuer { id: scene.issuer.did.clone(), supported_types: vec!["*".to_owned()] }],
            slot: None,
            believe_absence: false,
        };
        scene.trust.verify(&request, &Tokens { world: &scene.world, key: &scene.verifier, now }, now).await
    };
    assert_eq!(types(&verify(NOW).await.unwrap()), ["Maker", "Member"]);
    assert_eq!(scene.world.asked_scopes(), [vec![MAKER, MEMBER, OTHER], vec![MAKER, MEMBER]]);
    scene.world.grant("holder", &["Member"]);
    assert_eq!(types(&verify(after(1)).await.unwrap()), ["Member"]);
    assert_eq!(scene.world.asked_scopes()[2..], [vec![MAKER, MEMBER, OTHER], vec![MAKER, MEMBER], vec![MEMBER]]);
}

#[tokio::test(start_paused = true)]
async fn absence_is_believed_briefly_and_only_where_it_may() {
    let scene = Scene::with_member(TrustOptions::default()).await;
    let queries = || scene.world.queries("holder");
    for (seconds, believe, asked) in [(0, true, 1), (4, true, 1), (4, false, 2), (9, true, 3), (10, true, 3)] {
        assert_eq!(types(&scene.verify(&[MAKER], believe, after(seconds)).await.unwrap()), ["Member"]);
        assert_eq!(queries(), asked, "after {seconds} s");
    }
    // Once it is there it is found, and kept.
    scene.hold(&["Member", "Maker"], json!({})).await;
    assert_eq!(types(&scene.verify(&[MAKER], false, after(11)).await.unwrap()), ["Maker", "Member"]);
    assert_eq!(types(&scene.verify(&[MAKER], false, after(200)).await.unwrap()), ["Maker", "Member"]);
    assert_eq!(queries(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_missing_required_credential_refuses_and_is_asked_for_every_time() {
    let scene = Scene::new(TrustOptions::default()).await;
    for seconds in 0..3 {
        assert!(refused(scene.verify(&[], true, after(seconds)).await).contains("Member"));
    }
    assert_eq!(scene.world.queries("holder"), 3);
    scene.hold(&["Member"], json!({})).await;
    scene.verify(&[], true, after(3)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_presentation_counts_no_longer_than_the_key_that_signed_it() {
    let mut scene = Scene::with_member(TrustOptions::default()).await;
    // Tokens are signed with another key than presentations.
    let (old, new) = (scene.holder.clone(), scene.world.key("holder", "k2").await);
    scene.world.publish("holder", &[old, new.clone()]).await;
    scene.holder = new.clone();
    for seconds in [0, 20] {
        scene.verify(&[], true, after(seconds)).await.unwrap();
    }
    settle().await;
    assert_eq!(scene.world.queries("holder"), 1);
    scene.world.publish("holder", std::slice::from_ref(&new)).await;
    scene.verify(&[], true, after(34)).await.unwrap();
    // Within the age of documents, not that of presentations: it is asked for once more, and comes signed as before.
    assert!(refused(scene.verify(&[], true, after(50)).await).contains("signing key"));
    assert_eq!(scene.world.queries("holder"), 2);
    scene.world.sign_presentations("holder", &new);
    scene.verify(&[], true, after(51)).await.unwrap();
    assert_eq!(scene.world.queries("holder"), 3);
    // The same id for another key is no way around it.
    let other = SigningKey { kid: new.kid.clone(), ..scene.world.key("holder", "k5").await };
    scene.world.publish("holder", std::slice::from_ref(&other)).await;
    scene.holder = other.clone();
    assert!(refused(scene.verify(&[], true, after(82)).await).contains("sign"));
    scene.world.sign_presentations("holder", &other);
    scene.verify(&[], true, after(83)).await.unwrap();
}
