//! Signed texts that are not what they say: tokens of messages, access tokens, presentations, credentials, status lists.

use crate::{
    hostile::is_clear,
    hostile_peer::{Forged, Peer, TYPE, forbidden_ground, now, sign, with},
    support::{DRAIN, Platform, read},
};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use cellspace::auth::IssuerConfig;
use cellspace_schemas::{
    Did,
    bitstring::{Bitstring, Encoding, MAX_BYTES},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What a forger has: a good token's header and claims, the signer's public key, and a key of its own.
struct Forger<'a> {
    kid: String,
    signer: &'a Ed25519KeyPair,
    own: &'a Ed25519KeyPair,
    claims: Value,
    /// Where nobody may come for a key.
    ground: String,
}

fn encoded(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// `levels` objects within each other.
pub fn nested(levels: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
}

impl Forger<'_> {
    fn header(&self, change: &Value) -> Value {
        with(json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid}), change)
    }

    /// A good signature over a header with changes.
    fn headed(&self, change: &Value) -> String {
        sign(self.signer, &self.header(change).to_string(), &self.claims.to_string())
    }

    /// A header with changes, signed with the forger's own key.
    fn own(&self, change: &Value) -> String {
        sign(self.own, &self.header(change).to_string(), &self.claims.to_string())
    }

    fn good(&self) -> String {
        self.headed(&json!({}))
    }

    /// A MAC with what everybody knows as its secret.
    fn mac(&self, alg: &str, algorithm: hmac::Algorithm, secret: &[u8]) -> String {
        let input = format!("{}.{}", encoded(&self.header(&json!({"alg": alg})).to_string()), encoded(&self.claims.to_string()));
        let tag = hmac::sign(&hmac::Key::new(algorithm, secret), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    fn es256(&self) -> String {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(&key.public_key().as_ref()[1..33]), "y": URL_SAFE_NO_PAD.encode(&key.public_key().as_ref()[33..])});
        let input =
            format!("{}.{}", encoded(&self.header(&json!({"alg": "ES256", "jwk": jwk})).to_string()), encoded(&self.claims.to_string()));
        let signature = key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// What is wrong with the form and the keys of any signed text, whatever it says.
    fn all(&self) -> Vec<(&'static str, String)> {
        let public = self.signer.public_key().as_ref();
        let jwk = |key: &Ed25519KeyPair| json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key.public_key().as_ref())});
        let good = self.good();
        let parts: Vec<&str> = good.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("three parts") };
        let unsigned = |alg: &str| format!("{}.{claims}.", encoded(&self.header(&json!({"alg": alg})).to_string()));
        let text = self.claims.to_string();
        // The last character of 64 bytes holds four bits that mean nothing.
        let loose = |part: &str| {
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let last = ALPHABET.iter().position(|c| *c == part.as_bytes()[part.len() - 1]).unwrap();
            format!("{}{}", &part[..part.len() - 1], ALPHABET[last | 1] as char)
        };
        let detached = {
            let header = encoded(&self.header(&json!({"b64": false})).to_string());
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(self.signer.sign(format!("{header}.{text}").as_bytes()).as_ref()))
        };
        let mut all = vec![
            ("alg none", unsigned("none")),
            ("alg None", unsigned("None")),
            ("alg none, a signature", format!("{}{signature}", unsigned("none"))),
            ("no alg", self.headed(&json!({"alg": null}))),
            ("no signature", format!("{header}.{claims}.")),
            ("HS256 with the public key", self.mac("HS256", hmac::HMAC_SHA256, public)),
            ("HS256 with the public JWK", self.mac("HS256", hmac::HMAC_SHA256, jwk(self.signer).to_string().as_bytes())),
            ("HS512 with the public key", self.mac("HS512", hmac::HMAC_SHA512, public)),
            ("HS256 with nothing", self.mac("HS256", hmac::HMAC_SHA256, b"")),
            ("ES256 over an Ed25519 signature", self.headed(&json!({"alg": "ES256"}))),
            ("ES256 with an own key", self.es256()),
            ("RS256 over an Ed25519 signature", self.headed(&json!({"alg": "RS256"}))),
            ("an own key", self.own(&json!({}))),
            ("an own key as jwk", self.own(&json!({"jwk": jwk(self.own)}))),
            ("an own key at jku", self.own(&json!({"jku": format!("{}/jku", self.ground)}))),
            ("an own key at x5u", self.own(&json!({"x5u": format!("{}/x5u", self.ground)}))),
            ("an own key in x5c", self.own(&json!({"x5c": [STANDARD.encode(self.own.public_key())]}))),
            ("kid at a server", self.own(&json!({"kid": format!("{}/key", self.ground)}))),
            ("kid as a path", self.own(&json!({"kid": "../../../../dev/null"}))),
            ("another kid", self.headed(&json!({"kid": format!("{}0", self.kid)}))),
            ("a long kid", self.headed(&json!({"kid": format!("{}{}", self.kid, "0".repeat(6_000))}))),
            ("kid of another type", self.headed(&json!({"kid": {"a": 1}}))),
            ("crit", self.headed(&json!({"crit": ["exp"]}))),
            ("empty crit", self.headed(&json!({"crit": []}))),
            ("crit of another type", self.headed(&json!({"crit": "exp"}))),
            ("unknown crit", self.headed(&json!({"crit": ["urn:x"], "urn:x": true}))),
            ("b64 and crit", self.headed(&json!({"crit": ["b64"], "b64": false}))),
            ("b64 without crit", detached),
            ("alg twice", sign(self.signer, &self.header(&json!({})).to_string().replacen('{', "{\"alg\":\"none\",", 1), &text)),
            ("crit twice", sign(self.signer, &self.header(&json!({"crit": []})).to_string().replacen('{', "{\"crit\":null,", 1), &text)),
            ("a header that is a list", sign(self.signer, "[\"EdDSA\"]", &text)),
            ("a deep header", sign(self.signer, &format!("{{\"alg\":\"EdDSA\",\"x\":{}}}", nested(5_000)), &text)),
            (
                "deep claims",
                sign(self.signer, &self.header(&json!({})).to_string(), &text.replacen('{', &format!("{{\"x\":{},", nested(40)), 1)),
            ),
            ("claims that are a list", sign(self.signer, &self.header(&json!({})).to_string(), "[]")),
            ("claims that are null", sign(self.signer, &self.header(&json!({})).to_string(), "null")),
            ("claims that are no JSON", sign(self.signer, &self.header(&json!({})).to_string(), "\u{1}")),
            (
                "an expiry beyond numbers",
                sign(
                    self.signer,
                    &self.header(&json!({})).to_string(),
                    &with(self.claims.clone(), &json!({"exp": 0})).to_string().replace("\"exp\":0", "\"exp\":1e400"),
                ),
            ),
            (
                "an expiry as text",
                sign(
                    self.signer,
                    &self.header(&json!({})).to_string(),
                    &with(self.claims.clone(), &json!({"exp": "4000000000"})).to_string(),
                ),
            ),
            ("padding", format!("{}.{}.{signature}==", URL_SAFE.encode(self.header(&json!({})).to_string()), URL_SAFE.encode(&text))),
            ("white space in a part", format!("{header}.{claims}.{} {}", &signature[..9], &signature[9..])),
            ("loose bits", format!("{header}.{claims}.{}", loose(signature))),
            ("two parts", format!("{header}.{claims}")),
            ("four parts", format!("{good}.{signature}")),
            ("five parts", format!("{header}..{claims}.{signature}.{signature}")),
            ("an empty part before", format!(".{good}")),
            ("an empty part behind", format!("{good}.")),
            ("its JSON form", json!({"payload": claims, "protected": header, "signature": signature}).to_string()),
        ];
        all.push(("another alphabet", {
            let mut plain = STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).unwrap()).trim_end_matches('=').to_owned();
            // One in ten million has neither + nor /.
            if !plain.contains(['+', '/']) {
                plain.push('+');
            }
            format!("{header}.{claims}.{plain}")
        }));
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_messages() {
    let (p, peer) = (Platform::temporary(|_| {}).await, Peer::start().await);
    let (ground, visits) = forbidden_ground().await;
    p.full_participant("acme").await;
    let (did, acme) = (peer.did("friend"), p.did("acme"));
    let fresh = |change: &Value| {
        with(json!({"iss": did, "sub": did, "aud": acme, "jti": uuid::Uuid::new_v4(), "iat": now(), "exp": now() + 60}), change)
    };
    let (signer, own) = (peer.key("friend"), peer.key("thief"));
    let forger =
        |claims: Value| Forger { kid: format!("{did}#key-1"), signer: &signer, own: &own, claims, ground: format!("http://{ground}") };
    let thief = peer.did("thief");
    let of_thief = |claims: &Value| sign(&own, &json!({"alg": "EdDSA", "kid": format!("{thief}#key-1")}).to_string(), &claims.to_string());
    let claimed = |text: &str| sign(&signer, &forger(json!({})).header(&json!({})).to_string(), text);
    let doubled = |name: &str| claimed(&fresh(&json!({})).to_string().replacen('{', &format!("{{\"{name}\":\"did:web:nobody\","), 1));
    let mut cases = forger(fresh(&json!({}))).all();
    cases.extend([
        ("another's key, the sender's name", of_thief(&fresh(&json!({})))),
        ("another's key, the sender's name as issuer", of_thief(&fresh(&json!({"sub": thief})))),
        ("iss twice", doubled("iss")),
        ("aud twice", doubled("aud")),
        ("jti twice", doubled("jti")),
        ("no audience", forger(fresh(&json!({"aud": null}))).good()),
        ("several audiences", forger(fresh(&json!({"aud": [acme, "did:web:other"]}))).good()),
        ("an audience of another type", forger(fresh(&json!({"aud": {"id": acme}}))).good()),
        ("an issuer that is no DID", forger(fresh(&json!({"iss": "friend", "sub": "friend"}))).good()),
        ("a date before all dates", forger(fresh(&json!({"iat": -1}))).good()),
        ("a date far ahead", forger(fresh(&json!({"iat": 9e15}))).good()),
        ("claims that are too long", forger(fresh(&json!({"x": "x".repeat(17 << 10)}))).good()),
        ("a credential", peer.credential("friend", &json!({}))),
        ("a presentation", forger(peer.presentation_claims("friend", &acme)).good()),
        ("a status list", forger(peer.list_claims("friend")).good()),
        ("an access token of the platform", p.token.clone()),
    ]);
    for (what, token) in cases {
        let (status, body) = match p.catalog_for_raw("acme", &token).await {
            Some(answer) => answer,
            // Not even a header.
            None => continue,
        };
        assert_eq!((status, body["@type"].as_str()), (StatusCode::UNAUTHORIZED, Some("CatalogError")), "{what}: {body}");
        assert!(body["reason"][0].as_str().is_some_and(|reason| reason.len() > 20), "{what}: {body}");
        is_clear(&body);
        assert!(!body.to_string().contains(token.as_str()), "{what}: {body}");
    }
    assert_eq!(*visits.lock(), 0, "a key was fetched from where the token said");
    for token in [forger(fresh(&json!({}))).good(), forger(fresh(&json!({}))).headed(&json!({"typ": "at+jwt", "x": {"y": 1}}))] {
        let (status, body) = p.catalog_for("acme", &token).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    p.node.drain(DRAIN).await;
}

impl Platform {
    /// As [`Platform::catalog_for`]; `None` for a token that is no header value.
    async fn catalog_for_raw(&self, participant: &str, token: &str) -> Option<(StatusCode, Value)> {
        reqwest::header::HeaderValue::from_str(token).ok()?;
        Some(self.catalog_for(participant, token).await)
    }

    async fn clients(&self, token: &str) -> (StatusCode, Value) {
        read(self.bare(Method::GET, "/api/v1/clients").bearer_auth(token).send().await.unwrap()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens() {
    let peer = Peer::start().await;
    let (ground, visits) = forbidden_ground().await;
    let issuer = |name: &str| IssuerConfig { issuer: name.to_owned(), jwks: peer.url(name, "/jwks").parse().unwrap(), audience: None };
    let p = Platform::temporary(|config| config.issuers = vec![issuer("one"), issuer("two")]).await;
    let (one, two, own) = (peer.key("one"), peer.key("two"), peer.key("thief"));
    let claims =
        |iss: &str| json!({"iss": iss, "sub": "x", "iat": now(), "exp": now() + 60, "scope": "token-service-api:admin", "role": "admin"});
    let forger = |claims: Value, signer| Forger { kid: "k".to_owned(), signer, own: &own, claims, ground: format!("http://{ground}") };
    for token in [forger(claims("one"), &one).good(), forger(claims("two"), &two).good(), p.token.clone()] {
        let (status, body) = p.clients(&token).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    let embedded: Value = p.bare(Method::GET, "/.well-known/jwks.json").send().await.unwrap().json().await.unwrap();
    let public = URL_SAFE_NO_PAD.decode(embedded["keys"][0]["x"].as_str().unwrap()).unwrap();
    let own_issuer: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(p.token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let of_embedded = Forger {
        kid: embedded["keys"][0]["kid"].as_str().unwrap().to_owned(),
        ..forger(claims(own_issuer["iss"].as_str().unwrap()), &own)
    };
    let mut cases = forger(claims("one"), &one).all();
    cases.extend([
        ("another issuer's key", forger(claims("two"), &one).good()),
        ("an issuer's key, the platform's name", of_embedded.good()),
        ("the platform's public key as a secret", of_embedded.mac("HS256", hmac::HMAC_SHA256, &public)),
        ("an unknown issuer", forger(claims("three"), &one).good()),
        ("no issuer", forger(with(claims("one"), &json!({"iss": null})), &one).good()),
        (
            "two issuers",
            sign(
                &one,
                &forger(json!({}), &one).header(&json!({})).to_string(),
                &claims("one").to_string().replacen('{', "{\"iss\":\"two\",", 1),
            ),
        ),
        ("expired", forger(with(claims("one"), &json!({"exp": now() - 1})), &one).good()),
        ("not valid yet", forger(with(claims("one"), &json!({"nbf": now() + 60})), &one).good()),
        ("claims that are too long", forger(with(claims("one"), &json!({"x": "x".repeat(17 << 10)})), &one).good()),
    ]);
    for (what, token) in cases {
        if reqwest::header::HeaderValue::from_str(&token).is_err() {
            continue;
        }
        let (status, body) = p.clients(&token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}: {body}");
        is_clear(&body);
    }
    assert_eq!(*visits.lock(), 0, "a key was fetched from where the token said");
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presentations_credentials_and_lists() {
    let (p, peer) = (Platform::temporary(|_| {}).await, Peer::start().await);
    let (ground, visits) = forbidden_ground().await;
    p.full_participant("acme").await;
    let acme = p.did("acme");
    let thief = peer.key("thief");
    // Each case is a party of its own, so that nothing is remembered of the one before.
    let of = |name: &str| cases_of(&peer, &ground.to_string(), &thief, name, &acme);
    let cases = (0..of("x").len()).map(|n| format!("party-{n}")).enumerate().map(|(n, name)| {
        let (what, forged) = of(&name).swap_remove(n);
        (name, what, forged)
    });
    let cases: Vec<(String, &str, Forged)> = cases.collect();
    let issuers: Vec<_> = cases.iter().map(|(name, ..)| peer.issuer(name)).chain([peer.issuer("friend")]).collect();
    p.demands_credentials(&issuers).await;
    for (name, what, forged) in cases {
        let about = match &forged {
            Forged::Credential(_) => "credential",
            Forged::Presentation(_) => "presentation",
            Forged::List(_) => "status list",
            Forged::Schema(_) => "schema",
        };
        peer.forges(&name, forged);
        let (status, body) = p.catalog_for("acme", &peer.token(&name, &acme, &json!({}))).await;
        assert_eq!((status, body["@type"].as_str()), (StatusCode::UNAUTHORIZED, Some("CatalogError")), "{what}: {body}");
        is_clear(&body);
        let reason = body["reason"][0].as_str().unwrap().to_lowercase();
        assert!(reason.contains(about) || reason.contains("signing key"), "{what}: {reason}");
    }
    assert_eq!(*visits.lock(), 0, "a key was fetched from where the header said");
    let (status, body) = p.catalog_for("acme", &peer.token("friend", &acme, &json!({}))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_with_a_thousand_claims_and_more() {
    let (p, peer) = (Platform::temporary(|_| {}).await, Peer::start().await);
    p.full_participant("acme").await;
    let acme = p.did("acme");
    let parties = ["thousand", "types", "subjects", "endless"];
    p.demands_credentials(&parties.map(|name| peer.issuer(name))).await;
    let claims = |holder: &str, n: usize| {
        let more = (0..n).map(|n| (format!("claim-{n}"), json!(n)));
        Value::Object([("id".to_owned(), json!(peer.did(holder)))].into_iter().chain(more).collect())
    };
    let more = (0..1_000).map(|n| format!("Type{n}"));
    let types: Vec<String> = ["VerifiableCredential", TYPE].map(str::to_owned).into_iter().chain(more).collect();
    let all = [
        // Many claims are no fault.
        ("thousand", json!({"credentialSubject": claims("thousand", 1_000)}), Ok(())),
        // All that it is called must be what its issuer is trusted for.
        ("types", json!({ "type": types }), Err("trusted for every type")),
        // All that it speaks of must be its holder.
        ("subjects", json!({"credentialSubject": vec![claims("subjects", 1), claims("thousand", 1)]}), Err("must be its holder")),
        ("endless", json!({"credentialSubject": claims("endless", 22_000)}), Err("must not be longer than")),
    ];
    for (name, change, expected) in all {
        peer.forges(name, Forged::Credential(peer.credential(name, &change)));
        let (status, body) = p.catalog_for("acme", &peer.token(name, &acme, &json!({}))).await;
        match expected {
            Ok(()) => assert_eq!(status, StatusCode::OK, "{name}: {body}"),
            Err(rule) => {
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}: {body}");
                assert!(body["reason"][0].as_str().unwrap().contains(rule), "{name}: {body}");
            }
        }
        is_clear(&body);
    }
    p.node.drain(DRAIN).await;
}

/// What a holder or its issuer could hand over in place of the right text.
fn cases_of(peer: &Peer, ground: &str, thief: &Ed25519KeyPair, name: &str, verifier: &Did) -> Vec<(&'static str, Forged)> {
    let (holder, issuer) = (peer.key(name), peer.key(&format!("{name}-issuer")));
    let (holder_kid, issuer_kid) = (format!("{}#key-1", peer.did(name)), format!("{}#key-1", peer.issuer(name)));
    let forger = |kid: &str, signer, claims| Forger { kid: kid.to_owned(), signer, own: thief, claims, ground: format!("http://{ground}") };
    let (credential, presentation, list) = (peer.credential_claims(name), peer.presentation_claims(name, verifier), peer.list_claims(name));
    let mut cases = Vec::new();
    let mut add = |what, forged| cases.push((what, forged));
    for (what, text) in forger(&issuer_kid, &issuer, credential.clone()).all() {
        add(what, Forged::Credential(text));
    }
    for (what, text) in forger(&holder_kid, &holder, presentation.clone()).all() {
        add(what, Forged::Presentation(text));
    }
    for (what, text) in forger(&issuer_kid, &issuer, with(list.clone(), &json!({"exp": now() + 60}))).all() {
        add(what, Forged::List(text));
    }
    let by_issuer = |claims: &Value| forger(&issuer_kid, &issuer, claims.clone()).good();
    let by_holder = |claims: &Value| forger(&holder_kid, &holder, claims.clone()).good();
    let subject = |change: Value| with(list.clone(), &json!({"credentialSubject": with(list["credentialSubject"].clone(), &change)}));
    let enveloped = |jwt: &str| json!({"type": "EnvelopedVerifiablePresentation", "id": format!("data:application/vp+jwt,{jwt}")});
    let twice = by_holder(&enveloped(&by_holder(&enveloped(&by_holder(&presentation)))));
    let many: Vec<Value> = vec![presentation["verifiableCredential"][0].clone(); 65];
    for forged in [
        Forged::Credential(by_holder(&credential)),
        Forged::Credential(by_issuer(&with(credential.clone(), &json!({"credentialSubject": {"id": peer.did("thief")}})))),
        Forged::Credential(by_issuer(&with(credential.clone(), &json!({"credentialSubject": []})))),
        Forged::Credential(by_issuer(&with(credential.clone(), &json!({"credentialStatus": "none"})))),
        Forged::Credential(by_issuer(&with(credential.clone(), &json!({"issuer": peer.issuer("friend")})))),
        Forged::Presentation(by_issuer(&presentation)),
        Forged::Presentation(by_holder(&with(presentation.clone(), &json!({"aud": "did:web:other"})))),
        Forged::Presentation(by_holder(&with(presentation.clone(), &json!({"exp": now() - 10})))),
        Forged::Presentation(by_holder(&with(presentation.clone(), &json!({"verifiableCredential": many})))),
        Forged::Presentation(by_holder(&with(presentation.clone(), &json!({"x": "x".repeat(600 << 10)})))),
        Forged::Presentation(twice),
        Forged::List(by_holder(&list)),
        Forged::List(by_issuer(&subject(json!({"encodedList": Bitstring::zeroes((MAX_BYTES + 1) * 8).encode(Encoding::Bitstring)})))),
        Forged::List(by_issuer(&subject(json!({"encodedList": "u"})))),
        Forged::List(by_issuer(&subject(json!({"encodedList": ["u"]})))),
        Forged::List(by_issuer(&subject(json!({"statusPurpose": "message"})))),
        Forged::List(by_issuer(&with(list.clone(), &json!({"type": ["VerifiableCredential"]})))),
        Forged::List(by_issuer(&with(list.clone(), &json!({"exp": now() - 10})))),
    ] {
        add("what it says", forged);
    }
    cases
}
