//! Undelivered outbox rows of one activation, by lane.

use crate::{Address, Agent, OutboxId};
use cellspace_schemas::TraceContext;
use cellspace_storage::{RowKey, Seq};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};
use uuid::Uuid;

/// Table of outbox rows; the tilde keeps it apart from the tables of agents.
pub(crate) const OUTBOX: &str = "~outbox";
/// Table of rows that were given up, with the reason.
pub(crate) const DEAD: &str = "~dead";

pub(crate) fn row_key(table: &str, id: OutboxId) -> RowKey {
    RowKey::new(table, &format!("{:016x}-{:08x}", id.seq.0, id.n))
}

pub(crate) fn parse_row_id(id: &str) -> Option<OutboxId> {
    let (seq, n) = id.split_once('-')?;
    Some(OutboxId { seq: Seq(u64::from_str_radix(seq, 16).ok()?), n: u32::from_str_radix(n, 16).ok()? })
}

/// A UUID (version 8) that is the same on every attempt at a row.
pub(crate) fn message_id(address: &Address, id: OutboxId) -> Uuid {
    let name = format!("{address}#{}#{}", id.seq.0, id.n);
    uuid::Builder::from_custom_bytes(xxhash_rust::xxh3::xxh3_128(name.as_bytes()).to_be_bytes()).into_uuid()
}

/// Body of a stored outbox row.
#[derive(Serialize, Deserialize)]
pub(crate) struct OutboxRow<E> {
    pub(crate) lane: String,
    pub(crate) effect: E,
}

/// Body of a dead letter.
#[derive(Serialize)]
pub(crate) struct DeadLetter<'a, E> {
    pub(crate) lane: &'a str,
    pub(crate) effect: &'a E,
    pub(crate) reason: &'a str,
}

pub(crate) struct Pending<A: Agent> {
    pub(crate) lane: String,
    pub(crate) effect: Arc<A::Effect>,
    pub(crate) trace: Option<TraceContext>,
}

/// One row at a time in each lane, in order of its id; lanes in parallel (invariant OUTBOX).
pub(crate) struct Outbox<A: Agent> {
    rows: BTreeMap<OutboxId, Pending<A>>,
    lanes: HashMap<String, VecDeque<OutboxId>>,
    under_way: HashSet<OutboxId>,
}

impl<A: Agent> Default for Outbox<A> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), lanes: HashMap::new(), under_way: HashSet::new() }
    }
}

impl<A: Agent> Outbox<A> {
    /// Rows must come in order of their ids.
    pub(crate) fn add(&mut self, id: OutboxId, pending: Pending<A>) {
        self.lanes.entry(pending.lane.clone()).or_default().push_back(id);
        self.rows.insert(id, pending);
    }

    pub(crate) fn get(&self, id: OutboxId) -> Option<&Pending<A>> {
        self.rows.get(&id)
    }

    pub(crate) fn remove(&mut self, id: OutboxId) -> Option<Pending<A>> {
        self.under_way.remove(&id);
        let pending = self.rows.remove(&id)?;
        if let Some(lane) = self.lanes.get_mut(&pending.lane) {
            lane.retain(|other| *other != id);
            if lane.is_empty() {
                self.lanes.remove(&pending.lane);
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

    /// Rows at the head of a lane that is at rest, at most `room`; they are under way from now on.
    pub(crate) fn startable(&mut self, room: usize) -> Vec<OutboxId> {
        let room = room.saturating_sub(self.under_way.len());
        let mut heads: Vec<OutboxId> =
            self.lanes.values().filter_map(|lane| lane.front().copied()).filter(|id| !self.under_way.contains(id)).collect();
        heads.sort_unstable();
        heads.truncate(room);
        self.under_way.extend(heads.iter().copied());
        heads
    }
}
