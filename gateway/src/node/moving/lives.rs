//! Lives of nodes that do not answer: whether they are over, as other nodes of their cell would see it. Pure.

use cellspace_storage::{CellName, Incarnation, Lease, Member, NodeName};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// What is known of a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) enum Life {
    /// It is over.
    Over,
    /// It may go on.
    Open,
    /// It has not renewed this lease for as long as one lasts: it is over once that is taken away.
    Still(Lease),
}

/// What was seen of the lives that were asked for, one of each node, and since when.
#[derive(Debug, Default)]
pub(in crate::node) struct Lives(HashMap<(CellName, NodeName), Seen>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    incarnation: Incarnation,
    /// `None`: its name is another life's by now.
    lease: Option<Lease>,
    since: Instant,
    /// When it was looked at last.
    looked: Instant,
}

/// After no look for so long, or as long as a lease lasts, nothing is known: whoever could not look may not have been able to renew either.
const SIGHT: Duration = Duration::from_secs(3);

impl Lives {
    /// Looks at the lease that the node has now; one lasts for `patience`. Also a life whose name was taken by another one holds its lease for so long.
    pub(in crate::node) fn look(
        &mut self,
        cell: &CellName,
        member: &Member,
        lease: Option<Lease>,
        patience: Duration,
        now: Instant,
    ) -> Life {
        let (incarnation, lease) = (member.incarnation, lease.filter(|lease| lease.incarnation == member.incarnation));
        if lease.as_ref().is_some_and(|lease| lease.revoked) {
            return Life::Over;
        }
        let fresh = Seen { incarnation, lease, since: now, looked: now };
        let seen = self.0.entry((cell.clone(), member.node.clone())).or_insert_with(|| fresh.clone());
        let blind = now.duration_since(seen.looked) > patience.max(SIGHT);
        if blind || (&seen.incarnation, &seen.lease) != (&fresh.incarnation, &fresh.lease) {
            *seen = fresh;
        }
        seen.looked = now;
        match &seen.lease {
            _ if now.duration_since(seen.since) < patience => Life::Open,
            Some(lease) => Life::Still(lease.clone()),
            None => Life::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_over_when_its_lease_was_not_renewed_for_as_long_as_one_lasts() {
        let (cell, node, patience, begin) = (CellName("a".to_owned()), NodeName("n".to_owned()), Duration::from_secs(3), Instant::now());
        let life = |incarnation| Member { node: node.clone(), incarnation: Incarnation(incarnation) };
        let lease = |incarnation, counter| Lease { counter, ..Lease::first(life(incarnation), 1, "") };
        let revoked = |lease: Lease| Lease { revoked: true, ..lease };
        let still = |counter| Life::Still(lease(1, counter));
        for looks in [
            &[(0, Some(lease(1, 5)), Life::Open), (2, Some(lease(1, 5)), Life::Open), (3, Some(lease(1, 5)), still(5))][..],
            // Who renews lives, also when nobody has looked for long.
            &[(0, Some(lease(1, 5)), Life::Open), (9, Some(lease(1, 6)), Life::Open), (12, Some(lease(1, 6)), still(6))],
            // As when the database was away, for all.
            &[
                (0, Some(lease(1, 5)), Life::Open),
                (4, Some(lease(1, 5)), Life::Open),
                (6, Some(lease(1, 5)), Life::Open),
                (7, Some(lease(1, 5)), still(5)),
            ],
            // Others have taken it away; nobody does that too early.
            &[(0, Some(lease(1, 5)), Life::Open), (1, Some(revoked(lease(1, 5))), Life::Over)],
            // A life whose name is taken while it is looked at has renewed its lease just before, maybe.
            &[(0, Some(lease(1, 5)), Life::Open), (9, Some(lease(2, 0)), Life::Open), (11, Some(lease(2, 7)), Life::Open)],
            &[(0, Some(lease(2, 0)), Life::Open), (2, Some(revoked(lease(2, 1))), Life::Open), (3, Some(lease(3, 0)), Life::Over)],
            &[(0, None, Life::Open), (3, None, Life::Over)],
        ] {
            let mut lives = Lives::default();
            for (at, lease, expected) in looks {
                let member = Member { node: node.clone(), incarnation: Incarnation(1) };
                let life = lives.look(&cell, &member, lease.clone(), patience, begin + Duration::from_secs(*at));
                assert_eq!(life, *expected, "{at}: {looks:?}");
            }
        }
        // What was seen of an earlier life says nothing of this one.
        let mut lives = Lives::default();
        for (incarnation, at) in [(1, 0), (2, 9)] {
            let member = Member { node: node.clone(), incarnation: Incarnation(incarnation) };
            assert_eq!(lives.look(&cell, &member, None, patience, begin + Duration::from_secs(at)), Life::Open);
        }
    }
}
