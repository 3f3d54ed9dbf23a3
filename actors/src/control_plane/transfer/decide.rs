//! What becomes of a request: finds the transfer, lets the table judge, and lets what steers us take the next step in the same turn.

use super::{
    Act, Arrived, Cause, Effect, Event, Message, Moved, NewTransfer, Outcome, Prepared, Received, Refusal, Reply, StartWith, State, TABLE,
    Task, Transfer, monitor, table::transition, words,
};
use crate::control_plane::{
    ControlPlane, ControlPlaneState, Reply as AgentReply,
    agent::{Decided, Refusal as AgentRefusal},
    data_planes,
    dsp::{self, Repeats, Role, limits, process::told},
    negotiation::{self, Agreement, Negotiation},
    policy::{AgreementFacts, Evaluation, reason_against},
    process_events,
    scopes::scopes_for,
};
use crate::{
    fabric::topics::{FACTS, USAGE},
    settings::Settings,
};
use cellspace_cluster::{Decision, Fact, Rejection};
use cellspace_schemas::{
    AgreementId, Pid, Timestamp, TransferId,
    dsp::transfer::{TransferProcess, TransferRequestMessage, TransferState as Seen},
};
use serde_json::{Map, json};
use std::sync::Arc;

/// First segment of the lanes of data plane calls: they run beside the messages to the counterparty.
const FLOW_LANE: &str = "flow";

type Refused = Rejection<AgentRefusal>;

fn refused(refusal: impl Into<AgentRefusal>) -> Refused {
    refusal.into().into()
}

fn not_allowed(refused: words::Refused) -> Refused {
    AgentRefusal::from(Refusal::from(refused)).into()
}

/// Decides on a request. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &ControlPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    match prepared {
        Prepared::Request { id, new, settings } => request(state, id, new, settings, now),
        Prepared::Act { id, act, settings } => {
            state.active().map_err(AgentRefusal::from)?;
            let transfer = found(state, id)?;
            let moved = transition(transfer, Cause::Act(act.clone()), now).map_err(not_allowed)?;
            let moved = match (moved, act) {
                (Some(moved), Act::Start | Act::Resume) => Some(going_on(state, transfer, moved, settings, now).map_err(not_allowed)?),
                (moved, _) => moved,
            };
            Ok(moved.map_or_else(Decision::nothing, |moved| changed(state, Some(transfer), moved)))
        }
        Prepared::Receive(arrived) => receive(state, arrived, now),
        Prepared::Signal { id, signal } => move_on(state, found(state, id)?, Cause::Signalled(signal.clone()), now),
    }
}

/// Decides what follows when the deadline of a transfer has passed. Pure.
///
/// # Errors
/// None in practice: what was done before is not due any more.
pub fn due(state: &ControlPlaneState, id: &TransferId, now: Timestamp) -> Decided {
    let Some(transfer) = state.transfers.get(id) else { return Ok(Decision::nothing()) };
    let decision = move_on(state, transfer, Cause::Due, now)?;
    // What ends it leaves nothing to look at.
    let look = !decision.changes() && !transfer.state.is_ending() && transfer.look_at.is_some_and(|at| at <= now);
    Ok(if look { monitor::look(state, transfer, now) } else { decision })
}

/// What a transfer comes to by which data begins to flow: it ends instead when the policy of its agreement does not let it go on. One that ends
/// already does so.
fn going_on(
    state: &ControlPlaneState,
    transfer: &Transfer,
    moved: Moved,
    settings: &Settings,
    now: Timestamp,
) -> Result<Moved, words::Refused> {
    if moved.transfer.state.is_ending() {
        return Ok(moved);
    }
    let Some(unmet) = monitor::reason_to_end_transfer(state, transfer, settings, now) else { return Ok(moved) };
    Ok(transition(transfer, Cause::Act(Act::Terminate(Some(unmet))), now)?.unwrap_or(moved))
}

/// Ends a transfer of a participant that is leaving.
pub(in crate::control_plane) fn end(state: &ControlPlaneState, transfer: &Transfer, reason: &str, now: Timestamp) -> Decided {
    move_on(state, transfer, Cause::Act(Act::Terminate(Some(reason.to_owned()))), now)
}

fn found<'a>(state: &'a ControlPlaneState, id: &TransferId) -> Result<&'a Arc<Transfer>, Refused> {
    state.transfers.get(id).ok_or_else(|| refused(Refusal::NotFound(id.clone())))
}

fn move_on(state: &ControlPlaneState, transfer: &Transfer, cause: Cause, now: Timestamp) -> Decided {
    match transition(transfer, cause, now).map_err(not_allowed)? {
        Some(moved) => Ok(changed(state, Some(transfer), moved)),
        None => Ok(Decision::nothing()),
    }
}

/// The agreement in force of this id, in which we have this role, and the negotiation that led to it.
fn agreement<'a>(state: &'a ControlPlaneState, id: &AgreementId, role: Role) -> Option<(&'a Arc<Negotiation>, &'a Arc<Agreement>)> {
    let negotiation = state.negotiations.of_agreement(id).filter(|n| n.role == role)?;
    Some((negotiation, negotiation.agreement_in_force()?))
}

fn request(state: &ControlPlaneState, id: &TransferId, new: &NewTransfer, settings: &Settings, now: Timestamp) -> Decided {
    let participant = state.active().map_err(AgentRefusal::from)?;
    if state.transfers.get(id).is_some() {
        return Err(refused(Refusal::Exists(id.clone())));
    }
    let (negotiation, agreement) =
        agreement(state, &new.agreement, Role::Consumer).ok_or_else(|| refused(Refusal::NoAgreement(new.agreement.clone())))?;
    if negotiation.profile != new.profile || !participant.uses(&new.profile, settings) {
        return Err(refused(Refusal::OtherProfile(new.profile.clone())));
    }
    let ends_at = agreement.ends_at();
    if ends_at.is_some_and(|at| at <= now) {
        return Err(refused(Refusal::NoAgreement(new.agreement.clone())));
    }
    state.transfers.open().room(&agreement.provider).map_err(refused)?;
    let data_plane = state.data_planes.select(&new.transfer_type, &new.metadata.labels, id.as_str()).map(|plane| plane.reference());
    let transfer = Transfer {
        id: id.clone(),
        role: Role::Consumer,
        state: State::PreparationRequested,
        seen: Seen::Requested,
        step: 0,
        message: None,
        call: None,
        counterparty: agreement.provider.clone(),
        address: new.address.clone(),
        counterparty_pid: None,
        profile: new.profile.clone(),
        agreement: agreement.id.clone(),
        asset: agreement.asset.clone(),
        transfer_type: new.transfer_type.clone(),
        metadata: new.metadata.clone(),
        data_plane,
        start_with: None,
        suspended_by: None,
        data_done: false,
        end_again_at: None,
        end_failures: 0,
        ends_at,
        look_at: None,
        patience: None,
        accepted: Repeats::default(),
        error_detail: None,
        errors: 0,
        callbacks: new.callbacks.clone(),
        private_properties: new.private_properties.clone(),
        created_at: now,
        state_at: now,
    };
    // --request--> PREPARATION_REQUESTED (consumer), TERMINATED when no data plane transfers so
    let begun = changed(state, None, transfer.preparing(now));
    Ok(begun.replying(AgentReply::Transfer(Reply::Begun { id: id.clone(), at: now })))
}

fn receive(state: &ControlPlaneState, arrived: &Arrived, now: Timestamp) -> Decided {
    let envelope = &arrived.incoming.envelope;
    dsp::incoming::receiver(state, &arrived.sender.settings, &envelope.profile).map_err(refused)?;
    let sender = arrived.sender.did();
    match (&arrived.incoming.id, &arrived.incoming.message) {
        (None, Message::Request(message)) => match state.transfers.of_counterparty(sender, &message.consumer_pid) {
            // The same request again, whatever its `@id`: a transfer has one request.
            Some(there)
                if there.role == Role::Provider && there.agreement == message.agreement_id && there.transfer_type == message.format =>
            {
                Ok(answer(there))
            }
            Some(_) => Err(refused(Refusal::PidUsed)),
            None => requested(state, arrived, message, now),
        },
        (None, _) => Err(refused(Refusal::Malformed("this message cannot begin a transfer"))),
        (Some(id), message) => {
            let known = state.transfers.get(id).filter(|t| t.counterparty == *sender && t.profile == envelope.profile);
            let transfer = known.ok_or_else(|| refused(dsp::Refusal::NotFound))?;
            if transfer.accepted.contains(&envelope.mark) {
                return Ok(answer(transfer));
            }
            let (message, pid) = read(transfer, message).map_err(refused)?;
            let starts = matches!(message, Received::Start(_));
            let Some(mut moved) = transition(transfer, Cause::Received { message, pid }, now).map_err(not_allowed)? else {
                return Ok(answer(transfer));
            };
            if starts {
                moved = going_on(state, transfer, moved, &arrived.sender.settings, now).map_err(not_allowed)?;
            }
            moved.transfer.accepted.remember(envelope.mark.clone());
            let reply = process(&moved.transfer);
            Ok(changed(state, Some(transfer), moved).replying(AgentReply::Transfer(Reply::Process(reply))))
        }
    }
}

/// The message as the table takes it, and the sender's process.
fn read(transfer: &Transfer, message: &Message) -> Result<(Received, Pid), Refusal> {
    let (consumer, provider) = message.pids();
    let theirs = transfer.pids().of_sender(Some(consumer), provider)?;
    let received = match message {
        Message::Request(_) => return Err(Refusal::Malformed("a transfer is requested once")),
        // Where the data is to be pulled from must be told (DSP 2025-1, "Transfer Start Message").
        Message::Start(m) if m.data_address.is_none() && !transfer.owns_address() && !transfer.transfer_type.is_push() => {
            return Err(Refusal::Malformed("the start of a pull transfer has a dataAddress"));
        }
        Message::Start(m) => Received::Start(m.data_address.clone()),
        Message::Suspension(m) => Received::Suspension(told(m.code.as_deref(), &m.reason)),
        Message::Completion(_) => Received::Completion,
        Message::Termination(m) => Received::Termination(told(m.code.as_deref(), &m.reason)),
    };
    Ok((received, theirs))
}

/// --request--> REQUESTED (provider), when the agreement is the sender's and its policy is fulfilled.
fn requested(state: &ControlPlaneState, arrived: &Arrived, message: &TransferRequestMessage, now: Timestamp) -> Decided {
    let (sender, envelope) = (&arrived.sender, &arrived.incoming.envelope);
    let party = |n: &Negotiation, a: &Agreement| a.consumer == *sender.did() && n.profile == envelope.profile;
    let (negotiation, agreement) = agreement(state, &message.agreement_id, Role::Provider)
        .filter(|(n, a)| party(n, a))
        .ok_or_else(|| refused(dsp::Refusal::NotFound))?;
    state.transfers.open().room(sender.did()).map_err(refused)?;
    if message.format.is_push() != message.data_address.is_some() {
        return Err(refused(Refusal::Malformed("a dataAddress belongs to push transfers, and to those alone")));
    }
    let metadata = state.resources.asset(&agreement.asset).and_then(|asset| asset.dataplane_metadata.clone()).unwrap_or_default();
    let offered = state.data_planes.transfer_types(Some(&metadata)).contains(&message.format);
    let plane = state.data_planes.select(&message.format, &metadata.labels, arrived.fresh.as_str()).filter(|_| offered);
    let plane = plane.ok_or_else(|| refused(Refusal::Unsupported(message.format.clone())))?;
    fulfilled(arrived, agreement, now).map_err(refused)?;
    let transfer = Transfer {
        id: arrived.fresh.clone(),
        role: Role::Provider,
        state: State::Requested,
        seen: Seen::Requested,
        step: 0,
        message: None,
        call: None,
        counterparty: sender.did().clone(),
        address: message.callback_address.clone(),
        counterparty_pid: Some(message.consumer_pid.clone()),
        profile: envelope.profile.clone(),
        agreement: agreement.id.clone(),
        asset: agreement.asset.clone(),
        transfer_type: message.format.clone(),
        metadata,
        data_plane: Some(plane.reference()),
        start_with: Some(StartWith { claims: sender.claims(), data_address: message.data_address.clone() }),
        suspended_by: None,
        data_done: false,
        end_again_at: None,
        end_failures: 0,
        ends_at: agreement.ends_at(),
        look_at: monitor::next_look(agreement, now),
        patience: None,
        accepted: Repeats::of(envelope.mark.clone()),
        error_detail: None,
        errors: 0,
        callbacks: Vec::new(),
        private_properties: Map::new(),
        created_at: now,
        state_at: now,
    };
    let reply = AgentReply::Transfer(Reply::Process(process(&transfer)));
    let act = arrived.steering.transfer(&transfer);
    let moved = match act {
        Some(act) => transition(&transfer, Cause::Act(act), now).map_err(not_allowed)?,
        None => None,
    };
    let moved = moved.unwrap_or_else(|| Moved { transfer, tasks: Vec::new() });
    let mut decision = changed(state, None, moved).replying(reply);
    // Who transfers under an agreement has seen that it is final.
    if let Some(finalized) = negotiation::finalized(state, negotiation, now).map_err(refused)? {
        decision = decision.and(finalized);
    }
    Ok(decision)
}

/// Evaluates the agreement's policy for a transfer by the sender, that may be started and may go on.
fn fulfilled(arrived: &Arrived, agreement: &Agreement, now: Timestamp) -> Result<(), AgentRefusal> {
    let needed = scopes_for(&arrived.sender.settings, &arrived.incoming.envelope.profile, [&agreement.policy]);
    let sender = arrived.sender.asked_for(&needed)?;
    let facts = AgreementFacts::from(agreement);
    let started = reason_against(&agreement.policy, &Evaluation::under(&facts, &sender.settings, &sender.agent, now));
    match started.or_else(|| monitor::reason_to_end(agreement, &sender.settings, now)) {
        None => Ok(()),
        Some(required) => Err(Refusal::Unmet(required).into()),
    }
}

/// What a successful delivery means. Pure.
///
/// # Errors
/// None in practice: outcomes that fit no more change nothing.
pub fn delivered(state: &ControlPlaneState, effect: &Effect, outcome: &Outcome, now: Timestamp) -> Decided {
    let cause = match (outcome, effect.step()) {
        (Outcome::Taken { pid }, Some(step)) => Cause::Delivered { step, pid: pid.clone() },
        (Outcome::NothingToTell, Some(step)) => Cause::Delivered { step, pid: None },
        (Outcome::Answered(signal), Some(step)) => Cause::Answered { step, signal: signal.clone() },
        (Outcome::Looked { unmet: Some(unmet) }, _) if is_running(state, effect) => Cause::Act(Act::Terminate(Some(unmet.clone()))),
        (Outcome::Looked { .. }, _) | (_, None) => return Ok(Decision::nothing()),
    };
    settle(state, effect, cause, now)
}

/// What a delivery that was given up means. Pure.
///
/// # Errors
/// None in practice: outcomes that fit no more change nothing.
pub fn undeliverable(state: &ControlPlaneState, effect: &Effect, reason: &str, now: Timestamp) -> Decided {
    let reason = reason.to_owned();
    let cause = match &effect.task {
        Task::Tell(step, _) => Cause::Undeliverable { step: *step, reason },
        Task::Call(step, _) => Cause::CallFailed { step: *step, reason },
        Task::Look => return Ok(Decision::nothing()),
    };
    settle(state, effect, cause, now)
}

fn is_running(state: &ControlPlaneState, effect: &Effect) -> bool {
    state.transfers.get(&effect.transfer).is_some_and(|transfer| !transfer.state.is_ending())
}

fn settle(state: &ControlPlaneState, effect: &Effect, cause: Cause, now: Timestamp) -> Decided {
    match state.transfers.get(&effect.transfer) {
        Some(transfer) => move_on(state, transfer, cause, now),
        None => Ok(Decision::nothing()),
    }
}

/// The change: the transfer's row, its tasks, and facts for others.
fn changed(state: &ControlPlaneState, before: Option<&Transfer>, moved: Moved) -> Decision<ControlPlane> {
    let Moved { mut transfer, tasks } = moved;
    transfer.patience = state.known().and_then(|participant| limits::patience(&participant.config, limits::TRANSFER_PATIENCE));
    let same_state = before.is_some_and(|b| b.state == transfer.state);
    let errored = before.is_some_and(|b| b.errors != transfer.errors);
    let mut decision = Decision::action(if errored { "transfer.errored" } else { transfer.state.action() });
    for task in tasks {
        let lane = match &task {
            Task::Tell(..) => TABLE,
            Task::Call(..) | Task::Look => FLOW_LANE,
        };
        decision = decision.effect(format!("{lane}/{}", transfer.id), Effect { transfer: transfer.id.clone(), task }.into());
    }
    if !same_state || errored {
        for fact in facts(state, &transfer, errored) {
            decision = decision.fact(fact);
        }
    }
    decision = process_events::transfer(decision, state, before, &transfer);
    if transfer.state.is_final() {
        let last = before.is_some_and(|b| !b.state.is_final()) && state.transfers.open().all() == 1;
        decision = if last && state.deleted.is_some() {
            data_planes::disposed(state, decision)
        } else {
            data_planes::released(state, &transfer, decision)
        };
    }
    decision.event(Event::Set(Arc::new(transfer)).into())
}

/// What others learn of a transfer: when data may flow, pauses, or flows no more.
fn facts(state: &ControlPlaneState, transfer: &Transfer, errored: bool) -> Vec<Fact> {
    let Some(participant) = state.known() else { return Vec::new() };
    let kind = match transfer.state {
        _ if errored => "org.cellspace.transfer.errored",
        State::Started => "org.cellspace.transfer.started",
        State::Suspended => "org.cellspace.transfer.suspended",
        State::Completed => "org.cellspace.transfer.completed",
        State::Terminated => "org.cellspace.transfer.terminated",
        State::PreparationRequested
        | State::Requesting
        | State::Requested
        | State::Starting
        | State::StartupRequested
        | State::Suspending
        | State::SuspendingRequested
        | State::Resuming
        | State::ResumingRequested
        | State::Resumed
        | State::Completing
        | State::CompletingRequested
        | State::Terminating
        | State::TerminatingRequested => return Vec::new(),
    };
    let data = json!({
        "participantContextId": participant.id.as_str(),
        "transferId": transfer.id.as_str(),
        "role": transfer.role.name(),
        "state": transfer.state.name(),
        "counterPartyId": transfer.counterparty.as_str(),
        "profile": transfer.profile.as_str(),
        "assetId": transfer.asset.as_str(),
        "contractId": transfer.agreement.as_str(),
        "transferType": transfer.transfer_type.as_str(),
        "errors": transfer.errors,
        "at": transfer.state_at.millis(),
    });
    let fact = |topic: &'static str| Fact { topic: topic.into(), key: participant.id.to_string(), kind, data: data.clone() };
    if errored { vec![fact(FACTS)] } else { vec![fact(FACTS), fact(USAGE)] }
}

/// The transfer as its counterparty sees it. As long as the counterparty has not told its process id, ours stands in its place.
#[must_use]
pub fn process(transfer: &Transfer) -> TransferProcess {
    let (consumer_pid, provider_pid) = transfer.pids().shown();
    TransferProcess { provider_pid, consumer_pid, state: transfer.seen }
}

fn answer(transfer: &Transfer) -> Decision<ControlPlane> {
    Decision::reply(AgentReply::Transfer(Reply::Process(process(transfer))))
}
