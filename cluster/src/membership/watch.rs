//! Who stands still, as one node sees it.

use super::terms::{Moment, Terms};
use cellspace_storage::{Incarnation, Lease, NodeName, View};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy)]
struct Seen {
    incarnation: Incarnation,
    counter: u64,
    /// Since when the counter stands.
    since: Moment,
    /// Since when it is this life.
    alive_since: Moment,
}

/// Since when each node's counter is as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    seen: BTreeMap<NodeName, Seen>,
}

impl Watch {
    /// Takes in what was read. `awake`: whether the observer held its own lease since it looked last; where not, it cannot tell who stood still and who
    /// could not be seen, and begins anew.
    pub(super) fn observe(&mut self, leases: &[Lease], awake: bool, now: Moment) {
        let look = |lease: &Lease| {
            let before = self.seen.get(&lease.node).filter(|seen| awake && seen.incarnation == lease.incarnation);
            let since = before.filter(|seen| seen.counter == lease.counter).map_or(now, |seen| seen.since);
            let alive_since = before.map_or(now, |seen| seen.alive_since);
            (lease.node.clone(), Seen { incarnation: lease.incarnation, counter: lease.counter, since, alive_since })
        };
        self.seen = leases.iter().map(look).collect();
    }

    /// Begins anew.
    pub(super) fn restart(&mut self, now: Moment) {
        self.seen.values_mut().for_each(|seen| seen.since = now);
    }

    /// Leases to be taken away: of members whose counter stood still for lease and margin. With those that are taken away already never more than half of
    /// the nodes: if so many seem dead at once, more is wrong than they; the rest is judged anew when these are gone.
    pub(super) fn dead(&self, view: &View, me: &NodeName, leases: &[Lease], terms: &Terms, now: Moment) -> Vec<Lease> {
        let members: BTreeSet<_> = view.deal.members().into_iter().map(|member| (&member.node, member.incarnation)).collect();
        let nodes: BTreeSet<_> = members.iter().map(|(node, _)| *node).chain([me]).collect();
        let of_members: Vec<&Lease> = leases.iter().filter(|lease| members.contains(&(&lease.node, lease.incarnation))).collect();
        let gone = of_members.iter().filter(|lease| lease.revoked).count();
        let room = (nodes.len() / 2).saturating_sub(gone);
        // What was read last is what `seen` has.
        let stood = |lease: &Lease| self.seen.get(&lease.node).is_some_and(|seen| seen.since + terms.patience() <= now);
        let still = |lease: &&&Lease| !lease.revoked && lease.node != *me && stood(lease);
        of_members.iter().filter(still).take(room).map(|lease| (*lease).clone()).collect()
    }

    /// When after `now` a member would be found dead whose counter does not move by then. It may be one that is not to be judged any more: then there is nothing to do.
    pub(super) fn judges_at(&self, view: &View, me: &NodeName, terms: &Terms, now: Moment) -> Option<Moment> {
        let members = view.deal.members();
        let others = members.iter().filter(|member| member.node != *me).filter_map(|member| self.seen.get(&member.node));
        others.map(|seen| seen.since + terms.patience()).filter(|judged| *judged > now).min()
    }

    /// Members that have left for good: their lease was taken away, or a later life of the node has its place for so long that the earlier one's lease has
    /// ended and the later one could have taken its place itself.
    pub(super) fn gone(&self, view: &View, me: &NodeName, leases: &[Lease], terms: &Terms, now: Moment) -> BTreeSet<NodeName> {
        let is_gone = |node: &NodeName, incarnation: Incarnation| match leases.iter().find(|lease| lease.node == *node) {
            None => false,
            Some(lease) if lease.incarnation == incarnation => lease.revoked,
            Some(lease) => {
                let life = self.seen.get(node).filter(|seen| seen.incarnation == lease.incarnation);
                node != me && life.is_some_and(|seen| seen.alive_since + terms.patience() * 2 <= now)
            }
        };
        let members = view.deal.members().into_iter();
        members.filter(|member| is_gone(&member.node, member.incarnation)).map(|member| member.node.clone()).collect()
    }
}
