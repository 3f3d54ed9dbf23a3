//! The embedded store: opening, closing, health, settings.

use super::{
    EmbeddedOptions, OpenError,
    claims::Claims,
    committer::{self, Committer, Request, Write},
    durable::{Durable, corrupt, read_error, unwritable},
    lock::DirectoryLock,
    synced_view::SyncedView,
    tables::Tables,
    topics::{self, TopicReport, TopicViews},
    values::{self, encode_number},
};
use crate::{CommitOutcome, Counters, StoreError};
use parking_lot::Mutex;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Folder of the database within the data directory.
pub(super) const STORE: &str = "store";
/// Format level of the store: since 2, heads say where rows are.
pub(super) const FORMAT: u64 = 2;
/// How often the store was opened, in its metadata.
pub(super) const BOOT: &str = "boot";
/// Settings lie under this prefix, apart from the metadata's own keys.
pub(super) const SETTING: &str = "setting/";

/// Partitions, wake index and event log of one node, in its data directory. A handle: clones share the store.
///
/// The directory is free for another opening once the last clone is dropped.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Running>);

/// The store and its thread.
struct Running {
    shared: Arc<Shared>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<Thread>>,
    dir: PathBuf,
    boot: u64,
    wear: Wear,
    disk_timeout: Duration,
}

/// When rows of a partition move to the next generation, and how many at once.
#[derive(Clone, Copy)]
pub(super) struct Wear {
    pub(super) deleted_rows: u64,
    pub(super) moved_rows: usize,
}

/// The committer's thread, and what tells that it has ended: nothing is ever sent.
struct Thread {
    handle: JoinHandle<()>,
    ended: Receiver<()>,
}

/// What the committer's thread and the callers share.
pub(super) struct Shared {
    pub(super) tables: Tables,
    pub(super) claims: Claims,
    pub(super) views: Arc<TopicViews>,
    pub(super) counters: Arc<Counters>,
    pub(super) view: Arc<SyncedView>,
    // Last, so that it is released after the database is closed.
    _lock: DirectoryLock,
}

impl EmbeddedStore {
    /// Opens the store in the data directory `dir`, or makes it there.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do about it. Nothing is guessed: a store that lost synced data does not open.
    pub fn open(dir: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let dir = dir.as_ref().to_owned();
        let lock = DirectoryLock::acquire(&dir, STORE)?;
        let mut durable = Durable::open(&dir, STORE, FORMAT, options.cache_bytes, &lock)?;
        let tables = Tables::open(&durable)?;
        let boot = durable.number(BOOT)?.unwrap_or(0) + 1;
        let topics = topics::load(&tables).map_err(|error| corrupt(&dir, &error))?;
        let mut first = tables.database.batch();
        first.insert(&tables.meta, BOOT, encode_number(boot));
        durable.write_first(first)?;

        let views = Arc::new(TopicViews::default());
        for (topic, state) in &topics {
            views.show(topic, state);
        }
        let told = views.clone();
        let disk_timeout = options.disk_timeout;
        let wear = Wear { deleted_rows: options.deleted_rows.max(1), moved_rows: options.moved_rows.max(1) };
        let shared = Arc::new(Shared {
            view: SyncedView::new(STORE, &tables.database, disk_timeout, move || told.wake_all()),
            tables,
            claims: Claims::new(boot),
            views,
            counters: Arc::new(Counters::default()),
            _lock: lock,
        });
        let (requests, waiting) = mpsc::channel(options.queue.max(1));
        let (ends, ended) = std::sync::mpsc::channel();
        let committer = Committer { shared: shared.clone(), durable, topics, options, shared_before: false };
        let run = move || {
            // Dropped last, when nothing of the committer holds the database any more.
            let _ends = ends;
            committer.run(waiting);
        };
        let handle = thread::Builder::new().name("committer".to_owned()).spawn(run).map_err(|source| unwritable(&dir, source))?;
        tracing::info!(category = "app", action = "storage.opened", boot, dir = %dir.display(), "store opened");
        let thread = Mutex::new(Some(Thread { handle, ended }));
        Ok(Self(Arc::new(Running { shared, requests: Mutex::new(Some(requests)), thread, dir, boot, wear, disk_timeout })))
    }

    /// Finishes all commits that wait, then refuses; also one whose partition's rows are still being read to be moved. Blocks for as long as a group of commits takes, and at most for the time that the options
    /// give the disk: then the thread is left to itself, what it has not answered stays unanswered, and the directory stays locked.
    pub fn close(&self) {
        self.0.close();
    }

    /// How often the store in this directory was opened: the first half of every epoch.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.0.boot
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// What the store did since it was opened.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.0.shared.counters.clone()
    }

    /// The topics and what of them is kept.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicReport> {
        self.0.shared.views.report()
    }

    /// A setting of the installation, such as its public URL; `None` when it was never put.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read. May read the disk: a matter of the start.
    pub fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        use fjall::Readable;
        let shared = self.shared();
        let value = shared.view.snapshot()?.get(&shared.tables.meta, format!("{SETTING}{key}")).map_err(read_error)?;
        value.map(|value| String::from_utf8(value.to_vec()).map_err(|_| values::unreadable("setting"))).transpose()
    }

    /// Stores or replaces a setting; durable when this answers.
    ///
    /// # Errors
    /// [`StoreError`] when it may not have been stored, or when key is longer than a key can be.
    pub async fn put_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.write(Write::Setting(format!("{SETTING}{key}"), value.to_owned())).await
    }

    pub(super) fn wear(&self) -> Wear {
        self.0.wear
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Hands a write to the committer and waits for its answer.
    pub(super) async fn request(&self, write: Write) -> CommitOutcome {
        let sender = self.0.requests.lock().clone();
        let Some(sender) = sender else {
            return CommitOutcome::NotSent("the store is closed".to_owned());
        };
        let (answer, answered) = oneshot::channel();
        if sender.send(Request { write, answer }).await.is_err() {
            return CommitOutcome::NotSent("the committer has stopped".to_owned());
        }
        drop(sender);
        answered.await.unwrap_or_else(|_| CommitOutcome::Unknown("the committer has stopped".to_owned()))
    }

    /// A write that cannot be fenced.
    pub(super) async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.alive()?;
        committer::plain_answer(self.request(write).await)
    }

    /// Whether the store is neither closed nor poisoned.
    pub(super) fn alive(&self) -> Result<(), StoreError> {
        self.shared().view.usable()?;
        let closed = self.0.requests.lock().is_none();
        if closed { Err(StoreError::Unavailable("the store is closed".to_owned())) } else { Ok(()) }
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("dir", &self.0.dir).field("boot", &self.0.boot).finish_non_exhaustive()
    }
}

impl Running {
    fn close(&self) {
        self.requests.lock().take();
        let thread = self.thread.lock().take();
        let Some(Thread { handle, ended }) = thread else { return };
        if ended.recv_timeout(self.disk_timeout) == Err(RecvTimeoutError::Timeout) {
            let waited = self.disk_timeout.as_millis();
            tracing::error!(category = "app", action = "storage.stalled", waited, "the disk does not answer; the store is left as it is");
        } else {
            // The committer catches its own panics.
            let _ = handle.join();
        }
        self.shared.views.wake_all();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
        self.shared.view.end();
    }
}
