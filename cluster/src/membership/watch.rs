//! Who stands still, as one node sees it.

use super::terms::{Moment, Terms};
use cellspace_storage::{Dead, Lease, Member, NodeName, View};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
struct Seen {
    row: Lease,
    /// Since when the counter stands.
    since: Moment,
    /// Since when it is this life.
    alive_since: Moment,
}

/// A life that is not its node's present one any more.
#[derive(Debug, Clone)]
struct Former {
    /// It began no renewal after this that landed.
    since: Moment,
    /// Its last row, when that was seen.
    last: Option<Lease>,
    /// Whether a later life is in its place; an earlier one's row, which says nothing of renewals, stands there otherwise.
    is_followed: bool,
}

/// Since when each node's counter is as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    seen: BTreeMap<NodeName, Seen>,
    /// Of members of the view.
    former: BTreeMap<Member, Former>,
}

impl Watch {
    /// Takes in what was read. `awake`: whether the observer held its own lease since it looked last; where not, it cannot tell who stood still and who
    /// could not be seen, and begins anew.
    pub(super) fn observe(&mut self, leases: &[Lease], awake: bool, now: Moment) {
        if !awake {
            *self = Self::default();
        }
        let look = |lease: &Lease| {
            let before = self.seen.get(&lease.node);
            let same = before.filter(|seen| seen.row.incarnation == lease.incarnation);
            if let Some(before) = before.filter(|_| same.is_none()) {
                let is_last = lease.incarnation.0 == before.row.incarnation.0 + 1 && lease.follows == Some(before.row.counter);
                let since = if is_last { before.since } else { now };
                self.former.insert(before.row.member(), Former { since, last: is_last.then(|| before.row.clone()), is_followed: true });
            }
            let since = same.filter(|seen| seen.row.counter == lease.counter).map_or(now, |seen| seen.since);
            let alive_since = same.map_or(now, |seen| seen.alive_since);
            (lease.node.clone(), Seen { row: lease.clone(), since, alive_since })
        };
        self.seen = leases.iter().map(look).collect();
    }

    /// This is the view now. It may be newer than the rows that were read: one of a life before the member's says nothing, unless it goes on standing there.
    pub(super) fn keep(&mut self, view: &View, now: Moment) {
        let members = view.deal.members();
        let present = |member: &Member| self.seen.get(&member.node).filter(|seen| seen.row.incarnation != member.incarnation);
        let is_followed = |member: &Member, present: &Seen| present.row.incarnation > member.incarnation;
        self.former.retain(|member, former| {
            members.contains(member) && present(member).is_some_and(|present| is_followed(member, present) == former.is_followed)
        });
        for member in members {
            let Some(present) = present(member) else { continue };
            let is_followed = is_followed(member, present);
            let since = if is_followed { present.alive_since } else { now };
            self.former.entry(member.clone()).or_insert(Former { since, last: None, is_followed });
        }
    }

    /// Begins anew.
    pub(super) fn restart(&mut self, now: Moment) {
        self.seen.values_mut().for_each(|seen| seen.since = now);
    }

    /// Leases to be taken away: of members whose counter stood still for lease and margin. With those that are taken away already never more than half of
    /// the nodes: if so many seem dead at once, more is wrong than they; the rest is judged anew when these are gone.
    pub(super) fn dead(&self, view: &View, me: &NodeName, terms: &Terms, now: Moment) -> Vec<Lease> {
        let members = view.deal.members();
        let mut nodes = view.deal.nodes();
        nodes.insert(me);
        let of_members: Vec<&Seen> = self.seen.values().filter(|seen| members.contains(&seen.row.member())).collect();
        let gone = of_members.iter().filter(|seen| seen.row.revoked).count();
        let room = (nodes.len() / 2).saturating_sub(gone);
        let still = |seen: &&&Seen| !seen.row.revoked && seen.row.node != *me && seen.since + terms.patience() <= now;
        of_members.iter().filter(still).take(room).map(|seen| seen.row.clone()).collect()
    }

    /// When after `now` a member would be found dead whose counter does not move by then, or a later life takes the place of a member. It may be one that is not to
    /// be judged any more: then there is nothing to do.
    pub(super) fn judges_at(&self, view: &View, me: &NodeName, terms: &Terms, now: Moment) -> Option<Moment> {
        let members = view.deal.members();
        let others = || members.iter().filter(|member| member.node != *me);
        let still = others().filter_map(|member| self.seen.get(&member.node)).map(|seen| seen.since);
        let ends = still.chain(others().filter_map(|member| self.ends_since(member))).map(|since| since + terms.patience());
        ends.filter(|judged| *judged > now).min()
    }

    /// Members that have left for good: their lease was taken away, or has ended, and what their node has now can take no place.
    pub(super) fn gone(&self, view: &View, me: &NodeName, terms: &Terms, now: Moment) -> BTreeSet<NodeName> {
        let is_gone = |member: &Member| match self.seen.get(&member.node).map(|seen| &seen.row) {
            Some(present) if present.incarnation == member.incarnation => present.revoked,
            Some(present) => member.node != *me && !follows(present, member, view) && self.has_ended(member, terms, now),
            None => false,
        };
        view.deal.members().into_iter().filter(|member| is_gone(member)).map(|member| member.node.clone()).collect()
    }

    /// Later lives of other members' nodes whose own leases have ended: the row of each, and what the member's last one tells.
    pub(super) fn followed(&self, view: &View, me: &NodeName, terms: &Terms, now: Moment) -> Vec<(Member, Option<Dead>)> {
        let followed = |member: &Member| {
            let present = &self.seen.get(&member.node).filter(|seen| follows(&seen.row, member, view))?.row;
            let last = self.former.get(member).and_then(|former| former.last.as_ref());
            self.has_ended(member, terms, now).then(|| (present.member(), last.unwrap_or(present).dead(member)))
        };
        view.deal.members().into_iter().filter(|member| member.node != *me).filter_map(followed).collect()
    }

    /// Since when a member, in whose node's place another life is, has begun no renewal that landed.
    fn ends_since(&self, member: &Member) -> Option<Moment> {
        self.former.get(member).map(|former| former.since)
    }

    fn has_ended(&self, member: &Member, terms: &Terms, now: Moment) -> bool {
        self.ends_since(member).is_some_and(|since| since + terms.patience() <= now)
    }
}

/// Whether the life of this row can take the member's place.
fn follows(present: &Lease, member: &Member, view: &View) -> bool {
    present.incarnation > member.incarnation && !present.revoked && present.level >= view.format
}
