//! A data directory that no node has open: what a backup has of it, and how it comes back.

use super::{
    durable::{Durable, mark_of, read_error, unwritable},
    generations::Generation,
    keys,
    lock::DirectoryLock,
    store::{self, BOOT, SETTING, STORE},
    tables::Tables,
    values::{self, StoredHead, StoredTopic, decode_event, decode_number, encode_event, encode_number},
    vault::{self, RECORDS, ROOT, VAULT},
};
use crate::{
    RowKey, StoreError,
    backup::{BackupError, Blob, Record, Writer, damaged},
};
use bytes::Bytes;
use fjall::{Keyspace, OwnedWriteBatch};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

const CACHE_BYTES: u64 = 16 << 20;
/// Bytes written at once.
const AT_ONCE: usize = 4 << 20;
/// Folder within the data directory in which it is restored, until it is whole.
const STAGE: &str = "restoring";

/// A data directory, held for a backup.
pub struct DataDirectory {
    tables: Tables,
    vault: Option<Held>,
    _store: Durable,
    // Last, so that it is released after the database is closed.
    _lock: DirectoryLock,
}

/// The vault in it.
struct Held {
    records: Keyspace,
    vault: Durable,
    _lock: DirectoryLock,
}

fn rows(entries: impl Iterator<Item = fjall::Guard>) -> impl Iterator<Item = Result<(fjall::UserKey, fjall::UserValue), BackupError>> {
    entries.map(|entry| entry.into_inner().map_err(|error| read_error(error).into()))
}

fn unreadable(what: &str) -> BackupError {
    values::unreadable(what).into()
}

impl DataDirectory {
    /// Opens what is there.
    ///
    /// # Errors
    /// [`BackupError::Nothing`]; [`BackupError::Open`], also while a node has it open.
    pub fn open(dir: &Path) -> Result<Self, BackupError> {
        if !dir.join(STORE).is_dir() {
            return Err(BackupError::Nothing(dir.to_owned()));
        }
        let lock = DirectoryLock::acquire(dir, STORE)?;
        let held = Durable::open(dir, STORE, store::FORMAT, CACHE_BYTES, &lock)?;
        let tables = Tables::open(&held)?;
        let vault = if dir.join(VAULT).is_dir() {
            let lock = DirectoryLock::acquire(dir, VAULT)?;
            let vault = Durable::open(dir, VAULT, vault::FORMAT, CACHE_BYTES, &lock)?;
            let records = vault.keyspace(RECORDS)?;
            Some(Held { vault, records, _lock: lock })
        } else {
            None
        };
        Ok(Self { tables, vault, _store: held, _lock: lock })
    }

    /// A setting of the installation.
    ///
    /// # Errors
    /// [`BackupError::Store`]
    pub fn setting(&self, name: &str) -> Result<Option<String>, BackupError> {
        let value = self.tables.meta.get(format!("{SETTING}{name}")).map_err(read_error)?;
        value.map(|value| String::from_utf8(value.to_vec()).map_err(|_| unreadable("setting"))).transpose()
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// [`BackupError`] of the file, or when something stored cannot be read.
    pub fn write<W: Write>(&self, out: &mut Writer<W>) -> Result<(), BackupError> {
        let Tables { heads, meta, topics, .. } = &self.tables;
        for row in rows(meta.prefix(SETTING)) {
            let (key, value) = row?;
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| unreadable("setting"));
            out.put(&Record::Setting { name: text(key.get(SETTING.len()..).unwrap_or_default())?, value: text(&value)? })?;
        }
        if let Some(boot) = meta.get(BOOT).map_err(read_error)? {
            out.put(&Record::Boot(decode_number(&boot, BOOT)?))?;
        }
        for row in rows(heads.iter()) {
            let (prefix, head) = row?;
            self.write_partition(&prefix, &head, out)?;
        }
        for row in rows(topics.iter()) {
            let (prefix, topic) = row?;
            self.write_topic(&prefix, &topic, out)?;
        }
        let Some(Held { vault, records, .. }) = &self.vault else { return Ok(()) };
        if let Some(root) = vault.meta.get(ROOT).map_err(read_error)? {
            out.put(&Record::VaultRoot((&*root).into()))?;
        }
        for row in rows(records.iter()) {
            let (path, sealed) = row?;
            out.put(&Record::VaultRecord { path: (&*path).into(), sealed: (&*sealed).into() })?;
        }
        Ok(())
    }

    fn write_partition<W: Write>(&self, prefix: &[u8], head: &[u8], out: &mut Writer<W>) -> Result<(), BackupError> {
        let key = keys::read_partition(prefix).ok_or_else(|| unreadable("partition"))?;
        let StoredHead { head, wake, rows: present } = StoredHead::decode(head)?;
        out.put(&Record::Partition { key, head, wake })?;
        for row in rows(self.tables.rows.prefix(prefix)) {
            let (stored, value) = row?;
            let (generation, key) = stored.get(prefix.len()..).and_then(keys::read_row).ok_or_else(|| unreadable("row"))?;
            // What has moved on is left behind.
            if present.of(&RowKey::from_bytes(Bytes::copy_from_slice(key))) == generation {
                out.put(&Record::Row { key: key.into(), value: (&*value).into() })?;
            }
        }
        for row in rows(self.tables.audit.prefix(prefix)) {
            let (key, value) = row?;
            let seq = keys::read_audit(&key).ok_or_else(|| unreadable("audit row"))?;
            out.put(&Record::Audit { seq, value: (&*value).into() })?;
        }
        Ok(())
    }

    fn write_topic<W: Write>(&self, prefix: &[u8], topic: &[u8], out: &mut Writer<W>) -> Result<(), BackupError> {
        let name = keys::read_topic(prefix).ok_or_else(|| unreadable("topic"))?;
        let StoredTopic { next, oldest } = StoredTopic::decode(topic)?;
        out.put(&Record::Topic { topic: name, next, oldest })?;
        for row in rows(self.tables.groups.prefix(prefix)) {
            let (key, position) = row?;
            let (_, group) = keys::read_group(&key).ok_or_else(|| unreadable("group"))?;
            out.put(&Record::Group { group, position: crate::Offset(decode_number(&position, "group")?) })?;
        }
        for row in rows(self.tables.events.prefix(prefix)) {
            let (key, value) = row?;
            let offset = keys::read_event(&key).ok_or_else(|| unreadable("event"))?;
            let (key, payload) = decode_event(&value)?;
            out.put(&Record::Event { offset, key, payload: (&*payload).into() })?;
        }
        Ok(())
    }
}

/// A database being filled.
struct Filled {
    durable: Durable,
    batch: OwnedWriteBatch,
    bytes: usize,
}

impl Filled {
    fn open(stage: &Path, name: &str, format: u64, lock: &DirectoryLock) -> Result<Self, BackupError> {
        let durable = Durable::open(stage, name, format, CACHE_BYTES, lock)?;
        let batch = durable.database.batch();
        Ok(Self { durable, batch, bytes: 0 })
    }

    /// Once all its tables are there.
    fn begin(&mut self) -> Result<(), BackupError> {
        Ok(self.durable.write_first(self.durable.database.batch())?)
    }

    fn put(&mut self, table: &Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<(), BackupError> {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.batch.insert(table, key, value);
        if self.bytes >= AT_ONCE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), BackupError> {
        let batch = std::mem::replace(&mut self.batch, self.durable.database.batch());
        self.bytes = 0;
        self.durable.write(batch).map(drop).map_err(|reason| StoreError::Poisoned(reason).into())
    }

    fn finish(mut self) -> Result<(), BackupError> {
        self.write()?;
        self.durable.settle();
        Ok(())
    }
}

/// A data directory that comes back. Until [`Restoring::finish`] there is nothing that a node would open.
pub struct Restoring {
    dir: PathBuf,
    stage: PathBuf,
    tables: Tables,
    store: Filled,
    vault: Option<(Filled, Keyspace)>,
    /// Prefix of the last partition, and of the last topic.
    partition: Option<Vec<u8>>,
    topic: Option<Vec<u8>>,
    // Last, so that they are released after the databases are closed.
    locks: [DirectoryLock; 2],
}

impl Restoring {
    /// Begins in a directory without data, which is made when it is not there.
    ///
    /// # Errors
    /// [`BackupError::NotEmpty`]; [`BackupError::Open`] when it cannot be written, or a node has it open.
    pub fn begin(dir: &Path) -> Result<Self, BackupError> {
        let locks = [DirectoryLock::acquire(dir, STORE)?, DirectoryLock::acquire(dir, VAULT)?];
        let taken = [STORE, VAULT].into_iter().any(|name| dir.join(name).exists() || dir.join(mark_of(name)).exists());
        if taken {
            return Err(BackupError::NotEmpty(dir.to_owned()));
        }
        let stage = dir.join(STAGE);
        let made = if stage.exists() { fs::remove_dir_all(&stage) } else { Ok(()) }.and_then(|()| fs::create_dir(&stage));
        made.map_err(|source| unwritable(dir, source))?;
        let mut store = Filled::open(&stage, STORE, store::FORMAT, &locks[0])?;
        let tables = Tables::open(&store.durable)?;
        store.begin()?;
        Ok(Self { dir: dir.to_owned(), stage, tables, store, vault: None, partition: None, topic: None, locks })
    }

    /// Takes a record in, those of partitions, topics and vault in their order.
    ///
    /// # Errors
    /// [`BackupError`]: nothing is restored then.
    pub fn take(&mut self, record: Record) -> Result<(), BackupError> {
        let Self { tables, store, partition, topic, .. } = self;
        let of = |prefix: &Option<Vec<u8>>, key: &[u8]| prefix.as_ref().map(|prefix| keys::joined(prefix, key));
        let nowhere = || damaged("a row belongs to nothing");
        match record {
            Record::Setting { name, value } => store.put(&tables.meta, format!("{SETTING}{name}"), value),
            Record::Boot(boot) => store.put(&tables.meta, BOOT, encode_number(boot)),
            Record::Partition { key, head, wake } => {
                let prefix = keys::partition(&key);
                store.put(&tables.heads, prefix.clone(), StoredHead { head, wake, rows: Generation::default() }.encode())?;
                if wake.awake {
                    store.put(&tables.awake, prefix.clone(), Vec::<u8>::new())?;
                }
                if let Some(due) = wake.due {
                    store.put(&tables.due, keys::due(due, &prefix), Vec::<u8>::new())?;
                }
                *partition = Some(prefix);
                Ok(())
            }
            Record::Row { key: Blob(key), value: Blob(value) } => store.put(&tables.rows, of(partition, &key).ok_or_else(nowhere)?, value),
            Record::Audit { seq, value: Blob(value) } => {
                store.put(&tables.audit, of(partition, &seq.0.to_be_bytes()).ok_or_else(nowhere)?, value)
            }
            Record::Topic { topic: name, next, oldest } => {
                let prefix = keys::topic(&name);
                store.put(&tables.topics, prefix.clone(), StoredTopic { next, oldest }.encode())?;
                *topic = Some(prefix);
                Ok(())
            }
            Record::Group { group, position } => {
                let prefix = topic.as_ref().ok_or_else(nowhere)?;
                store.put(&tables.groups, keys::group(prefix, &group), encode_number(position.0))
            }
            Record::Event { offset, key, payload: Blob(payload) } => {
                let prefix = topic.as_ref().ok_or_else(nowhere)?;
                store.put(&tables.events, keys::event(prefix, offset), encode_event(&key, &payload))
            }
            Record::Keyspace
            | Record::View(_)
            | Record::Lease(_)
            | Record::Home { .. }
            | Record::Waiting { .. }
            | Record::CellVaultRecord { .. } => Err(damaged("a record of a keyspace is in the data directory")),
            Record::VaultRoot(Blob(sealed)) => {
                let (vault, _) = self.vault()?;
                let meta = vault.durable.meta.clone();
                vault.put(&meta, ROOT, sealed)
            }
            Record::VaultRecord { path: Blob(path), sealed: Blob(sealed) } => {
                let (vault, records) = self.vault()?;
                vault.put(records, path, sealed)
            }
        }
    }

    fn vault(&mut self) -> Result<(&mut Filled, &Keyspace), BackupError> {
        if self.vault.is_none() {
            let mut vault = Filled::open(&self.stage, VAULT, vault::FORMAT, &self.locks[1])?;
            let records = vault.durable.keyspace(RECORDS)?;
            vault.begin()?;
            self.vault = Some((vault, records));
        }
        self.vault.as_mut().map(|(vault, records)| (vault, &*records)).ok_or_else(|| damaged("no vault"))
    }

    /// Puts it where a node finds it, all of it.
    ///
    /// # Errors
    /// [`BackupError`] when it cannot be written.
    pub fn finish(self) -> Result<(), BackupError> {
        let Self { dir, stage, tables, store, vault, locks, .. } = self;
        drop(tables);
        store.finish()?;
        // A store whose mark is there and whose folder is not does not open: so nobody opens half of this.
        let mut moved = vec![mark_of(STORE)];
        if let Some((vault, records)) = vault {
            drop(records);
            vault.finish()?;
            moved.extend([mark_of(VAULT), VAULT.to_owned()]);
        }
        moved.push(STORE.to_owned());
        let place = || -> io::Result<()> {
            for name in &moved {
                fs::rename(stage.join(name), dir.join(name))?;
                File::open(&dir)?.sync_all()?;
            }
            fs::remove_dir_all(&stage)
        };
        place().map_err(|source| unwritable(&dir, source))?;
        drop(locks);
        Ok(())
    }
}
