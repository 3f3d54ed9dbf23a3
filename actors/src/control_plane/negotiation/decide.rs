//! What becomes of a request: finds the negotiation, lets the table judge, and lets what steers us take the next step in the same turn.

use super::{
    Act, Arrived, Cause, Effect, Event, Message, Negotiation, NewNegotiation, Outcome, Prepared, Received, Refusal, Reply, State, TABLE,
    appraisal::{self, Appraisal},
    retire,
    table::{self, transition},
};
use crate::control_plane::{
    ControlPlane, ControlPlaneState, Reply as AgentReply,
    agent::{Decided, Refusal as AgentRefusal},
    dsp::{self, Repeats, Role, limits, process::told},
    participant::Participant,
    process_events,
};
use crate::{
    fabric::topics::{FACTS, USAGE},
    settings::Settings,
};
use cellspace_cluster::{Decision, Fact, Rejection};
use cellspace_schemas::{
    NegotiationId, Pid, Timestamp,
    dsp::{
        BaseUrl,
        negotiation::{ContractNegotiation, MessageOffer, NegotiationEvent, NegotiationState as Seen},
    },
};
use serde_json::json;
use std::sync::Arc;

type Refused = Rejection<AgentRefusal>;

pub(super) fn refused(refusal: impl Into<AgentRefusal>) -> Refused {
    refusal.into().into()
}

fn not_allowed(refused: table::Refused) -> Refused {
    AgentRefusal::from(Refusal::from(refused)).into()
}

/// Decides on a request. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &ControlPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    match prepared {
        Prepared::Begin { id, role, new, settings } => begin(state, id, (*role, new), settings, now),
        Prepared::Act { id, act, seen } => act_on(state, id, act, seen.as_deref(), now),
        Prepared::Delete(id) => delete(state, id),
        Prepared::Retire { agreement, reason } => retire::retire(state, agreement, reason, now),
        Prepared::Receive(arrived) => receive(state, arrived, now),
    }
}

/// Decides what follows when the deadline of a negotiation has passed. Pure.
///
/// # Errors
/// None in practice: what was answered before is not due any more.
pub fn due(state: &ControlPlaneState, id: &NegotiationId, now: Timestamp) -> Decided {
    match state.negotiations.get(id).and_then(|negotiation| retire::go_on(state, negotiation, now)) {
        Some(ended) => ended,
        None => settle(state, id, Cause::Due, now),
    }
}

/// Ends a negotiation of a participant that is leaving.
pub(in crate::control_plane) fn end(state: &ControlPlaneState, id: &NegotiationId, reason: &str, now: Timestamp) -> Decided {
    settle(state, id, Cause::Act(Act::Terminate(reason.to_owned())), now)
}

/// What it means for a negotiation that the counterparty relies on its agreement: the finalization has arrived. `None` when that is known.
pub(in crate::control_plane) fn finalized(
    state: &ControlPlaneState,
    negotiation: &Negotiation,
    now: Timestamp,
) -> Result<Option<Decision<ControlPlane>>, Refusal> {
    let Some(participant) = state.known().filter(|_| negotiation.state == State::Finalizing) else { return Ok(None) };
    let arrived = Cause::Delivered { step: negotiation.step, pid: None };
    Ok(transition(negotiation, arrived, &participant.identity, now)?.map(|next| changed(state, Some(negotiation), next)))
}

pub(super) fn active(state: &ControlPlaneState) -> Result<&Participant, Refused> {
    Ok(state.active().map_err(AgentRefusal::from)?)
}

fn found<'a>(state: &'a ControlPlaneState, id: &NegotiationId) -> Result<&'a Arc<Negotiation>, Refused> {
    state.negotiations.get(id).ok_or_else(|| refused(Refusal::NotFound(id.clone())))
}

fn begin(
    state: &ControlPlaneState,
    id: &NegotiationId,
    (role, new): (Role, &NewNegotiation),
    settings: &Settings,
    now: Timestamp,
) -> Decided {
    let participant = active(state)?;
    if state.negotiations.get(id).is_some() {
        return Err(refused(Refusal::Exists(id.clone())));
    }
    if !participant.uses(&new.profile, settings) {
        return Err(refused(Refusal::NoProfile(new.profile.clone())));
    }
    // Asked here, where assets are removed too: what is offered is there as long as it is negotiated.
    if role == Role::Provider && state.resources.asset(&new.offer.target).is_none() {
        return Err(refused(Refusal::NoAsset(new.offer.target.clone())));
    }
    state.negotiations.open().room(&new.counterparty).map_err(refused)?;
    let (at, seen) = match role {
        // --request--> REQUESTING (consumer)
        Role::Consumer => (State::Requesting, Seen::Requested),
        // --offer--> OFFERING (provider)
        Role::Provider => (State::Offering, Seen::Offered),
    };
    let negotiation = Negotiation {
        id: id.clone(),
        role,
        state: at,
        seen,
        step: 1,
        counterparty: new.counterparty.clone(),
        address: new.address.clone(),
        counterparty_pid: None,
        profile: new.profile.clone(),
        offer: new.offer.clone(),
        agreement: None,
        accepted: Repeats::default(),
        error_detail: None,
        finding: None,
        patience: None,
        callbacks: new.callbacks.clone(),
        created_at: now,
        state_at: now,
    };
    Ok(changed(state, None, negotiation).replying(AgentReply::Negotiation(Reply::Begun { id: id.clone(), at: now })))
}

fn act_on(state: &ControlPlaneState, id: &NegotiationId, act: &Act, seen: Option<&MessageOffer>, now: Timestamp) -> Decided {
    let own = &active(state)?.identity;
    let negotiation = found(state, id)?;
    let next = transition(negotiation, Cause::Act(act.clone()), own, now).map_err(not_allowed)?;
    if seen.is_some_and(|seen| seen.id != negotiation.offer.id || !seen.same_terms(&negotiation.offer)) {
        return Err(refused(Refusal::OtherTerms));
    }
    match next {
        Some(next) => Ok(changed(state, Some(negotiation), next)),
        None => Ok(Decision::nothing()),
    }
}

fn delete(state: &ControlPlaneState, id: &NegotiationId) -> Decided {
    active(state)?;
    let negotiation = found(state, id)?;
    let agreed = negotiation.agreement.is_some();
    if agreed || negotiation.state != State::Terminated {
        return Err(refused(Refusal::NotRemovable { state: negotiation.state, agreed }));
    }
    Ok(Decision::action("negotiation.deleted").event(Event::Deleted(id.clone()).into()))
}

fn receive(state: &ControlPlaneState, arrived: &Arrived, now: Timestamp) -> Decided {
    let envelope = &arrived.incoming.envelope;
    let (participant, _) = dsp::incoming::receiver(state, &arrived.sender.settings, &envelope.profile).map_err(refused)?;
    match (&arrived.incoming.id, &arrived.incoming.message) {
        (None, Message::Request(message)) => match state.negotiations.of_counterparty(arrived.sender.did(), &message.consumer_pid) {
            // The first request again, whatever its `@id`: a negotiation has one first request. By its `@id` also when other terms came since.
            Some(there)
                if there.role == Role::Provider
                    && (there.accepted.contains(&envelope.mark) || is_first_request_of(there, &message.offer)) =>
            {
                Ok(answer(there))
            }
            Some(_) => Err(refused(Refusal::PidUsed)),
            None => first_request(state, arrived, participant, now),
        },
        (None, Message::Offer(message)) => match state.negotiations.of_counterparty(arrived.sender.did(), &message.provider_pid) {
            Some(there) if there.role == Role::Consumer && there.accepted.contains(&envelope.mark) => Ok(answer(there)),
            Some(_) => Err(refused(Refusal::PidUsed)),
            None => first_offer(state, arrived, participant, now),
        },
        (None, _) => Err(refused(Refusal::Malformed("this message cannot begin a negotiation"))),
        (Some(id), message) => {
            let known = state.negotiations.get(id).filter(|n| n.counterparty == *arrived.sender.did() && n.profile == envelope.profile);
            let negotiation = known.ok_or_else(|| refused(dsp::Refusal::NotFound))?;
            if negotiation.accepted.contains(&envelope.mark) {
                return Ok(answer(negotiation));
            }
            let (message, pid) = read(negotiation, message).map_err(refused)?;
            follow(state, arrived, participant, negotiation, message, pid, now)
        }
    }
}

/// Whether a first request that came again is about the same offer.
fn is_first_request_of(negotiation: &Negotiation, offer: &MessageOffer) -> bool {
    negotiation.offer.id == offer.id && negotiation.offer.target == offer.target
}

fn first_request(state: &ControlPlaneState, arrived: &Arrived, participant: &Participant, now: Timestamp) -> Decided {
    let Message::Request(message) = &arrived.incoming.message else { return Ok(Decision::nothing()) };
    let Some(address) = &message.callback_address else {
        return Err(refused(Refusal::Malformed("callbackAddress is required in a first request")));
    };
    if message.provider_pid.is_some() {
        return Err(refused(Refusal::Malformed("a first request has no providerPid")));
    }
    state.negotiations.open().room(arrived.sender.did()).map_err(refused)?;
    let appraisal =
        appraisal::appraise(state, &arrived.sender, &arrived.incoming.envelope.profile, &message.offer, now).map_err(refused)?;
    // --request--> REQUESTED (provider)
    let begun = begun(arrived, Role::Provider, &message.offer, address, &message.consumer_pid, now);
    go_on(state, arrived, participant, None, begun, Some(appraisal), now)
}

fn first_offer(state: &ControlPlaneState, arrived: &Arrived, participant: &Participant, now: Timestamp) -> Decided {
    let Message::Offer(message) = &arrived.incoming.message else { return Ok(Decision::nothing()) };
    let Some(address) = &message.callback_address else {
        return Err(refused(Refusal::Malformed("callbackAddress is required in a first offer")));
    };
    if message.consumer_pid.is_some() {
        return Err(refused(Refusal::Malformed("a first offer has no consumerPid")));
    }
    state.negotiations.open().room(arrived.sender.did()).map_err(refused)?;
    // --offer--> OFFERED (consumer)
    let begun = begun(arrived, Role::Consumer, &message.offer, address, &message.provider_pid, now);
    go_on(state, arrived, participant, None, begun, Some(Appraisal::OwnTerms), now)
}

/// What a counterparty has begun.
fn begun(arrived: &Arrived, role: Role, offer: &MessageOffer, address: &BaseUrl, pid: &Pid, now: Timestamp) -> Negotiation {
    let (state, seen) = match role {
        Role::Provider => (State::Requested, Seen::Requested),
        Role::Consumer => (State::Offered, Seen::Offered),
    };
    Negotiation {
        id: arrived.fresh.clone(),
        role,
        state,
        seen,
        step: 0,
        counterparty: arrived.sender.did().clone(),
        address: address.clone(),
        counterparty_pid: Some(pid.clone()),
        profile: arrived.incoming.envelope.profile.clone(),
        offer: offer.clone(),
        agreement: None,
        accepted: Repeats::default(),
        error_detail: None,
        finding: None,
        patience: None,
        callbacks: Vec::new(),
        created_at: now,
        state_at: now,
    }
}

/// The message as the table takes it, and the sender's process.
fn read(negotiation: &Negotiation, message: &Message) -> Result<(Received, Pid), Refusal> {
    let (consumer, provider) = message.pids();
    let theirs = negotiation.pids().of_sender(consumer, provider)?;
    let received = match message {
        Message::Request(m) => Received::Request(m.offer.clone()),
        Message::Offer(m) => Received::Offer(m.offer.clone()),
        Message::Agreement(m) => Received::Agreement(m.agreement.clone()),
        Message::Verification(_) => Received::Verification,
        Message::Event(m) => match m.event_type {
            NegotiationEvent::Accepted => Received::Accepted,
            NegotiationEvent::Finalized => Received::Finalized,
        },
        Message::Termination(m) => Received::Termination(told(m.code.as_deref(), &m.reason)),
    };
    Ok((received, theirs))
}

fn follow(
    state: &ControlPlaneState,
    arrived: &Arrived,
    participant: &Participant,
    negotiation: &Arc<Negotiation>,
    message: Received,
    pid: Pid,
    now: Timestamp,
) -> Decided {
    // The id of an agreement is the provider's choice: it must not take the place of another one that we have.
    if let Received::Agreement(agreement) = &message
        && state.negotiations.of_agreement(&agreement.id).is_some_and(|other| other.id != negotiation.id)
    {
        return Err(refused(Refusal::AgreementUsed));
    }
    let Some(next) =
        transition(negotiation, Cause::Received { message: message.clone(), pid }, &participant.identity, now).map_err(not_allowed)?
    else {
        return Ok(answer(negotiation));
    };
    let (sender, profile) = (&arrived.sender, &arrived.incoming.envelope.profile);
    let appraisal = match &message {
        Received::Request(offer) => {
            Some(appraisal::appraise_counter_offer(state, sender, profile, &negotiation.offer.target, offer, now).map_err(refused)?)
        }
        Received::Accepted => Some(appraisal::appraise_acceptance(sender, profile, &negotiation.offer, now).map_err(refused)?),
        Received::Offer(offer) if !offer.same_terms(&negotiation.offer) => Some(Appraisal::OwnTerms),
        Received::Offer(_) | Received::Agreement(_) | Received::Verification | Received::Finalized | Received::Termination(_) => None,
    };
    go_on(state, arrived, participant, Some(negotiation), next, appraisal, now)
}

/// Remembers the message, takes the next step if one is to be taken now, and answers.
fn go_on(
    state: &ControlPlaneState,
    arrived: &Arrived,
    participant: &Participant,
    before: Option<&Negotiation>,
    mut next: Negotiation,
    appraisal: Option<Appraisal>,
    now: Timestamp,
) -> Decided {
    next.accepted.remember(arrived.incoming.envelope.mark.clone());
    let seen = process(&next);
    let act = match appraisal {
        // What was required goes to the counterparty, never what was found.
        Some(Appraisal::Unmet { required, in_full }) => {
            next.finding = Some(in_full);
            Some(Act::Terminate(required))
        }
        Some(Appraisal::OwnTerms) => None,
        Some(Appraisal::Met) | None => arrived.steering.negotiation(&next, &arrived.fresh_agreement),
    };
    if let Some(act) = act
        && let Some(further) = transition(&next, Cause::Act(act), &participant.identity, now).map_err(not_allowed)?
    {
        next = further;
    }
    Ok(changed(state, before, next).replying(AgentReply::Negotiation(Reply::Process(seen))))
}

/// What a successful delivery means. Pure.
///
/// # Errors
/// None in practice: outcomes that fit no more change nothing.
pub fn delivered(state: &ControlPlaneState, effect: &Effect, outcome: &Outcome, now: Timestamp) -> Decided {
    let pid = match outcome {
        Outcome::Taken { pid } => pid.clone(),
        Outcome::NothingToTell => None,
    };
    settle(state, &effect.negotiation, Cause::Delivered { step: effect.step, pid }, now)
}

/// What a delivery that was given up means. Pure.
///
/// # Errors
/// None in practice: outcomes that fit no more change nothing.
pub fn undeliverable(state: &ControlPlaneState, effect: &Effect, reason: &str, now: Timestamp) -> Decided {
    settle(state, &effect.negotiation, Cause::Undeliverable { step: effect.step, reason: reason.to_owned() }, now)
}

fn settle(state: &ControlPlaneState, id: &NegotiationId, cause: Cause, now: Timestamp) -> Decided {
    // Negotiations that were removed wait for nothing.
    let (Some(participant), Some(negotiation)) = (state.known(), state.negotiations.get(id)) else {
        return Ok(Decision::nothing());
    };
    match transition(negotiation, cause, &participant.identity, now).map_err(not_allowed)? {
        Some(next) => Ok(changed(state, Some(negotiation), next)),
        None => Ok(Decision::nothing()),
    }
}

/// The change: the negotiation's row, its message if one is to be sent, and facts for others.
fn changed(state: &ControlPlaneState, before: Option<&Negotiation>, mut next: Negotiation) -> Decision<ControlPlane> {
    next.patience = state.known().and_then(|participant| limits::patience(&participant.config, limits::NEGOTIATION_PATIENCE));
    let mut decision = Decision::action(next.state.action());
    if before.is_none_or(|b| b.step != next.step)
        && let Some(message) = next.state.sends()
    {
        let effect = Effect { negotiation: next.id.clone(), step: next.step, message };
        decision = decision.effect(format!("{TABLE}/{}", next.id), effect.into());
    }
    if before.is_none_or(|b| b.state != next.state) && next.state.is_final() {
        for fact in facts(state, &next) {
            decision = decision.fact(fact);
        }
    }
    decision = process_events::negotiation(decision, state, before, &next);
    decision.event(Event::Set(Arc::new(next)).into())
}

/// What others learn when a negotiation ends.
fn facts(state: &ControlPlaneState, negotiation: &Negotiation) -> Vec<Fact> {
    let Some(participant) = state.known() else { return Vec::new() };
    let data = json!({
        "participantContextId": participant.id.as_str(),
        "negotiationId": negotiation.id.as_str(),
        "role": negotiation.role.name(),
        "state": negotiation.state.name(),
        "counterPartyId": negotiation.counterparty.as_str(),
        "profile": negotiation.profile.as_str(),
        "assetId": negotiation.offer.target.as_str(),
        "contractAgreementId": negotiation.agreement.as_ref().map(|a| a.id.as_str()),
        "at": negotiation.state_at.millis(),
    });
    let finalized = negotiation.state == State::Finalized;
    let kind = if finalized { "org.cellspace.negotiation.finalized" } else { "org.cellspace.negotiation.terminated" };
    let fact = |topic: &'static str| Fact { topic: topic.into(), key: participant.id.to_string(), kind, data: data.clone() };
    if finalized { vec![fact(FACTS), fact(USAGE)] } else { vec![fact(FACTS)] }
}

/// The negotiation as its counterparty sees it. As long as the counterparty has not told its process id, ours stands in its place.
#[must_use]
pub fn process(negotiation: &Negotiation) -> ContractNegotiation {
    let (consumer_pid, provider_pid) = negotiation.pids().shown();
    ContractNegotiation { provider_pid, consumer_pid, state: negotiation.seen }
}

fn answer(negotiation: &Negotiation) -> Decision<ControlPlane> {
    Decision::reply(AgentReply::Negotiation(Reply::Process(process(negotiation))))
}
