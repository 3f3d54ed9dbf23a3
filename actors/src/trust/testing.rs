//! A vault in memory, for tests of this crate.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{KeyAlias, Owner};
use cellspace_storage::{KeyAlgorithm, PublicKey, Secret, Vault, VaultError, VaultPath};
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use tokio::sync::Barrier;

/// Keys and secrets that live as long as the test.
#[derive(Default)]
pub struct TestVault {
    keys: Mutex<HashMap<VaultPath, TestKey>>,
    secrets: Mutex<HashMap<VaultPath, Secret>>,
    /// So many have read a secret before any of them goes on.
    readers: Option<Barrier>,
}

enum TestKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl TestKey {
    fn generate(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Ed25519 => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            KeyAlgorithm::P256 => Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
        }
    }

    fn public(&self) -> PublicKey {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed25519(key) => PublicKey {
                algorithm: KeyAlgorithm::Ed25519,
                jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref())}),
            },
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                PublicKey {
                    algorithm: KeyAlgorithm::P256,
                    jwk: json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])}),
                }
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::P256(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
        }
    }
}

impl TestVault {
    /// One whose readers of secrets go on together.
    pub fn with_readers(n: usize) -> Self {
        Self { readers: Some(Barrier::new(n)), ..Self::default() }
    }

    /// A path in the vault.
    pub fn path(owner: &str, alias: &str) -> VaultPath {
        VaultPath { owner: Owner::new(owner).unwrap(), alias: KeyAlias::new(alias).unwrap() }
    }
}

impl Vault for TestVault {
    fn generate_key<'a>(&'a self, path: &'a VaultPath, algorithm: KeyAlgorithm) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        let mut keys = self.keys.lock();
        let public = keys.entry(path.clone()).or_insert_with(|| TestKey::generate(algorithm)).public();
        async { Ok(public) }.boxed()
    }

    fn public_key<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        let public = self.keys.lock().get(path).map(TestKey::public).ok_or_else(|| VaultError::NotFound(path.clone()));
        async { public }.boxed()
    }

    fn sign<'a>(&'a self, path: &'a VaultPath, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        let signature = self.keys.lock().get(path).map(|key| key.sign(message)).ok_or_else(|| VaultError::NotFound(path.clone()));
        async { signature }.boxed()
    }

    fn put_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<(), VaultError>> {
        self.secrets.lock().insert(path.clone(), value);
        async { Ok(()) }.boxed()
    }

    fn first_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<Secret, VaultError>> {
        let kept = self.secrets.lock().entry(path.clone()).or_insert(value).clone();
        async { Ok(kept) }.boxed()
    }

    fn secret<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<Secret, VaultError>> {
        let secret = self.secrets.lock().get(path).cloned().ok_or_else(|| VaultError::NotFound(path.clone()));
        async {
            if let Some(readers) = &self.readers {
                readers.wait().await;
            }
            secret
        }
        .boxed()
    }

    fn delete<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<(), VaultError>> {
        self.keys.lock().remove(path);
        self.secrets.lock().remove(path);
        async { Ok(()) }.boxed()
    }

    fn delete_folder<'a>(&'a self, owner: &'a Owner, within: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        let kept = |path: &VaultPath| path.owner != *owner || !path.alias.as_str().starts_with(within);
        self.keys.lock().retain(|path, _| kept(path));
        self.secrets.lock().retain(|path, _| kept(path));
        async { Ok(()) }.boxed()
    }
}
