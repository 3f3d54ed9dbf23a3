//! The vault: private keys and secrets, sealed per participant. Private keys never leave it; callers ask it to sign.

use crate::StoreError;
use cellspace_schemas::{KeyAlias, Owner};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// Signature algorithm of a key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// Ed25519, JOSE `EdDSA` (RFC 8037). The default.
    Ed25519,
    /// ECDSA over P-256 with SHA-256, JOSE `ES256`.
    P256,
}

impl KeyAlgorithm {
    /// The JOSE `alg` header value.
    #[must_use]
    pub const fn jose(self) -> &'static str {
        match self {
            Self::Ed25519 => "EdDSA",
            Self::P256 => "ES256",
        }
    }
}

/// Public half of a key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// The algorithm.
    pub algorithm: KeyAlgorithm,
    /// The public JWK (RFC 7517), without `kid`.
    pub jwk: serde_json::Value,
}

/// Where a record of the vault lies: the owner's folder and the alias in it. Nothing crosses owners.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VaultPath {
    /// Whose.
    pub owner: Owner,
    /// Which.
    pub alias: KeyAlias,
}

/// A secret value; zeroised on drop, never printed.
pub type Secret = secrecy::SecretString;

/// Why the vault refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    /// No record under that path.
    #[error("the vault has no record {owner}/{alias}", owner = .0.owner, alias = .0.alias)]
    NotFound(VaultPath),
    /// The record is there but is a secret where a key was asked for, or the other way round. The caller's conflict and no failure of the
    /// vault: asking again does not help, another alias does.
    #[error("the vault record {owner}/{alias} is of another type", owner = .0.owner, alias = .0.alias)]
    WrongType(VaultPath),
    /// The master key does not open this vault.
    #[error("the master key does not open this vault: {0}")]
    WrongMasterKey(String),
    /// Cryptography failed.
    #[error("cryptographic operation failed: {0}")]
    Crypto(String),
    /// The store underneath failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keys and secrets. Durable before it answers: a key is stored first, then the commit that names it.
pub trait Vault: Send + Sync + 'static {
    /// Makes a key pair under the path, or returns the public half of the one that is there (so that a repeat is harmless).
    fn generate_key<'a>(&'a self, path: &'a VaultPath, algorithm: KeyAlgorithm) -> BoxFuture<'a, Result<PublicKey, VaultError>>;

    /// Public half of a key.
    fn public_key<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<PublicKey, VaultError>>;

    /// Signs the message with the key: raw JOSE signature bytes (64 for both algorithms).
    fn sign<'a>(&'a self, path: &'a VaultPath, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, VaultError>>;

    /// Stores or replaces a secret.
    fn put_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<(), VaultError>>;

    /// Stores a secret where there is none, and answers the one that is there: the same to all that do this at once.
    fn first_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<Secret, VaultError>>;

    /// Reads a secret.
    fn secret<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<Secret, VaultError>>;

    /// Removes a key or secret; a missing one is fine.
    fn delete<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<(), VaultError>>;

    /// Removes every key and secret of the owner whose alias begins with `within` (all, when that is empty), those included that cannot be opened any
    /// more; where there are none is fine. What is removed is
    /// removed durably, a bounded number of records at a time: after an error some may be left, and a repeat goes on with them. The caller
    /// sees to it that nothing is put there meanwhile.
    fn delete_folder<'a>(&'a self, owner: &'a Owner, within: &'a str) -> BoxFuture<'a, Result<(), VaultError>>;
}
