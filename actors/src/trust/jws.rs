//! Compact JWS (RFC 7515) with the two algorithms of this platform: `EdDSA` over Ed25519 and `ES256`.

use super::jwk::VerifyingKey;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::Did;
use cellspace_storage::{KeyAlgorithm, Vault, VaultError, VaultPath};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

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

fn signing_input(header: &JwsHeader, claims: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header)?);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut text);
    Ok(text)
}

/// Why a text is not a JWS that may be relied on. Names the rule, never what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than allowed here.
    #[error("the token must not be longer than {0} bytes")]
    TooLong(usize),
    /// Not three base64url parts with a JSON object as header.
    #[error("the token must be a compact JWS")]
    Malformed,
    /// The claims are not JSON of the expected form.
    #[error("the claims of the token are not of the expected form")]
    Claims,
    /// `none`, symmetric or unknown.
    #[error("the token must be signed with EdDSA (Ed25519) or ES256")]
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

/// A parsed, not yet verified JWS. Its claims can be read by [`Jws::unverified`] to find out whose key to ask for, nothing else.
#[derive(Debug, Clone)]
pub struct Jws<'a> {
    algorithm: KeyAlgorithm,
    kid: Option<KeyId>,
    typ: Option<String>,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// A `kid` of the form `did#fragment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId {
    /// Whose key.
    pub did: Did,
    /// The DID URL itself, as in the DID document's `verificationMethod`.
    pub url: String,
}

impl KeyId {
    /// Reads a DID URL with a fragment.
    ///
    /// # Errors
    /// [`JwsError::KeyId`].
    pub fn parse(text: &str) -> Result<Self, JwsError> {
        let (did, fragment) = text.split_once('#').ok_or(JwsError::KeyId)?;
        let fragment_ok = !fragment.is_empty() && fragment.len() <= 256 && fragment.bytes().all(|b| b.is_ascii_graphic());
        match Did::new(did) {
            Ok(did) if fragment_ok => Ok(Self { did, url: text.to_owned() }),
            _ => Err(JwsError::KeyId),
        }
    }
}

impl<'a> Jws<'a> {
    /// Splits and checks everything that needs no key.
    ///
    /// # Errors
    /// [`JwsError`] names the rule.
    pub fn parse(text: &'a str, max_bytes: usize) -> Result<Self, JwsError> {
        if text.len() > max_bytes {
            return Err(JwsError::TooLong(max_bytes));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| JwsError::Malformed)?;
        if header.crit.is_some() {
            return Err(JwsError::Critical);
        }
        let algorithm = match header.alg.as_str() {
            "EdDSA" => KeyAlgorithm::Ed25519,
            "ES256" => KeyAlgorithm::P256,
            _ => return Err(JwsError::Algorithm),
        };
        let kid = header.kid.as_deref().map(KeyId::parse).transpose()?;
        Ok(Self { algorithm, kid, typ: header.typ, signed, payload: decode(payload)?, signature: decode(signature)? })
    }

    /// The key it names.
    #[must_use]
    pub const fn kid(&self) -> Option<&KeyId> {
        self.kid.as_ref()
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
    pub fn unverified<T: DeserializeOwned>(&self) -> Result<T, JwsError> {
        serde_json::from_slice(&self.payload).map_err(|_| JwsError::Claims)
    }

    /// The claims, after the signature was verified.
    ///
    /// # Errors
    /// [`JwsError::KeyType`], [`JwsError::Signature`] or [`JwsError::Claims`].
    pub fn verify<T: DeserializeOwned>(&self, key: &VerifyingKey) -> Result<T, JwsError> {
        if key.algorithm() != self.algorithm {
            return Err(JwsError::KeyType);
        }
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(JwsError::Signature);
        }
        self.unverified()
    }
}

#[derive(serde::Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::TestVault;
    use serde_json::json;

    async fn signed(algorithm: KeyAlgorithm) -> (String, VerifyingKey) {
        let vault = TestVault::default();
        let path = TestVault::path("p1", "a1");
        let public = vault.generate_key(&path, algorithm).await.unwrap();
        let header = JwsHeader::new(algorithm, "did:web:example.com#k1", "JWT");
        let token = sign(&vault, &path, &header, &json!({"iss": "did:web:example.com"})).await.unwrap();
        (token, VerifyingKey::from_jwk(&public.jwk).unwrap())
    }

    fn with_header(header: &Value) -> String {
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        format!("{}.{}.{}", part(header), part(&json!({})), URL_SAFE_NO_PAD.encode([0; 64]))
    }

    #[tokio::test]
    async fn both_algorithms_round_trip() {
        for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::P256] {
            let (token, key) = signed(algorithm).await;
            let jws = Jws::parse(&token, MAX_TOKEN_BYTES).unwrap();
            assert_eq!(jws.kid().map(|k| k.url.as_str()), Some("did:web:example.com#k1"));
            assert_eq!(jws.typ(), Some("JWT"));
            assert_eq!(jws.verify::<Value>(&key).unwrap(), json!({"iss": "did:web:example.com"}));
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
            (json!({"alg": "none", "kid": kid}), JwsError::Algorithm),
            (json!({"alg": "HS256", "kid": kid}), JwsError::Algorithm),
            (json!({"alg": "eddsa", "kid": kid}), JwsError::Algorithm),
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
            assert_eq!(Jws::parse(&with_header(&header), MAX_TOKEN_BYTES).err(), Some(error), "{header}");
        }
        for text in ["", "a", "a.b", "a.b.c", "....", "é.é.é"] {
            assert_eq!(Jws::parse(text, MAX_TOKEN_BYTES).err(), Some(JwsError::Malformed), "{text}");
        }
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(Jws::parse(&long, MAX_TOKEN_BYTES).err(), Some(JwsError::TooLong(MAX_TOKEN_BYTES)));
        assert!(Jws::parse(&with_header(&json!({"alg": "EdDSA"})), MAX_TOKEN_BYTES).unwrap().kid().is_none());
    }
}
