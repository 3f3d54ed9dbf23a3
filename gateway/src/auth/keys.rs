//! Public keys of one token issuer, from its JWKS (RFC 7517).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use serde_json::Value;

/// Most keys taken from one set.
const MAX_KEYS: usize = 64;
/// Shortest RSA modulus taken, in bytes: 2048 bits.
const MIN_RSA_BYTES: usize = 256;

/// The usable keys of a set; keys of other kinds are left out.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a JWKS; `None` when it is none.
    #[must_use]
    pub fn parse(jwks: &Value) -> Option<Self> {
        let keys = jwks.get("keys")?.as_array()?;
        Some(Self { keys: keys.iter().take(MAX_KEYS).filter_map(Key::parse).collect() })
    }

    /// No keys.
    #[must_use]
    pub const fn empty() -> Self {
        Self { keys: Vec::new() }
    }

    /// The key that a token names; without a `kid` the only key of that algorithm.
    #[must_use]
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm && (kid.is_none() || key.id.as_deref() == kid));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(&first.key)
    }
}

impl Key {
    fn parse(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if value.get("d").is_some() || value.get("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::RSA(key) if URL_SAFE_NO_PAD.decode(&key.n).is_ok_and(|n| n.len() >= MIN_RSA_BYTES) => Algorithm::RS256,
            _ => return None,
        };
        // A key made for another algorithm of its family, for example PS256, is not ours to use.
        if value.get("alg").and_then(Value::as_str).is_some_and(|alg| alg != format!("{algorithm:?}")) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithm, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn ed(kid: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": X, "kid": kid})
    }

    #[test]
    fn keys_are_found_by_id_and_algorithm() {
        let set = KeySet::parse(&json!({"keys": [ed("a"), ed("b"), {"kty": "EC", "crv": "P-256", "kid": "c",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}))
        .unwrap();
        assert!(set.find(Some("a"), Algorithm::EdDSA).is_some());
        assert!(set.find(Some("a"), Algorithm::ES256).is_none());
        assert!(set.find(Some("z"), Algorithm::EdDSA).is_none());
        assert!(set.find(None, Algorithm::EdDSA).is_none(), "two keys fit");
        assert!(set.find(None, Algorithm::ES256).is_some());
    }

    #[test]
    fn other_keys_are_left_out() {
        let mut private = ed("p");
        private["d"] = X.into();
        let mut encryption = ed("e");
        encryption["use"] = "enc".into();
        let short = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([255_u8; 128]), "e": "AQAB", "kid": "r"});
        let mut pss = short.clone();
        pss["n"] = URL_SAFE_NO_PAD.encode([255_u8; 256]).into();
        pss["alg"] = "PS256".into();
        let set = KeySet::parse(&json!({"keys": [private, encryption, short, pss, {"kty": "oct", "k": "AAAA", "kid": "o"}, 1]})).unwrap();
        assert!(set.keys.is_empty());
        let rsa = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([255_u8; 256]), "e": "AQAB", "kid": "r", "alg": "RS256", "use": "sig"});
        assert!(KeySet::parse(&json!({"keys": [rsa]})).unwrap().find(Some("r"), Algorithm::RS256).is_some());
        assert!(KeySet::parse(&json!({"error": "x"})).is_none());
    }
}
