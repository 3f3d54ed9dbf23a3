//! A DID with its Ed25519 key.

use anyhow::Result;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Who signs.
pub struct Identity {
    /// The DID.
    pub did: String,
    key: Ed25519KeyPair,
    /// Protected header of a plain JWT, encoded: it is the same every time.
    jwt_header: String,
}

impl Identity {
    /// A DID with the key that follows from the seed.
    ///
    /// # Errors
    /// When the seed makes no key.
    pub fn new(did: String, seed: [u8; 32]) -> Result<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(&seed)?;
        let jwt_header = header(&did, "JWT");
        Ok(Self { did, key, jwt_header })
    }

    /// A JWT of these claims.
    #[must_use]
    pub fn jwt(&self, claims: &Value) -> String {
        self.signed(&self.jwt_header, claims)
    }

    /// A JWT of these claims with another `typ`.
    #[must_use]
    pub fn typed(&self, typ: &str, claims: &Value) -> String {
        self.signed(&header(&self.did, typ), claims)
    }

    /// A JWT of these claims under any header, signed with this key by what `sign` does.
    #[must_use]
    pub fn headed(&self, header: &Value, claims: &Value, sign: impl FnOnce(&Ed25519KeyPair, &[u8]) -> Vec<u8>) -> String {
        let mut text = unsigned(&BASE64.encode(header.to_string()), claims);
        let signature = sign(&self.key, text.as_bytes());
        text.push('.');
        BASE64.encode_string(signature, &mut text);
        text
    }

    fn signed(&self, header: &str, claims: &Value) -> String {
        let mut text = unsigned(header, claims);
        let signature = self.key.sign(text.as_bytes());
        text.push('.');
        BASE64.encode_string(signature.as_ref(), &mut text);
        text
    }

    /// DID document with these services, `(type, URL)`.
    #[must_use]
    pub fn document(&self, services: &[(&str, String)]) -> Value {
        let kid = format!("{}#key-1", self.did);
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(self.key.public_key().as_ref())});
        let service = |(kind, url): &(&str, String)| json!({"id": format!("{}#{kind}", self.did), "type": kind, "serviceEndpoint": url});
        json!({
            "@context": ["https://www.w3.org/ns/did/v1"], "id": self.did,
            "verificationMethod": [{"id": kid, "type": "JsonWebKey2020", "controller": self.did, "publicKeyJwk": jwk}],
            "authentication": [kid], "assertionMethod": [kid], "capabilityInvocation": [kid],
            "service": services.iter().map(service).collect::<Value>(),
        })
    }
}

/// What is signed of a JWT.
fn unsigned(header: &str, claims: &Value) -> String {
    let mut text = String::with_capacity(1_024);
    text.push_str(header);
    text.push('.');
    BASE64.encode_string(claims.to_string(), &mut text);
    text
}

fn header(did: &str, typ: &str) -> String {
    BASE64.encode(json!({"alg": "EdDSA", "typ": typ, "kid": format!("{did}#key-1")}).to_string())
}
