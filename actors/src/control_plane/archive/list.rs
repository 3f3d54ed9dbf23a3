//! Archived processes in lists.

use super::{
    Event, Filed,
    key::{of, table},
    recall::find,
};
use crate::control_plane::{self, ControlPlane, ControlPlaneState};
use cellspace_cluster::{Address, Cluster};
use cellspace_schemas::{Pid, QuerySpec};
use cellspace_storage::StoreError;
use serde_json::Value;
use std::sync::Arc;

/// Rows read at once.
const PAGE: usize = 256;
/// Matches that are sorted, or skipped, at most.
pub const MAX_MATCHES: usize = 10_000;
/// Archived processes that one query looks at, at most.
pub const MAX_ROWS: usize = 200_000;

/// Why a list cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The archive cannot be read now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// More than can be sorted or looked at.
    #[error("the query looks at more than {MAX_ROWS} ended processes, or has more than {MAX_MATCHES} matches to sort: narrow its filter")]
    TooMany,
}

/// Processes among which a page is looked for.
#[derive(Debug)]
pub struct Listed<T> {
    /// In order of their ids.
    pub found: Vec<Arc<T>>,
    /// Whether there are no others that may meet the query.
    pub whole: bool,
}

impl<T> Listed<T> {
    /// All that may meet the query.
    #[must_use]
    pub const fn whole(found: Vec<Arc<T>>) -> Self {
        Self { found, whole: true }
    }
}

/// All processes of a kind that may be on the page which the query asks for, wherever they are kept, and one behind it when there is one. `fields` is null
/// for one that is not to be listed.
///
/// # Errors
/// [`ListError`]
pub async fn all<T: Filed>(
    cluster: &Cluster,
    address: &Address,
    state: &ControlPlaneState,
    query: &QuerySpec,
    fields: impl Fn(&T) -> Value,
) -> Result<Listed<T>, ListError> {
    let mut found: Vec<Arc<T>> = T::live(state).cloned().collect();
    if !state.archive.opened {
        return Ok(Listed::whole(found));
    }
    // Without a sort the order is that of the ids, and what comes after enough matches is not on the page.
    let unsorted = query.sort.is_none();
    if unsorted && query.offset > MAX_MATCHES {
        return Err(ListError::TooMany);
    }
    let enough = unsorted.then(|| query.offset.saturating_add(query.limit).saturating_add(1));
    let mut after = query.after.as_ref().filter(|_| unsorted).map(|after| after.id().to_owned());
    let (mut whole, mut archived, mut rows): (bool, Vec<Arc<T>>, usize) = (false, Vec::new(), 0);
    while enough.is_none_or(|enough| archived.len() < enough) {
        let page = cluster.apart_after::<ControlPlane>(address, &table(T::TABLE), after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            whole = query.after.is_none() || !unsorted;
            break;
        };
        after = Some(last.clone());
        rows += page.len();
        let processes = page.into_iter().filter_map(|(_, event)| T::read(event));
        archived.extend(processes.filter(|process| {
            let fields = fields(process);
            !fields.is_null() && query.matches(&fields)
        }));
        if !unsorted && archived.len() > MAX_MATCHES || rows > MAX_ROWS {
            return Err(ListError::TooMany);
        }
    }
    // What is in the state comes first among equals, and so wins.
    found.extend(archived);
    found.sort_by(|a, b| a.id().cmp(b.id()));
    found.dedup_by(|later, earlier| later.id() == earlier.id());
    Ok(Listed { found, whole })
}

/// The processes that any counterparty calls `pid`, in order of their ids, wherever they are kept.
///
/// # Errors
/// When the archive cannot be read.
pub async fn correlated<T: Filed>(
    cluster: &Cluster,
    address: &Address,
    state: &ControlPlaneState,
    pid: &Pid,
) -> Result<Vec<Arc<T>>, StoreError> {
    let mut found: Vec<Arc<T>> = T::correlated(state, pid).cloned().collect();
    if !state.archive.opened {
        found.sort_by(|a, b| a.id().cmp(b.id()));
        return Ok(found);
    }
    let prefix = of(pid, "");
    let mut after = prefix.clone();
    loop {
        let page = cluster.apart_after::<ControlPlane>(address, &table(T::OF), Some(&after), PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (_, event) in page.into_iter().filter(|(id, _)| id.starts_with(&prefix)) {
            let control_plane::Event::Archive(Event::Named { id, .. }) = event else { continue };
            if found.iter().all(|process| process.id() != id)
                && let Some(key) = T::key(&id)
            {
                found.extend(find::<T>(cluster, address, &key).await?);
            }
        }
        if !after.starts_with(&prefix) {
            break;
        }
    }
    found.sort_by(|a, b| a.id().cmp(b.id()));
    Ok(found)
}
