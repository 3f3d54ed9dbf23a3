//! Key pairs of the vault, and their stored form: PKCS#8 (RFC 5208, RFC 5958) inside a sealed record.

use crate::{KeyAlgorithm, PublicKey, VaultError};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use zeroize::Zeroizing;

/// An opened key pair. The library clears its memory when it is dropped.
pub(crate) enum SigningKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

fn failed(what: &str) -> VaultError {
    VaultError::Crypto(what.to_owned())
}

impl SigningKey {
    /// A fresh key pair in its stored form.
    pub(crate) fn generate(algorithm: KeyAlgorithm) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let random = SystemRandom::new();
        let document = match algorithm {
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
            KeyAlgorithm::P256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
        };
        let document = document.map_err(|_| failed("no key could be made"))?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads the stored form.
    pub(crate) fn read(algorithm: KeyAlgorithm, pkcs8: &[u8]) -> Result<Self, VaultError> {
        match algorithm {
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::from_pkcs8(pkcs8).map(Self::Ed25519),
            KeyAlgorithm::P256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Self::P256),
        }
        .map_err(|_| failed("a stored key was refused"))
    }

    /// The public half (RFC 7517; `OKP` by RFC 8037).
    pub(crate) fn public(&self) -> Result<PublicKey, VaultError> {
        match self {
            Self::Ed25519(key) => {
                let x = URL_SAFE_NO_PAD.encode(key.public_key());
                Ok(PublicKey { algorithm: KeyAlgorithm::Ed25519, jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": x }) })
            }
            Self::P256(key) => {
                // SEC 1 2.3.3, uncompressed: 04, x, y.
                let point = key.public_key().as_ref();
                let halves = point.split_first().filter(|(form, _)| **form == 4).and_then(|(_, xy)| xy.split_at_checked(32));
                let (x, y) = halves.ok_or_else(|| failed("a public key has an unknown form"))?;
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                Ok(PublicKey { algorithm: KeyAlgorithm::P256, jwk: json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }) })
            }
        }
    }

    /// Raw JOSE signature (RFC 7518 3.4, RFC 8037 3.1).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, VaultError> {
        match self {
            Self::Ed25519(key) => key.try_sign(message),
            Self::P256(key) => key.sign(&SystemRandom::new(), message),
        }
        .map(|signature| signature.as_ref().to_vec())
        .map_err(|_| failed("signing failed"))
    }
}
