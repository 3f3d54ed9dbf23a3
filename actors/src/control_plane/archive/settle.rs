//! What a decision means for the archive.

use super::{
    super::{ControlPlane, ControlPlaneState, negotiation, transfer},
    Event, Filed, KEPT, Key, Mark,
    event::filing,
};
use crate::control_plane;
use cellspace_cluster::Decision;
use cellspace_schemas::{AgreementId, NegotiationId};
use std::collections::HashSet;

/// Processes of each kind that one decision archives at most; more than one, so that a backlog shrinks.
const AT_ONCE: usize = 4;

/// Completes a decision that was made on `shown`, the state with what was recalled: an agreement that comes into use again comes back into the
/// state, what was deleted leaves the archive, and what ended longest ago moves into it. Pure.
pub(in crate::control_plane) fn settle(state: &ControlPlaneState, shown: &ControlPlaneState, decision: &mut Decision<ControlPlane>) {
    if !decision.changes() {
        return;
    }
    let mut touched: HashSet<String> = HashSet::new();
    let mut used: HashSet<AgreementId> = HashSet::new();
    let mut before: Vec<control_plane::Event> = Vec::new();
    let mut after: Vec<control_plane::Event> = Vec::new();
    for event in &decision.events {
        match event {
            control_plane::Event::Negotiation(negotiation::Event::Set(n)) => drop(touched.insert(n.id.as_str().to_owned())),
            control_plane::Event::Negotiation(negotiation::Event::Deleted(id)) => {
                touched.insert(id.as_str().to_owned());
                after.extend(dropped(state, shown, id).into_iter().map(Into::into));
            }
            control_plane::Event::Transfer(transfer::Event::Set(t)) => {
                touched.insert(t.id.as_str().to_owned());
                if used.insert(t.agreement.clone()) && state.negotiations.of_agreement(&t.agreement).is_none() {
                    let again = shown.negotiations.of_agreement(&t.agreement);
                    before.extend(again.map(|n| negotiation::Event::Set(n.clone()).into()));
                }
            }
            _ => {}
        }
    }
    let mut moved = Vec::new();
    let negotiations = state
        .negotiations
        .finished(KEPT)
        .filter(|n| !touched.contains(n.id.as_str()) && n.agreement.as_ref().is_none_or(|agreement| !used.contains(&agreement.id)));
    for n in negotiations.take(AT_ONCE) {
        if let Some(agreement) = n.agreement.as_ref().filter(|_| n.holds_asset()) {
            moved.push(Event::Held(agreement.asset.clone()).into());
        }
        moved.extend(filing(n, Event::Negotiation(n.clone())).into_iter().map(control_plane::Event::from));
        moved.push(negotiation::Event::Deleted(n.id.clone()).into());
    }
    for t in state.transfers.finished(KEPT).filter(|t| !touched.contains(t.id.as_str())).take(AT_ONCE) {
        moved.extend(filing(t, Event::Transfer(t.clone())).into_iter().map(control_plane::Event::from));
        moved.push(transfer::Event::Removed(t.id.clone()).into());
    }
    if !moved.is_empty() && !state.archive.opened {
        before.extend([Event::Opened.into(), Event::Marking.into()]);
    }
    decision.events.splice(0..0, before);
    decision.events.extend(after);
    decision.events.extend(moved);
}

/// The rows of a deleted negotiation that was recalled from the archive.
fn dropped(state: &ControlPlaneState, shown: &ControlPlaneState, id: &NegotiationId) -> Vec<Event> {
    let recalled = shown.negotiations.get(id).filter(|_| state.negotiations.get(id).is_none());
    let rows = recalled.map(|n| {
        let keys = n.names().into_iter().chain([Key::Negotiation(id.clone())]);
        keys.map(Event::Dropped).chain(Mark::all(n.as_ref()).map(Event::Unmarked))
    });
    rows.into_iter().flatten().collect()
}
