//! Public keys as JWK (RFC 7517, RFC 8037) and as multicodec (`did:key`).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_storage::KeyAlgorithm;
use ed25519_dalek::{Signature, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use std::sync::Arc;

/// A public key that signatures are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// Ed25519 (RFC 8032), ready to verify with.
    Ed25519(Arc<ed25519_dalek::VerifyingKey>),
    /// P-256: an uncompressed or compressed point (SEC 1, 2.3.3).
    P256(Vec<u8>),
}

impl VerifyingKey {
    /// Reads a public JWK; `None` when it is of another kind or malformed. A private part (`d`) is refused: whoever publishes one has lost the key.
    #[must_use]
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.get("d").is_some() {
            return None;
        }
        let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok().filter(|bytes| bytes.len() == 32);
        match (text("kty")?, text("crv")?) {
            ("OKP", "Ed25519") => Self::ed25519(&coordinate("x")?),
            ("EC", "P-256") => Some(Self::P256([&[4], coordinate("x")?.as_slice(), coordinate("y")?.as_slice()].concat())),
            _ => None,
        }
    }

    /// Reads the method-specific id of a `did:key`: multibase base58btc over a multicodec-prefixed key.
    #[must_use]
    pub fn from_multikey(text: &str) -> Option<Self> {
        if text.len() > 128 {
            return None;
        }
        let (base, bytes) = multibase::decode(text).ok()?;
        if base != multibase::Base::Base58Btc {
            return None;
        }
        match bytes.as_slice() {
            // ed25519-pub, 0xed as varint
            [0xed, 0x01, point @ ..] => Self::ed25519(point),
            // p256-pub, 0x1200 as varint; a compressed point
            [0x80, 0x24, point @ ..] if point.len() == 33 => Some(Self::P256(point.to_vec())),
            _ => None,
        }
    }

    /// `None` for what is no point of the curve, and for the few points with which a signature says nothing of the message.
    fn ed25519(point: &[u8]) -> Option<Self> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(point.try_into().ok()?).ok()?;
        (!key.is_weak()).then(|| Self::Ed25519(Arc::new(key)))
    }

    /// What it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        match self {
            Self::Ed25519(_) => KeyAlgorithm::Ed25519,
            Self::P256(_) => KeyAlgorithm::P256,
        }
    }

    /// The `alg` of what it verifies.
    #[must_use]
    pub const fn signature_algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDSA,
            Self::P256(_) => Algorithm::ES256,
        }
    }

    /// Whether this is its signature of the message, in base64url as a JWS has it.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        match self {
            Self::Ed25519(key) => {
                let mut bytes = [0; Signature::BYTE_SIZE];
                let length = URL_SAFE_NO_PAD.decode_slice(signature, &mut bytes);
                length == Ok(bytes.len()) && key.verify(message, &Signature::from_bytes(&bytes)).is_ok()
            }
            Self::P256(point) => {
                let key = DecodingKey::from_ec_der(point);
                jsonwebtoken::crypto::verify(signature, message, &key, Algorithm::ES256).unwrap_or(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// RFC 8037, appendix A.4: signature with Ed25519.
    #[test]
    fn verifies_the_example_of_rfc_8037() {
        let key = VerifyingKey::from_jwk(&json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}));
        let key = key.unwrap();
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        assert!(key.verifies(message, signature));
        assert!(!key.verifies(b"something else", signature));
        let unlike =
            [signature.replacen('h', "i", 1), format!("{signature}AA"), format!("{signature}=="), signature[4..].to_owned(), String::new()];
        for unlike in unlike {
            assert!(!key.verifies(message, &unlike), "{unlike}");
        }
    }

    #[test]
    fn did_key_examples_are_read() {
        let ed25519 = VerifyingKey::from_multikey("z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK").unwrap();
        assert_eq!(ed25519.algorithm(), KeyAlgorithm::Ed25519);
        let p256 = VerifyingKey::from_multikey("zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169").unwrap();
        assert_eq!(p256.algorithm(), KeyAlgorithm::P256);
        for bad in
            ["", "z", "z6Mk", "m6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"]
        {
            assert_eq!(VerifyingKey::from_multikey(bad), None, "{bad}");
        }
    }

    #[test]
    fn other_keys_are_refused() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        for bad in [
            json!({}),
            json!({"kty": "OKP", "crv": "X25519", "x": x}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
            // No point of the curve; the neutral element; a point of order 8.
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o"}),
            json!({"kty": "EC", "crv": "P-256", "x": x}),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "RSA", "n": "AAAA", "e": "AQAB"}),
        ] {
            assert_eq!(VerifyingKey::from_jwk(&bad), None, "{bad}");
        }
    }
}
