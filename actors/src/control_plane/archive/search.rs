//! Goes through archived processes: in order of their ids through all of them, or through those alone that have the marks that are sought; or from the newest
//! on.

use super::{
    Field, Filed, Sought,
    key::table,
    list::{Limits, ListError},
    marks::newest_first,
    recall::find,
};
use crate::control_plane::ControlPlane;
use cellspace_cluster::{Address, Cluster};
use cellspace_schemas::Timestamp;
use futures::{StreamExt, TryStreamExt, stream};
use std::{collections::VecDeque, sync::Arc};

/// Rows read at once.
const PAGE: usize = 256;
/// Processes read at once that were found by their marks, and how many reads of them are under way.
const FOUND: usize = 64;
const READS: usize = 8;
/// A way through the archive.
pub(super) struct Search<'a> {
    store: Store<'a>,
    way: Way,
    /// Behind what it goes on: an id; from the newest on, with the time before it.
    after: Option<String>,
    /// How many are read next: more each time, since what is read one by one may not meet the query.
    step: usize,
}

/// Which processes are looked at, and in which order.
pub(super) enum Way {
    /// All, in order of their ids.
    All,
    /// Those with the marks that are sought, in order of their ids.
    Marked(Common),
    /// From the newest on. All must be marked.
    Newest,
}

impl Way {
    pub(super) fn marked<T: Filed>(sought: &[Sought]) -> Self {
        Self::Marked(Common::of::<T>(sought))
    }

    /// From the newest on, behind one that began at this time and has this id.
    pub(super) fn behind(at: Timestamp, id: &str) -> String {
        format!("{}\n{id}", newest_first(at))
    }
}

/// Where rows are read, and how many more may be.
struct Store<'a> {
    cluster: &'a Cluster,
    address: &'a Address,
    left: Limits,
}

impl Store<'_> {
    fn count(&mut self, rows: usize) -> Result<(), ListError> {
        self.left.rows = self.left.rows.checked_sub(rows).ok_or(ListError::TooMany)?;
        Ok(())
    }

    fn count_reads(&mut self, reads: usize) -> Result<(), ListError> {
        self.left.reads = self.left.reads.checked_sub(reads).ok_or(ListError::TooMany)?;
        Ok(())
    }
}

impl<'a> Search<'a> {
    /// Goes this way, behind `after`.
    pub(super) const fn new(limits: Limits, cluster: &'a Cluster, address: &'a Address, way: Way, after: Option<String>) -> Self {
        Self { store: Store { cluster, address, left: limits }, way, after, step: 0 }
    }

    /// Whether few have the marks that are sought; it is done with then.
    pub(super) async fn are_few(mut self) -> Result<bool, ListError> {
        let Way::Marked(common) = &mut self.way else { return Ok(false) };
        for _ in 0..=self.store.left.few {
            match common.next(&mut self.store, self.after.as_deref()).await? {
                Some(id) => self.after = Some(id),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Some that follow, no more than `wanted` at first where that saves reading; none at the end.
    pub(super) async fn next<T: Filed>(&mut self, wanted: usize) -> Result<Vec<Arc<T>>, ListError> {
        let Store { cluster, address, .. } = self.store;
        if matches!(self.way, Way::All) {
            let page = cluster.apart_after::<ControlPlane>(address, &table(T::TABLE), self.after.as_deref(), PAGE).await?;
            self.store.count(page.len())?;
            if let Some((last, _)) = page.last() {
                self.after = Some(last.clone());
            }
            return Ok(page.into_iter().filter_map(|(_, event)| T::read(event)).collect());
        }
        // What is marked may be gone when it is read: that is not the end.
        loop {
            let step = wanted.max(self.step).min(FOUND);
            self.step = step * 2;
            let ids = self.ids::<T>(step).await?;
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            self.store.count_reads(ids.len())?;
            let keys: Vec<_> = ids.iter().filter_map(|id| T::key(id)).collect();
            let found = stream::iter(keys).map(|key| async move { find::<T>(cluster, address, &key).await }).buffered(READS);
            let found: Vec<Arc<T>> = found.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// The ids of some that follow and are marked.
    async fn ids<T: Filed>(&mut self, wanted: usize) -> Result<Vec<String>, ListError> {
        let mut ids = Vec::new();
        match &mut self.way {
            Way::Marked(common) => {
                while ids.len() < wanted
                    && let Some(id) = common.next(&mut self.store, self.after.as_deref()).await?
                {
                    self.after = Some(id.clone());
                    ids.push(id);
                }
            }
            Way::All | Way::Newest => {
                let prefix = Field::Created.prefix();
                let after = format!("{prefix}{}", self.after.as_deref().unwrap_or_default());
                let rows = self.store.cluster.apart_ids_after(self.store.address, &T::KIND.marks(), &after, wanted).await?;
                self.store.count(rows.len())?;
                for row in rows.iter().filter_map(|row| row.strip_prefix(&prefix)) {
                    self.after = Some(row.to_owned());
                    ids.extend(row.split_once('\n').map(|(_, id)| id.to_owned()));
                }
            }
        }
        Ok(ids)
    }

    /// The id of the last one that was looked at.
    pub(super) fn last(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

/// Ids that are under one of the sought values of every field.
pub(super) struct Common(Vec<Vec<Ids>>);

impl Common {
    fn of<T: Filed>(sought: &[Sought]) -> Self {
        let ids = |sought: &Sought| {
            let of = |value: &String| Ids::new(T::KIND.marks(), sought.field.beginning(value));
            sought.values.iter().map(of).collect()
        };
        Self(sought.iter().map(ids).collect())
    }

    /// The first one behind `after`.
    async fn next(&mut self, store: &mut Store<'_>, after: Option<&str>) -> Result<Option<String>, ListError> {
        // No id has a control character: the least text behind one is nobody's.
        let mut least = after.map_or_else(String::new, |after| format!("{after}\0"));
        let (mut agreed, mut field) = (0, 0);
        // Each field in turn goes on to what another one has, until all have the same.
        while agreed < self.0.len() {
            let Some(values) = self.0.get_mut(field) else { return Ok(None) };
            let mut first: Option<String> = None;
            for ids in values {
                if let Some(id) = ids.seek(store, &least).await?
                    && first.as_deref().is_none_or(|first| id < first)
                {
                    first = Some(id.to_owned());
                }
            }
            let Some(first) = first else { return Ok(None) };
            agreed = if first == least { agreed + 1 } else { 1 };
            least = first;
            field = (field + 1) % self.0.len();
        }
        Ok(Some(least))
    }
}

/// Ids under one value of one field, in their order.
struct Ids {
    table: String,
    beginning: String,
    read: VecDeque<String>,
    /// The last one read.
    last: String,
    ended: bool,
}

impl Ids {
    const fn new(table: String, beginning: String) -> Self {
        Self { table, beginning, read: VecDeque::new(), last: String::new(), ended: false }
    }

    /// The first one that is not before `least`, which does not go back from call to call.
    async fn seek(&mut self, store: &mut Store<'_>, least: &str) -> Result<Option<&str>, ListError> {
        loop {
            while self.read.front().is_some_and(|id| id.as_str() < least) {
                self.read.pop_front();
            }
            if self.ended || !self.read.is_empty() {
                return Ok(self.read.front().map(String::as_str));
            }
            let after = format!("{}{}", self.beginning, before(least).max(std::mem::take(&mut self.last)));
            let rows = store.cluster.apart_ids_after(store.address, &self.table, &after, PAGE).await?;
            store.count(rows.len())?;
            let ids: Vec<&str> = rows.iter().filter_map(|row| row.strip_prefix(&self.beginning)).collect();
            self.ended = ids.len() < PAGE;
            self.last = ids.last().map_or_else(String::new, |last| (*last).to_owned());
            self.read.extend(ids.into_iter().map(str::to_owned));
        }
    }
}

/// A text before `id`, and next to it: what is read behind it begins with what is not before `id`, or little earlier.
fn before(id: &str) -> String {
    let mut rest = id.chars();
    let below = rest.next_back().and_then(|last| u32::from(last).checked_sub(1)).and_then(char::from_u32);
    // Behind `x\0` comes what is behind `x`.
    below.map_or_else(|| rest.as_str().to_owned(), |below| format!("{}{below}{}", rest.as_str(), char::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_before() {
        assert_eq!((before(""), before("x\0"), before("xb")), (String::new(), "x".to_owned(), "xa\u{10ffff}".to_owned()));
        // There is no character before it.
        assert_eq!(before("x\u{e000}"), "x");
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]

        #[test]
        fn before_is_before(id in "[!-~é\u{e000}\u{10ffff}]{1,6}\0?") {
            prop_assert!(before(&id) < id);
        }
    }
}
