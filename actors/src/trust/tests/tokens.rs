//! ID tokens: whose they are, and that they count once.

use super::scene::{MEMBER, Scene, after, refused};
use crate::{
    settings::TrustedIssuer,
    trust::{
        PeerError, SigningKey, TrustOptions, VerifyRequest,
        world::{NOW, Tokens},
    },
};
use cellspace_schemas::ParticipantContextId;

#[tokio::test(start_paused = true)]
async fn tokens_are_signed_by_their_issuer_and_used_once() {
    let mut scene = Scene::with_member(TrustOptions::default()).await;
    let trusted = [TrustedIssuer { id: scene.issuer.did.clone(), supported_types: vec!["*".to_owned()] }];
    let participant = ParticipantContextId::new("verifier").unwrap();
    let token = scene.message(NOW).await;
    let required = [MEMBER.to_owned()];
    let request = VerifyRequest {
        participant: &participant,
        own_did: &scene.verifier.did,
        token: &token,
        call: None,
        required: &required,
        optional: &[],
        named: &[],
        trusted_issuers: &trusted,
        slot: None,
        believe_absence: true,
    };
    let tokens = Tokens { world: &scene.world, key: &scene.verifier, now: NOW };
    scene.trust.verify(&request, &tokens, NOW).await.unwrap();
    assert!(refused(scene.trust.verify(&request, &tokens, NOW).await).contains("jti"));
    // Another's key under the holder's name.
    let thief = scene.world.party("thiefs").await;
    scene.holder = SigningKey { did: scene.holder.did.clone(), kid: scene.holder.kid.clone(), ..thief };
    assert!(refused(scene.verify(&[], true, after(1)).await).contains("signature"));
}

#[tokio::test(start_paused = true)]
async fn tokens_from_before_a_take_over_are_signed_anew() {
    let scene = Scene::with_member(TrustOptions { opened: Some(NOW), ..TrustOptions::default() }).await;
    for (seconds, admitted) in [(0, false), (1, false), (2, true)] {
        let outcome = scene.verify(&[], true, after(seconds)).await;
        assert_eq!(outcome.is_ok(), admitted, "{outcome:?}");
        assert!(admitted || matches!(outcome, Err(PeerError::TooEarly)));
    }
}
