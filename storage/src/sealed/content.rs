//! What is in a sealed record: a key pair or a secret; and in the root record, the key that all others are sealed with.

use super::{KeyBytes, MASTER_KEY_BYTES, Place, Sealer, SigningKey};
use crate::{KeyAlgorithm, Secret, StoreError, VaultError, VaultPath};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

/// Longest secret, in bytes.
const MAX_SECRET_BYTES: usize = 1 << 20;

/// What an opened record holds. The first byte of the plain text says which.
pub(crate) enum Content {
    Key(KeyAlgorithm, Zeroizing<Vec<u8>>),
    Secret(Zeroizing<Vec<u8>>),
}

impl Content {
    const ED25519: u8 = 1;
    const P256: u8 = 2;
    const SECRET: u8 = 3;

    /// A secret of bounded length.
    pub(crate) fn secret(value: &Secret) -> Result<Self, VaultError> {
        let value = value.expose_secret();
        if value.len() > MAX_SECRET_BYTES {
            return Err(VaultError::Crypto(format!("a secret has at most {MAX_SECRET_BYTES} bytes")));
        }
        Ok(Self::Secret(Zeroizing::new(value.as_bytes().to_vec())))
    }

    /// The key pair of the record at this path.
    pub(crate) fn into_key(self, path: &VaultPath) -> Result<SigningKey, VaultError> {
        match self {
            Self::Key(algorithm, pkcs8) => SigningKey::read(algorithm, &pkcs8),
            Self::Secret(_) => Err(VaultError::WrongType(path.clone())),
        }
    }

    /// The secret of the record at this path.
    pub(crate) fn into_secret(self, path: &VaultPath) -> Result<Secret, VaultError> {
        let Self::Secret(bytes) = self else { return Err(VaultError::WrongType(path.clone())) };
        let text = std::str::from_utf8(&bytes).map_err(|_| StoreError::Corrupt("a secret is not a text".to_owned()))?;
        Ok(Secret::from(text.to_owned()))
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let (kind, bytes) = match self {
            Self::Key(KeyAlgorithm::Ed25519, bytes) => (Self::ED25519, bytes),
            Self::Key(KeyAlgorithm::P256, bytes) => (Self::P256, bytes),
            Self::Secret(bytes) => (Self::SECRET, bytes),
        };
        let mut plain = Zeroizing::new(Vec::with_capacity(1 + bytes.len()));
        plain.push(kind);
        plain.extend_from_slice(bytes);
        plain
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (kind, bytes) = plain.split_first()?;
        let bytes = Zeroizing::new(bytes.to_vec());
        match *kind {
            Self::ED25519 => Some(Self::Key(KeyAlgorithm::Ed25519, bytes)),
            Self::P256 => Some(Self::Key(KeyAlgorithm::P256, bytes)),
            Self::SECRET => Some(Self::Secret(bytes)),
            _ => None,
        }
    }
}

/// Version and content of the record at this path.
pub(crate) fn open_record(sealer: &Sealer, path: &VaultPath, record: &[u8]) -> Result<(u64, Content), VaultError> {
    let opened = sealer.open(Place::Record(path), record);
    let content = opened.and_then(|(version, plain)| Some((version, Content::decode(&plain)?)));
    content.ok_or_else(|| StoreError::Corrupt(format!("the vault record {}/{} does not open", path.owner, path.alias)).into())
}

/// A fresh key to seal records with.
pub(crate) fn fresh_data_key() -> Result<KeyBytes, VaultError> {
    let mut key = Zeroizing::new([0; MASTER_KEY_BYTES]);
    aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| VaultError::Crypto("no randomness".to_owned()))?;
    Ok(key)
}

/// Version and data key of a root record. `None`: the master key is not the one that sealed it.
pub(crate) fn data_key(master: &Sealer, root: &[u8]) -> Result<Option<(u64, KeyBytes)>, StoreError> {
    let Some((version, key)) = master.open(Place::Root, root) else { return Ok(None) };
    match <[u8; MASTER_KEY_BYTES]>::try_from(key.as_slice()) {
        Ok(key) => Ok(Some((version, Zeroizing::new(key)))),
        Err(_) => Err(StoreError::Corrupt("the vault's root record has another length".to_owned())),
    }
}
