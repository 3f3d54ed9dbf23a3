//! Public keys as JWK (RFC 7517, RFC 8037) and as multicodec (`did:key`).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_storage::KeyAlgorithm;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// A public key that signatures are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    algorithm: KeyAlgorithm,
    /// Ed25519: 32 bytes; P-256: an uncompressed or compressed point (SEC 1, 2.3.3).
    point: Vec<u8>,
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
            ("OKP", "Ed25519") => Some(Self { algorithm: KeyAlgorithm::Ed25519, point: coordinate("x")? }),
            ("EC", "P-256") => {
                let point = [&[4], coordinate("x")?.as_slice(), coordinate("y")?.as_slice()].concat();
                Some(Self { algorithm: KeyAlgorithm::P256, point })
            }
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
            [0xed, 0x01, point @ ..] if point.len() == 32 => Some(Self { algorithm: KeyAlgorithm::Ed25519, point: point.to_vec() }),
            // p256-pub, 0x1200 as varint; a compressed point
            [0x80, 0x24, point @ ..] if point.len() == 33 => Some(Self { algorithm: KeyAlgorithm::P256, point: point.to_vec() }),
            _ => None,
        }
    }

    /// What it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The `alg` of what it verifies.
    #[must_use]
    pub const fn signature_algorithm(&self) -> Algorithm {
        match self.algorithm {
            KeyAlgorithm::Ed25519 => Algorithm::EdDSA,
            KeyAlgorithm::P256 => Algorithm::ES256,
        }
    }

    /// The key as the library that verifies takes it.
    #[must_use]
    pub fn decoding_key(&self) -> DecodingKey {
        match self.algorithm {
            KeyAlgorithm::Ed25519 => DecodingKey::from_ed_der(&self.point),
            KeyAlgorithm::P256 => DecodingKey::from_ec_der(&self.point),
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
        let key = key.unwrap().decoding_key();
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let verified = |message: &str| jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
        assert!(verified("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"));
        assert!(!verified("something else"));
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
            json!({"kty": "EC", "crv": "P-256", "x": x}),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "RSA", "n": "AAAA", "e": "AQAB"}),
        ] {
            assert_eq!(VerifyingKey::from_jwk(&bad), None, "{bad}");
        }
    }
}
