//! The embedded vault: a database of its own in the data directory, every record sealed by itself.

use super::{
    OpenError,
    durable::{Durable, corrupt, read_error},
    keys,
    lock::DirectoryLock,
    master_key::{MASTER_KEY_BYTES, MasterKey},
    sealing::{Place, Sealer},
    signing_key::SigningKey,
};
use crate::{KeyAlgorithm, PublicKey, Secret, StoreError, Vault, VaultError, VaultPath};
use cellspace_schemas::Owner;
use fjall::{Keyspace, OwnedWriteBatch, Readable, Snapshot};
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;
use secrecy::ExposeSecret;
use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Folder of the database within the data directory.
const VAULT: &str = "vault";
/// Name of the root record in the metadata.
const ROOT: &str = "root";
/// Opened keys kept in memory: some 2 KiB each.
const OPENED_KEYS: usize = 10_000;
/// Writes under way or waiting for the disk; more callers wait without a thread.
const WRITERS: usize = 16;
const CACHE_BYTES: u64 = 8 << 20;
/// Records of a folder removed by one write.
const DELETE_AT_ONCE: usize = 1_024;
/// Longest secret, in bytes.
const MAX_SECRET_BYTES: usize = 1 << 20;

/// Keys and secrets of one node, in its data directory. A handle: clones share the vault.
#[derive(Clone)]
pub struct EmbeddedVault(Arc<Opened>);

struct Opened {
    sealer: Sealer,
    records: Keyspace,
    /// Readers fill the cache under the read half; a change empties its entry under the write half, so that no old key comes back.
    keys: RwLock<Cache<VaultPath, Arc<SigningKey>>>,
    durable: Mutex<Durable>,
    /// State as of the last completed sync. All reads go here.
    synced: RwLock<Snapshot>,
    failure: OnceLock<StoreError>,
    writers: Semaphore,
    // Last, so that it is released after the database is closed.
    _lock: DirectoryLock,
}

/// What an opened record holds. The first byte of the plain text says which.
enum Content {
    Key(KeyAlgorithm, Zeroizing<Vec<u8>>),
    Secret(Zeroizing<Vec<u8>>),
}

impl Content {
    const ED25519: u8 = 1;
    const P256: u8 = 2;
    const SECRET: u8 = 3;

    fn encode(&self) -> Zeroizing<Vec<u8>> {
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

impl EmbeddedVault {
    /// Opens the vault in the data directory `dir`, or makes it there.
    ///
    /// # Errors
    /// [`OpenError`], also when the master key is not the one that the vault was made with.
    pub fn open(dir: impl AsRef<Path>, master: &MasterKey) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let lock = DirectoryLock::acquire(dir, VAULT)?;
        let mut durable = Durable::open(dir, VAULT, CACHE_BYTES, &lock)?;
        let records = durable.keyspace("records")?;
        let root = durable.meta.get(ROOT).map_err(|error| corrupt(dir, &read_error(error)))?;
        let crypto = |error: VaultError| OpenError::BadMasterKey(error.to_string());
        let master = Sealer::new(&master.load(dir, root.is_some())?).map_err(crypto)?;
        let data_key = if let Some(root) = root {
            let (_, key) = master.open(Place::Root, &root).ok_or_else(|| OpenError::WrongMasterKey { dir: dir.to_owned() })?;
            let key = <[u8; MASTER_KEY_BYTES]>::try_from(key.as_slice()).map(Zeroizing::new);
            key.map_err(|_| corrupt(dir, &StoreError::Corrupt("the vault's root record has another length".to_owned())))?
        } else {
            let mut key = Zeroizing::new([0; MASTER_KEY_BYTES]);
            aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| OpenError::BadMasterKey("no randomness".to_owned()))?;
            let mut first = durable.database.batch();
            first.insert(&durable.meta, ROOT, master.seal(Place::Root, 1, key.as_slice()).map_err(crypto)?);
            durable.write_first(first)?;
            key
        };
        Ok(Self(Arc::new(Opened {
            sealer: Sealer::new(&data_key).map_err(crypto)?,
            records,
            keys: RwLock::new(Cache::new(OPENED_KEYS)),
            synced: RwLock::new(durable.database.snapshot()),
            durable: Mutex::new(durable),
            failure: OnceLock::new(),
            writers: Semaphore::new(WRITERS),
            _lock: lock,
        })))
    }

    /// `Ok` while writes can be expected to work; the reason otherwise. Feeds readiness.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] once a write has failed.
    pub fn health(&self) -> Result<(), StoreError> {
        self.0.usable()
    }

    /// Puts a copy of a sealed record where it does not belong.
    #[cfg(test)]
    pub(super) fn copy_record(&self, from: &VaultPath, to: &VaultPath) {
        let record = self.0.records.get(keys::vault(from)).unwrap().unwrap();
        let mut durable = self.0.durable.lock();
        let mut batch = durable.database.batch();
        batch.insert(&self.0.records, keys::vault(to), record);
        self.0.write(&mut durable, std::slice::from_ref(to), batch).unwrap();
    }

    /// Puts `count` records that do not open into the owner's folder, by one write.
    #[cfg(test)]
    pub(super) fn fill(&self, owner: &Owner, count: u64) {
        let mut durable = self.0.durable.lock();
        let mut batch = durable.database.batch();
        for n in 0..count {
            let alias = cellspace_schemas::KeyAlias::new(n.to_string()).unwrap();
            batch.insert(&self.0.records, keys::vault(&VaultPath { owner: owner.clone(), alias }), "rubbish");
        }
        self.0.write(&mut durable, &[], batch).unwrap();
    }

    /// Records in all folders.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.synced.read().iter(&self.0.records).count()
    }

    /// Runs a change off the executor's threads, few at a time.
    async fn change<P: Clone + Send + 'static, T: Send + 'static>(
        &self,
        place: &P,
        change: impl FnOnce(&Opened, &P) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let stopped = |error: &dyn fmt::Display| VaultError::Store(StoreError::Unavailable(error.to_string()));
        let _permit = self.0.writers.acquire().await.map_err(|error| stopped(&error))?;
        let (opened, place) = (self.0.clone(), place.clone());
        tokio::task::spawn_blocking(move || change(&opened, &place)).await.map_err(|error| stopped(&error))?
    }
}

impl fmt::Debug for EmbeddedVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedVault").finish_non_exhaustive()
    }
}

impl Opened {
    fn usable(&self) -> Result<(), StoreError> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// The record's version and content.
    fn load(&self, path: &VaultPath) -> Result<(u64, Content), VaultError> {
        self.usable()?;
        let synced = self.synced.read().clone();
        let record = synced.get(&self.records, keys::vault(path)).map_err(read_error)?;
        let record = record.ok_or_else(|| VaultError::NotFound(path.clone()))?;
        let opened = self.sealer.open(Place::Record(path), &record);
        let content = opened.and_then(|(version, plain)| Some((version, Content::decode(&plain)?)));
        content.ok_or_else(|| StoreError::Corrupt(format!("the vault record {}/{} does not open", path.owner, path.alias)).into())
    }

    /// Stores a record under the next version, synced.
    fn store(&self, durable: &mut Durable, path: &VaultPath, content: &Content) -> Result<(), VaultError> {
        let version = match self.load(path) {
            Ok((version, _)) => version + 1,
            Err(VaultError::NotFound(_)) => 1,
            Err(error) => return Err(error),
        };
        let record = self.sealer.seal(Place::Record(path), version, &content.encode())?;
        let mut batch = durable.database.batch();
        batch.insert(&self.records, keys::vault(path), record);
        self.write(durable, std::slice::from_ref(path), batch)
    }

    /// Writes a change of these records, synced.
    fn write(&self, durable: &mut Durable, paths: &[VaultPath], batch: OwnedWriteBatch) -> Result<(), VaultError> {
        let written = durable.write(batch);
        let keys = self.keys.write();
        for path in paths {
            keys.remove(path);
        }
        match written {
            Ok(_) => {
                *self.synced.write() = durable.database.snapshot();
                Ok(())
            }
            Err(reason) => {
                let failure = StoreError::Poisoned(reason);
                if self.failure.set(failure.clone()).is_ok() {
                    tracing::error!(category = "app", action = "vault.poisoned", %failure, "a write failed; the vault takes no more");
                }
                Err(failure.into())
            }
        }
    }

    /// Removes some records of the owner's folder, synced; whether any is left.
    fn delete_some(&self, owner: &Owner) -> Result<bool, VaultError> {
        let mut durable = self.durable.lock();
        self.usable()?;
        let synced = self.synced.read().clone();
        let mut records = synced.prefix(&self.records, keys::vault_folder(owner));
        let mut batch = durable.database.batch();
        let mut paths = Vec::new();
        for record in records.by_ref().take(DELETE_AT_ONCE) {
            let key = record.key().map_err(read_error)?;
            // A key that names no path cannot be in the cache either.
            paths.extend(keys::read_vault(&key));
            batch.remove(&self.records, key);
        }
        if batch.is_empty() {
            return Ok(false);
        }
        self.write(&mut durable, &paths, batch)?;
        Ok(records.next().is_some())
    }

    /// The key, from memory or from its record.
    fn key(&self, path: &VaultPath) -> Result<Arc<SigningKey>, VaultError> {
        self.usable()?;
        let keys = self.keys.read();
        if let Some(key) = keys.get(path) {
            return Ok(key);
        }
        let (_, Content::Key(algorithm, pkcs8)) = self.load(path)? else {
            return Err(VaultError::WrongType(path.clone()));
        };
        let key = Arc::new(SigningKey::read(algorithm, &pkcs8)?);
        keys.insert(path.clone(), key.clone());
        Ok(key)
    }
}

impl Vault for EmbeddedVault {
    fn generate_key<'a>(&'a self, path: &'a VaultPath, algorithm: KeyAlgorithm) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        Box::pin(self.change(path, move |vault, path| {
            let mut durable = vault.durable.lock();
            match vault.key(path) {
                Ok(key) => return key.public(),
                Err(VaultError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            let pkcs8 = SigningKey::generate(algorithm)?;
            let public = SigningKey::read(algorithm, &pkcs8)?.public()?;
            vault.store(&mut durable, path, &Content::Key(algorithm, pkcs8))?;
            Ok(public)
        }))
    }

    fn public_key<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        Box::pin(async move { self.0.key(path)?.public() })
    }

    fn sign<'a>(&'a self, path: &'a VaultPath, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move { self.0.key(path)?.sign(message) })
    }

    fn put_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(self.change(path, move |vault, path| {
            let value = value.expose_secret();
            if value.len() > MAX_SECRET_BYTES {
                return Err(VaultError::Crypto(format!("a secret has at most {MAX_SECRET_BYTES} bytes")));
            }
            let content = Content::Secret(Zeroizing::new(value.as_bytes().to_vec()));
            let mut durable = vault.durable.lock();
            match vault.load(path) {
                // A key pair is replaced by nobody.
                Ok((_, Content::Key(..))) => Err(VaultError::WrongType(path.clone())),
                Ok((_, Content::Secret(_))) | Err(VaultError::NotFound(_)) => vault.store(&mut durable, path, &content),
                Err(error) => Err(error),
            }
        }))
    }

    fn secret<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(async move {
            let (_, Content::Secret(bytes)) = self.0.load(path)? else {
                return Err(VaultError::WrongType(path.clone()));
            };
            let text = std::str::from_utf8(&bytes).map_err(|_| StoreError::Corrupt("a secret is not a text".to_owned()))?;
            Ok(Secret::from(text.to_owned()))
        })
    }

    fn delete<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(self.change(path, |vault, path| {
            let mut durable = vault.durable.lock();
            match vault.load(path) {
                Err(VaultError::NotFound(_)) => return Ok(()),
                // What does not open can still be removed.
                Ok(_) | Err(VaultError::Store(StoreError::Corrupt(_))) => {}
                Err(error) => return Err(error),
            }
            let mut batch = durable.database.batch();
            batch.remove(&vault.records, keys::vault(path));
            vault.write(&mut durable, std::slice::from_ref(path), batch)
        }))
    }

    fn delete_folder<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<(), VaultError>> {
        // Others get their turn between the parts.
        Box::pin(async move {
            while self.change(owner, Opened::delete_some).await? {}
            Ok(())
        })
    }
}
