//! The vault of a cell: in its keyspace, for all nodes, every record sealed by itself with a key that only the master key opens. The database sees what is sealed.
//!
//! Each change is conditional on what was there, as nodes change records at the same time. Reads are never from memory: another node may have removed a key or made
//! another one. What is kept in memory are opened keys, each for the very bytes of its record. To sign, which each message takes once or more, a key does without a look
//! for a moment ([`ScyllaOptions::key_known`](crate::scylla::ScyllaOptions::key_known)): what is committed says which key of a participant signs, and is served by one
//! node, which knows at once what it has removed itself.

use super::{
    ScyllaError, ScyllaStore,
    store::{Conditional, Inner, unavailable},
};
use crate::{
    KeyAlgorithm, MasterKey, PublicKey, Secret, StoreError, Vault, VaultError, VaultPath,
    embedded::OpenError,
    sealed::{Content, KeyBytes, Place, Sealer, SigningKey, data_key, fresh_data_key, open_record},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use cellspace_schemas::{KeyAlias, Owner};
use futures::{TryStreamExt, future::BoxFuture};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use scylla::{DeserializeRow, errors::ExecutionError};
use std::{fmt, sync::Arc, time::Instant};

/// The setting that holds the root record, in base64.
const ROOT: &str = "vault-root";
/// Opened keys kept in memory: some 2 KiB each.
const OPENED_KEYS: usize = 10_000;
/// Tries of a change while others change the same record.
const TRIES: usize = 16;
/// Records of a folder removed before it is listed again.
const DELETE_AT_ONCE: usize = 1_024;

/// Keys and secrets of a cell, in its keyspace. A handle: clones share the store's session.
#[derive(Clone)]
pub struct ScyllaVault(pub(super) Arc<Opened>);

pub(super) struct Opened {
    store: Arc<Inner>,
    sealer: Sealer,
    keys: Cache<VaultPath, Known>,
    /// How many removals of this node have ended, whatever came of them. Keys are kept, and forgotten, with it in hand.
    removals: Mutex<u64>,
}

/// A key that was there when its record was asked for.
#[derive(Clone)]
struct Known {
    asked: Instant,
    opened: Arc<OpenedKey>,
}

/// A key, and the record that it was read from.
struct OpenedKey {
    record: Vec<u8>,
    key: SigningKey,
}

#[derive(DeserializeRow)]
struct Record {
    record: Option<Vec<u8>>,
}

#[derive(DeserializeRow)]
struct Alias {
    alias: String,
}

impl ScyllaVault {
    /// Opens the vault in the store's keyspace, or makes it there. All nodes bring the same master key.
    ///
    /// # Errors
    /// [`ScyllaError`], also when the master key is not the one that the vault was made with.
    pub async fn open(store: &ScyllaStore, master: &MasterKey) -> Result<Self, ScyllaError> {
        let master = Sealer::new(&brought(master).await?).map_err(crypto)?;
        let made = fresh_data_key().and_then(|key| master.seal(Place::Root, 1, key.as_slice())).map_err(crypto)?;
        let root = store.first_meta(ROOT, &STANDARD.encode(made)).await?;
        let (_, key) = open_root(store, &master, &root)?;
        let sealer = Sealer::new(&key).map_err(crypto)?;
        Ok(Self(Arc::new(Opened { store: store.inner().clone(), sealer, keys: Cache::new(OPENED_KEYS), removals: Mutex::default() })))
    }

    /// Gives the vault in the store's keyspace another master key; the old one opens it no more. Only the root record is sealed anew, so that it makes no difference how
    /// much the vault holds, and nodes that have it open go on: they need the new key when they start again. Without an answer it is under one of the two keys, and it may be
    /// repeated: one that has the new key already stays as it is.
    ///
    /// # Errors
    /// [`ScyllaError`]: nothing was changed, unless the database did not answer.
    pub async fn rekey(store: &ScyllaStore, from: &MasterKey, to: &MasterKey) -> Result<(), ScyllaError> {
        let root = store.meta(ROOT).await?.ok_or_else(|| ScyllaError::NoVault(store.keyspace().to_owned()))?;
        let (old, new) = (brought(from).await?, brought(to).await?);
        let opened = |key: &KeyBytes| open_root(store, &Sealer::new(key).map_err(crypto)?, &root);
        if *new != *old && opened(&new).is_ok() {
            return Ok(());
        }
        let (version, key) = opened(&old)?;
        if *new == *old {
            return Err(OpenError::BadMasterKey("the new master key is the old one".to_owned()).into());
        }
        let sealed = Sealer::new(&new).and_then(|sealer| sealer.seal(Place::Root, version + 1, key.as_slice())).map_err(crypto)?;
        // Of two that do it at once one finds another record.
        if store.next_meta(ROOT, &root, &STANDARD.encode(sealed)).await? { Ok(()) } else { Err(wrong_master_key(store)) }
    }

    /// `Ok` while the database can be expected to answer.
    ///
    /// # Errors
    /// Why not.
    pub fn health(&self) -> Result<(), StoreError> {
        self.0.store.health()
    }
}

/// The master key, from wherever it is.
async fn brought(master: &MasterKey) -> Result<KeyBytes, ScyllaError> {
    let master = master.clone();
    // A command may take its time.
    Ok(tokio::task::spawn_blocking(move || master.bring()).await.map_err(|e| StoreError::Unavailable(e.to_string()))??)
}

/// Version and data key of the root record.
fn open_root(store: &ScyllaStore, master: &Sealer, root: &str) -> Result<(u64, KeyBytes), ScyllaError> {
    let root = STANDARD.decode(root).map_err(|_| StoreError::Corrupt("the vault's root record is not in base64".to_owned()))?;
    data_key(master, &root)?.ok_or_else(|| wrong_master_key(store))
}

fn wrong_master_key(store: &ScyllaStore) -> ScyllaError {
    ScyllaError::WrongMasterKey(store.keyspace().to_owned())
}

fn crypto(error: VaultError) -> ScyllaError {
    StoreError::Corrupt(error.to_string()).into()
}

impl Opened {
    pub(super) async fn find(&self, path: &VaultPath) -> Result<Option<Vec<u8>>, VaultError> {
        let found = self.store.one::<Record>(&self.store.statements.record, (path.owner.as_str(), path.alias.as_str())).await?;
        Ok(found.and_then(|found| found.record))
    }

    async fn record(&self, path: &VaultPath) -> Result<Vec<u8>, VaultError> {
        self.find(path).await?.ok_or_else(|| VaultError::NotFound(path.clone()))
    }

    async fn key(&self, path: &VaultPath) -> Result<Arc<OpenedKey>, VaultError> {
        let (asked, removals) = (Instant::now(), *self.removals.lock());
        let Some(record) = self.find(path).await? else {
            self.keys.remove(path);
            return Err(VaultError::NotFound(path.clone()));
        };
        let opened = match self.keys.get(path).filter(|known| known.opened.record == record) {
            Some(known) => known.opened,
            None => {
                let key = open_record(&self.sealer, path, &record)?.1.into_key(path)?;
                Arc::new(OpenedKey { record, key })
            }
        };
        // It may have been removed here since it was read.
        let now = self.removals.lock();
        if *now == removals {
            self.keys.insert(path.clone(), Known { asked, opened: opened.clone() });
        }
        drop(now);
        Ok(opened)
    }

    /// The key as it was a moment ago.
    async fn known_key(&self, path: &VaultPath) -> Result<Arc<OpenedKey>, VaultError> {
        match self.keys.get(path).filter(|known| known.asked.elapsed() < self.store.options.key_known) {
            Some(known) => Ok(known.opened),
            None => self.key(path).await,
        }
    }

    /// Puts the record in the place of the one that was there; whether it was still there.
    async fn replace(&self, path: &VaultPath, before: Option<Vec<u8>>, version: u64, content: &Content) -> Result<bool, VaultError> {
        let record = self.sealer.seal(Place::Record(path), version, &content.encode())?;
        let (statements, owner, alias) = (&self.store.statements, path.owner.as_str(), path.alias.as_str());
        let outcome = match before {
            None => self.store.conditional(&statements.first_record, (owner, alias, record)).await,
            Some(before) => self.store.conditional(&statements.next_record, (record, owner, alias, before)).await,
        };
        applied(outcome)
    }

    async fn make_key(&self, path: &VaultPath, algorithm: KeyAlgorithm) -> Result<PublicKey, VaultError> {
        for _ in 0..TRIES {
            match self.key(path).await {
                Ok(opened) => return opened.key.public(),
                Err(VaultError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            let pkcs8 = SigningKey::generate(algorithm)?;
            let public = SigningKey::read(algorithm, &pkcs8)?.public()?;
            if self.replace(path, None, 1, &Content::Key(algorithm, pkcs8)).await? {
                return Ok(public);
            }
        }
        Err(contended())
    }

    async fn put(&self, path: &VaultPath, value: &Secret) -> Result<(), VaultError> {
        let content = Content::secret(value)?;
        for _ in 0..TRIES {
            let before = self.find(path).await?;
            let version = match before.as_ref().map(|record| open_record(&self.sealer, path, record)).transpose()? {
                None => 1,
                // A key pair is replaced by nobody.
                Some((_, Content::Key(..))) => return Err(VaultError::WrongType(path.clone())),
                Some((version, Content::Secret(_))) => version + 1,
            };
            if self.replace(path, before, version, &content).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    async fn put_first(&self, path: &VaultPath, value: Secret) -> Result<Secret, VaultError> {
        let content = Content::secret(&value)?;
        for _ in 0..TRIES {
            if let Some(record) = self.find(path).await? {
                return open_record(&self.sealer, path, &record)?.1.into_secret(path);
            }
            if self.replace(path, None, 1, &content).await? {
                return Ok(value);
            }
        }
        Err(contended())
    }

    async fn remove(&self, owner: &Owner, alias: &str) -> Result<(), VaultError> {
        // Whatever comes of it, also when nobody waits for that.
        let path = KeyAlias::new(alias).ok().map(|alias| VaultPath { owner: owner.clone(), alias });
        let _forgetting = path.map(|path| Forgetting { vault: self, path });
        applied(self.store.conditional(&self.store.statements.remove_record, (owner.as_str(), alias)).await).map(drop)
    }

    async fn list(&self, owner: &Owner, within: &str, limit: usize) -> Result<Vec<String>, VaultError> {
        let mut rows = self.store.stream::<Alias>(self.store.statements.aliases.clone(), (owner.as_str(), within)).await?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(Alias { alias }) = rows.try_next().await?.filter(|row| row.alias.starts_with(within))
        {
            found.push(alias);
        }
        Ok(found)
    }
}

/// Forgets a key when it goes.
struct Forgetting<'a> {
    vault: &'a Opened,
    path: VaultPath,
}

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        let mut removals = self.vault.removals.lock();
        *removals += 1;
        self.vault.keys.remove(&self.path);
    }
}

/// What came of a conditional write.
#[allow(clippy::result_large_err, reason = "the driver's error, on its way through")]
fn applied(outcome: Result<Option<Conditional>, ExecutionError>) -> Result<bool, VaultError> {
    match outcome.map_err(unavailable)? {
        Some(Conditional::Applied) => Ok(true),
        Some(Conditional::NotApplied) => Ok(false),
        None => Err(StoreError::Unavailable("the database's answer cannot be read".to_owned()).into()),
    }
}

fn contended() -> VaultError {
    StoreError::Unavailable("others keep changing the record".to_owned()).into()
}

impl Vault for ScyllaVault {
    fn generate_key<'a>(&'a self, path: &'a VaultPath, algorithm: KeyAlgorithm) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        Box::pin(self.0.make_key(path, algorithm))
    }

    fn public_key<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        Box::pin(async move { self.0.key(path).await?.key.public() })
    }

    fn sign<'a>(&'a self, path: &'a VaultPath, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move { self.0.known_key(path).await?.key.sign(message) })
    }

    fn put_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move { self.0.put(path, &value).await })
    }

    fn first_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(self.0.put_first(path, value))
    }

    fn secret<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(async move { open_record(&self.0.sealer, path, &self.0.record(path).await?)?.1.into_secret(path) })
    }

    fn delete<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(self.0.remove(&path.owner, path.alias.as_str()))
    }

    fn delete_folder<'a>(&'a self, owner: &'a Owner, within: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move {
            loop {
                let found = self.0.list(owner, within, DELETE_AT_ONCE).await?;
                if found.is_empty() {
                    return Ok(());
                }
                // One after the other: they are in one partition, where conditional writes get into each other's way.
                for alias in found {
                    self.0.remove(owner, &alias).await?;
                }
            }
        })
    }
}

impl fmt::Debug for ScyllaVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScyllaVault").field("keyspace", &self.0.store.options.keyspace).finish_non_exhaustive()
    }
}
