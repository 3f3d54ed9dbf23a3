//! Whether a transfer may go on: the policy of its agreement in the scope `policy.monitor`, by its dates and by expressions for that scope. The provider asks
//! whenever data begins to flow, and after each date that the policy names.
//!
//! Nobody presents anything then, so that expressions see who the consumer is, the agreement and the time, and no claims.

use super::{Effect, Outcome, TABLE, Task, Transfer};
use crate::{
    control_plane::{
        ControlPlane, ControlPlaneState,
        dsp::Role,
        negotiation::Agreement,
        policy::{AgreementFacts, Evaluation, ParticipantAgent, is_monitored, next_date, reason_against},
    },
    settings::Settings,
};
use cellspace_cluster::Decision;
use cellspace_schemas::Timestamp;
use std::sync::Arc;

/// What the agreement's policy requires of a transfer under it and is not so; `None` when it may go on. What was required, never what was found. Pure.
#[must_use]
pub fn reason_to_end(agreement: &Agreement, settings: &Settings, now: Timestamp) -> Option<String> {
    if !is_monitored(&agreement.policy, settings) {
        return None;
    }
    let (facts, consumer) = (AgreementFacts::from(agreement), ParticipantAgent::of(agreement.consumer.clone(), Vec::new()));
    reason_against(&agreement.policy, &Evaluation::of_running(&facts, settings, &consumer, now))
}

/// As [`reason_to_end`], for a transfer of ours as provider.
#[must_use]
pub fn reason_to_end_transfer(state: &ControlPlaneState, transfer: &Transfer, settings: &Settings, now: Timestamp) -> Option<String> {
    let agreement = state.negotiations.agreement(&transfer.agreement).filter(|_| transfer.role == Role::Provider)?;
    reason_to_end(agreement, settings, now)
}

/// When a transfer under the agreement is looked at next: whatever the expressions are today, they may be others then.
#[must_use]
pub fn next_look(agreement: &Agreement, now: Timestamp) -> Option<Timestamp> {
    next_date(&agreement.policy, agreement.signed_at, now)
}

/// A date of the policy has passed: the transfer is looked at, where the expressions are, and again after the next one. Pure.
#[must_use]
pub fn look(state: &ControlPlaneState, transfer: &Transfer, now: Timestamp) -> Decision<ControlPlane> {
    let agreement = state.negotiations.agreement(&transfer.agreement);
    let look_at = agreement.and_then(|agreement| next_look(agreement, now));
    let next = super::Event::Set(Arc::new(Transfer { look_at, ..transfer.clone() }));
    let effect = Effect { transfer: transfer.id.clone(), task: Task::Look };
    Decision::action("transfer.looked_at").effect(format!("{TABLE}-look/{}", transfer.id), effect.into()).event(next.into())
}

/// Looks at the transfer with the expressions as they are now.
#[must_use]
pub fn looked(state: &ControlPlaneState, transfer: &Transfer, settings: &Settings, now: Timestamp) -> Outcome {
    Outcome::Looked { unmet: reason_to_end_transfer(state, transfer, settings, now) }
}
