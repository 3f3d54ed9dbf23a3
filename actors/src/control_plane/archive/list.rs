//! Archived processes in lists.

use super::{
    Event, Filed, Sought,
    key::{of, table},
    recall::find,
    search::{Search, Step, Way},
};
use crate::control_plane::{self, ControlPlane, ControlPlaneState};
use cellspace_cluster::{Address, Apart, Cluster};
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
pub const CREATED: &str = "createdAt";

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

/// What a list is asked for.
pub struct Asked<T> {
    /// The query.
    pub query: QuerySpec,
    /// What whatever meets the query has: archived processes are found by it.
    pub sought: Vec<Sought>,
    /// Whether, the other way round, whatever has all that is sought meets the query.
    pub judged: bool,
    /// What the query is compared with; null for a process that is not to be listed.
    pub fields: Box<dyn Fn(&T) -> Value + Send + Sync>,
}

impl<T: Filed> Asked<T> {
    fn is_sought(&self, process: &T) -> bool {
        self.sought.iter().all(|sought| sought.admits(process))
    }

    fn is_met_by(&self, process: &T) -> bool {
        if self.judged {
            return self.is_sought(process);
        }
        let fields = (self.fields)(process);
        !fields.is_null() && self.query.matches(&fields)
    }
}

/// All processes of a kind that may be on the page which the query asks for, wherever they are kept, and one behind it when there is one. Archived processes
/// are found by the marks of what is sought, as are the newest or oldest of very many, and else all are looked at, as when the shorter ways turn out to be longer.
///
/// # Errors
/// [`ListError`]
pub async fn all<T: Filed>(
    cluster: &Cluster,
    address: &Address,
    state: &Arc<ControlPlaneState>,
    asked: &Arc<Asked<T>>,
) -> Result<Listed<T>, ListError> {
    all_within(Limits::default(), cluster, address, state, asked).await
}

/// As [`all`], at this cost.
pub(super) async fn all_within<T: Filed>(
    limits: Limits,
    cluster: &Cluster,
    address: &Address,
    state: &Arc<ControlPlaneState>,
    asked: &Arc<Asked<T>>,
) -> Result<Listed<T>, ListError> {
    let Asked { query, sought, .. } = &**asked;
    let live: Vec<Arc<T>> = T::live(state).filter(|process| asked.is_sought(process)).cloned().collect();
    if !state.archive.opened {
        return Ok(Listed::whole(live));
    }
    let marked = state.archive.marked && !sought.is_empty();
    let by_time = state.archive.marked && query.sort.as_ref().is_some_and(|sort| sort.names(CREATED));
    let few = by_time
        && marked
        && match are_few::<T>(limits, cluster, address, sought).await {
            Ok(few) => few,
            Err(ListError::TooMany) => false,
            Err(error) => return Err(error),
        };
    let from_end = match query.order {
        SortOrder::Desc => Way::Newest,
        SortOrder::Asc => Way::Oldest,
    };
    let ways = [(by_time && !few).then_some(from_end), marked.then(|| Way::marked::<T>(sought)), Some(Way::All)];
    let mut outcome = Err(ListError::TooMany);
    for way in ways.into_iter().flatten() {
        outcome = look(limits, (cluster, address, state), asked, way, live.clone()).await;
        if !matches!(outcome, Err(ListError::TooMany)) {
            break;
        }
    }
    outcome
}

/// Whether few have the marks that are sought.
async fn are_few<T: Filed>(limits: Limits, cluster: &Cluster, address: &Address, sought: &[Sought]) -> Result<bool, ListError> {
    let (mut search, mut seen) = (Search::new(limits, Way::marked::<T>(sought), None), 0);
    while seen <= limits.few {
        let wanted = limits.few + 1 - seen;
        let read = move |rows: &Apart<'_, ControlPlane>| {
            let step = search.ids::<T>(rows, wanted)?;
            Ok::<_, ListError>((search, step))
        };
        let (back, step) = cluster.read_apart(address, read).await?;
        (search, seen) = (back, seen + step.found.len());
        if step.ended {
            return Ok(seen <= limits.few);
        }
    }
    Ok(false)
}

/// Goes one way, as far as the page reaches.
async fn look<T: Filed>(
    limits: Limits,
    (cluster, address, state): (&Cluster, &Address, &Arc<ControlPlaneState>),
    asked: &Arc<Asked<T>>,
    way: Way,
    mut found: Vec<Arc<T>>,
) -> Result<Listed<T>, ListError> {
    // Without a sort the order is that of the ids. What comes after enough matches, in the order of the list, is not on the page.
    let query = &asked.query;
    let (unsorted, by_time) = (query.sort.is_none(), way.is_by_time());
    let in_order = unsorted || by_time;
    if in_order && query.offset > limits.matches {
        return Err(ListError::TooMany);
    }
    let enough = if in_order { query.offset.saturating_add(query.limit).saturating_add(1) } else { usize::MAX };
    let after = query.after.as_ref().filter(|_| in_order);
    let place = after.map(|after| (Timestamp(after.key().and_then(|key| key.as_i64()).unwrap_or_default()), after.id().to_owned()));
    let behind = place.as_ref().map(|(at, id)| way.behind(*at, id));
    // From the oldest on the place may be read again, and what comes before it.
    let passed = place.filter(|_| matches!(way, Way::Oldest));
    let mut search = Search::new(limits, way, behind);
    let (mut ended, mut archived): (bool, Vec<Arc<T>>) = (false, Vec::new());
    // The last ones may be among others that began at the same time.
    let unsettled = |search: &Search, archived: &[Arc<T>]| archived.iter().rev().take_while(|process| !search.is_past(&***process)).count();
    while !ended && archived.len() - unsettled(&search, &archived) < enough {
        let (state, asked, wanted) = (state.clone(), asked.clone(), enough.saturating_sub(archived.len()).max(1));
        let passed = passed.clone();
        let read = move |rows: &Apart<'_, ControlPlane>| {
            let Step { mut found, ended } = search.next::<T>(rows, wanted)?;
            // What is in the state is newer.
            let superseded = |process: &T| T::key(process.id()).is_some_and(|key| key.is_in(&state));
            let is_passed = |process: &T| passed.as_ref().is_some_and(|place| process.place() <= (place.0, place.1.as_str()));
            found.retain(|process| !superseded(process) && !is_passed(process) && asked.is_met_by(process));
            Ok::<_, ListError>((search, Step { found, ended }))
        };
        let (back, step) = cluster.read_apart(address, read).await?;
        (search, ended) = (back, step.ended);
        archived.extend(step.found);
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
    if state.archive.opened {
        let (prefix, known) = (of(pid, ""), found.clone());
        let archived = move |rows: &Apart<'_, ControlPlane>| archived(rows, &prefix, &known);
        found.extend(cluster.read_apart(address, archived).await?);
    }
    found.sort_by(|a, b| a.id().cmp(b.id()));
    Ok(found)
}

/// What is archived under names that begin like this, but what is known.
fn archived<T: Filed>(rows: &Apart<'_, ControlPlane>, prefix: &str, known: &[Arc<T>]) -> Result<Vec<Arc<T>>, StoreError> {
    let (mut found, mut after): (Vec<Arc<T>>, _) = (Vec::new(), prefix.to_owned());
    loop {
        let page = rows.after(&table(T::OF), Some(&after), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (_, event) in page.into_iter().filter(|(id, _)| id.starts_with(prefix)) {
            let control_plane::Event::Archive(Event::Named { id, .. }) = event else { continue };
            if known.iter().chain(&found).all(|process| process.id() != id)
                && let Some(key) = T::key(&id)
            {
                found.extend(find::<T>(rows, &key)?);
            }
        }
        if !after.starts_with(prefix) {
            break;
        }
    }
    Ok(found)
}
