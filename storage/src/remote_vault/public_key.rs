//! Public halves as the transit engine tells them.

use crate::{KeyAlgorithm, PublicKey, VaultError};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

/// What stands before the point of a P-256 key in its SubjectPublicKeyInfo (RFC 5480).
const P256: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00, 0x04,
];

/// What the engine calls an algorithm.
pub(crate) const fn kind(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::Ed25519 => "ed25519",
        KeyAlgorithm::P256 => "ecdsa-p256",
    }
}

/// What makes a key of this algorithm, which never leaves the vault.
pub(super) fn wanted(algorithm: KeyAlgorithm) -> Value {
    json!({"type": kind(algorithm), "exportable": false, "allow_plaintext_backup": false})
}

/// Reads the answer about a key.
pub(super) fn read(answer: &Value) -> Result<PublicKey, VaultError> {
    let unknown = || VaultError::Crypto("the vault's key is of an unknown form".to_owned());
    let data = answer.get("data").ok_or_else(unknown)?;
    let version = data.get("latest_version").and_then(Value::as_u64).ok_or_else(unknown)?;
    let text = data.pointer(&format!("/keys/{version}/public_key")).and_then(Value::as_str).ok_or_else(unknown)?;
    match data.get("type").and_then(Value::as_str) {
        Some("ed25519") => {
            let x = STANDARD.decode(text).ok().filter(|x| x.len() == 32).ok_or_else(unknown)?;
            Ok(PublicKey { algorithm: KeyAlgorithm::Ed25519, jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(x)}) })
        }
        Some("ecdsa-p256") => {
            let encoded: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
            let der = STANDARD.decode(encoded).map_err(|_| unknown())?;
            let point = der.strip_prefix(&P256).filter(|xy| xy.len() == 64).ok_or_else(unknown)?;
            let (x, y) = point.split_at(32);
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            Ok(PublicKey { algorithm: KeyAlgorithm::P256, jwk: json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}) })
        }
        _ => Err(unknown()),
    }
}

/// The key as the engine would tell it.
#[cfg(any(test, feature = "testkit"))]
#[allow(clippy::unwrap_used, reason = "for tests")]
pub(crate) fn write(public: &PublicKey) -> Value {
    let part = |name: &str| URL_SAFE_NO_PAD.decode(public.jwk[name].as_str().unwrap()).unwrap();
    let text = match public.algorithm {
        KeyAlgorithm::Ed25519 => STANDARD.encode(part("x")),
        KeyAlgorithm::P256 => {
            let der = STANDARD.encode([&P256[..], &part("x"), &part("y")].concat());
            format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &der[..64], &der[64..])
        }
    };
    json!({"data": {"type": kind(public.algorithm), "latest_version": 1, "keys": {"1": {"public_key": text}}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_answers_are_refused() {
        let ed = json!({"data": {"type": "ed25519", "latest_version": 2, "keys": {"1": {"public_key": "AA=="}, "2": {"public_key": STANDARD.encode([7; 32])}}}});
        assert_eq!(read(&ed).unwrap().jwk["x"], URL_SAFE_NO_PAD.encode([7; 32]));
        for (path, bad) in [
            ("/data/type", json!("rsa-2048")),
            ("/data/latest_version", json!(1)),
            ("/data/latest_version", json!(3)),
            ("/data/keys/2/public_key", json!("x")),
            ("/data/type", json!("ecdsa-p256")),
            ("/data", json!(null)),
        ] {
            let mut answer = ed.clone();
            *answer.pointer_mut(path).unwrap() = bad;
            assert!(matches!(read(&answer), Err(VaultError::Crypto(_))), "{answer}");
        }
    }
}
