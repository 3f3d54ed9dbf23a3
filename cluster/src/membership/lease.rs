//! A node's own lease: what it may count on, whatever the store answers.

use super::terms::{Moment, Terms};
use cellspace_schemas::Timestamp;
use cellspace_storage::{Incarnation, Lease, Member, NodeName, Settled, Swap};

/// Why a life of a node is over. It serves nothing any more, and its process ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// A later start of a node of this name has taken its place.
    #[error("another process runs under this node's name")]
    Superseded,
    /// The others have found it dead.
    #[error("the other nodes have taken this node's lease away")]
    Revoked,
    /// It would not read what the others write.
    #[error("the cell writes rows of level {format}, this node reads up to {level}")]
    TooOld {
        /// Level of the view.
        format: u16,
        /// Level of the node.
        level: u16,
    },
}

/// The row that a starting node puts, and in whose place: `(before, next)`. Only when that is known to have taken place the life is this process's own.
#[must_use]
pub fn next_life(node: &NodeName, level: u16, endpoint: &str, clock: Timestamp, leases: &[Lease]) -> (Option<Lease>, Lease) {
    let before = leases.iter().find(|lease| lease.node == *node).cloned();
    let incarnation = Incarnation(before.as_ref().map_or(0, |lease| lease.incarnation.0) + 1);
    let earlier = before.as_ref().map(|lease| lease.until.unwrap_or_else(|| clock.plus(Terms::LONGEST_LEASE)));
    // It gives no lease; of a life that does not tell it may have had any.
    let until = earlier.max(Some(clock));
    let (settled, follows) = (before.as_ref().and_then(|lease| lease.settled), before.as_ref().map(|lease| lease.counter));
    let next = Lease { until, settled, follows, ..Lease::first(Member { node: node.clone(), incarnation }, level, endpoint) };
    (before, next)
}

/// The lease of a running node.
#[derive(Debug, Clone)]
pub(super) struct OwnLease {
    row: Lease,
    /// A renewal whose outcome is not known, and when it was first begun.
    attempt: Option<(Lease, Moment)>,
    /// Start of a renewal that has landed and does not count yet.
    landed: Option<Moment>,
    until: Moment,
    /// [`Lease::until`] of the renewal that counts.
    by_day: Option<Timestamp>,
}

impl OwnLease {
    pub(super) fn new(row: Lease) -> Self {
        Self { row, attempt: None, landed: None, until: Moment::default(), by_day: None }
    }

    pub(super) const fn until_by_day(&self) -> Option<Timestamp> {
        self.by_day
    }

    pub(super) const fn row(&self) -> &Lease {
        &self.row
    }

    pub(super) fn held(&self, now: Moment) -> bool {
        now < self.until
    }

    pub(super) const fn until(&self) -> Moment {
        self.until
    }

    /// The next renewal, which gives a lease until then by day. One whose outcome is not known is begun again, and counts from its first beginning: it may have landed then.
    pub(super) fn renewal(&mut self, now: Moment, until: Timestamp, settled: Option<Settled>) -> (Lease, Lease) {
        self.landed = None;
        let next = || Lease {
            counter: self.row.counter + 1,
            until: self.row.until.max(Some(until)),
            settled: settled.or(self.row.settled),
            ..self.row.clone()
        };
        let (next, _) = self.attempt.get_or_insert_with(|| (next(), now));
        (self.row.clone(), next.clone())
    }

    pub(super) fn renewed(&mut self, outcome: &Swap) {
        if *outcome == Swap::Applied {
            self.land();
        }
    }

    fn land(&mut self) {
        if let Some((row, started)) = self.attempt.take() {
            self.row = row;
            self.landed = Some(started);
        }
    }

    /// What the store has of this lease.
    pub(super) fn seen(&mut self, row: Option<&Lease>) -> Result<(), Ended> {
        let Some(row) = row.filter(|row| row.incarnation == self.row.incarnation) else { return Err(Ended::Superseded) };
        if row.revoked {
            return Err(Ended::Revoked);
        }
        if self.attempt.as_ref().is_some_and(|(next, _)| next.counter == row.counter) {
            self.land();
        }
        Ok(())
    }

    /// The view that was read after the renewal has been applied: now it counts.
    pub(super) fn count(&mut self, terms: &Terms) {
        if let Some(started) = self.landed.take() {
            self.until = self.until.max(started + terms.lease);
            self.by_day = self.row.until;
        }
    }
}
