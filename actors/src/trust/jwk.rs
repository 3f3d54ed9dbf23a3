//! Public keys as JWK (RFC 7517, RFC 8037) and as multicodec (`did:key`).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use std::{ops::RangeInclusive, sync::Arc};

/// Shortest and longest modulus of an RSA key, in bits: shorter ones are weak, and what longer ones cost is chosen by strangers.
const RSA_BITS: RangeInclusive<usize> = 2_048..=4_096;
/// Longest public exponent of an RSA key, in bytes; nearly all keys have 65,537.
const RSA_EXPONENT_BYTES: usize = 4;

/// A public key that signatures are verified with. Participants of this installation have keys of the first two kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// Ed25519 (RFC 8032), ready to verify with.
    Ed25519(Arc<ed25519_dalek::VerifyingKey>),
    /// P-256: an uncompressed or compressed point (SEC 1, 2.3.3).
    P256(Vec<u8>),
    /// P-384: the same of that curve.
    P384(Vec<u8>),
    /// RSA (RFC 8017).
    Rsa(Arc<RsaKey>),
}

/// A public RSA key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    /// Which signatures are its own: those of the `alg` that it names, where it names one (RFC 8725, 3.1).
    algorithms: &'static [Algorithm],
}

impl VerifyingKey {
    /// Reads a public JWK; `None` when it is of another kind or malformed. A private part (`d`) is refused: whoever publishes one has lost the key.
    #[must_use]
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.get("d").is_some() {
            return None;
        }
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let coordinate = |name: &str, length: usize| bytes(name).filter(|bytes| bytes.len() == length);
        let point = |length: usize| Some([&[4], coordinate("x", length)?.as_slice(), coordinate("y", length)?.as_slice()].concat());
        match (text("kty")?, text("crv")) {
            ("OKP", Some("Ed25519")) => Self::ed25519(&coordinate("x", 32)?),
            ("EC", Some("P-256")) => point(32).map(Self::P256),
            ("EC", Some("P-384")) => point(48).map(Self::P384),
            ("RSA", None) => Self::rsa(bytes("n")?, bytes("e")?, jwk.get("alg")),
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
            // p384-pub, 0x1201 as varint
            [0x81, 0x24, point @ ..] if point.len() == 49 => Some(Self::P384(point.to_vec())),
            _ => None,
        }
    }

    /// `None` for what is no point of the curve, and for the few points with which a signature says nothing of the message.
    fn ed25519(point: &[u8]) -> Option<Self> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(point.try_into().ok()?).ok()?;
        (!key.is_weak()).then(|| Self::Ed25519(Arc::new(key)))
    }

    /// `None` for one out of bounds, and for one with which a signature says little of the message (FIPS 186-5, A.1.1).
    fn rsa(modulus: Vec<u8>, exponent: Vec<u8>, alg: Option<&Value>) -> Option<Self> {
        let bits = modulus.len().saturating_mul(8).saturating_sub(usize::try_from(modulus.first()?.leading_zeros()).ok()?);
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        let least = exponent.len() > 2 && exponent.first().is_some_and(|first| *first > 0);
        let algorithms: &[Algorithm] = match alg {
            None => &[Algorithm::PS256, Algorithm::RS256],
            Some(alg) if alg == "PS256" => &[Algorithm::PS256],
            Some(alg) if alg == "RS256" => &[Algorithm::RS256],
            Some(_) => return None,
        };
        // Numbers have no zeros before them (RFC 7518, 6.3.1).
        let good = RSA_BITS.contains(&bits) && modulus.first() != Some(&0) && odd(&modulus);
        let good = good && least && odd(&exponent) && exponent.len() <= RSA_EXPONENT_BYTES;
        good.then(|| Self::Rsa(Arc::new(RsaKey { modulus, exponent, algorithms })))
    }

    /// The `alg`s of what it verifies.
    #[must_use]
    pub fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::Ed25519(_) => &[Algorithm::EdDSA],
            Self::P256(_) => &[Algorithm::ES256],
            Self::P384(_) => &[Algorithm::ES384],
            Self::Rsa(key) => key.algorithms,
        }
    }

    /// Whether this is its signature of the message by this `alg`, in base64url as a JWS has it.
    #[must_use]
    pub fn verifies(&self, by: Algorithm, message: &[u8], signature: &str) -> bool {
        if !self.algorithms().contains(&by) {
            return false;
        }
        let verified = |key: &DecodingKey| jsonwebtoken::crypto::verify(signature, message, key, by).unwrap_or(false);
        match self {
            Self::Ed25519(key) => {
                let mut bytes = [0; Signature::BYTE_SIZE];
                let length = URL_SAFE_NO_PAD.decode_slice(signature, &mut bytes);
                length == Ok(bytes.len()) && key.verify(message, &Signature::from_bytes(&bytes)).is_ok()
            }
            Self::P256(point) | Self::P384(point) => verified(&DecodingKey::from_ec_der(point)),
            Self::Rsa(key) => verified(&DecodingKey::from_rsa_raw_components(&key.modulus, &key.exponent)),
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
        assert!(key.verifies(Algorithm::EdDSA, message, signature));
        assert!(!key.verifies(Algorithm::ES256, message, signature));
        assert!(!key.verifies(Algorithm::EdDSA, b"something else", signature));
        let unlike =
            [signature.replacen('h', "i", 1), format!("{signature}AA"), format!("{signature}=="), signature[4..].to_owned(), String::new()];
        for unlike in unlike {
            assert!(!key.verifies(Algorithm::EdDSA, message, &unlike), "{unlike}");
        }
    }

    /// RFC 6979, A.2.6: ECDSA with P-384 and SHA-384.
    #[test]
    fn verifies_the_example_of_rfc_6979() {
        let key = VerifyingKey::from_jwk(&json!({"kty": "EC", "crv": "P-384",
            "x": "7DpOQVtOGaRWhhgCn0J_pdqai8SukuAuBqrlKGswDGTe-PDqkFWGYGSiVFFUgLwT",
            "y": "gBXZty19VyROqO-awMYhiWcIpZNn-d-59UyoSz8cnbEoiyMcOuDU_nNE_SUzJkcg"}));
        let key = key.unwrap();
        let signature = "lO27kqXsuKrUc25WxpGRaz-IFAZmzp-nPWTE6pWtEzyBpkgVLkSs-W423R6A-r5Gme9K6xXxeM6h_kDbJgMTjxMOdAoZYkUmIDtjUdCjqU-jKcFFeG5nnnuCxxo4YorI";
        assert!(key.verifies(Algorithm::ES384, b"sample", signature));
        assert!(!key.verifies(Algorithm::ES384, b"samples", signature) && !key.verifies(Algorithm::ES256, b"sample", signature));
        assert!(!key.verifies(Algorithm::ES384, b"sample", &signature[4..]));
    }

    #[test]
    fn rsa_keys_are_bounded_and_sign_by_what_they_name() {
        use Algorithm::{PS256, RS256};
        // The first bits, and the last ones.
        let number = |bytes: usize, first: u8, last: u8| {
            let mut number = vec![0x55; bytes];
            (number[0], number[bytes - 1]) = (first, last);
            URL_SAFE_NO_PAD.encode(number)
        };
        let read = |n: String, e: &[u8], more: Value| {
            let mut jwk = json!({"kty": "RSA", "n": n, "e": URL_SAFE_NO_PAD.encode(e)});
            jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            VerifyingKey::from_jwk(&jwk).map(|key| key.algorithms().to_vec())
        };
        let (usual, n) = ([1, 0, 1], || number(256, 0x80, 1));
        let both = Some(vec![PS256, RS256]);
        let table = [
            (n(), &usual[..], json!({}), both.clone()),
            (number(512, 0xff, 1), &usual, json!({}), both.clone()),
            (n(), &[0xff, 0xff, 0xff, 0xff], json!({}), both),
            (n(), &usual, json!({"alg": "PS256", "use": "sig"}), Some(vec![PS256])),
            (n(), &usual, json!({"alg": "RS256"}), Some(vec![RS256])),
            (number(256, 0x7f, 1), &usual, json!({}), None),
            (number(513, 1, 1), &usual, json!({}), None),
            (number(257, 0, 1), &usual, json!({}), None),
            (number(256, 0x80, 2), &usual, json!({}), None),
            (n(), &[1], json!({}), None),
            (n(), &[3], json!({}), None),
            (n(), &[1, 0, 0], json!({}), None),
            (n(), &[0, 1, 0, 1], json!({}), None),
            (n(), &[1, 0, 0, 0, 1], json!({}), None),
            (String::new(), &usual, json!({}), None),
            (n(), &[], json!({}), None),
            (n(), &usual, json!({"alg": "RS512"}), None),
            (n(), &usual, json!({"alg": null}), None),
            (n(), &usual, json!({"crv": "P-256"}), None),
            (n(), &usual, json!({"d": "AAAA"}), None),
        ];
        for (n, e, more, expected) in table {
            assert_eq!(read(n.clone(), e, more.clone()), expected, "{n} {e:?} {more}");
        }
    }

    #[test]
    fn did_key_examples_are_read() {
        let ed25519 = VerifyingKey::from_multikey("z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK").unwrap();
        assert_eq!(ed25519.algorithms(), [Algorithm::EdDSA]);
        let p256 = VerifyingKey::from_multikey("zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169").unwrap();
        assert_eq!(p256.algorithms(), [Algorithm::ES256]);
        let p384 = VerifyingKey::from_multikey("z82Lm1MpAkeJcix9K8TMiLd5NMAhnwkjjCBeWHXyu3U4oT2MVJJKXkcVBgjGhnLBn2Kaau9").unwrap();
        assert_eq!(p384.algorithms(), [Algorithm::ES384]);
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
            json!({"kty": "EC", "crv": "P-384", "x": x, "y": x}),
            json!({"kty": "EC", "crv": "P-521", "x": x, "y": x}),
            json!({"kty": "OKP", "x": x}),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "RSA", "n": "AAAA", "e": "AQAB"}),
        ] {
            assert_eq!(VerifyingKey::from_jwk(&bad), None, "{bad}");
        }
    }
}
