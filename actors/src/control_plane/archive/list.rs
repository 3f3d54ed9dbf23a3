//! Archived processes in lists.

use super::{
    Event, Filed, Sought,
    key::{of, table},
    recall::find,
    search::{Search, Way},
};
use crate::control_plane::{self, ControlPlane, ControlPlaneState};
use cellspace_cluster::{Address, Cluster};
use cellspace_schemas::{Pid, QuerySpec, Timestamp, query_spec::SortOrder};
use cellspace_storage::StoreError;
use serde_json::Value;
use std::sync::Arc;

/// Rows read at once of those of one process id: seldom there is more than one.
const PAGE: usize = 8;
/// Matches that are sorted, or skipped, at most.
pub const MAX_MATCHES: usize = 10_000;
/// Rows of the archive that a query reads in their order at most, on each way that it tries.
const MAX_ROWS: usize = 200_000;
/// Processes that a query reads one by one at most, on each way that it tries.
const MAX_READS: usize = 20_000;
/// What has the marks that are sought is few up to here.
const FEW: usize = 1_000;

/// What a query may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) matches: usize,
    pub(super) rows: usize,
    pub(super) reads: usize,
    pub(super) few: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { matches: MAX_MATCHES, rows: MAX_ROWS, reads: MAX_READS, few: FEW }
    }
}

/// The field of the time at which a process began.
const CREATED: &str = "createdAt";

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

/// All processes of a kind that may be on the page which the query asks for, wherever they are kept, and one behind it when there is one. Whatever meets the
/// query has all that is `sought`; with that, archived processes are found by their marks, as are the newest of very many, and else all are looked at, as
/// when the shorter ways turn out to be longer. `fields` is null for one that is not to be listed.
///
/// # Errors
/// [`ListError`]
pub async fn all<T: Filed>(
    cluster: &Cluster,
    address: &Address,
    state: &ControlPlaneState,
    query: &QuerySpec,
    sought: &[Sought],
    fields: impl Fn(&T) -> Value,
) -> Result<Listed<T>, ListError> {
    all_within(Limits::default(), cluster, address, state, query, sought, fields).await
}

/// As [`all`], at this cost.
pub(super) async fn all_within<T: Filed>(
    limits: Limits,
    cluster: &Cluster,
    address: &Address,
    state: &ControlPlaneState,
    query: &QuerySpec,
    sought: &[Sought],
    fields: impl Fn(&T) -> Value,
) -> Result<Listed<T>, ListError> {
    let is_sought = |process: &&Arc<T>| sought.iter().all(|sought| sought.admits(process.as_ref()));
    let live: Vec<Arc<T>> = T::live(state).filter(is_sought).cloned().collect();
    if !state.archive.opened {
        return Ok(Listed::whole(live));
    }
    let marked = state.archive.marked && !sought.is_empty();
    let from_newest = query.order == SortOrder::Desc && query.sort.as_ref().is_some_and(|sort| sort.names(CREATED)) && state.archive.marked;
    let few = from_newest
        && marked
        && match Search::new(limits, cluster, address, Way::marked::<T>(sought), None).are_few().await {
            Ok(few) => few,
            Err(ListError::TooMany) => false,
            Err(error) => return Err(error),
        };
    let ways = [(from_newest && !few).then_some(Way::Newest), marked.then(|| Way::marked::<T>(sought)), Some(Way::All)];
    let mut outcome = Err(ListError::TooMany);
    for way in ways.into_iter().flatten() {
        outcome = look(limits, (cluster, address, state), query, way, live.clone(), &fields).await;
        if !matches!(outcome, Err(ListError::TooMany)) {
            break;
        }
    }
    outcome
}

/// Goes one way, as far as the page reaches.
async fn look<T: Filed>(
    limits: Limits,
    (cluster, address, state): (&Cluster, &Address, &ControlPlaneState),
    query: &QuerySpec,
    way: Way,
    mut found: Vec<Arc<T>>,
    fields: impl Fn(&T) -> Value,
) -> Result<Listed<T>, ListError> {
    // Without a sort the order is that of the ids. What comes after enough matches, in the order of the list, is not on the page.
    let (unsorted, newest) = (query.sort.is_none(), matches!(way, Way::Newest));
    let in_order = unsorted || newest;
    if in_order && query.offset > limits.matches {
        return Err(ListError::TooMany);
    }
    let enough = if in_order { query.offset.saturating_add(query.limit).saturating_add(1) } else { usize::MAX };
    let after = query.after.as_ref().filter(|_| in_order);
    let behind = after.map(|after| match after.key().and_then(|key| key.as_i64()) {
        at if newest => Way::behind(Timestamp(at.unwrap_or_default()), after.id()),
        _ => after.id().to_owned(),
    });
    let mut search = Search::new(limits, cluster, address, way, behind);
    let (mut ended, mut archived): (bool, Vec<Arc<T>>) = (false, Vec::new());
    while archived.len() < enough && !ended {
        let page = search.next::<T>(enough - archived.len()).await?;
        ended = page.is_empty();
        archived.extend(page.into_iter().filter(|process| {
            // What is in the state is newer.
            let superseded = T::key(process.id()).is_some_and(|key| key.is_in(state));
            let fields = if superseded { Value::Null } else { fields(process) };
            !fields.is_null() && query.matches(&fields)
        }));
        if !in_order && archived.len() > limits.matches {
            return Err(ListError::TooMany);
        }
    }
    if !ended && unsorted {
        // The page ends before that.
        found.retain(|process| search.last().is_none_or(|last| process.id() <= last));
    }
    found.extend(archived);
    found.sort_by(|a, b| a.id().cmp(b.id()));
    Ok(Listed { found, whole: ended && after.is_none() })
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
