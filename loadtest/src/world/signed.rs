//! What the platform signed: read and verified as a counterparty does it, with the key of a DID document.

use anyhow::{Context, Result};
use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The public key of a participant that has one.
#[derive(Debug)]
pub struct PublicKey {
    /// DID URL of its verification method.
    pub kid: String,
    key: ParsedPublicKey,
}

impl PublicKey {
    /// The first key of a DID document, an Ed25519 one.
    ///
    /// # Errors
    /// When it has none.
    pub fn of(document: &Value) -> Result<Self> {
        let method = &document["verificationMethod"][0];
        let x = method["publicKeyJwk"]["x"].as_str().and_then(|x| BASE64.decode(x).ok());
        let found = method["id"].as_str().zip(x).filter(|_| method["publicKeyJwk"]["crv"] == "Ed25519");
        let (kid, x) = found.with_context(|| format!("no Ed25519 key in the DID document {document}"))?;
        Ok(Self { kid: kid.to_owned(), key: ParsedPublicKey::new(&ED25519, x)? })
    }

    /// Whether it signed this JWT.
    #[must_use]
    pub fn signed(&self, jwt: &str) -> bool {
        let signed = || {
            let (text, signature) = jwt.rsplit_once('.')?;
            self.key.verify_sig(text.as_bytes(), &BASE64.decode(signature).ok()?).ok()
        };
        signed().is_some()
    }
}

/// A part of a JWT as JSON text, decoded: 0 is the protected header, 1 the claims. `None` when it is no JWT.
#[must_use]
pub fn part(jwt: &str, number: usize) -> Option<Vec<u8>> {
    BASE64.decode(jwt.split('.').nth(number)?).ok()
}

/// Claims of a JWT, whoever signed it.
#[must_use]
pub fn claims<T: DeserializeOwned>(jwt: &str) -> Option<T> {
    serde_json::from_slice(&part(jwt, 1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Identity;
    use serde_json::json;

    #[test]
    fn a_signature_is_that_of_the_text_by_the_key() {
        let identity = |name: &str, seed: u8| Identity::new(format!("did:web:{name}"), [seed; 32]).unwrap();
        let (one, other) = (identity("one", 1), identity("other", 2));
        let key = PublicKey::of(&one.document(&[])).unwrap();
        let (jwt, more) = (one.jwt(&json!({"a": 1})), one.jwt(&json!({"a": 2})));
        assert_eq!(key.kid, "did:web:one#key-1");
        assert!(key.signed(&jwt) && !key.signed(&other.jwt(&json!({"a": 1}))));
        let (text, _) = jwt.rsplit_once('.').unwrap();
        let (_, signature) = more.rsplit_once('.').unwrap();
        assert!(!key.signed(&format!("{text}.{signature}")) && !key.signed(text) && !key.signed(""));
        assert_eq!(claims::<Value>(&jwt), Some(json!({"a": 1})));
        assert!(PublicKey::of(&json!({})).is_err());
    }
}
