//! A random-operations run of a vault against a model in memory, with reopenings.

use super::vault::{path, verifies};
use crate::{KeyAlgorithm, PublicKey, Secret, Vault, VaultError, VaultPath};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;

/// What the model knows of a record.
#[derive(Debug, Clone, PartialEq)]
enum Record {
    Key(PublicKey),
    Secret(String),
}

/// Owners and aliases that stand close to each other.
const OWNERS: [&str; 4] = ["tk-r", "tk-r-", "tk-ra", "tk-s"];
const ALIASES: [&str; 4] = ["k", "k/1", "k1", "z"];

/// A run in progress.
struct Run<V> {
    random: StdRng,
    vault: V,
    records: BTreeMap<VaultPath, Record>,
    paths: Vec<VaultPath>,
}

/// Runs `steps` operations; `open` opens the vault anew each time, after the last one was dropped.
pub async fn run<V: Vault>(seed: u64, steps: usize, mut open: impl FnMut() -> V) {
    let paths = OWNERS.into_iter().flat_map(|owner| ALIASES.map(|alias| path(owner, alias))).collect();
    let mut run = Run { random: StdRng::seed_from_u64(seed), vault: open(), records: BTreeMap::new(), paths };
    for _ in 0..steps {
        let path = run.paths.choose(&mut run.random).expect("there are paths").clone();
        match run.random.random_range(0..100) {
            0..25 => run.generate(&path).await,
            25..45 => run.put(&path).await,
            45..65 => run.use_it(&path).await,
            65..80 => run.delete(&path).await,
            80..84 => run.delete_folder(&path).await,
            84..94 => run.together(&path).await,
            94..97 => run.check().await,
            _ => {
                drop(run.vault);
                run.vault = open();
                run.check().await;
            }
        }
    }
    run.check().await;
}

impl<V: Vault> Run<V> {
    async fn generate(&mut self, path: &VaultPath) {
        let algorithm = *[KeyAlgorithm::Ed25519, KeyAlgorithm::P256].choose(&mut self.random).expect("not empty");
        let made = self.vault.generate_key(path, algorithm).await;
        match self.records.get(path) {
            Some(Record::Key(held)) => assert_eq!(&made.unwrap(), held, "the key that is there"),
            Some(Record::Secret(_)) => assert!(wrong_type(&made, path), "{made:?}"),
            None => {
                let made = made.unwrap();
                assert_eq!(made.algorithm, algorithm);
                self.records.insert(path.clone(), Record::Key(made));
            }
        }
    }

    async fn put(&mut self, path: &VaultPath) {
        let value = "s".repeat(self.random.random_range(0..500)) + &self.random.random::<u64>().to_string();
        let put = self.vault.put_secret(path, Secret::from(value.clone())).await;
        if matches!(self.records.get(path), Some(Record::Key(_))) {
            assert!(wrong_type(&put, path), "{put:?}");
        } else {
            put.unwrap();
            self.records.insert(path.clone(), Record::Secret(value));
        }
    }

    /// Everything that can be asked of one record.
    async fn use_it(&self, path: &VaultPath) {
        let message = path.alias.as_str().as_bytes();
        let (public, signature) = (self.vault.public_key(path).await, self.vault.sign(path, message).await);
        let secret = self.vault.secret(path).await;
        match self.records.get(path) {
            Some(Record::Key(held)) => {
                assert_eq!(&public.unwrap(), held);
                assert!(verifies(held, message, &signature.unwrap()));
                assert!(wrong_type(&secret, path), "{secret:?}");
            }
            Some(Record::Secret(held)) => {
                assert_eq!(secret.unwrap().expose_secret(), held);
                assert!(wrong_type(&public, path) && wrong_type(&signature, path), "{public:?} {signature:?}");
            }
            None => assert!(missing(&public, path) && missing(&signature, path) && missing(&secret, path), "{public:?} {secret:?}"),
        }
    }

    async fn delete(&mut self, path: &VaultPath) {
        self.vault.delete(path).await.unwrap();
        self.records.remove(path);
    }

    async fn delete_folder(&mut self, path: &VaultPath) {
        self.vault.delete_folder(&path.owner, "").await.unwrap();
        self.records.retain(|held, _| held.owner != path.owner);
    }

    /// Signing while the key is removed, beside writes elsewhere: a signature of the key or none, and afterwards none.
    async fn together(&mut self, path: &VaultPath) {
        let others: Vec<VaultPath> = self.paths.iter().filter(|other| other.owner != path.owner).cloned().collect();
        let others: Vec<VaultPath> = others.sample(&mut self.random, 3).cloned().collect();
        let held = self.records.get(path).cloned();
        let signing = futures::future::join_all((0..4).map(|_| self.vault.sign(path, b"m")));
        let making = futures::future::join_all(others.iter().map(|other| self.vault.generate_key(other, KeyAlgorithm::Ed25519)));
        let (signatures, removed, made) = futures::join!(signing, self.vault.delete(path), making);
        removed.unwrap();
        self.records.remove(path);
        for signature in signatures {
            match (&held, signature) {
                (Some(Record::Key(held)), Ok(signature)) => assert!(verifies(held, b"m", &signature)),
                (Some(Record::Secret(_)), Err(VaultError::WrongType(_))) | (_, Err(VaultError::NotFound(_))) => {}
                (held, other) => panic!("{held:?}: {other:?}"),
            }
        }
        for (other, made) in others.into_iter().zip(made) {
            match (self.records.get(&other), made) {
                (None, Ok(made)) => drop(self.records.insert(other, Record::Key(made))),
                (Some(Record::Key(held)), Ok(made)) => assert_eq!(&made, held),
                (Some(Record::Secret(_)), Err(VaultError::WrongType(_))) => {}
                (held, made) => panic!("{held:?}: {made:?}"),
            }
        }
        self.use_it(path).await;
    }

    /// Everything.
    async fn check(&self) {
        for path in &self.paths {
            self.use_it(path).await;
        }
    }
}

fn wrong_type<T>(answer: &Result<T, VaultError>, path: &VaultPath) -> bool {
    matches!(answer, Err(VaultError::WrongType(at)) if at == path)
}

fn missing<T>(answer: &Result<T, VaultError>, path: &VaultPath) -> bool {
    matches!(answer, Err(VaultError::NotFound(at)) if at == path)
}
