//! A database as those who share it see it: its state as of the last completed sync, and whether it may be used at all.

use super::durable::{Durable, panic_text};
use crate::StoreError;
use fjall::{Database, OwnedWriteBatch, PersistMode, Snapshot};
use parking_lot::{Mutex, RwLock};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long the disk may take for one write before the node counts as unfit, and what closing waits for.
pub(super) const DISK_TIMEOUT: Duration = Duration::from_secs(10);

/// What writers and readers of one database share. No method but [`SyncedView::write`] and [`SyncedView::end`] waits for the disk.
pub(super) struct SyncedView {
    /// What logs call it.
    name: &'static str,
    database: Database,
    /// All reads go here, so that nobody acts on what a power cut would undo.
    synced: RwLock<Snapshot>,
    failure: OnceLock<StoreError>,
    /// Told once when the first failure is known.
    on_failure: Box<dyn Fn() + Send + Sync>,
    /// Since when the write under way is.
    writing: Mutex<Option<Instant>>,
    disk_timeout: Duration,
    /// Asks the database how its own threads are.
    look: Mutex<Option<JoinHandle<()>>>,
}

impl SyncedView {
    pub(super) fn new(
        name: &'static str,
        database: &Database,
        disk_timeout: Duration,
        on_failure: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            synced: RwLock::new(database.snapshot()),
            database: database.clone(),
            failure: OnceLock::new(),
            on_failure: Box::new(on_failure),
            writing: Mutex::new(None),
            disk_timeout,
            look: Mutex::new(None),
        })
    }

    /// `Ok` while nothing has failed.
    pub(super) fn usable(&self) -> Result<(), StoreError> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// The synced state, for reading.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.usable()?;
        Ok(self.synced.read().clone())
    }

    /// From now on everything fails: what is on disk is not known any more.
    pub(super) fn poison(&self, reason: &str) {
        if self.failure.set(StoreError::Poisoned(reason.to_owned())).is_ok() {
            tracing::error!(
                category = "app",
                action = "storage.poisoned",
                database = self.name,
                reason,
                "a write failed; no more are taken"
            );
            (self.on_failure)();
        }
    }

    /// Writes, syncs, calls `synced` with the write's number, and shows readers the new state. After an error, a panic included, what is on
    /// disk is not known and everything fails from then on.
    pub(super) fn write(&self, durable: &mut Durable, batch: OwnedWriteBatch, synced: impl FnOnce(u64)) -> Result<(), String> {
        *self.writing.lock() = Some(Instant::now());
        let written = catch_unwind(AssertUnwindSafe(|| {
            synced(durable.write(batch)?);
            *self.synced.write() = self.database.snapshot();
            Ok(())
        }));
        *self.writing.lock() = None;
        let written = written.unwrap_or_else(|panic| Err(panic_text(panic.as_ref())));
        written.inspect_err(|reason: &String| self.poison(reason))
    }

    /// Whether a write can be expected to work, as far as known. What the database's own threads met, such as a full disk, is asked for beside
    /// the caller, since the answer may have to wait for the disk; the next call knows it.
    pub(super) fn health(self: &Arc<Self>) -> Result<(), StoreError> {
        self.usable()?;
        let waiting = self.writing.lock().map(|since| since.elapsed());
        if let Some(waiting) = waiting.filter(|waiting| *waiting >= self.disk_timeout) {
            return Err(StoreError::Unavailable(format!("the disk has not answered for {} ms", waiting.as_millis())));
        }
        let mut look = self.look.lock();
        if look.as_ref().is_none_or(JoinHandle::is_finished) {
            let view = self.clone();
            let asked = thread::Builder::new().name(format!("{}-look", self.name)).spawn(move || {
                // Writes nothing that is not being written anyway.
                if let Err(error) = view.database.persist(PersistMode::Buffer) {
                    view.poison(&error.to_string());
                }
            });
            *look = asked.inspect_err(|error| tracing::warn!(category = "app", %error, "no thread to look after the database")).ok();
        }
        Ok(())
    }

    /// Waits for what [`SyncedView::health`] started, so that nothing holds the database but its owner.
    pub(super) fn end(&self) {
        let look = self.look.lock().take();
        if let Some(look) = look {
            // A panic there says nothing that a write would not find.
            let _ = look.join();
        }
    }
}
