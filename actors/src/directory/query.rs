//! Lists and queries over all shards, and the commands to one of them.

use super::{
    agent::{Command, Directory, Matched, Matching, Refers, Refusal},
    lookup::{self, Unread},
    row::{Kind, NewRow, Row},
    shard::{SHARDS, address, shard_of},
};
use crate::Services;
use cellspace_cluster::{AskError, Call, DeliveryError, Query};
use cellspace_schemas::fabric::{Page, Predicate};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde_json::Value;
use std::sync::Arc;

/// Shards read at once, and objects asked at once.
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

/// Asks every shard, which waits for room where others ask it too; those that were never written have nothing.
async fn shards<Q: Query<Directory, Answer: Default>>(services: &Services, query: &Q) -> Result<Vec<Q::Answer>, DirectoryError> {
    let reads = (0..SHARDS).map(|shard| async move {
        match services.cluster.query_patiently::<Directory, Q>(&address(shard), query).await {
            Ok(found) => Ok(found),
            Err(AskError::NotRegistered) => Ok(Q::Answer::default()),
            Err(e) => Err(DirectoryError::from(e)),
        }
    });
    stream::iter(reads).buffer_unordered(PARALLEL).try_collect().await
}

/// Objects of a kind that satisfy the predicate, oldest first. A reserved row whose object is parked is left out, as one without an object is.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when a shard, or the object of a reserved row, cannot be read now: a list that lacks something says so.
pub async fn query(services: &Services, kind: Kind, predicate: &Predicate, page: Page) -> Result<Found, DirectoryError> {
    // What a page needs may all be in one shard, and no more of any shard is needed.
    let limit = (page.offset as usize).saturating_add(page.limit as usize);
    let matched = shards(services, &Matching { kind, predicate: predicate.clone(), limit }).await?;
    let look = |row: &Row| {
        let (services, key) = (services.clone(), row.key.clone());
        async move { lookup::object(&services, key.kind, &key.id, key.holder.as_ref()).await }.boxed()
    };
    merged(matched, predicate, page, look).await
}

/// One page of the rows of all shards; `look` asks the object of a reserved row.
pub(super) async fn merged(
    matched: Vec<Matched>,
    predicate: &Predicate,
    page: Page,
    look: impl Fn(&Row) -> BoxFuture<'static, Result<Option<(i64, Arc<Value>)>, Unread>> + Send + Sync,
) -> Result<Found, DirectoryError> {
    let mut total: usize = matched.iter().map(|of_shard| of_shard.total).sum();
    let (mut found, mut reserved) = (Vec::new(), Vec::new());
    for row in matched.into_iter().flat_map(|of_shard| of_shard.rows) {
        match row.body.clone() {
            Some(body) => found.push((row, body)),
            None => reserved.push(row),
        }
    }
    let looked = reserved.into_iter().map(|row| {
        let look = look(&row);
        async move { (row, look.await) }
    });
    let mut looked = stream::iter(looked).buffer_unordered(PARALLEL);
    while let Some((row, object)) = looked.next().await {
        match object {
            Ok(object) => {
                if let Some((_, body)) = object.filter(|(_, body)| predicate.matches(body)) {
                    total += 1;
                    found.push((row, body));
                }
            }
            // An operator who looks for what is wrong needs the others.
            Err(Unread::Parked(reason)) => {
                let (kind, id) = (row.key.kind.table(), &row.key.id);
                tracing::warn!(category = "app", action = "directory.unreadable", kind, %id, reason, "a reserved row is left out of a list");
            }
            Err(Unread::NotNow(reason)) => return Err(DirectoryError::Unavailable(reason)),
        }
    }
    found.sort_by(|(a, _), (b, _)| (a.created, &a.key.id).cmp(&(b.created, &b.key.id)));
    let page = found.into_iter().skip(page.offset as usize).take(page.limit as usize);
    Ok(Found { bodies: page.map(|(_, body)| body).collect(), total })
}

/// Whether any row, reserved ones included, refers to `reference`.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when a shard cannot be read.
pub async fn references(services: &Services, reference: &str) -> Result<bool, DirectoryError> {
    Ok(shards(services, &Refers(reference.to_owned())).await?.contains(&true))
}
