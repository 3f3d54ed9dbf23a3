//! Whether what a consumer asks for is what we offer it, and whether our policies allow it.

use super::Refusal;
use crate::control_plane::{
    ControlPlaneState,
    agent::Refusal as AgentRefusal,
    catalog::resolve_offer,
    dsp::Sender,
    policy::{Evaluation, PolicyScope, evaluate},
    scopes::{Scopes, scopes_for, scopes_for_rules},
};
use crate::settings::Settings;
use cellspace_schemas::{AssetId, ProfileId, Timestamp, dsp::negotiation::MessageOffer, odrl::Policy};

/// What becomes of what a counterparty wants: a request for an offer that it may see, an acceptance, terms of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appraisal {
    /// The contract policy is fulfilled.
    Met,
    /// It is not.
    Unmet {
        /// What it requires, never what was found: for the counterparty.
        required: String,
        /// What it requires and what was found: for the participant alone.
        in_full: String,
    },
    /// Terms of the counterparty's own, a consumer's counter-offer or an offer that we did not ask for: no policy of ours has anything to say about
    /// them, so that a person decides.
    OwnTerms,
}

/// Judges a request by the access and the contract policy of the offer. Pure.
///
/// What is not there and what is hidden take the same way: nothing on it depends on whether the offer exists.
///
/// # Errors
/// [`Refusal::UnknownOffer`] for an offer that does not exist, is hidden from the sender, or is one of another dataset; [`Refusal::OtherRules`] when
/// the sender wants other rules than those offered.
pub fn appraise(
    state: &ControlPlaneState,
    sender: &Sender,
    profile: &ProfileId,
    offer: &MessageOffer,
    now: Timestamp,
) -> Result<Appraisal, AgentRefusal> {
    let sender = sender.asked_for(&asks(&sender.settings, state, profile, offer))?;
    let visible = resolve_offer(state, &sender.settings, &offer.id, &sender.agent, now).filter(|found| found.asset.id == offer.target);
    let visible = visible.ok_or(Refusal::UnknownOffer)?;
    if !offer.policy.same_rules(&visible.policy) {
        return Err(Refusal::OtherRules.into());
    }
    Ok(judge(sender, &visible.policy, now))
}

/// Judges the acceptance of an offer of ours by the terms of the offer. Pure.
///
/// # Errors
/// [`Changed`](crate::control_plane::dsp::Refusal::Changed) when the sender was asked for less than these terms need.
pub fn appraise_acceptance(sender: &Sender, profile: &ProfileId, offer: &MessageOffer, now: Timestamp) -> Result<Appraisal, AgentRefusal> {
    let sender = sender.asked_for(&scopes_for(&sender.settings, profile, [&offer.policy]))?;
    Ok(judge(sender, &offer.policy, now))
}

fn judge(sender: &Sender, policy: &Policy, now: Timestamp) -> Appraisal {
    let verdict = evaluate(policy, &Evaluation::new(PolicyScope::ContractNegotiation, &sender.settings, &sender.agent, now));
    if verdict.is_fulfilled() { Appraisal::Met } else { Appraisal::Unmet { required: verdict.reason(), in_full: verdict.in_full() } }
}

/// Judges a counter-offer in a negotiation about `dataset` (DSP 2025-1, "Contract Request Message"). One for an offer of ours is judged as any request;
/// other terms are the consumer's to propose. Pure.
///
/// # Errors
/// As [`appraise`], for a counter-offer that is about another dataset.
pub fn appraise_counter_offer(
    state: &ControlPlaneState,
    sender: &Sender,
    profile: &ProfileId,
    dataset: &AssetId,
    offer: &MessageOffer,
    now: Timestamp,
) -> Result<Appraisal, AgentRefusal> {
    match appraise(state, sender, profile, offer, now) {
        Err(AgentRefusal::Negotiation(Refusal::UnknownOffer | Refusal::OtherRules)) if offer.target == *dataset => Ok(Appraisal::OwnTerms),
        judged => judged,
    }
}

/// What the sender of a request for an offer is asked for: what it is asked for with the catalog, and what the rules in its message name; these must be
/// those of the contract policy. It does not depend on the offer's id, or what is asked for would tell whether a hidden offer exists.
#[must_use]
pub fn asks(settings: &Settings, state: &ControlPlaneState, profile: &ProfileId, offer: &MessageOffer) -> Scopes {
    scopes_for_rules(settings, profile, state.resources.access_operands(), &offer.policy)
}
