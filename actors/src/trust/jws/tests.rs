//! What is signed and read again, and every way in which it is refused.

use super::*;
use crate::trust::testing::TestVault;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_storage::{KeyAlgorithm, Vault};
use proptest::prelude::*;
use serde_json::{Value, json};

async fn signed(algorithm: KeyAlgorithm) -> (String, VerifyingKey) {
    let vault = TestVault::default();
    let path = TestVault::path("p1", "a1");
    let public = vault.generate_key(&path, algorithm).await.unwrap();
    let header = JwsHeader::new(algorithm, "did:web:example.com#k1", "JWT");
    let token = sign(&vault, &path, &header, &json!({"iss": "did:web:example.com"})).await.unwrap();
    (token, VerifyingKey::from_jwk(&public.jwk).unwrap())
}

fn with_header(header: &Value) -> String {
    with(header, "{}")
}

fn with(header: &Value, claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(&header.to_string()), part(claims), URL_SAFE_NO_PAD.encode([0; 64]))
}

#[test]
fn claims_are_bounded_in_depth() {
    let claims = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    for (levels, good) in [(json::MAX_DEPTH, true), (json::MAX_DEPTH + 1, false)] {
        let token = with(&json!({"alg": "EdDSA"}), &claims(levels));
        assert_eq!(Jws::parse(&token, MAX_TOKEN_BYTES).is_ok(), good, "{levels}");
    }
}

/// RFC 7515, appendix A.3: ES256.
#[test]
fn verifies_the_example_of_rfc_7515() {
    let key = VerifyingKey::from_jwk(&json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}));
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let claims: Value = Jws::parse(token, MAX_TOKEN_BYTES).unwrap().verify(&key.unwrap()).unwrap();
    assert_eq!(claims["iss"], "joe");
}

/// RFC 7515, appendix A.2: RS256.
const RSA: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
/// Made with another library.
const OTHER_RSA: &str = "y-8OPB6y1GiDmmaFM21KZGPUBeHDa7KpEQNyfymxeTt10SwKK9HNFRANbtcnaP8a7tbKf_L0FiXea6Et9GSlyMA-sPwZK0v5-Lbm13qfcpnkiqHLBG5Z0q3bV9TLNFzDZPrb4qZXVxnhcMc3z7xYfudtRsYZWSAIEuVGRN7o7G2JO7vnDYtN4xFcieeoZSMuShTncE2Q9Q2jsDOWY1KbkDyDHzKFyT11OHKseKdrageUji5iBaN3g-GAQyrgTnTIp53Fx71fzav1KfWNsDIA0pBRh0nNPkhJkTe7BxrzFf_4gOnkYkF3mXIZtHlmPkZiPhaP1QwOFgq5ReK3BSQJrw";
const PS256: &str = "eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJqb2UifQ.\
    L1Y31KvLTjYIg2DVm5uvIW-cf5TcDveWB4otzSoAMtqLwMbsrMnDNrtnqgnlKy2NTm6ofBPFldbrbw1K5GLi_p4JyxWQkUQh1xbexEFnRlw1L3XO4zbb8aS5CdcLZQ9NHLrGRprn2KgQ7tkPirTv-Mqjqv61DKIeiN2h1wQQDb27bqST7rYevyIwyXuVopalIJvAKCAM0hBeH3diIpgvAom7F68CeGsvdvfyThRUegJ_tCnlGYR155lbJ6GsGik6AizGPgBgoMZaysplGN6lfo38TnuTjcpDEWTeY9JxNaT975GseBagvB5IA3Ik1K9TEeTlZg6DlfUFCWMU-JLEBQ";

fn rsa(modulus: &str, more: &Value) -> VerifyingKey {
    let mut jwk = json!({"kty": "RSA", "n": modulus, "e": "AQAB"});
    jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    VerifyingKey::from_jwk(&jwk).unwrap()
}

#[test]
fn signatures_with_rsa_are_verified_by_the_algorithm_of_the_key() {
    for (token, own, other, algorithm, confused) in [(RS256, RSA, OTHER_RSA, "RS256", "PS256"), (PS256, OTHER_RSA, RSA, "PS256", "RS256")] {
        let verify = |token: &str, key: &VerifyingKey| {
            Jws::parse(token, MAX_TOKEN_BYTES).and_then(|jws| jws.verify::<Value>(key)).map(|claims| claims["iss"].clone())
        };
        for more in [json!({}), json!({"alg": algorithm})] {
            assert_eq!(verify(token, &rsa(own, &more)), Ok(json!("joe")), "{more}");
        }
        assert_eq!(verify(token, &rsa(own, &json!({"alg": confused}))), Err(JwsError::KeyType));
        assert_eq!(verify(token, &rsa(other, &json!({}))), Err(JwsError::Signature));
        // The header is signed as well.
        let relabelled = token.replacen(
            &URL_SAFE_NO_PAD.encode(json!({"alg": algorithm}).to_string()),
            &URL_SAFE_NO_PAD.encode(json!({"alg": confused}).to_string()),
            1,
        );
        assert_ne!(relabelled, token);
        assert_eq!(verify(&relabelled, &rsa(own, &json!({}))), Err(JwsError::Signature));
    }
}

/// Whatever a token says of its algorithm, the key decides.
#[tokio::test]
async fn an_algorithm_that_is_not_the_keys_is_refused() {
    let (_, ed25519) = signed(KeyAlgorithm::Ed25519).await;
    let (_, p256) = signed(KeyAlgorithm::P256).await;
    let p384 = VerifyingKey::from_multikey("z82Lm1MpAkeJcix9K8TMiLd5NMAhnwkjjCBeWHXyu3U4oT2MVJJKXkcVBgjGhnLBn2Kaau9").unwrap();
    let keys: [(VerifyingKey, &[&str]); 6] = [
        (ed25519, &["EdDSA"]),
        (p256, &["ES256"]),
        (p384, &["ES384"]),
        (rsa(RSA, &json!({})), &["PS256", "RS256"]),
        (rsa(RSA, &json!({"alg": "PS256"})), &["PS256"]),
        (rsa(RSA, &json!({"alg": "RS256"})), &["RS256"]),
    ];
    for (key, own) in keys {
        for algorithm in ["EdDSA", "ES256", "ES384", "PS256", "RS256"] {
            let token = with_header(&json!({"alg": algorithm}));
            let refused = if own.contains(&algorithm) { JwsError::Signature } else { JwsError::KeyType };
            let verified = Jws::parse(&token, MAX_TOKEN_BYTES).unwrap().verify::<Value>(&key);
            assert_eq!(verified, Err(refused), "{algorithm} with a key for {own:?}");
        }
    }
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]

    /// Padding, odd lengths, bits that say nothing and other alphabets are refused.
    #[test]
    fn base64url_is_read_as_strictly_as_elsewhere(text in "[A-Za-z0-9_-]{0,70}[A-Za-z0-9_=+/. ]{0,2}") {
        prop_assert_eq!(base64_simd::URL_SAFE_NO_PAD.decode_to_vec(&text).ok(), URL_SAFE_NO_PAD.decode(&text).ok());
    }
}

#[tokio::test]
async fn both_algorithms_round_trip() {
    for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::P256] {
        let (token, key) = signed(algorithm).await;
        let jws = Jws::parse(&token, MAX_TOKEN_BYTES).unwrap();
        assert_eq!(jws.key_id().unwrap().map(|k| k.url), Some("did:web:example.com#k1"));
        assert_eq!(jws.typ(), Some("JWT"));
        assert_eq!(jws.verify::<Value>(&key).unwrap(), json!({"iss": "did:web:example.com"}));
    }
}

#[tokio::test]
async fn a_detached_signature_is_that_of_the_text_put_back() {
    for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::P256] {
        let vault = TestVault::default();
        let path = TestVault::path("p1", "a1");
        let key = VerifyingKey::from_jwk(&vault.generate_key(&path, algorithm).await.unwrap().jwk).unwrap();
        let header = JwsHeader::new(algorithm, "did:web:example.com#k1", "event+json");
        let text = br#"{"a": [1, "two"]}"#;
        let detached = sign_detached(&vault, &path, &header, text).await.unwrap();
        let with = |text: &[u8]| detached.replacen("..", &format!(".{}.", URL_SAFE_NO_PAD.encode(text)), 1);
        let whole = with(text);
        let jws = Jws::parse(&whole, MAX_TOKEN_BYTES).unwrap();
        assert_eq!((jws.typ(), jws.kid()), (Some("event+json"), Some("did:web:example.com#k1")));
        assert_eq!(jws.verify::<Value>(&key).unwrap(), json!({"a": [1, "two"]}));
        let other = with(br#"{"a": [1, "Two"]}"#);
        assert_eq!(Jws::parse(&other, MAX_TOKEN_BYTES).unwrap().verify::<Value>(&key), Err(JwsError::Signature));
    }
}

#[tokio::test]
async fn every_changed_character_breaks_the_signature() {
    let (token, key) = signed(KeyAlgorithm::Ed25519).await;
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let outcome = Jws::parse(&changed, MAX_TOKEN_BYTES).and_then(|jws| jws.verify::<Value>(&key));
        assert!(outcome.is_err(), "position {at}");
    }
}

#[tokio::test]
async fn another_key_or_algorithm_is_refused() {
    let (token, _) = signed(KeyAlgorithm::Ed25519).await;
    let (_, other) = signed(KeyAlgorithm::Ed25519).await;
    let (_, p256) = signed(KeyAlgorithm::P256).await;
    let jws = Jws::parse(&token, MAX_TOKEN_BYTES).unwrap();
    assert_eq!(jws.verify::<Value>(&other), Err(JwsError::Signature));
    assert_eq!(jws.verify::<Value>(&p256), Err(JwsError::KeyType));
}

#[test]
fn headers_are_checked() {
    let kid = "did:web:example.com#k1";
    let table = [
        (json!({"alg": "none", "kid": kid}), JwsError::Malformed),
        (json!({"alg": "eddsa", "kid": kid}), JwsError::Malformed),
        (json!({"alg": "HS256", "kid": kid}), JwsError::Algorithm),
        (json!({"alg": "RS512", "kid": kid}), JwsError::Algorithm),
        (json!({"alg": "PS384", "kid": kid}), JwsError::Algorithm),
        (json!({"alg": "EdDSA", "kid": kid, "crit": ["exp"]}), JwsError::Critical),
        (json!({"alg": "EdDSA", "kid": kid, "crit": []}), JwsError::Critical),
        (json!({"alg": "EdDSA", "kid": "k1"}), JwsError::KeyId),
        (json!({"alg": "EdDSA", "kid": "did:web:example.com"}), JwsError::KeyId),
        (json!({"alg": "EdDSA", "kid": "did:web:example.com#"}), JwsError::KeyId),
        (json!({"alg": "EdDSA", "kid": "https://example.com#k"}), JwsError::KeyId),
        (json!({"kid": kid}), JwsError::Malformed),
        (json!(["EdDSA"]), JwsError::Malformed),
    ];
    for (header, error) in table {
        let token = with_header(&header);
        assert_eq!(Jws::parse(&token, MAX_TOKEN_BYTES).and_then(|jws| jws.key_id().map(drop)).err(), Some(error), "{header}");
    }
    for text in ["", "a", "a.b", "a.b.c", "....", "é.é.é"] {
        assert_eq!(Jws::parse(text, MAX_TOKEN_BYTES).err(), Some(JwsError::Malformed), "{text}");
    }
    let long = "a".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(Jws::parse(&long, MAX_TOKEN_BYTES).err(), Some(JwsError::TooLong(MAX_TOKEN_BYTES)));
    assert!(Jws::parse(&with_header(&json!({"alg": "EdDSA"})), MAX_TOKEN_BYTES).unwrap().kid().is_none());
}
