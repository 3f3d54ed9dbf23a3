//! What credentials and presentations must be, and what those are told whose are not.

use super::scene::{Scene, after, refused, types};
use crate::{
    settings::TrustedIssuer,
    trust::{
        PeerError, SigningKey, TrustOptions,
        world::{Draft, NOW, World},
    },
};
use cellspace_schemas::dcp::CredentialFormat;
use serde_json::json;
use std::time::Duration;

/// What a participant has of its own counts for itself as it would count for others.
#[tokio::test(start_paused = true)]
async fn a_credential_in_the_holders_own_hands() {
    let scene = Scene::new(TrustOptions { status_list_age: Duration::from_secs(2), ..TrustOptions::default() }).await;
    let trusting = |issuer: &SigningKey, types: &str| [TrustedIssuer { id: issuer.did.clone(), supported_types: vec![types.to_owned()] }];
    let (good, (_, jwt)) = (trusting(&scene.issuer, "*"), scene.draft("Member", json!({})).await);
    let held = async |holder: &SigningKey, trusted: &[TrustedIssuer], now| {
        let verified = scene.trust.verify_held(&jwt, &holder.did, trusted, now).await;
        verified.map(|verified| verified.credential.types.clone())
    };
    assert_eq!(held(&scene.holder, &good, NOW).await.unwrap()[1], "Member");
    for (holder, trusted) in
        [(&scene.verifier, &good), (&scene.holder, &trusting(&scene.issuer, "Maker")), (&scene.holder, &trusting(&scene.holder, "*"))]
    {
        assert!(matches!(held(holder, trusted, NOW).await, Err(PeerError::Refused(_))));
    }
    assert!(matches!(held(&scene.holder, &good, after(86_401)).await, Err(PeerError::Refused(_))), "expired");
    let index = scene.holder.did.as_str().len();
    scene.world.status_list("issuer", &scene.issuer, &[index], json!({})).await;
    assert!(matches!(held(&scene.holder, &good, after(10)).await, Err(PeerError::Refused(_))), "revoked");
    // What it has given to itself is nobody's word.
    let draft = Draft { format: CredentialFormat::Vc2Jose, holder: scene.holder.did.clone(), name: "Member", change: json!({}) };
    let (_, own) = scene.world.credential(&scene.holder, draft).await;
    assert!(matches!(scene.trust.verify_held(&own, &scene.holder.did, &good, NOW).await, Err(PeerError::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn every_rule_for_credentials() {
    let table = [
        (json!({"credentialSubject": {"id": "did:web:thief.example"}}), "holder"),
        (json!({"exp": NOW.seconds()}), "expired"),
        (json!({"validFrom": after(3_600).to_rfc3339()}), "valid already"),
        (json!({"issuer": "did:web:other.example"}), "issuer"),
        (json!({"type": ["VerifiableCredential", "Member", "Maker"]}), "trusted"),
        (json!({"credentialStatus": {"type": "Unknown"}}), "status of a credential must be"),
    ];
    for (change, expected) in table {
        let scene = Scene::new(TrustOptions::default()).await;
        scene.hold(&["Member"], change.clone()).await;
        let rule = refused(scene.verify_trusting(&[], true, NOW, "Member").await);
        assert!(rule.contains(expected), "{change}: {rule}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_rule_for_presentations() {
    let table = [
        (json!({"iss": "did:web:thief.example"}), "holder"),
        (json!({"aud": "did:web:thief.example"}), "aud"),
        (json!({"exp": NOW.seconds() - 2}), "valid now"),
        (json!({"type": "Other"}), "VC Data Model"),
    ];
    for (change, expected) in table {
        let scene = Scene::with_member(TrustOptions::default()).await;
        scene.world.change_presentations("holder", change.clone());
        let rule = refused(scene.verify(&[], true, NOW).await);
        assert!(rule.contains(expected), "{change}: {rule}");
        // A refused presentation is not remembered.
        scene.world.change_presentations("holder", json!({}));
        scene.verify(&[], true, NOW).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn trust_is_judged_at_every_use() {
    let scene = Scene::with_member(TrustOptions::default()).await;
    scene.verify(&[], true, NOW).await.unwrap();
    assert!(refused(scene.verify_trusting(&[], true, after(1), "Maker").await).contains("trusted"));
    // An expired credential ends its presentation's time in the cache.
    let scene = Scene::new(TrustOptions::default()).await;
    scene.hold(&["Member"], json!({"exp": NOW.seconds() + 10})).await;
    scene.verify(&[], true, NOW).await.unwrap();
    assert!(refused(scene.verify(&[], true, after(10)).await).contains("expired"));
}

#[tokio::test(start_paused = true)]
async fn nobody_but_trusted_issuers_is_asked_for_keys() {
    let scene = Scene::new(TrustOptions::default()).await;
    let mut held = vec![scene.draft("Member", json!({})).await];
    for n in 0..40 {
        let name = format!("stranger{n}");
        let issuer = scene.world.party(&name).await;
        let draft = Draft { format: CredentialFormat::Vc2Jose, holder: scene.holder.did.clone(), name: "Member", change: json!({}) };
        held.push(scene.world.credential(&issuer, draft).await);
    }
    scene.world.hold("holder", held);
    assert_eq!(types(&scene.verify(&[], true, NOW).await.unwrap()), ["Member"]);
    for n in 0..40 {
        assert_eq!(scene.world.asked(&World::document_url(&format!("stranger{n}"))), 0, "{n}");
    }
    // Nor for a type that it is not trusted for.
    assert!(refused(scene.verify_trusting(&[], true, after(600), "Maker").await).contains("trusted"));
}

/// What a counterparty is told of a refusal is the rule: what must be. Nothing of what was found, nothing of what is inside, and no two rules are told alike.
#[test]
fn every_rule_says_what_must_be() {
    use crate::trust::{
        credential::CredentialError, id_token::IdTokenError, jws::JwsError, keys::KeyError, presentation::PresentationError,
        schema::SchemaError, status::StatusError,
    };
    use cellspace_schemas::dcp::Relationship;
    let jws = [
        JwsError::TooLong(1),
        JwsError::Malformed,
        JwsError::Claims,
        JwsError::Algorithm,
        JwsError::Critical,
        JwsError::KeyId,
        JwsError::KeyType,
        JwsError::Signature,
    ];
    let keys =
        [Relationship::Authentication, Relationship::AssertionMethod, Relationship::CapabilityInvocation].map(KeyError::Relationship);
    let keys = keys.into_iter().chain([KeyError::Unknown, KeyError::Ambiguous, KeyError::Unsupported]);
    let tokens = [
        IdTokenError::Subject,
        IdTokenError::Audience,
        IdTokenError::KeyOwner,
        IdTokenError::Jti,
        IdTokenError::Expired,
        IdTokenError::NotYet,
    ];
    let credentials = [
        CredentialError::Form,
        CredentialError::KeyOwner,
        CredentialError::Contradiction,
        CredentialError::Dates,
        CredentialError::NotYetValid,
        CredentialError::Expired,
        CredentialError::Holder,
        CredentialError::Untrusted,
        CredentialError::StatusForm,
        CredentialError::SchemaForm,
    ];
    let presentations = [PresentationError::Form, PresentationError::Holder, PresentationError::Audience, PresentationError::Dates];
    let lists =
        [StatusError::Form, StatusError::Length, StatusError::Issuer, StatusError::Purpose, StatusError::Revoked, StatusError::Suspended];
    let schemas = [SchemaError::Form, SchemaError::Credential, SchemaError::Violated];
    // Of a credential, a presentation and a status list the same is told with whose it is.
    let mut told: Vec<String> = jws.iter().map(ToString::to_string).collect();
    told.extend(["credential", "presentation", "status list"].iter().flat_map(|what| jws.map(|rule| rule.of(what).to_string())));
    told.extend(keys.map(|rule| rule.to_string()));
    told.extend(tokens.map(|rule| rule.to_string()));
    told.extend(credentials.map(|rule| PeerError::from(rule).to_string()));
    told.extend(presentations.map(|rule| PeerError::from(rule).to_string()));
    told.extend(lists.map(|rule| rule.to_string()));
    told.extend(schemas.map(|rule| PeerError::from(rule).to_string()));
    for rule in &told {
        let says = ["must", "needs", "none is supported"].iter().any(|word| rule.contains(word));
        assert!(says && (20..250).contains(&rule.len()), "{rule}");
        assert!(!["Error", "::", "{", "\"", "did:"].iter().any(|inner| rule.contains(inner)), "{rule}");
    }
    let count = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), count, "each names its own rule");
}
