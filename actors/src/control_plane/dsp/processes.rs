//! Processes of one participant with its counterparties, found by every id they are asked for with.

use super::{Correlations, Open};
use cellspace_schemas::{Did, Pid, Timestamp};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::{fmt, sync::Arc};

/// What negotiations and transfers have in common.
pub trait Process {
    /// What tells one from another; ids made here grow with time.
    type Id: Clone + Ord + fmt::Debug;

    /// With whom it is led, as long as it has not ended.
    fn open_with(&self) -> Option<&Did>;

    /// Its counterparty, and what that calls it.
    fn correlation(&self) -> Option<(&Did, &Pid)>;

    /// Since when nothing is done in it any more, when that is so.
    fn rests_since(&self) -> Option<Timestamp>;
}

/// The processes of one kind; in the order of their ids, which is that of their beginning.
#[derive(Debug, Clone)]
pub struct Processes<P: Process> {
    by_id: RedBlackTreeMapSync<P::Id, Arc<P>>,
    by_counterparty: Correlations<P::Id>,
    open: Open,
    /// Those at rest that nobody uses, by the time of their end.
    finished: RedBlackTreeSetSync<(Timestamp, P::Id)>,
}

impl<P: Process> Default for Processes<P> {
    fn default() -> Self {
        Self {
            by_id: RedBlackTreeMapSync::new_sync(),
            by_counterparty: Correlations::default(),
            open: Open::default(),
            finished: RedBlackTreeSetSync::new_sync(),
        }
    }
}

impl<P: Process> Processes<P> {
    /// One of them.
    #[must_use]
    pub fn get(&self, id: &P::Id) -> Option<&Arc<P>> {
        self.by_id.get(id)
    }

    /// All, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<P>> {
        self.by_id.values()
    }

    /// The one that `peer` calls `pid`.
    #[must_use]
    pub fn of_counterparty(&self, peer: &Did, pid: &Pid) -> Option<&Arc<P>> {
        self.by_counterparty.get(peer, pid).and_then(|id| self.by_id.get(id))
    }

    /// Those that any counterparty calls `pid`: their `correlationId`.
    pub fn correlated(&self, pid: &Pid) -> impl Iterator<Item = &Arc<P>> {
        self.by_counterparty.of_any(pid).filter_map(|id| self.by_id.get(id))
    }

    /// How many have not ended.
    #[must_use]
    pub const fn open(&self) -> &Open {
        &self.open
    }

    /// All but the `kept` that ended last of those at rest that nobody uses; what ended first comes first.
    pub fn finished(&self, kept: usize) -> impl Iterator<Item = &Arc<P>> {
        self.finished.iter().take(self.finished.size().saturating_sub(kept)).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Puts a process, or none, in the place of what has the id. What finds it changes seldom, and is touched only then.
    pub(in crate::control_plane) fn replace(&mut self, id: &P::Id, new: Option<&Arc<P>>, is_used: bool) {
        let old = self.by_id.get(id).cloned();
        let (was, is) = (old.as_deref(), new.map(|process| &**process));

        let (before, after) = (was.and_then(P::open_with), is.and_then(P::open_with));
        if before != after {
            before.iter().for_each(|peer| self.open.remove(peer));
            after.iter().for_each(|peer| self.open.add(peer));
        }
        let place = |since| (since, id.clone());
        let before = was.and_then(P::rests_since).map(place).filter(|place| self.finished.contains(place));
        let after = is.and_then(P::rests_since).filter(|_| !is_used).map(place);
        if before != after {
            before.iter().for_each(|place| {
                self.finished.remove_mut(place);
            });
            after.into_iter().for_each(|place| self.finished.insert_mut(place));
        }
        let (before, after) = (was.and_then(P::correlation), is.and_then(P::correlation));
        if before != after {
            if let Some((peer, pid)) = before {
                self.by_counterparty.remove(peer, pid, id);
            }
            if let Some((peer, pid)) = after {
                self.by_counterparty.insert(peer, pid, id.clone());
            }
        }
        match new {
            Some(process) => self.by_id.insert_mut(id.clone(), process.clone()),
            None => {
                self.by_id.remove_mut(id);
            }
        }
    }

    /// Others begin or cease to use a process: one that is used stays, though it is at rest.
    pub(in crate::control_plane) fn set_used(&mut self, id: &P::Id, is_used: bool) {
        let Some(since) = self.by_id.get(id).and_then(|process| process.rests_since()) else { return };
        let place = (since, id.clone());
        if is_used {
            self.finished.remove_mut(&place);
        } else {
            self.finished.insert_mut(place);
        }
    }
}
