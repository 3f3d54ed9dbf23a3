//! What a verifier is promised: rules, caches and their ages, and what happens when others cannot be reached.

use super::{
    PeerError, SigningKey, Trust, TrustOptions, VerifiedPeer, VerifyRequest,
    world::{Draft, NOW, Tokens, World},
};
use crate::settings::TrustedIssuer;
use cellspace_schemas::{
    ParticipantContextId, Timestamp,
    bitstring::{Bitstring, Encoding, MIN_BITS},
    dcp::{CredentialFormat, DidDocument, Service},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const MEMBER: &str = "org.eclipse.dspace.dcp.vc.type:Member:read";
const MAKER: &str = "org.eclipse.dspace.dcp.vc.type:Maker:read";
const OTHER: &str = "org.eclipse.dspace.dcp.vc.type:Other:read";

struct Scene {
    world: Arc<World>,
    trust: Trust,
    holder: SigningKey,
    issuer: SigningKey,
    verifier: SigningKey,
}

impl Scene {
    async fn new(options: TrustOptions) -> Self {
        let world = Arc::new(World::default());
        let (holder, issuer, verifier) = (world.party("holder").await, world.party("issuer").await, world.party("verifier").await);
        world.status_list("issuer", &issuer, &[], json!({})).await;
        let trust = world.trust(options);
        Self { world, trust, holder, issuer, verifier }
    }

    /// Holder with a membership; the maker's credential is of the other format.
    async fn with_member(options: TrustOptions) -> Self {
        let scene = Self::new(options).await;
        scene.hold(&["Member"], json!({})).await;
        scene
    }

    async fn draft(&self, name: &'static str, change: Value) -> (CredentialFormat, String) {
        let format = if name == "Member" { CredentialFormat::Vc2Jose } else { CredentialFormat::Vc1Jwt };
        // The older list form is not served here.
        let change = match (format, change) {
            (CredentialFormat::Vc1Jwt, change) if change == json!({}) => {
                json!({"vc": {"type": ["VerifiableCredential", name], "credentialSubject": {"id": self.holder.did}}})
            }
            (_, change) => change,
        };
        self.world.credential(&self.issuer, Draft { format, holder: self.holder.did.clone(), name, change }).await
    }

    async fn hold(&self, names: &[&'static str], change: Value) {
        let mut all = Vec::new();
        for name in names {
            all.push(self.draft(name, change.clone()).await);
        }
        self.world.hold("holder", all);
    }

    async fn message(&self, now: Timestamp) -> String {
        self.holder.id_token(&self.world.vault, &self.verifier.did, Some("access"), now).await.unwrap()
    }

    async fn verify(&self, optional: &[&str], believe_absence: bool, now: Timestamp) -> Result<VerifiedPeer, PeerError> {
        self.verify_trusting(optional, believe_absence, now, "*").await
    }

    async fn verify_trusting(
        &self,
        optional: &[&str],
        believe_absence: bool,
        now: Timestamp,
        types: &str,
    ) -> Result<VerifiedPeer, PeerError> {
        let optional: Vec<String> = optional.iter().map(|scope| (*scope).to_owned()).collect();
        let request = VerifyRequest {
            participant: &ParticipantContextId::new("verifier").unwrap(),
            own_did: &self.verifier.did,
            token: &self.message(now).await,
            call: None,
            required: &[MEMBER.to_owned()],
            optional: &optional,
            named: &[],
            trusted_issuers: &[TrustedIssuer { id: self.issuer.did.clone(), supported_types: vec![types.to_owned()] }],
            believe_absence,
        };
        self.trust.verify(&request, &Tokens { world: &self.world, key: &self.verifier, now }, now).await
    }
}

fn types(peer: &VerifiedPeer) -> Vec<&str> {
    let mut types: Vec<&str> = peer.credentials.iter().map(|c| c.credential.types[1].as_str()).collect();
    types.sort_unstable();
    types
}

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn refused(outcome: Result<VerifiedPeer, PeerError>) -> String {
    match outcome {
        Err(PeerError::Refused(rule)) => rule,
        other => panic!("not refused: {other:?}"),
    }
}

fn unreachable(outcome: Result<VerifiedPeer, PeerError>) {
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
}

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

/// Nor is what an issuer signs while something else is waited for, or while it is itself asked.
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

/// What was begun beside a verification and waits for nothing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
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

/// What a counterparty is told of a refusal is the rule: what must be. Nothing of what was found, nothing of what is inside, and no two rules are told alike.
#[test]
fn every_rule_says_what_must_be() {
    use super::{
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

#[tokio::test(start_paused = true)]
async fn tokens_from_before_a_take_over_are_signed_anew() {
    let scene = Scene::with_member(TrustOptions { opened: Some(NOW), ..TrustOptions::default() }).await;
    for (seconds, admitted) in [(0, false), (1, false), (2, true)] {
        let outcome = scene.verify(&[], true, after(seconds)).await;
        assert_eq!(outcome.is_ok(), admitted, "{outcome:?}");
        assert!(admitted || matches!(outcome, Err(PeerError::TooEarly)));
    }
}
