//! The embedded vault: a database of its own in the data directory, every record sealed by itself.

use super::{
    OpenError,
    durable::{Durable, corrupt, read_error, unwritable},
    keys,
    lock::DirectoryLock,
    synced_view::{DISK_TIMEOUT, SyncedView},
};
use crate::{
    KeyAlgorithm, MasterKey, PublicKey, Secret, StoreError, Vault, VaultError, VaultPath,
    sealed::{Content, KeyBytes, Place, Sealer, SigningKey, data_key, fresh_data_key, open_record},
};
use cellspace_schemas::Owner;
use fjall::{Keyspace, OwnedWriteBatch, Readable};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use std::{fmt, io, path::Path, sync::Arc};
use tokio::sync::Semaphore;

/// Folder of the database within the data directory.
pub(super) const VAULT: &str = "vault";
/// Format level of the vault.
pub(super) const FORMAT: u64 = 1;
/// Name of the root record in the metadata.
pub(super) const ROOT: &str = "root";
/// Table of the records.
pub(super) const RECORDS: &str = "records";
/// Opened keys kept in memory: some 2 KiB each.
const OPENED_KEYS: usize = 10_000;
/// Writes under way or waiting for the disk; more callers wait without a thread.
const WRITERS: usize = 16;
const CACHE_BYTES: u64 = 8 << 20;
/// Records of a folder removed by one write.
const DELETE_AT_ONCE: usize = 1_024;

/// Keys and secrets of one node, in its data directory. A handle: clones share the vault.
#[derive(Clone)]
pub struct EmbeddedVault(Arc<Opened>);

struct Opened {
    sealer: Sealer,
    records: Keyspace,
    /// Who reads a key holds its place here meanwhile; a change takes the place away, so that no old key comes back.
    keys: Cache<VaultPath, Arc<SigningKey>>,
    durable: Mutex<Durable>,
    view: Arc<SyncedView>,
    writers: Semaphore,
    // Last, so that it is released after the database is closed.
    _lock: DirectoryLock,
}

impl EmbeddedVault {
    /// Opens the vault in the data directory `dir`, or makes it there.
    ///
    /// # Errors
    /// [`OpenError`], also when the master key is not the one that the vault was made with.
    pub fn open(dir: impl AsRef<Path>, master: &MasterKey) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let lock = DirectoryLock::acquire(dir, VAULT)?;
        let mut durable = Durable::open(dir, VAULT, FORMAT, CACHE_BYTES, &lock)?;
        let records = durable.keyspace(RECORDS)?;
        let root = durable.meta.get(ROOT).map_err(|error| corrupt(dir, &read_error(error)))?;
        let master = Sealer::new(&master.load(dir, root.is_some())?).map_err(crypto)?;
        let data_key = if let Some(root) = root {
            open_root(dir, &master, &root)?.1
        } else {
            let key = fresh_data_key().map_err(crypto)?;
            let mut first = durable.database.batch();
            first.insert(&durable.meta, ROOT, master.seal(Place::Root, 1, key.as_slice()).map_err(crypto)?);
            durable.write_first(first)?;
            key
        };
        Ok(Self(Arc::new(Opened {
            sealer: Sealer::new(&data_key).map_err(crypto)?,
            records,
            keys: Cache::new(OPENED_KEYS),
            view: SyncedView::new(VAULT, &durable.database, DISK_TIMEOUT, || ()),
            durable: Mutex::new(durable),
            writers: Semaphore::new(WRITERS),
            _lock: lock,
        })))
    }

    /// Gives the vault in the data directory `dir`, which no node has open, another master key; the old one opens it no more. Only the root record is sealed
    /// anew, so that it makes no difference how much the vault holds. A crash leaves it under one of the two keys.
    ///
    /// # Errors
    /// [`OpenError`]: nothing was changed, unless the write itself failed.
    pub fn rekey(dir: impl AsRef<Path>, from: &MasterKey, to: &MasterKey) -> Result<(), OpenError> {
        let dir = dir.as_ref();
        if !dir.join(VAULT).is_dir() {
            return Err(OpenError::BadMasterKey(format!("{} holds no vault", dir.display())));
        }
        let lock = DirectoryLock::acquire(dir, VAULT)?;
        let mut durable = Durable::open(dir, VAULT, FORMAT, CACHE_BYTES, &lock)?;
        let root = durable.meta.get(ROOT).map_err(|error| corrupt(dir, &read_error(error)))?;
        let root = root.ok_or_else(|| OpenError::BadMasterKey(format!("{} holds no vault", dir.display())))?;
        let old = from.load(dir, true)?;
        let (version, key) = open_root(dir, &Sealer::new(&old).map_err(crypto)?, &root)?;
        let new = to.load(dir, false)?;
        if *new == *old {
            return Err(OpenError::BadMasterKey("the new master key is the old one".to_owned()));
        }
        let sealed = Sealer::new(&new).and_then(|sealer| sealer.seal(Place::Root, version + 1, key.as_slice())).map_err(crypto)?;
        let mut batch = durable.database.batch();
        batch.insert(&durable.meta, ROOT, sealed);
        durable.write(batch).map(drop).map_err(|reason| unwritable(dir, io::Error::other(reason)))
    }

    /// `Ok` while writes can be expected to work; the reason otherwise. Feeds readiness, and never waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] once a write has failed, [`StoreError::Unavailable`] while the disk does not answer.
    pub fn health(&self) -> Result<(), StoreError> {
        self.0.view.health()
    }

    /// Before the end: saves the next opening the work of bringing back what is not in tables yet. Blocks for as long as that takes.
    pub fn settle(&self) {
        if self.0.view.usable().is_ok() {
            self.0.durable.lock().settle();
        }
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

    #[cfg(test)]
    pub(super) fn keys(&self) -> &Cache<VaultPath, Arc<SigningKey>> {
        &self.0.keys
    }

    #[cfg(test)]
    pub(super) fn read_record(&self, path: &VaultPath) -> Arc<SigningKey> {
        self.0.read_key(path).unwrap()
    }

    /// Writes nothing, and fails as a defect would make it fail.
    #[cfg(test)]
    pub(super) fn panic_in_a_write(&self) {
        let mut durable = self.0.durable.lock();
        let batch = durable.database.batch();
        self.0.view.write(&mut durable, batch, |_| panic!("told to fail")).unwrap_err();
    }

    /// Tells the database's own threads to write tables.
    #[cfg(test)]
    pub(super) fn flush(&self) {
        self.0.records.rotate_memtable().unwrap();
    }

    /// Bytes that are not in tables.
    #[cfg(test)]
    pub(super) fn in_journals(&self) -> u64 {
        self.0.durable.lock().database.write_buffer_size()
    }

    #[cfg(test)]
    pub(super) fn flush_and_wait(&self) {
        self.0.records.rotate_memtable_and_wait().unwrap();
    }

    /// Changes a bit of a record's byte.
    #[cfg(test)]
    pub(super) fn flip(&self, path: &VaultPath, at: usize) {
        let mut record = self.0.records.get(keys::vault(path)).unwrap().unwrap().to_vec();
        record[at] ^= 1;
        let mut durable = self.0.durable.lock();
        let mut batch = durable.database.batch();
        batch.insert(&self.0.records, keys::vault(path), record);
        self.0.write(&mut durable, std::slice::from_ref(path), batch).unwrap();
    }

    /// Records in all folders.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.view.snapshot().unwrap().iter(&self.0.records).count()
    }

    /// Runs a change off the executor's threads, few at a time.
    async fn change<P: Clone + Send + 'static, T: Send + 'static>(
        &self,
        place: &P,
        change: impl FnOnce(&Opened, &P) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let _permit = self.0.writers.acquire().await.map_err(stopped)?;
        self.off_thread(place, change).await
    }

    /// Runs something that may wait for the disk off the executor's threads.
    async fn off_thread<P: Clone + Send + 'static, T: Send + 'static>(
        &self,
        place: &P,
        work: impl FnOnce(&Opened, &P) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let (opened, place) = (self.0.clone(), place.clone());
        tokio::task::spawn_blocking(move || work(&opened, &place)).await.map_err(stopped)?
    }

    /// The key, from memory or else from its record. Signing with a key in memory takes one shard's read lock for a moment and no thread.
    async fn key(&self, path: &VaultPath) -> Result<Arc<SigningKey>, VaultError> {
        self.0.view.usable()?;
        if let Some(key) = self.0.keys.get(path) {
            return Ok(key);
        }
        match self.0.keys.get_value_or_guard_async(path).await {
            Ok(key) => Ok(key),
            Err(place) => {
                let key = self.off_thread(path, Opened::read_key).await?;
                // Without its place, since the record has changed meanwhile, the key serves this caller alone.
                let _ = place.insert(key.clone());
                Ok(key)
            }
        }
    }
}

fn crypto(error: VaultError) -> OpenError {
    OpenError::BadMasterKey(error.to_string())
}

/// Version and data key of the root record.
fn open_root(dir: &Path, master: &Sealer, root: &[u8]) -> Result<(u64, KeyBytes), OpenError> {
    let opened = data_key(master, root).map_err(|error| corrupt(dir, &error))?;
    opened.ok_or_else(|| OpenError::WrongMasterKey { dir: dir.to_owned() })
}

impl fmt::Debug for EmbeddedVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedVault").finish_non_exhaustive()
    }
}

/// The executor ends.
fn stopped(error: impl fmt::Display) -> VaultError {
    VaultError::Store(StoreError::Unavailable(error.to_string()))
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.view.end();
    }
}

impl Opened {
    /// The record's version and content.
    fn load(&self, path: &VaultPath) -> Result<(u64, Content), VaultError> {
        let record = self.view.snapshot()?.get(&self.records, keys::vault(path)).map_err(read_error)?;
        let record = record.ok_or_else(|| VaultError::NotFound(path.clone()))?;
        open_record(&self.sealer, path, &record)
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
        self.view.write(durable, batch, |_| ()).map_err(StoreError::Poisoned)?;
        for path in paths {
            self.keys.remove(path);
        }
        Ok(())
    }

    /// Removes some records with this prefix, synced; whether any is left.
    fn delete_some(&self, prefix: &[u8]) -> Result<bool, VaultError> {
        let mut durable = self.durable.lock();
        let synced = self.view.snapshot()?;
        let mut records = synced.prefix(&self.records, prefix);
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

    fn read_key(&self, path: &VaultPath) -> Result<Arc<SigningKey>, VaultError> {
        Ok(Arc::new(self.load(path)?.1.into_key(path)?))
    }
}

impl Vault for EmbeddedVault {
    fn generate_key<'a>(&'a self, path: &'a VaultPath, algorithm: KeyAlgorithm) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        Box::pin(self.change(path, move |vault, path| {
            let mut durable = vault.durable.lock();
            match vault.read_key(path) {
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
        Box::pin(async move { self.key(path).await?.public() })
    }

    fn sign<'a>(&'a self, path: &'a VaultPath, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move { self.key(path).await?.sign(message) })
    }

    fn put_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(self.change(path, move |vault, path| {
            let content = Content::secret(&value)?;
            let mut durable = vault.durable.lock();
            match vault.load(path) {
                // A key pair is replaced by nobody.
                Ok((_, Content::Key(..))) => Err(VaultError::WrongType(path.clone())),
                Ok((_, Content::Secret(_))) | Err(VaultError::NotFound(_)) => vault.store(&mut durable, path, &content),
                Err(error) => Err(error),
            }
        }))
    }

    fn first_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(self.change(path, move |vault, path| {
            let content = Content::secret(&value)?;
            let mut durable = vault.durable.lock();
            match vault.load(path) {
                Ok((_, found)) => found.into_secret(path),
                Err(VaultError::NotFound(_)) => vault.store(&mut durable, path, &content).map(|()| value),
                Err(error) => Err(error),
            }
        }))
    }

    fn secret<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(self.off_thread(path, |vault, path| vault.load(path)?.1.into_secret(path)))
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

    fn delete_folder<'a>(&'a self, owner: &'a Owner, within: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        let prefix = keys::vault_folder(owner, within);
        // Others get their turn between the parts.
        Box::pin(async move {
            while self.change(&prefix, |vault, prefix| vault.delete_some(prefix)).await? {}
            Ok(())
        })
    }
}
