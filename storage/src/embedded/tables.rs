//! The fjall database and its keyspaces, opened with every failure turned into a clear error.

use super::{OpenError, synced_mark::data_end};
use crate::StoreError;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

/// Sealed journals are flushed to tables above this size, so that reopening replays little. The least that fjall allows.
const JOURNAL_BYTES: u64 = 64 << 20;
/// A keyspace is flushed above this size.
const MEMTABLE_BYTES: u64 = 16 << 20;

/// Keyspaces of the store.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) database: Database,
    /// Partition -> head and wake state.
    pub(super) heads: Keyspace,
    /// Partition, row key -> row.
    pub(super) rows: Keyspace,
    /// Partition, seq -> audit row.
    pub(super) audit: Keyspace,
    /// Partitions with undelivered outbox rows.
    pub(super) awake: Keyspace,
    /// Time, partition.
    pub(super) due: Keyspace,
    /// Topic, offset -> event.
    pub(super) events: Keyspace,
    /// Topic -> next and oldest offset.
    pub(super) topics: Keyspace,
    /// Topic, group -> position.
    pub(super) groups: Keyspace,
    /// Boot counter, format level, number of the last group of commits, settings.
    pub(super) meta: Keyspace,
}

impl Tables {
    /// Opens or makes the database in `store`, a folder of the data directory `dir`.
    pub(super) fn open(dir: &Path, store: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        let database = open_database(dir, store, cache_bytes)?;
        guarded(dir, || {
            let table = |name: &str| database.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES));
            Ok(Self {
                heads: table("heads")?,
                rows: table("rows")?,
                audit: table("audit")?,
                awake: table("awake")?,
                due: table("due")?,
                events: table("events")?,
                topics: table("topics")?,
                groups: table("groups")?,
                meta: table("meta")?,
                database: database.clone(),
            })
        })
    }
}

/// Opens or makes a database whose journal is only synced on demand.
pub(super) fn open_database(dir: &Path, store: &Path, cache_bytes: u64) -> Result<Database, OpenError> {
    remove_half_made(dir, store)?;
    guarded(dir, || {
        Database::builder(store)
            .manual_journal_persist(true)
            .max_journaling_size(JOURNAL_BYTES)
            .cache_size(cache_bytes)
            .worker_threads(2)
            .open()
    })
}

/// A process killed in its very first start leaves a folder that fjall neither recovers nor makes anew. It holds nothing yet.
fn remove_half_made(dir: &Path, store: &Path) -> Result<(), OpenError> {
    let unwritable = |source| OpenError::Unwritable { dir: dir.to_owned(), source: Arc::new(source) };
    // The version file is written last, after folder and journal and before the first table.
    let is_made = fs::metadata(store.join("version")).is_ok_and(|version| version.len() > 0);
    if is_made || !store.exists() {
        return Ok(());
    }
    let has_tables = fs::read_dir(store.join("keyspaces")).is_ok_and(|mut tables| tables.next().is_some());
    let has_journal = journal_data(store).map_err(unwritable)?;
    if has_tables || has_journal {
        return Err(OpenError::Corrupt { dir: dir.to_owned(), reason: format!("{} has no version file", store.display()) });
    }
    fs::remove_dir_all(store).map_err(unwritable)
}

/// Whether any journal in `store` holds data.
fn journal_data(store: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "jnl") && data_end(&mut File::open(path)?)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs fjall calls of an opening. Recovery meets what is on disk, and fjall answers some damage with a panic.
pub(super) fn guarded<T>(dir: &Path, call: impl FnOnce() -> fjall::Result<T>) -> Result<T, OpenError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(open_error(dir, error)),
        Err(panic) => Err(OpenError::Corrupt { dir: dir.to_owned(), reason: panic_text(panic.as_ref()) }),
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panic without a text").to_owned()
}

fn open_error(dir: &Path, error: fjall::Error) -> OpenError {
    match error {
        fjall::Error::Locked => OpenError::Locked { dir: dir.to_owned(), holder: "another process".to_owned() },
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) if !is_damage(&source) => {
            OpenError::Unwritable { dir: dir.to_owned(), source: Arc::new(source) }
        }
        other => OpenError::Corrupt { dir: dir.to_owned(), reason: other.to_string() },
    }
}

/// Whether an I/O error speaks of what is stored rather than of the machine.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
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

/// Makes everything written so far durable.
pub(super) fn sync(database: &Database) -> fjall::Result<()> {
    database.persist(PersistMode::SyncData)
}
