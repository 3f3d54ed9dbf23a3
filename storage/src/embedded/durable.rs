//! A fjall database of which every write is synced before it counts, and whose loss shows at the next opening.

use super::{
    OpenError,
    lock::DirectoryLock,
    synced_mark::{self, SealedJournals, Synced, SyncedMark, data_end},
    values::{decode_number, encode_number},
};
use crate::StoreError;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, config::PartitioningPolicy};
use std::{
    any::Any,
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Sealed journals are flushed to tables above this size, so that reopening replays little. The least that fjall allows.
const JOURNAL_BYTES: u64 = 64 << 20;
/// A keyspace is flushed above this size.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Above this size what lies in memory and journals alone goes to tables, before the end and after an opening.
const RECOVERED_BYTES: u64 = 1 << 20;
/// Longest time for that after an opening.
const FLUSH_AT_START: Duration = Duration::from_secs(60);
/// Longest time before the end; less than [`super::synced_view::DISK_TIMEOUT`], so that a busy disk does not look like a silent one.
const FLUSH_AT_END: Duration = Duration::from_secs(5);
/// Between two looks whether it is done.
const FLUSH_PAUSE: Duration = Duration::from_millis(2);
/// Under this prefix the names of all keyspaces, so that one whose folder is gone is missed and not made anew.
const KEYSPACE: &str = "keyspace/";
/// Number of the last write, written with each.
const GROUP: &str = "group";
const FORMAT: &str = "format";

/// The database, and the mark of what of it is synced.
pub(super) struct Durable {
    pub(super) database: Database,
    /// The database's own small facts, by name.
    pub(super) meta: Keyspace,
    mark: SyncedMark,
    /// Number of the last write.
    group: u64,
    format: u64,
    dir: PathBuf,
}

impl Durable {
    /// Opens or makes the database in the folder `name` of the data directory `dir`; of a format level above `format` it is refused. The lock is the proof that nobody else has it open.
    pub(super) fn open(dir: &Path, name: &str, format: u64, cache_bytes: u64, _lock: &DirectoryLock) -> Result<Self, OpenError> {
        let (folder, mark) = (dir.join(name), dir.join(mark_of(name)));
        let lost = |reason| OpenError::Lost { dir: dir.to_owned(), reason, mark: mark.clone() };

        let synced = match synced_mark::read(&mark) {
            Ok(synced) => synced.unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(lost(format!("{name}.synced, which says what was synced, is itself damaged")));
            }
            Err(source) => return Err(unwritable(dir, source)),
        };
        if synced.group > 0 && !folder.exists() {
            return Err(lost(format!("the folder {name} is gone")));
        }
        let sealed = SealedJournals::check_before(&folder, &synced).map_err(lost)?;
        remove_half_made(dir, &folder)?;
        let mut database = recover(dir, &folder, cache_bytes)?;
        sealed.check_after().map_err(lost)?;
        let mut meta = keyspace(dir, &database, "meta")?;
        for made in meta.prefix(KEYSPACE) {
            let key = guarded(dir, || made.key())?;
            let keyspace = std::str::from_utf8(key.get(KEYSPACE.len()..).unwrap_or_default()).unwrap_or_default();
            if !database.keyspace_exists(keyspace) {
                return Err(OpenError::Corrupt { dir: dir.to_owned(), reason: format!("the table {keyspace} of {name} is gone") });
            }
        }
        let group = number(dir, &meta, GROUP)?.unwrap_or(0);
        if let Some(found) = number(dir, &meta, FORMAT)?.filter(|found| *found > format) {
            return Err(OpenError::NewerFormat { dir: dir.to_owned(), found, supported: format });
        }
        if group < synced.group {
            return Err(lost(format!("{} writes were synced, {group} are there", synced.group)));
        }
        let mark = SyncedMark::open(&mark, &folder, Synced { group, ..synced }).map_err(|source| unwritable(dir, source))?;
        if is_behind(&database) && guarded(dir, || flush(&database, FLUSH_AT_START))? {
            // The database would keep what it recovered for as long as little is written, however many participants are idle.
            drop((meta, database));
            database = recover(dir, &folder, cache_bytes)?;
            meta = keyspace(dir, &database, "meta")?;
        }
        Ok(Self { database, meta, mark, group, format, dir: dir.to_owned() })
    }

    /// A keyspace, made when it is not there.
    pub(super) fn keyspace(&self, name: &str) -> Result<Keyspace, OpenError> {
        keyspace(&self.dir, &self.database, name)
    }

    /// A number among the database's own facts.
    pub(super) fn number(&self, key: &'static str) -> Result<Option<u64>, OpenError> {
        number(&self.dir, &self.meta, key)
    }

    /// The first write after all keyspaces are open; its failure is one of opening.
    pub(super) fn write_first(&mut self, mut batch: OwnedWriteBatch) -> Result<(), OpenError> {
        batch.insert(&self.meta, FORMAT, encode_number(self.format));
        for keyspace in self.database.list_keyspace_names() {
            batch.insert(&self.meta, format!("{KEYSPACE}{keyspace}"), encode_number(0));
        }
        self.write(batch).map(drop).map_err(|reason| unwritable(&self.dir, io::Error::other(reason)))
    }

    /// Writes and syncs; the answer is the write's number. After an error what is on disk is not known, and nothing may be written any more.
    pub(super) fn write(&mut self, mut batch: OwnedWriteBatch) -> Result<u64, String> {
        let group = self.group + 1;
        batch.insert(&self.meta, GROUP, encode_number(group));
        batch.commit().map_err(|error| error.to_string())?;
        self.database.persist(PersistMode::SyncData).map_err(|error| error.to_string())?;
        self.mark.advance(group, self.database.journal_count()).map_err(|error| error.to_string())?;
        self.group = group;
        Ok(group)
    }

    /// Before the end: saves the next opening the work. What fails here is left to the journals, which hold everything.
    pub(super) fn settle(&self) {
        if !is_behind(&self.database) {
            return;
        }
        match flush(&self.database, FLUSH_AT_END) {
            Ok(true) => {}
            Ok(false) => tracing::warn!(category = "app", action = "storage.slow", "not all is in tables; the next start takes longer"),
            Err(error) => {
                tracing::warn!(category = "app", action = "storage.unsettled", %error, "not all is in tables; the next start takes longer")
            }
        }
    }
}

fn recover(dir: &Path, folder: &Path, cache_bytes: u64) -> Result<Database, OpenError> {
    guarded(dir, || {
        Database::builder(folder)
            .manual_journal_persist(true)
            .max_journaling_size(JOURNAL_BYTES)
            .cache_size(cache_bytes)
            .worker_threads(2)
            .open()
    })
}

/// Whether more lies in memory and journals alone than an opening should have to bring back.
fn is_behind(database: &Database) -> bool {
    database.write_buffer_size() > RECOVERED_BYTES
}

/// Writes what lies in memory and journals alone into tables, so that the next recovery finds nothing to bring back; whether it was done in time.
fn flush(database: &Database, limit: Duration) -> fjall::Result<bool> {
    let mut keyspaces = Vec::new();
    for name in database.list_keyspace_names() {
        let keyspace = database.keyspace(&name, options)?;
        keyspace.rotate_memtable()?;
        keyspaces.push(keyspace);
    }
    let start = Instant::now();
    // What is in tables is taken off the write buffer's size a moment later.
    while is_behind(database) || keyspaces.iter().any(|keyspace| keyspace.sealed_memtable_count() > 0) {
        if start.elapsed() >= limit {
            return Ok(false);
        }
        // Fails when a thread of the database has failed.
        database.persist(PersistMode::Buffer)?;
        thread::sleep(FLUSH_PAUSE);
    }
    Ok(true)
}

fn keyspace(dir: &Path, database: &Database, name: &str) -> Result<Keyspace, OpenError> {
    guarded(dir, || database.keyspace(name, options))
}

/// Of what finds rows in tables, the top alone stays in memory: the rest comes into the cache as the rows themselves do.
fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
}

fn number(dir: &Path, meta: &Keyspace, key: &'static str) -> Result<Option<u64>, OpenError> {
    let value = guarded(dir, || meta.get(key))?;
    value.map(|value| decode_number(&value, key).map_err(|error| corrupt(dir, &error))).transpose()
}

/// A process killed in its very first start leaves a folder that fjall neither recovers nor makes anew. It holds nothing yet.
fn remove_half_made(dir: &Path, folder: &Path) -> Result<(), OpenError> {
    // The version file is written last, after folder and journal and before the first table.
    let is_made = fs::metadata(folder.join("version")).is_ok_and(|version| version.len() > 0);
    if is_made || !folder.exists() {
        return Ok(());
    }
    let has_tables = fs::read_dir(folder.join("keyspaces")).is_ok_and(|mut tables| tables.next().is_some());
    if has_tables || has_journal_data(folder).map_err(|source| unwritable(dir, source))? {
        return Err(OpenError::Corrupt { dir: dir.to_owned(), reason: format!("{} has no version file", folder.display()) });
    }
    fs::remove_dir_all(folder).map_err(|source| unwritable(dir, source))
}

fn has_journal_data(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") && data_end(&mut File::open(path)?)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Name of the file that says what of the database `name` is synced.
pub(super) fn mark_of(name: &str) -> String {
    format!("{name}.synced")
}

/// Runs fjall calls of an opening. Recovery meets what is on disk, and fjall answers some damage with a panic.
fn guarded<T>(dir: &Path, call: impl FnOnce() -> fjall::Result<T>) -> Result<T, OpenError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(open_error(dir, error)),
        Err(panic) => Err(OpenError::Corrupt { dir: dir.to_owned(), reason: panic_text(panic.as_ref()) }),
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panic without a text").to_owned()
}

fn open_error(dir: &Path, error: fjall::Error) -> OpenError {
    match error {
        fjall::Error::Locked => OpenError::Locked { dir: dir.to_owned(), holder: "another process".to_owned() },
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) if !is_damage(&source) => unwritable(dir, source),
        // Nothing writes during an opening but the database's own threads.
        fjall::Error::Poisoned => unwritable(dir, io::Error::other("tables cannot be written")),
        other => OpenError::Corrupt { dir: dir.to_owned(), reason: other.to_string() },
    }
}

/// The directory does not take what must be written.
pub(crate) fn unwritable(dir: &Path, reason: io::Error) -> OpenError {
    OpenError::Unwritable { dir: dir.to_owned(), reason: Arc::new(reason) }
}

/// A row that must be read to open cannot be.
pub(super) fn corrupt(dir: &Path, error: &StoreError) -> OpenError {
    OpenError::Corrupt { dir: dir.to_owned(), reason: error.to_string() }
}

/// Whether an I/O error speaks of what is stored rather than of the machine.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidData, InvalidInput, NotFound, UnexpectedEof};
    matches!(error.kind(), AlreadyExists | InvalidData | InvalidInput | NotFound | UnexpectedEof)
}

/// The error of a read.
pub(super) fn read_error(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Poisoned => StoreError::Poisoned("the database refuses after an earlier failure".to_owned()),
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) if !is_damage(&source) => {
            StoreError::Unavailable(source.to_string())
        }
        other => StoreError::Corrupt(other.to_string()),
    }
}
