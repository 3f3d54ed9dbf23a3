//! Undelivered outbox rows of one activation, by lane.

use crate::{Agent, OutboxId, Track};
use cellspace_schemas::{Timestamp, TraceContext};
use cellspace_storage::RowKey;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};
use uuid::Uuid;

/// Undelivered rows aside of one agent at most: what comes beyond is left out, so that who does not take it cannot fill the store.
pub(crate) const MAX_ASIDE: usize = 10_000;

/// Table of outbox rows; the tilde keeps it apart from the tables of agents.
pub(crate) const OUTBOX: &str = "~outbox";

pub(crate) fn row_key(id: OutboxId) -> RowKey {
    RowKey::new(OUTBOX, &id.to_string())
}

/// Body of a stored outbox row.
#[derive(Serialize, Deserialize)]
pub(crate) struct OutboxRow<E> {
    pub(crate) lane: String,
    /// The same on every attempt, also after a restart; never that of another row, also after a backup was restored.
    pub(crate) message: Uuid,
    pub(crate) effect: E,
}

/// How far the attempts at a row have come since it was loaded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) attempts: u32,
    /// When it is tried again, while it pauses.
    pub(crate) next: Option<Timestamp>,
    /// Why the last attempt did not succeed.
    pub(crate) reason: Option<String>,
}

pub(crate) struct Pending<A: Agent> {
    pub(crate) lane: String,
    pub(crate) message: Uuid,
    pub(crate) effect: Arc<A::Effect>,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) progress: Arc<Mutex<Progress>>,
}

impl<A: Agent> Pending<A> {
    pub(crate) fn new(row: OutboxRow<A::Effect>, trace: Option<TraceContext>) -> Self {
        let OutboxRow { lane, message, effect } = row;
        Self { lane, message, effect: Arc::new(effect), trace, progress: Arc::default() }
    }
}

/// One row at a time in each lane, in order of its id; lanes in parallel (invariant OUTBOX).
pub(crate) struct Outbox<A: Agent> {
    rows: BTreeMap<OutboxId, Pending<A>>,
    lanes: HashMap<String, VecDeque<OutboxId>>,
    /// First rows of their lanes that nobody delivers yet.
    ready: BTreeSet<OutboxId>,
    /// Rows that are delivered aside.
    aside: usize,
}

impl<A: Agent> Default for Outbox<A> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), lanes: HashMap::new(), ready: BTreeSet::new(), aside: 0 }
    }
}

impl<A: Agent> Outbox<A> {
    /// Rows must come in order of their ids.
    pub(crate) fn add(&mut self, id: OutboxId, pending: Pending<A>) {
        let lane = self.lanes.entry(pending.lane.clone()).or_default();
        if lane.is_empty() {
            self.ready.insert(id);
        }
        lane.push_back(id);
        self.aside += usize::from(A::track(&pending.effect) == Track::Aside);
        self.rows.insert(id, pending);
    }

    pub(crate) fn get(&self, id: OutboxId) -> Option<&Pending<A>> {
        self.rows.get(&id)
    }

    /// Takes out a row that is the first of its lane: only those are delivered.
    pub(crate) fn remove(&mut self, id: OutboxId) -> Option<Pending<A>> {
        let pending = self.rows.remove(&id)?;
        self.aside -= usize::from(A::track(&pending.effect) == Track::Aside);
        if let Some(lane) = self.lanes.get_mut(&pending.lane) {
            lane.pop_front();
            match lane.front() {
                Some(next) => {
                    self.ready.insert(*next);
                }
                None => {
                    self.lanes.remove(&pending.lane);
                }
            }
        }
        Some(pending)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) const fn aside(&self) -> usize {
        self.aside
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (OutboxId, &Pending<A>)> {
        self.rows.iter().map(|(id, pending)| (*id, pending))
    }

    pub(crate) fn has_startable(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Rows at the head of a lane that is at rest; they are under way from now on.
    pub(crate) fn start(&mut self) -> BTreeSet<OutboxId> {
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Idle;
    use cellspace_storage::Seq;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Invariant OUTBOX: of each lane one row is under way, in order, and every row comes to its turn.
    #[test]
    fn lanes_are_walked_in_order_whatever_ends_first() {
        let seed = cellspace_storage::testkit::random::seed();
        let mut random = StdRng::seed_from_u64(seed);
        let mut outbox = Outbox::<Idle>::default();
        let (mut under_way, mut last) = (Vec::new(), HashMap::<String, OutboxId>::new());
        let (mut added, mut ended) = (0, 0);
        while ended < 500 {
            if added < 500 && random.random_bool(0.5) {
                let id = OutboxId { seq: Seq(added), n: 0 };
                let row = OutboxRow { lane: format!("lane-{}", random.random_range(0..9)), message: Uuid::nil(), effect: () };
                outbox.add(id, Pending::new(row, None));
                added += 1;
            }
            under_way.extend(outbox.start());
            assert!(!outbox.has_startable() && under_way.len() <= 9);
            if !under_way.is_empty() && random.random_bool(0.5) {
                let id = under_way.swap_remove(random.random_range(0..under_way.len()));
                let row = outbox.remove(id).unwrap();
                assert!(last.insert(row.lane, id).is_none_or(|before| before < id));
                ended += 1;
            }
        }
        assert!(outbox.is_empty() && under_way.is_empty());
    }
}
