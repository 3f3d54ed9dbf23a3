//! Lists and queries over all shards, and the commands to one of them.

use super::{
    agent::{Command, Directory, Matching, Refers, Refusal},
    lookup,
    row::{Kind, NewRow, Row},
    shard::{SHARDS, address, shard_of},
};
use crate::Services;
use cellspace_cluster::{AskError, Call, DeliveryError, Query};
use cellspace_schemas::{
    Timestamp,
    fabric::{Page, Predicate},
};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde_json::Value;
use std::sync::Arc;

/// Shards read at once.
const PARALLEL: usize = 16;

/// Why the directory has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DirectoryError {
    /// The id belongs to something else.
    #[error("{0} is already in use")]
    Taken(Arc<str>),
    /// Try again later.
    #[error("the directory is unavailable: {0}")]
    Unavailable(String),
}

impl From<AskError<Refusal>> for DirectoryError {
    fn from(error: AskError<Refusal>) -> Self {
        match error {
            AskError::Refused(Refusal::Taken(id)) => Self::Taken(id),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<DirectoryError> for DeliveryError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Taken(_) => Self::Refused(error.to_string()),
            DirectoryError::Unavailable(reason) => Self::Retry(reason),
        }
    }
}

/// One page of a result.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The objects as the API shows them, oldest first.
    pub bodies: Vec<Arc<Value>>,
    /// How many there are on all pages.
    pub total: usize,
}

async fn tell(services: &Services, command: Command, mut call: Call) -> Result<(), DirectoryError> {
    let (Command::Reserve(key) | Command::Release(key) | Command::Put(key, ..) | Command::Remove(key)) = &command;
    let shard = address(shard_of(&key.id));
    // The key of a client's request belongs to the object's own agent; here a repeat is harmless.
    call.idempotency = None;
    match services.cluster.ask_anywhere::<Directory>(&shard, command, call).await {
        Ok(()) | Err(AskError::NotRegistered) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Takes an id before its object is made. Repeatable by the same holder.
///
/// # Errors
/// [`DirectoryError::Taken`] when another one holds it.
pub async fn reserve(services: &Services, row: NewRow, call: &Call) -> Result<(), DirectoryError> {
    tell(services, Command::Reserve(row), call.clone()).await
}

/// Gives a reserved id back. Does nothing to a row whose object was made.
///
/// # Errors
/// [`DirectoryError`] when the shard cannot take it; the reservation then ends by itself.
pub async fn release(services: &Services, row: NewRow, call: &Call) -> Result<(), DirectoryError> {
    tell(services, Command::Release(row), call.clone()).await
}

/// Shows an object as it now is.
///
/// # Errors
/// [`DirectoryError`] when the shard cannot take it.
pub async fn put(services: &Services, row: NewRow, version: i64, body: Arc<Value>, call: &Call) -> Result<(), DirectoryError> {
    tell(services, Command::Put(row, version, body), call.clone()).await
}

/// Takes an object out.
///
/// # Errors
/// [`DirectoryError`] when the shard cannot take it.
pub async fn remove(services: &Services, row: NewRow, call: &Call) -> Result<(), DirectoryError> {
    tell(services, Command::Remove(row), call.clone()).await
}

/// Asks every shard; those that were never written have nothing.
async fn shards<Q: Query<Directory, Answer: Default>>(services: &Services, query: &Q) -> Result<Vec<Q::Answer>, DirectoryError> {
    let reads = (0..SHARDS).map(|shard| async move {
        match services.cluster.query::<Directory, Q>(&address(shard), query).await {
            Ok(found) => Ok(found),
            Err(AskError::NotRegistered) => Ok(Q::Answer::default()),
            Err(e) => Err(DirectoryError::from(e)),
        }
    });
    stream::iter(reads).buffer_unordered(PARALLEL).try_collect().await
}

/// Objects of a kind that satisfy the predicate, oldest first. A reserved row whose object cannot be asked is left out, as one without an object
/// is: nobody was told of it yet.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when a shard cannot be read.
pub async fn query(services: &Services, kind: Kind, predicate: &Predicate, page: Page) -> Result<Found, DirectoryError> {
    let rows = shards(services, &Matching { kind, predicate: predicate.clone() }).await?;
    let look = |row: &Row| {
        let (services, key) = (services.clone(), row.key.clone());
        async move { lookup::object(&services, key.kind, &key.id, key.holder.as_ref()).await }.boxed()
    };
    Ok(merged(rows.into_iter().flatten(), predicate, page, look).await)
}

/// One page of the rows of all shards; `look` asks the object of a reserved row.
pub(super) async fn merged(
    rows: impl Iterator<Item = Arc<Row>> + Send,
    predicate: &Predicate,
    page: Page,
    look: impl Fn(&Row) -> BoxFuture<'static, Result<Option<(i64, Arc<Value>)>, String>> + Send + Sync,
) -> Found {
    let mut found: Vec<(Timestamp, Arc<str>, Arc<Value>)> = Vec::new();
    for row in rows {
        let body = match &row.body {
            Some(body) => Some(body.clone()),
            None => match look(&row).await {
                Ok(object) => object.map(|(_, body)| body),
                Err(reason) => {
                    let (kind, id) = (row.key.kind.table(), &row.key.id);
                    tracing::warn!(category = "app", action = "directory.unreadable", kind, %id, reason, "a reserved row is left out of a list");
                    None
                }
            },
        };
        let body = body.filter(|body| predicate.matches(body));
        found.extend(body.map(|body| (row.created, row.key.id.clone(), body)));
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let total = found.len();
    let (offset, limit) = (page.offset as usize, page.limit as usize);
    Found { bodies: found.into_iter().skip(offset).take(limit).map(|(_, _, body)| body).collect(), total }
}

/// Whether any row, reserved ones included, refers to `reference`.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when a shard cannot be read.
pub async fn references(services: &Services, reference: &str) -> Result<bool, DirectoryError> {
    Ok(shards(services, &Refers(reference.to_owned())).await?.contains(&true))
}
