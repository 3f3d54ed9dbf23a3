//! Compact JWS (RFC 7515): the one way in which signed texts are read and verified, and that in which the vault's keys sign.

use super::{PeerError, jwk::VerifyingKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{Did, json};
use cellspace_storage::{KeyAlgorithm, Vault, VaultError, VaultPath};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

/// Longest self-issued token or access token accepted, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Longest credential or presentation accepted, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 512 << 10;
/// Longest status list credential accepted, in bytes: a list of [`cellspace_schemas::bitstring::MAX_BYTES`] that compresses badly.
pub const MAX_STATUS_LIST_BYTES: usize = 3 << 20;

/// Protected header of what we sign.
#[derive(Debug, Clone, Serialize)]
pub struct JwsHeader {
    alg: &'static str,
    kid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cty: Option<&'static str>,
}

impl JwsHeader {
    /// A header for a key of this algorithm; `kid` is the DID URL of its verification method (`did#key`), `typ` for example `JWT` or `vc+jwt`.
    #[must_use]
    pub fn new(algorithm: KeyAlgorithm, kid: impl Into<String>, typ: &'static str) -> Self {
        Self { alg: algorithm.jose(), kid: kid.into(), typ: Some(typ), cty: None }
    }

    /// Sets the content type, for example `vc` (Securing Verifiable Credentials using JOSE and COSE, 3.1.1).
    #[must_use]
    pub const fn content_type(mut self, cty: &'static str) -> Self {
        self.cty = Some(cty);
        self
    }
}

/// Signs the claims with a key of the vault and returns the compact form.
///
/// # Errors
/// [`VaultError`] of the vault; [`VaultError::Crypto`] when header or claims cannot be written as JSON.
pub async fn sign(vault: &dyn Vault, path: &VaultPath, header: &JwsHeader, claims: &impl Serialize) -> Result<String, VaultError> {
    let mut token = signing_input(header, claims).map_err(|e| VaultError::Crypto(e.to_string()))?;
    let signature = vault.sign(path, token.as_bytes()).await?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Signs a text with a key of the vault and returns the compact form without it (RFC 7515, appendix F): whoever has the text puts it back.
///
/// # Errors
/// [`VaultError`] of the vault.
pub async fn sign_detached(vault: &dyn Vault, path: &VaultPath, header: &JwsHeader, text: &[u8]) -> Result<String, VaultError> {
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header).map_err(|e| VaultError::Crypto(e.to_string()))?);
    let detached = token.len();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(text, &mut token);
    let signature = vault.sign(path, token.as_bytes()).await?;
    token.truncate(detached);
    token.push_str("..");
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

fn signing_input(header: &JwsHeader, claims: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header)?);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut text);
    Ok(text)
}

/// Protected header of what others sign; what else it says is of no use here.
#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Algorithms of what participants sign, those of their keys in DID documents.
const PARTICIPANTS: [Algorithm; 5] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::PS256, Algorithm::RS256];

/// Why a text is not a JWS that may be relied on. Names the rule, never what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than allowed here.
    #[error("the token must not be longer than {0} bytes")]
    TooLong(usize),
    /// Not three base64url parts with a JSON object as header, or without a known `alg` (`none` is unknown).
    #[error("the token must be a compact JWS with a known alg")]
    Malformed,
    /// The claims are not JSON of the expected form.
    #[error("the claims of the token must be of the expected form")]
    Claims,
    /// An algorithm that is not accepted here, symmetric ones among them.
    #[error("the alg of the token must be one that is accepted here")]
    Algorithm,
    /// A `crit` header: no extension is understood here (RFC 7515 4.1.11).
    #[error("the token has critical header extensions, none is supported")]
    Critical,
    /// The `kid` is not a DID URL `did#key`.
    #[error("the kid of the token must be a DID URL with a fragment")]
    KeyId,
    /// The key is of another type than `alg` says.
    #[error("the alg of the token must be that of the key")]
    KeyType,
    /// Wrong signature.
    #[error("the signature of the token must verify with the key that its kid names")]
    Signature,
}

impl JwsError {
    /// The rule, as one for `what`, where more than one signed text comes with a message.
    #[must_use]
    pub fn of(self, what: &str) -> PeerError {
        PeerError::Refused(format!("{what}: {self}"))
    }
}

/// A parsed, not yet verified JWS. Its claims can be read by [`Jws::unverified`] to find out whose key to ask for, nothing else.
#[derive(Debug, Clone)]
pub struct Jws<'a> {
    text: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    payload: Vec<u8>,
}

/// A `kid` of the form `did#fragment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId<'a> {
    /// The DID of whose key it is.
    pub did: &'a str,
    /// The DID URL itself, as in the DID document's `verificationMethod`.
    pub url: &'a str,
}

impl<'a> KeyId<'a> {
    /// Reads a DID URL with a fragment.
    ///
    /// # Errors
    /// [`JwsError::KeyId`].
    pub fn parse(url: &'a str) -> Result<Self, JwsError> {
        let (did, fragment) = url.split_once('#').ok_or(JwsError::KeyId)?;
        let fragment_ok = !fragment.is_empty() && fragment.len() <= 256 && fragment.bytes().all(|b| b.is_ascii_graphic());
        if fragment_ok && Did::check(did).is_ok() { Ok(Self { did, url }) } else { Err(JwsError::KeyId) }
    }
}

impl<'a> Jws<'a> {
    /// Splits what a participant signed, and checks everything that needs no key.
    ///
    /// # Errors
    /// [`JwsError`] names the rule.
    pub fn parse(text: &'a str, max_bytes: usize) -> Result<Self, JwsError> {
        Self::parse_signed_by(&PARTICIPANTS, text, max_bytes)
    }

    /// As [`Self::parse`], for signatures with these algorithms.
    ///
    /// # Errors
    /// [`JwsError`] names the rule.
    pub fn parse_signed_by(algorithms: &[Algorithm], text: &'a str, max_bytes: usize) -> Result<Self, JwsError> {
        if text.len() > max_bytes {
            return Err(JwsError::TooLong(max_bytes));
        }
        // No part has a point in it: that of a fourth one would be none of base64url.
        let (signed, _) = text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        // Most of what is read lies in base64 in base64: this library takes a fraction of the time.
        let decoded = |part: &str| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).map_err(|_| JwsError::Malformed);
        let header = decoded(header)?;
        if json::is_too_deep(&header) {
            return Err(JwsError::Malformed);
        }
        let header: Header = serde_json::from_slice(&header).map_err(|_| JwsError::Malformed)?;
        let (Header { alg: algorithm, kid, typ, crit }, payload) = (header, decoded(payload)?);
        if crit.is_some() {
            return Err(JwsError::Critical);
        }
        if !algorithms.contains(&algorithm) {
            return Err(JwsError::Algorithm);
        }
        // What is read of the claims is stored in part.
        if json::is_too_deep(&payload) {
            return Err(JwsError::Claims);
        }
        Ok(Self { text, algorithm, kid, typ, payload })
    }

    /// The algorithm it names.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key it names, as the signer calls it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key it names, as one of a DID document.
    ///
    /// # Errors
    /// [`JwsError::KeyId`] when it names one that is none.
    pub fn key_id(&self) -> Result<Option<KeyId<'_>>, JwsError> {
        self.kid().map(KeyId::parse).transpose()
    }

    /// The media type it names.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The claims before any verification: only to learn whose key to ask for.
    ///
    /// # Errors
    /// [`JwsError::Claims`].
    pub fn unverified<'s, T: Deserialize<'s>>(&'s self) -> Result<T, JwsError> {
        serde_json::from_slice(&self.payload).map_err(|_| JwsError::Claims)
    }

    /// The claims, after the signature was verified.
    ///
    /// # Errors
    /// [`JwsError::KeyType`], [`JwsError::Signature`] or [`JwsError::Claims`].
    pub fn verify<'s, T: Deserialize<'s>>(&'s self, key: &VerifyingKey) -> Result<T, JwsError> {
        self.verify_signature(key)?;
        // The payload was taken out of the text that is signed.
        self.unverified()
    }

    /// The signature alone, when the claims were read before.
    ///
    /// # Errors
    /// [`JwsError::KeyType`] or [`JwsError::Signature`].
    pub fn verify_signature(&self, key: &VerifyingKey) -> Result<(), JwsError> {
        if !key.algorithms().contains(&self.algorithm) {
            return Err(JwsError::KeyType);
        }
        let (signed, signature) = self.text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        if key.verifies(self.algorithm, signed.as_bytes(), signature) { Ok(()) } else { Err(JwsError::Signature) }
    }

    /// As [`Self::verify`], with a key of the library's.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_with<T: DeserializeOwned>(&self, key: &DecodingKey) -> Result<T, JwsError> {
        let verified = jsonwebtoken::decode(self.text, key, &signature_by(self.algorithm));
        verified.map(|token| token.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => JwsError::KeyType,
            ErrorKind::Json(_) => JwsError::Claims,
            _ => JwsError::Signature,
        })
    }
}

/// The library verifies the signature, by this algorithm alone. Rules for claims are not left to it: it reads the clock of the system instead of the
/// one it is given, rounds dates to seconds, and takes an audience among others for the only one.
fn signature_by(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::TestVault;
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
        for (token, own, other, algorithm, confused) in
            [(RS256, RSA, OTHER_RSA, "RS256", "PS256"), (PS256, OTHER_RSA, RSA, "PS256", "RS256")]
        {
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
}
