//! Schemas that credentials name.

use super::scene::{Scene, after, refused, types, unreachable};
use crate::trust::{
    SigningKey, TrustOptions,
    world::{NOW, World},
};
use cellspace_schemas::bitstring::{Bitstring, Encoding, MIN_BITS};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn schemas_are_looked_up_and_kept() {
    const SCHEMA: &str = "https://schemas.example/member";
    let scene = Scene::new(TrustOptions::default()).await;
    let with = |described: &str| json!({"credentialSchema": {"id": SCHEMA, "type": described}});
    scene.hold(&["Member"], with("JsonSchemaValidator2018")).await;
    // Not to be had: neither refused nor believed.
    unreachable(scene.verify(&[], true, NOW).await);
    let subject = json!({"type": "object", "properties": {"level": {"const": "full"}}, "required": ["id", "level"]});
    scene.world.page(SCHEMA, subject.to_string());
    for seconds in [2, 3] {
        assert_eq!(types(&scene.verify(&[], true, after(seconds)).await.unwrap()), ["Member"]);
    }
    assert_eq!(scene.world.sent(SCHEMA), 1);
    // The same schema of a whole credential, which has no level of its own.
    scene.hold(&["Member"], with("JsonSchema")).await;
    assert!(refused(scene.verify(&[], true, after(602)).await).contains("schema says"));
    scene.world.page(SCHEMA, json!({"properties": {"credentialSubject": subject}, "required": ["credentialSubject"]}).to_string());
    assert!(scene.verify(&[], true, after(1_203)).await.is_ok());
    scene.world.page(SCHEMA, json!({"properties": {"credentialSubject": false}}).to_string());
    assert!(refused(scene.verify(&[], true, after(1_804)).await).contains("schema says"));
    scene.world.page(SCHEMA, "no schema");
    assert!(refused(scene.verify(&[], true, after(2_405)).await).contains("JSON schema"));
}

#[tokio::test(start_paused = true)]
async fn schemas_are_not_looked_at_where_that_is_chosen() {
    const SCHEMA: &str = "https://schemas.example/member";
    for (lenient, outcome) in [(false, Err("schemas of a credential must be")), (true, Ok(()))] {
        let scene = Scene::new(TrustOptions { lenient_schemas: lenient, ..TrustOptions::default() }).await;
        scene.world.page(SCHEMA, json!({"not": {}}).to_string());
        for (seconds, kind) in [(0, "Shapes"), (700, "JsonSchema")] {
            scene.hold(&["Member"], json!({"credentialSchema": {"id": SCHEMA, "type": kind}})).await;
            let verified = scene.verify(&[], true, after(seconds)).await;
            match (outcome, kind) {
                (Ok(()), _) => assert_eq!(types(&verified.unwrap()), ["Member"]),
                (Err(rule), "Shapes") => assert!(refused(verified).contains(rule)),
                (Err(_), _) => assert!(refused(verified).contains("schema says")),
            }
        }
        assert_eq!(scene.world.asked(SCHEMA), usize::from(!lenient));
        // A status list is a credential as well.
        let encoded = Bitstring::zeroes(MIN_BITS).encode(Encoding::Bitstring);
        let list = json!({"type": ["VerifiableCredential", "BitstringStatusListCredential"], "issuer": scene.issuer.did,
            "credentialSubject": {"type": "BitstringStatusList", "statusPurpose": "revocation", "encodedList": encoded},
            "credentialSchema": {"id": SCHEMA, "type": "Shapes"}});
        scene.world.page(&World::list_url("issuer"), scene.issuer.sign(&scene.world.vault, "vc+jwt", &list).await.unwrap());
        scene.hold(&["Member"], json!({})).await;
        match (outcome, scene.verify(&[], true, after(1_400)).await) {
            (Ok(()), verified) => assert_eq!(types(&verified.unwrap()), ["Member"]),
            (Err(rule), verified) => assert!(refused(verified).contains(&format!("status list: the {rule}"))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_schema_in_a_credential_counts_when_the_same_issuer_signed_it() {
    const SCHEMA: &str = "https://issuer.example/schemas/member";
    let scene = Scene::new(TrustOptions::default()).await;
    let other = scene.world.party("other").await;
    let level =
        |level: &str| json!({"properties": {"credentialSubject": {"properties": {"level": {"const": level}}, "required": ["level"]}}});
    // The schema of the schema is itself: nothing goes round in a circle, since it is not followed.
    let claims = |issuer: &SigningKey, kind: &str, subject: Value, change: Value| {
        let mut claims = json!({"type": ["VerifiableCredential", kind], "issuer": issuer.did, "credentialSubject": subject,
            "credentialSchema": {"id": SCHEMA, "type": "JsonSchemaCredential"}, "exp": NOW.seconds() + 86_400});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    };
    let of = |schema: Value| json!({"id": "https://issuer.example/schemas/1", "type": "JsonSchema", "jsonSchema": schema});
    let kind = "JsonSchemaCredential";
    scene.hold(&["Member"], json!({"credentialSchema": {"id": SCHEMA, "type": kind}})).await;
    unreachable(scene.verify(&[], true, after(0)).await);
    let (good, bad) = (level("full"), level("none"));
    let (issuer, none) = (&scene.issuer, json!({}));
    let status = json!({"credentialStatus": {"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "9",
        "statusListCredential": "https://issuer.example/list"}});
    scene.world.status_list("issuer", issuer, &[9], json!({})).await;
    let mut seconds = 2;
    for (signer, claims, told) in [
        (issuer, claims(issuer, kind, of(good.clone()), none.clone()), None),
        (issuer, claims(issuer, kind, of(bad), none.clone()), Some("schema says")),
        (&other, claims(&other, kind, of(good.clone()), none.clone()), Some("credential's own issuer")),
        (&other, claims(issuer, kind, of(good.clone()), none.clone()), Some("key of a credential must be one of its issuer")),
        (issuer, claims(issuer, "Other", of(good.clone()), none.clone()), Some("JsonSchemaCredential")),
        (issuer, claims(issuer, kind, json!({"id": "x"}), none.clone()), Some("JsonSchemaCredential")),
        (issuer, claims(issuer, kind, of(json!({"type": "texts"})), none.clone()), Some("must be a JSON schema")),
        (issuer, claims(issuer, kind, of(json!({"$ref": "https://x.example/schema"})), none.clone()), Some("must be a JSON schema")),
        (issuer, claims(issuer, kind, of(good.clone()), json!({"exp": NOW.seconds() - 60})), Some("must not be expired")),
        (issuer, claims(issuer, kind, of(good.clone()), status), Some("must not be revoked")),
        (issuer, claims(issuer, kind, of(good), none), None),
    ] {
        scene.world.page(SCHEMA, signer.sign(&scene.world.vault, "vc+jwt", &claims).await.unwrap());
        let outcome = scene.verify(&[], true, after(seconds)).await;
        // A schema that could be read is kept longer than that there is none.
        seconds += if matches!(told, None | Some("schema says" | "credential's own issuer")) { 601 } else { 2 };
        match told {
            None => assert_eq!(types(&outcome.unwrap()), ["Member"], "{claims}"),
            Some(told) => {
                let rule = refused(outcome);
                assert!(rule.contains(told), "{rule}: {claims}");
            }
        }
    }
    scene.world.page(SCHEMA, "no credential");
    assert!(refused(scene.verify(&[], true, after(seconds)).await).contains("credential"));
}

/// What is in a credential may be compiled already: the credential is judged all the same.
#[tokio::test(start_paused = true)]
async fn a_schema_in_a_credential_is_judged_at_every_use() {
    const SCHEMA: &str = "https://issuer.example/schemas/member";
    let scene = Scene::new(TrustOptions::default()).await;
    let (issuer, world) = (&scene.issuer, &scene.world);
    let publish = async |signer: &SigningKey, until: u64| {
        let claims = json!({"type": ["VerifiableCredential", "JsonSchemaCredential"], "issuer": issuer.did, "exp": after(until).seconds(),
            "credentialSubject": {"id": "https://issuer.example/schemas/1", "type": "JsonSchema", "jsonSchema": {"required": ["credentialSubject"]}},
            "credentialStatus": {"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "9",
                "statusListCredential": World::list_url("issuer")}});
        world.page(SCHEMA, signer.sign(&world.vault, "vc+jwt", &claims).await.unwrap());
    };
    let refused_at = async |seconds: u64, rule: &str| {
        let told = refused(scene.verify(&[], true, after(seconds)).await);
        assert!(told.contains("schema: ") && told.contains(rule), "{told}");
    };
    publish(issuer, 100).await;
    scene.hold(&["Member"], json!({"credentialSchema": {"id": SCHEMA, "type": "JsonSchemaCredential"}})).await;
    for seconds in [0, 2, 4] {
        scene.verify(&[], true, after(seconds)).await.unwrap();
    }
    assert_eq!(world.asked(SCHEMA), 1);
    // Its status, as soon as the list is looked at again. It may have been signed anew, which is looked for once a second at most.
    world.status_list("issuer", issuer, &[9], json!({})).await;
    for _ in 0..3 {
        refused_at(10, "must not be revoked").await;
    }
    assert_eq!(world.asked(SCHEMA), 2);
    world.take_down(&World::list_url("issuer"));
    unreachable(scene.verify(&[], true, after(20)).await);
    world.bring_back(&World::list_url("issuer"));
    world.status_list("issuer", issuer, &[], json!({})).await;
    scene.verify(&[], true, after(30)).await.unwrap();
    // Its dates.
    refused_at(101, "must not be expired").await;
    let next = world.key("issuer", "k2").await;
    world.publish("issuer", &[issuer.clone(), next.clone()]).await;
    publish(&next, 10_000).await;
    scene.verify(&[], true, after(140)).await.unwrap();
    // The key that it is signed with.
    world.publish("issuer", std::slice::from_ref(issuer)).await;
    refused_at(180, "signing key").await;
    publish(issuer, 10_000).await;
    scene.verify(&[], true, after(182)).await.unwrap();
}
