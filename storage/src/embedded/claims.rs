//! Claims of this process: which activation may write which partition (invariant FENCE). In memory alone; a claim writes nothing.
//!
//! A commit is *in flight* from its check until its sync. A claim raises the epoch at once, so that what is still waiting is fenced, and
//! reads the head only when nothing of the partition is in flight, so that it sees what landed.

use super::{
    generations::{Generation, Step},
    values::StoredHead,
};
use crate::{Batch, Claim, Epoch, PartitionKey, Seq, Wake};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use tokio::sync::watch;

/// The claims of one process.
#[derive(Debug)]
pub(super) struct Claims {
    state: Mutex<State>,
    /// Changes after each group of commits, when nothing is in flight any more.
    settled: watch::Sender<u64>,
    boot: u64,
}

#[derive(Debug, Default)]
struct State {
    /// Activations so far in this process.
    count: u64,
    held: HashMap<PartitionKey, Held>,
    in_flight: HashSet<PartitionKey>,
}

#[derive(Debug)]
struct Held {
    epoch: Epoch,
    /// Where the partition stands; `None` until the claim has read it, and nothing can be committed before.
    at: Option<Position>,
    /// Whether rows cannot be read to be moved. The next claim tries it again.
    keeps: bool,
}

/// Where a partition stands, commits in flight included.
#[derive(Debug, Default)]
struct Position {
    seq: Seq,
    wake: Wake,
    rows: Generation,
}

/// A commit that may be written.
pub(super) struct Admitted {
    /// What the wake index says until then.
    pub(super) before: Wake,
    /// The generation that rows have been in, but for those that have moved.
    pub(super) from: u64,
    /// Where the partition's rows are from then on.
    pub(super) rows: Generation,
}

/// An epoch raised, and what to wait for before the head is read.
pub(super) struct Raised<'a> {
    claims: &'a Claims,
    partition: &'a PartitionKey,
    pub(super) epoch: Epoch,
    in_flight: Option<watch::Receiver<u64>>,
    completed: bool,
}

impl Claims {
    pub(super) fn new(boot: u64) -> Self {
        Self { state: Mutex::default(), settled: watch::Sender::new(0), boot }
    }

    /// Raises the partition's epoch above every earlier one of this process.
    pub(super) fn raise<'a>(&'a self, partition: &'a PartitionKey) -> Raised<'a> {
        let mut state = self.state.lock();
        state.count += 1;
        let epoch = Epoch { view: self.boot, count: state.count };
        state.held.insert(partition.clone(), Held { epoch, at: None, keeps: false });
        let in_flight = state.in_flight.contains(partition).then(|| self.settled.subscribe());
        Raised { claims: self, partition, epoch, in_flight, completed: false }
    }

    /// Forgets the claim, unless a newer one has taken its place.
    pub(super) fn release(&self, partition: &PartitionKey, epoch: Epoch) {
        let mut state = self.state.lock();
        if state.held.get(partition).is_some_and(|held| held.epoch == epoch) {
            state.held.remove(partition);
        }
    }

    /// Whether rows of the partition are to move with a commit, for which so many must have been deleted at least.
    pub(super) fn is_worn(&self, batch: &Batch, deleted: u64) -> bool {
        let state = self.state.lock();
        let held = state.held.get(&batch.partition).filter(|held| held.epoch == batch.epoch && !held.keeps);
        held.and_then(|held| held.at.as_ref()).is_some_and(|at| at.seq.next() == batch.seq && at.rows.is_worn(deleted))
    }

    /// Under this claim no rows move any more.
    pub(super) fn keep(&self, partition: &PartitionKey, epoch: Epoch) {
        if let Some(held) = self.state.lock().held.get_mut(partition).filter(|held| held.epoch == epoch) {
            held.keeps = true;
        }
    }

    /// Admits a commit of the group being made, with rows that move with it. `None`: fenced.
    pub(super) fn admit(&self, batch: &Batch, step: Option<&Step>) -> Option<Admitted> {
        let mut state = self.state.lock();
        let held = state.held.get_mut(&batch.partition).filter(|held| held.epoch == batch.epoch)?;
        let at = held.at.as_mut().filter(|at| at.seq.next() == batch.seq)?;
        let from = at.rows.number;
        let rows = std::mem::take(&mut at.rows).after(step, &batch.rows);
        let before = std::mem::replace(at, Position { seq: batch.seq, wake: batch.wake, rows: rows.clone() }).wake;
        state.in_flight.insert(batch.partition.clone());
        Some(Admitted { before, from, rows })
    }

    /// The group has ended: nothing is in flight.
    pub(super) fn settle(&self) {
        self.state.lock().in_flight.clear();
        self.settled.send_modify(|group| *group = group.wrapping_add(1));
    }

    /// Partitions claimed now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().held.len()
    }
}

impl Raised<'_> {
    /// Waits until nothing of the partition is in flight.
    pub(super) async fn quiet(&mut self) {
        if let Some(mut settled) = self.in_flight.take() {
            // The sender lives in `claims`, which this borrows.
            let _ = settled.changed().await;
        }
    }

    /// Opens the partition for the claim's commits.
    pub(super) fn complete(mut self, stored: Option<&StoredHead>) -> Claim {
        let at =
            stored.map_or_else(Position::default, |stored| Position { seq: stored.head.seq, wake: stored.wake, rows: stored.rows.clone() });
        let wake = at.wake;
        let mut state = self.claims.state.lock();
        if let Some(held) = state.held.get_mut(self.partition).filter(|held| held.epoch == self.epoch) {
            held.at = Some(at);
        }
        drop(state);
        self.completed = true;
        Claim { epoch: self.epoch, head: stored.map(|stored| stored.head), wake }
    }
}

impl Drop for Raised<'_> {
    // A claim that failed or was given up leaves nothing behind.
    fn drop(&mut self) {
        if !self.completed {
            self.claims.release(self.partition, self.epoch);
        }
    }
}
