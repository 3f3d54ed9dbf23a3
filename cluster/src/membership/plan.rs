//! The next view: who joins, leaves and is gone, and the steps of a hand-over. Each is a pure function of the present one.
//!
//! What all rely on: a life of a node leaves the view only when its lease has ended on every clock, or when it owned nothing for so long.

use super::dealt::Dealt;
use cellspace_storage::{Dead, Deal, Lease, Member, NodeName, View};
use std::collections::BTreeSet;

/// The view of a cell's first node.
pub(super) fn first(me: &Member, level: u16) -> View {
    let deal = Deal { from: vec![me.clone()], to: vec![me.clone()], mark: 0 };
    View { version: 1, format: level, deal, past: Vec::new(), dead: Vec::new() }
}

/// The view after this one, with this deal.
pub(super) fn next(view: &View, deal: Deal) -> View {
    let mut past = view.past.clone();
    past.push(view.deal.clone());
    let past = past.split_off(past.len().saturating_sub(View::PAST));
    View { version: view.version + 1, format: view.format, deal, past, dead: view.dead.clone() }
}

/// Without members that are gone; at once, since nobody serves their slots. `joining` takes the place of the last one. What is not renewed any more stays as it is in
/// these rows, so that the view tells of it.
pub(super) fn without(view: &View, gone: &BTreeSet<NodeName>, joining: &Member, leases: &[Lease]) -> View {
    let rest = |members: &[Member]| members.iter().filter(|member| !gone.contains(&member.node)).cloned().collect::<Vec<_>>();
    let (mut from, mut to) = (rest(&view.deal.from), rest(&view.deal.to));
    if from.is_empty() && to.is_empty() {
        from = vec![joining.clone()];
    }
    if from.is_empty() {
        from.clone_from(&to);
    }
    if to.is_empty() {
        to.clone_from(&from);
    }
    let mark = if from == to { 0 } else { view.deal.mark };
    // An earlier life's row says nothing of a later one.
    let is_of = |lease: &&Lease, member: &Member| lease.node == member.node && lease.incarnation >= member.incarnation;
    let last = |member: &Member| leases.iter().find(|lease| is_of(lease, member)).and_then(|lease| lease.dead(member));
    let dead: Vec<_> = view.deal.members().into_iter().filter(|member| gone.contains(&member.node)).filter_map(last).collect();
    telling(next(view, Deal { from, to, mark }), dead)
}

/// A view that tells of members that did not leave it.
fn telling(mut view: View, dead: impl IntoIterator<Item = Dead>) -> View {
    for one in dead {
        view.dead.retain(|earlier| earlier.member != one.member);
        view.dead.push(one);
    }
    view.dead = view.dead.split_off(view.dead.len().saturating_sub(View::DEAD));
    view
}

/// With later lives of nodes in the places of earlier ones, whose slots they have at once, and what is known of those.
pub(super) fn replaced(view: &View, by: Vec<(Member, Option<Dead>)>) -> View {
    let later = |member: &Member| by.iter().map(|(later, _)| later).find(|later| later.node == member.node).unwrap_or(member).clone();
    let with = |members: &[Member]| members.iter().map(later).collect();
    let deal = Deal { from: with(&view.deal.from), to: with(&view.deal.to), mark: view.deal.mark };
    telling(next(view, deal), by.into_iter().filter_map(|(_, dead)| dead))
}

/// With another node, to which slots are handed over from now on; only while nothing is half handed over.
pub(super) fn joined(view: &View, me: &Member) -> Option<View> {
    let mut to = view.deal.to.clone();
    to.push(me.clone());
    to.sort();
    (view.deal.mark == 0).then(|| next(view, Deal { to, ..view.deal.clone() }))
}

/// Without a node that is to leave, which hands its slots over from now on. The last one stays.
pub(super) fn leaving(view: &View, me: &Member) -> Option<View> {
    let to: Vec<_> = view.deal.to.iter().filter(|member| *member != me).cloned().collect();
    let deal = Deal { to, ..view.deal.clone() };
    (view.deal.mark == 0 && !deal.to.is_empty() && deal.to.len() < view.deal.to.len()).then(|| next(view, deal))
}

/// Whether a hand-over is where it was, and has been under all views between: other lives may be in the places of earlier ones, but not of a node that comes, which has
/// everything to learn. Where it went to and fro, others may serve what they had meanwhile.
pub(super) fn goes_on(before: &View, after: &View) -> bool {
    let missed = usize::try_from(after.version.saturating_sub(before.version + 1)).unwrap_or(usize::MAX);
    let between = after.past.len().checked_sub(missed).and_then(|first| after.past.get(first..));
    between.is_some_and(|between| between.iter().chain([&after.deal]).all(|deal| is_same(&before.deal, deal)))
}

fn is_same(before: &Deal, after: &Deal) -> bool {
    let nodes = |deal: &Deal| [&deal.from, &deal.to].map(|members| members.iter().map(|member| member.node.clone()).collect::<Vec<_>>());
    let comes = |deal: &Deal| {
        let is_new = |member: &&Member| deal.from.iter().all(|from| from.node != member.node);
        deal.to.iter().filter(is_new).cloned().collect::<Vec<_>>()
    };
    before.mark == after.mark && nodes(before) == nodes(after) && comes(before) == comes(after)
}

/// After the next step of the hand-over under way.
pub(super) fn advanced(view: &View, dealt: &Dealt, step: u16) -> View {
    next(view, Deal { mark: dealt.mark_after(step), ..view.deal.clone() })
}

/// After the hand-over.
pub(super) fn settled(view: &View) -> View {
    next(view, Deal { from: view.deal.to.clone(), to: view.deal.to.clone(), mark: 0 })
}

fn level(member: &Member, leases: &[Lease]) -> Option<u16> {
    leases.iter().find(|lease| lease.member() == *member).map(|lease| lease.level)
}

/// Members that read less than another one, or of which it is not known what they read, in order.
#[must_use]
pub fn behind(view: &View, leases: &[Lease]) -> BTreeSet<NodeName> {
    let levels: Vec<_> = view.deal.members().into_iter().map(|member| (&member.node, level(member, leases))).collect();
    let highest = levels.iter().filter_map(|(_, level)| *level).max();
    levels.into_iter().filter(|(_, level)| *level < highest || level.is_none()).map(|(node, _)| node.clone()).collect()
}

/// The view with the highest format that all members read; `None` when that is the present one, or when it is not known of all what they read.
#[must_use]
pub fn finalized(view: &View, leases: &[Lease]) -> Option<View> {
    let levels: Option<Vec<u16>> = view.deal.members().into_iter().map(|member| level(member, leases)).collect();
    let format = levels?.into_iter().min().filter(|format| *format > view.format)?;
    Some(View { format, ..next(view, view.deal.clone()) })
}
