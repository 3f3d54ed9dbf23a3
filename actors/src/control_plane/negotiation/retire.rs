//! The retirement of an agreement: no transfer begins under it any more, and those under way are ended, with notice to the counterparty.

use super::{
    Agreement, Event, Negotiation, Refusal, Retirement,
    decide::{active, refused},
};
use crate::control_plane::{ControlPlaneState, agent::Decided, ending, transfer};
use cellspace_cluster::Decision;
use cellspace_schemas::{AgreementId, Timestamp};
use std::sync::Arc;

/// Retires an agreement in force. Pure.
pub(super) fn retire(state: &ControlPlaneState, id: &AgreementId, reason: &str, now: Timestamp) -> Decided {
    active(state)?;
    let unknown = || refused(Refusal::NoAgreement(id.clone()));
    let negotiation = state.negotiations.of_agreement(id).ok_or_else(unknown)?;
    let agreement = negotiation.agreement.as_ref().ok_or_else(unknown)?;
    if agreement.retired.is_some() {
        return Ok(Decision::nothing());
    }
    if negotiation.agreement_in_force().is_none() {
        return Err(refused(Refusal::NotInForce { id: id.clone(), state: negotiation.state }));
    }
    ended(state, negotiation, agreement, Retirement { at: now, reason: reason.to_owned(), next: None }, now)
}

/// Ends more transfers under a retired agreement; `None` when there is nothing of the kind to do. Pure.
pub(super) fn go_on(state: &ControlPlaneState, negotiation: &Negotiation, now: Timestamp) -> Option<Decided> {
    let agreement = negotiation.agreement.as_ref()?;
    let retired = agreement.retired.as_ref().filter(|retired| retired.next.is_some())?;
    Some(ended(state, negotiation, agreement, retired.clone(), now))
}

/// The retired agreement, and the end of as many transfers under it as one turn takes.
fn ended(state: &ControlPlaneState, negotiation: &Negotiation, agreement: &Agreement, retired: Retirement, now: Timestamp) -> Decided {
    let under = |t: &&Arc<transfer::Transfer>| t.agreement == agreement.id && !t.state.is_final() && !t.state.is_terminating();
    let ends = state.transfers.iter().filter(under).map(|t| transfer::end(state, t, &retired.reason, now));
    let (decision, next) = ending::ended(Decision::action("agreement.retired"), ends, now)?;
    let retired = Retirement { next, ..retired };
    let agreement = Arc::new(Agreement { retired: Some(retired), ..agreement.clone() });
    let next = Negotiation { agreement: Some(agreement), ..negotiation.clone() };
    Ok(decision.event(Event::Set(Arc::new(next)).into()))
}
