//! The store as its users hold it: opening, settings, health; and how the other modules ask the database.

use super::{ScyllaError, ScyllaOptions, claims::Claims, connect, hours::Hours, publications::Queue, schema, statements::Statements};
use crate::{Counters, EventLog, PartitionKey, StoreError, TopicReport};
use futures::{Stream, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use scylla::{
    DeserializeRow,
    client::session::Session,
    deserialize::row::DeserializeRow as ReadRow,
    errors::ExecutionError,
    response::query_result::QueryResult,
    serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
    value::{CqlValue, Row},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{sync::Semaphore, task::JoinHandle};

/// Removals of index rows under way at once that no commit waits for.
const REMOVALS: usize = 256;
/// Tries to take the next boot number: others may start at the same time.
const BOOT_TRIES: usize = 32;

/// Partitions and wake index of a cell, in its keyspace. A handle: clones share the session.
#[derive(Clone)]
pub struct ScyllaStore(Arc<Handle>);

struct Handle {
    inner: Arc<Inner>,
    publisher: Mutex<Option<JoinHandle<()>>>,
}

/// What the modules of the store share.
pub(super) struct Inner {
    pub(super) session: Session,
    pub(super) statements: Statements,
    pub(super) options: ScyllaOptions,
    pub(super) claims: Claims,
    pub(super) hours: Hours,
    pub(super) queue: Queue,
    pub(super) counters: Arc<Counters>,
    pub(super) removals: Arc<Semaphore>,
    /// How often the store was opened.
    pub(super) boot: u64,
    /// Why the last request failed, when it did.
    failing: Mutex<Option<String>>,
    looking: AtomicBool,
}

#[derive(DeserializeRow)]
struct Setting {
    value: Option<String>,
}

#[derive(DeserializeRow)]
struct Boot {
    boot: i64,
}

/// The setting that is there while a backup is restored: nobody opens half of it.
pub(super) const RESTORING: &str = "restoring";

impl ScyllaStore {
    /// Opens the store, whose schema must be there.
    ///
    /// # Errors
    /// [`ScyllaError`] says what is wrong and what to do about it.
    pub async fn open(options: ScyllaOptions) -> Result<Self, ScyllaError> {
        options.check()?;
        let session = connect::session(&options, Some(&options.keyspace)).await?;
        Self::over(session, options).await
    }

    /// Over a session that is in the keyspace.
    pub(super) async fn over(session: Session, options: ScyllaOptions) -> Result<Self, ScyllaError> {
        schema::check(&session).await?;
        let statements = Statements::prepare(&session).await?;
        let mut inner = Inner {
            session,
            statements,
            claims: Claims::default(),
            hours: Hours::default(),
            queue: Queue::new(options.publications),
            counters: Arc::default(),
            removals: Arc::new(Semaphore::new(REMOVALS)),
            boot: 0,
            failing: Mutex::default(),
            looking: AtomicBool::new(false),
            options,
        };
        if inner.one::<Setting>(&inner.statements.setting, (RESTORING,)).await?.is_some() {
            return Err(ScyllaError::Restoring(inner.options.keyspace));
        }
        inner.boot = inner.next_boot().await?;
        tracing::info!(category = "app", action = "storage.opened", boot = inner.boot, keyspace = inner.options.keyspace, "store opened");
        Ok(Self(Arc::new(Handle { inner: Arc::new(inner), publisher: Mutex::default() })))
    }

    /// How often the store was opened.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.inner().boot
    }

    /// What the store did since it was opened; the database syncs by itself.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.inner().counters.clone()
    }

    /// The topics of which events wait for the log, or were left out.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicReport> {
        self.inner().queue.counts.report()
    }

    /// Brings the events of commits to `log` from now on, those that wait in the database first. Once for each opening.
    pub fn publish_to(&self, log: Arc<dyn EventLog>) {
        let task = tokio::spawn(self.inner().clone().publish(log));
        if let Some(before) = self.0.publisher.lock().replace(task) {
            before.abort();
        }
    }

    /// Looks through the database for events that another process has left there, and brings them to the log too.
    pub fn adopt_publications(&self) {
        self.inner().queue.reread();
    }

    /// The keyspace that it is in.
    #[must_use]
    pub fn keyspace(&self) -> &str {
        &self.inner().options.keyspace
    }

    /// Brings to the log what commits of a partition have left on its way there, and fences whoever may commit yet when that is to be known: for a keyspace that no process
    /// serves or publishes from any more, since events come in order by one at a time alone.
    ///
    /// # Errors
    /// [`StoreError`] when some are left.
    pub async fn publish_left(&self, partition: &PartitionKey, log: &dyn EventLog) -> Result<(), StoreError> {
        self.inner().publish_of(partition, log).await
    }

    /// Stops bringing events to the log; they wait in the database.
    pub fn close(&self) {
        if let Some(task) = self.0.publisher.lock().take() {
            task.abort();
        }
    }

    /// A setting of the cell, such as its public URL; `None` when it was never put.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let inner = self.inner();
        Ok(inner.one::<Setting>(&inner.statements.setting, (key,)).await?.and_then(|setting| setting.value))
    }

    /// Stores a setting unless it is there; what it is from now on.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not say.
    pub async fn first_meta(&self, key: &str, value: &str) -> Result<String, StoreError> {
        // It is there but for the first start, and then nobody replaces it.
        if let Some(found) = self.meta(key).await? {
            return Ok(found);
        }
        self.inner().conditional(&self.inner().statements.first_setting, (key, value)).await.map_err(unavailable)?;
        self.meta(key).await?.ok_or_else(|| StoreError::Corrupt(format!("the setting {key} has no value")))
    }

    /// Replaces a setting that has this value; whether it had it.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not say.
    pub async fn next_meta(&self, key: &str, before: &str, next: &str) -> Result<bool, StoreError> {
        let replaced = self.inner().conditional(&self.inner().statements.next_setting, (next, key, before)).await.map_err(unavailable)?;
        match replaced {
            Some(replaced) => Ok(matches!(replaced, Conditional::Applied)),
            None => Err(StoreError::Unavailable("the database's answer cannot be read".to_owned())),
        }
    }

    /// Stores or replaces a setting; durable when this answers.
    ///
    /// # Errors
    /// [`StoreError`] when it may not have been stored.
    pub async fn put_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.inner().run(&self.inner().statements.put_setting, (key, value)).await
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0.inner
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(task) = self.publisher.lock().take() {
            task.abort();
        }
    }
}

impl fmt::Debug for ScyllaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("ScyllaStore").field("keyspace", &inner.options.keyspace).field("boot", &inner.boot).finish_non_exhaustive()
    }
}

/// Answer to a conditional write.
#[derive(Debug)]
pub(super) enum Conditional {
    Applied,
    NotApplied,
}

#[allow(clippy::result_large_err, reason = "the driver's error, on its way through")]
impl Inner {
    async fn next_boot(&self) -> Result<u64, StoreError> {
        for _ in 0..BOOT_TRIES {
            let before = self.one::<Boot>(&self.statements.boot, ()).await?.map(|row| row.boot);
            let next = before.unwrap_or(0) + 1;
            let written = match before {
                None => self.conditional(&self.statements.first_boot, (next,)).await,
                Some(before) => self.conditional(&self.statements.next_boot, (next, before)).await,
            };
            if let Some(Conditional::Applied) = written.map_err(unavailable)? {
                return Ok(next.cast_unsigned());
            }
        }
        Err(StoreError::Unavailable("others keep taking the boot number".to_owned()))
    }

    /// Makes the next boot number greater than this one.
    pub(super) async fn count_boots(&self, boot: u64) -> Result<(), StoreError> {
        let Some(boot) = super::heads::stored(boot.max(self.boot)) else {
            return Err(StoreError::Corrupt("a boot number is too high".to_owned()));
        };
        let own = super::heads::stored(self.boot).unwrap_or(i64::MAX);
        match self.conditional(&self.statements.next_boot, (boot, own)).await.map_err(unavailable)? {
            Some(Conditional::Applied) => Ok(()),
            Some(Conditional::NotApplied) | None => Err(StoreError::Unavailable("others have opened the keyspace".to_owned())),
        }
    }

    /// The one row that the statement finds, if any.
    pub(super) async fn one<T>(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Result<Option<T>, StoreError>
    where
        T: for<'f, 'm> ReadRow<'f, 'm>,
    {
        let answer = self.noted(self.session.execute_unpaged(statement, values).await).map_err(unavailable)?;
        let rows = answer.into_rows_result().map_err(|e| unreadable(&e))?;
        rows.maybe_first_row::<T>().map_err(|e| unreadable(&e))
    }

    /// Rows in order, fetched page by page.
    pub(super) async fn stream<T>(
        &self,
        statement: PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<impl Stream<Item = Result<T, StoreError>> + Unpin, StoreError>
    where
        T: for<'f, 'm> ReadRow<'f, 'm> + Unpin + 'static,
    {
        let pager = self.session.execute_iter(statement, values).await.map_err(|error| self.failed(&error))?;
        let rows = pager.rows_stream::<T>().map_err(|e| unreadable(&e))?;
        Ok(rows.map_err(|error| self.failed(&error)))
    }

    /// Rows in order, at most `limit`.
    pub(super) async fn many<T>(&self, statement: &PreparedStatement, values: impl SerializeRow, limit: usize) -> Result<Vec<T>, StoreError>
    where
        T: for<'f, 'm> ReadRow<'f, 'm> + Unpin + 'static,
    {
        let mut statement = statement.clone();
        let page = i32::try_from(limit).unwrap_or(i32::MAX);
        statement.set_page_size(page.clamp(1, super::statements::PAGE));
        self.stream(statement, values).await?.take(limit).try_collect().await
    }

    /// A plain write.
    pub(super) async fn run(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Result<(), StoreError> {
        self.noted(self.session.execute_unpaged(statement, values).await).map(drop).map_err(unavailable)
    }

    /// A conditional write; `None` when its answer cannot be read.
    pub(super) async fn conditional(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Option<Conditional>, ExecutionError> {
        self.noted(self.session.execute_unpaged(statement, values).await).map(applied)
    }

    /// Remembers whether the database answers.
    pub(super) fn noted<T>(&self, outcome: Result<T, ExecutionError>) -> Result<T, ExecutionError> {
        match &outcome {
            Ok(_) => *self.failing.lock() = None,
            // It has answered.
            Err(error) if ScyllaError::is_invalid(error) => {}
            Err(error) => *self.failing.lock() = Some(error.to_string()),
        }
        outcome
    }

    fn failed(&self, error: &dyn std::error::Error) -> StoreError {
        *self.failing.lock() = Some(error.to_string());
        StoreError::Unavailable(error.to_string())
    }

    /// Whether a commit can be expected to work. After a failure the database is asked, so that it is seen to be back also when nobody uses it.
    pub(super) fn health(self: &Arc<Self>) -> Result<(), StoreError> {
        if !self.session.get_cluster_state().get_nodes_info().iter().any(|node| node.is_connected()) {
            return Err(StoreError::Unavailable("no node of the database is connected".to_owned()));
        }
        let Some(reason) = self.failing.lock().clone() else { return Ok(()) };
        if !self.looking.swap(true, Ordering::AcqRel) {
            let inner = self.clone();
            tokio::spawn(async move {
                let _ = inner.one::<Setting>(&inner.statements.setting, ("",)).await;
                inner.looking.store(false, Ordering::Release);
            });
        }
        Err(StoreError::Unavailable(reason))
    }
}

/// What the answer to a conditional write says. Its other columns differ between databases. `None` when it cannot be read.
pub(super) fn applied(answer: QueryResult) -> Option<Conditional> {
    let rows = answer.into_rows_result().ok()?;
    let (at, _) = rows.column_specs().get_by_name("[applied]")?;
    let row: Row = rows.maybe_first_row().ok()??;
    match row.columns.get(at)? {
        Some(CqlValue::Boolean(true)) => Some(Conditional::Applied),
        Some(CqlValue::Boolean(false)) => Some(Conditional::NotApplied),
        _ => None,
    }
}

pub(super) fn unavailable(error: ExecutionError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn unreadable(error: &dyn std::error::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
