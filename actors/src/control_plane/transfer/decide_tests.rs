//! What becomes of every request to the transfers of a participant.

use super::{
    Act, Arrived, Effect, Event, Incoming, Message, NewTransfer, Notice, Outcome, PlaneCall, Prepared, Refusal, Reply, Signal, StartWith,
    State, Task, Transfer, decide, delivered, due, prepare,
    tests::{self, address},
    undeliverable,
};
use crate::control_plane::{
    ControlPlaneState, Effect as AgentEffect, Refusal as AgentRefusal, Reply as AgentReply,
    agent::Decided,
    data_planes::{self, PlaneRef},
    dsp::{self, AtOnce, Role, Sender, Steering, client::Head, limits, process::OtherProcess},
    negotiation::{self, Agreement, Negotiation},
    participant,
    scopes::Scopes,
    testing::{self, NOW, Silent, after, envelope, offer, own, peer, profile, refusal, sender, settings},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{
    AgreementId, Did, MessageId, Pid, SecretText,
    dsp::{
        CONTEXT, DataAddress, SentContext,
        negotiation::NegotiationState,
        reasons::Reasons,
        transfer::{
            TransferCompletionMessage, TransferRequestMessage, TransferStartMessage, TransferState as Seen, TransferSuspensionMessage,
            TransferTerminationMessage,
        },
    },
    management::{DataplaneMetadata, ParticipantContextState},
};
use serde_json::{Map, json};
use std::{sync::Arc, time::Duration};

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn pid(text: &str) -> Pid {
    Pid::new(text).unwrap()
}

/// With an agreement on the asset in a negotiation in this state.
pub(super) fn agreed(role: Role, asset: &str, at: negotiation::State) -> ControlPlaneState {
    let offer = offer(asset, 9);
    let (provider, consumer) = if role == Role::Provider { (own(), peer()) } else { (peer(), own()) };
    let agreement = Agreement::on(&offer, "ag".parse().unwrap(), provider, consumer, NOW);
    let negotiation = Negotiation {
        id: "n".parse().unwrap(),
        role,
        state: at,
        seen: NegotiationState::Verified,
        step: 2,
        counterparty: peer(),
        address: "http://peer/dsp".parse().unwrap(),
        counterparty_pid: Some(pid("theirs")),
        profile: profile(),
        offer,
        agreement: Some(Arc::new(agreement)),
        accepted: dsp::Repeats::default(),
        error_detail: None,
        finding: None,
        patience: None,
        callbacks: vec![],
        created_at: NOW,
        state_at: NOW,
    };
    let mut state = testing::state();
    state.negotiations.apply(&negotiation::Event::Set(Arc::new(negotiation)));
    state
}

fn provider() -> ControlPlaneState {
    agreed(Role::Provider, "open", negotiation::State::Finalized)
}

/// With a transfer in this state.
pub(super) fn with(role: Role, at: State, change: impl FnOnce(&mut Transfer)) -> ControlPlaneState {
    let mut state = agreed(role, "open", negotiation::State::Finalized);
    let mut t = Transfer {
        seen: Seen::Started,
        message: None,
        call: None,
        counterparty: peer(),
        address: "http://peer/dsp".parse().unwrap(),
        profile: profile(),
        asset: "open".parse().unwrap(),
        data_plane: Some(PlaneRef { id: "dp".parse().unwrap(), revision: 0 }),
        created_at: NOW,
        state_at: NOW,
        ..tests::transfer(at, role)
    };
    change(&mut t);
    state.transfers.apply(&Event::Set(Arc::new(t)));
    state
}

pub(super) fn only(state: &ControlPlaneState) -> &Transfer {
    let mut all = state.transfers.iter();
    let one = all.next().unwrap();
    assert!(all.next().is_none());
    one
}

pub(super) fn request(consumer: &str) -> TransferRequestMessage {
    TransferRequestMessage {
        consumer_pid: pid(consumer),
        agreement_id: "ag".parse().unwrap(),
        format: "HttpData-PULL".parse().unwrap(),
        data_address: None,
        callback_address: "http://peer/dsp".parse().unwrap(),
    }
}

pub(super) fn sent_by(
    sender: Sender,
    steering: Arc<dyn Steering>,
    state: &ControlPlaneState,
    mark: &str,
    id: Option<&str>,
    message: Message,
) -> Decided {
    let incoming = Incoming { envelope: envelope(mark), id: id.map(|id| id.parse().unwrap()), message };
    let arrived = Arrived { incoming, sender, fresh: "fresh".parse().unwrap(), steering };
    decide(state, &Prepared::Receive(Box::new(arrived)), NOW)
}

pub(super) fn sends(state: &ControlPlaneState, mark: &str, id: Option<&str>, message: Message) -> Decided {
    sent_by(sender(peer(), &["Membership"], &["manufacturer"]), Arc::new(AtOnce), state, mark, id, message)
}

fn shown(decided: Decided) -> (Seen, String, String, usize) {
    let decision = decided.unwrap();
    match &decision.reply {
        AgentReply::Transfer(Reply::Process(p)) => (p.state, p.consumer_pid.to_string(), p.provider_pid.to_string(), decision.events.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_answered_and_started_in_one_turn() {
    let state = provider();
    let decision = sends(&state, "m1", None, Message::Request(request("c1"))).unwrap();
    let next = after(&state, &decision);
    assert_eq!((only(&next).state, only(&next).due(), decision.effects.len()), (State::StartupRequested, None, 1));
    let about = <crate::control_plane::ControlPlane as cellspace_cluster::Agent>::about(&decision.events[0]);
    assert_eq!((about.counterparty.as_deref(), about.contract.as_deref()), (Some("did:web:peer"), Some("ag")));
    assert_eq!(shown(Ok(decision)), (Seen::Requested, "c1".to_owned(), "fresh".to_owned(), 1));
    // The same again, whatever its `@id`; the same process id for something else.
    assert_eq!(shown(sends(&next, "m2", None, Message::Request(request("c1")))).3, 0);
    let other = TransferRequestMessage { format: "Other-PULL".parse().unwrap(), ..request("c1") };
    assert_eq!(refusal(sends(&next, "m3", None, Message::Request(other))).to_string(), Refusal::PidUsed.to_string());
}

#[test]
fn a_request_that_waits_for_a_person_waits_a_day() {
    let state = provider();
    let waits = sent_by(sender(peer(), &[], &[]), Arc::new(Silent), &state, "m", None, Message::Request(request("c"))).unwrap();
    let next = after(&state, &waits);
    assert_eq!((only(&next).state, only(&next).due()), (State::Requested, Some(NOW.plus(limits::UNANSWERED))));
    let id = &only(&next).id;
    assert!(!due(&next, id, NOW).unwrap().changes() && !due(&next, &"none".parse().unwrap(), NOW).unwrap().changes());
    let ended = due(&next, id, NOW.plus(limits::UNANSWERED)).unwrap();
    assert_eq!((only(&after(&next, &ended)).state, ended.action), (State::Terminating, "transfer.terminating"));
}

#[test]
fn only_who_agreed_transfers_as_agreed() {
    let state = provider();
    let not_found = dsp::Refusal::NotFound.to_string();
    let ask = |state: &ControlPlaneState, m| sends(state, "m", None, Message::Request(m));
    let third = sender(Did::new("did:web:third").unwrap(), &[], &[]);
    let by_third = sent_by(third, Arc::new(AtOnce), &state, "m", None, Message::Request(request("c")));
    assert_eq!(refusal(by_third).to_string(), not_found);
    let unknown = TransferRequestMessage { agreement_id: "ag-2".parse().unwrap(), ..request("c") };
    assert_eq!(refusal(ask(&state, unknown)).to_string(), not_found);
    for (role, at) in [(Role::Consumer, negotiation::State::Finalized), (Role::Provider, negotiation::State::Verified)] {
        assert_eq!(refusal(ask(&agreed(role, "open", at), request("c"))).to_string(), not_found, "{role:?} {at:?}");
    }
    let unsupported = TransferRequestMessage { format: "S3-PULL".parse().unwrap(), ..request("c") };
    assert!(matches!(refusal(ask(&state, unsupported)), AgentRefusal::Transfer(Refusal::Unsupported(_))));
    for m in [
        TransferRequestMessage { data_address: address(), ..request("c") },
        TransferRequestMessage { format: "HttpData-PUSH".parse().unwrap(), ..request("c") },
    ] {
        assert!(matches!(refusal(ask(&state, m)), AgentRefusal::Transfer(Refusal::Malformed(_))));
    }
    let restricted = agreed(Role::Provider, "restricted", negotiation::State::Finalized);
    let refused = refusal(ask(&restricted, request("c")));
    assert!(matches!(&refused, AgentRefusal::Transfer(Refusal::Unmet(why)) if why == "use requires Manufacturer eq active"), "{refused}");
    let met = sender(peer(), &["Manufacturer"], &["manufacturer"]);
    assert!(sent_by(met, Arc::new(AtOnce), &restricted, "m", None, Message::Request(request("c"))).is_ok());
    let unasked = sender(peer(), &["Manufacturer"], &[]);
    let changed = refusal(sent_by(unasked, Arc::new(AtOnce), &restricted, "m", None, Message::Request(request("c"))));
    assert!(matches!(changed, AgentRefusal::Message(dsp::Refusal::Changed)));
}

#[test]
fn a_request_proves_the_finalization() {
    let state = agreed(Role::Provider, "open", negotiation::State::Finalizing);
    let decision = sends(&state, "m", None, Message::Request(request("c"))).unwrap();
    let next = after(&state, &decision);
    let negotiation = next.negotiations.iter().next().unwrap();
    assert_eq!((negotiation.state, only(&next).state), (negotiation::State::Finalized, State::StartupRequested));
    assert_eq!(decision.facts.iter().filter(|fact| fact.kind == "org.cellspace.negotiation.finalized").count(), 2);
    // The message that was under way is not missed.
    let late = negotiation::Effect { negotiation: "n".parse().unwrap(), step: 2, message: negotiation::Sent::Finalized };
    assert!(!negotiation::delivered(&next, &late, &negotiation::Outcome::NothingToTell, NOW).unwrap().changes());
}

#[test]
fn who_is_asked_for_what() {
    let (state, settings) = (agreed(Role::Provider, "restricted", negotiation::State::Finalized), settings());
    let token = |issuer: &str| SecretText::new(format!("h.{}.s", URL_SAFE_NO_PAD.encode(json!({ "iss": issuer }).to_string())));
    let asks = |issuer: &str, message| {
        let envelope = dsp::Envelope { token: token(issuer), ..envelope("m") };
        prepare::asks(&settings, &state, &Incoming { envelope, id: Some("t".parse().unwrap()), message })
    };
    let member = Scopes { required: vec!["member".to_owned()], ..Scopes::default() };
    let maker = Scopes { optional: vec!["manufacturer".to_owned()], ..member.clone() };
    assert_eq!(asks("did:web:peer", Message::Request(request("c"))), maker);
    assert_eq!(asks("did:web:third", Message::Request(request("c"))), member);
    for message in [start(None), suspension(), completion(), termination()] {
        assert_eq!(asks("did:web:peer", message), member);
    }
}

fn start(data_address: Option<DataAddress>) -> Message {
    Message::Start(TransferStartMessage { provider_pid: pid("theirs"), consumer_pid: pid("t"), data_address })
}

fn suspension() -> Message {
    let (provider_pid, consumer_pid) = (pid("theirs"), pid("t"));
    Message::Suspension(TransferSuspensionMessage { provider_pid, consumer_pid, code: None, reason: Reasons::default() })
}

fn completion() -> Message {
    Message::Completion(TransferCompletionMessage { provider_pid: pid("theirs"), consumer_pid: pid("t") })
}

fn termination() -> Message {
    let (provider_pid, consumer_pid) = (pid("theirs"), pid("t"));
    Message::Termination(TransferTerminationMessage { provider_pid, consumer_pid, code: None, reason: Reasons::of("enough") })
}

#[test]
fn messages_go_to_the_process_that_they_name() {
    let state = with(Role::Consumer, State::Requested, |_| {});
    let not_found = dsp::Refusal::NotFound.to_string();
    assert_eq!(refusal(sends(&state, "m", Some("other"), termination())).to_string(), not_found);
    let third = sender(Did::new("did:web:third").unwrap(), &[], &[]);
    assert_eq!(refusal(sent_by(third, Arc::new(AtOnce), &state, "m", Some("t"), termination())).to_string(), not_found);
    let elsewhere = with(Role::Consumer, State::Requested, |t| t.profile = "other".parse().unwrap());
    assert_eq!(refusal(sends(&elsewhere, "m", Some("t"), termination())).to_string(), not_found);
    for (consumer, provider) in [("other", "theirs"), ("t", "other")] {
        let message = Message::Completion(TransferCompletionMessage { provider_pid: pid(provider), consumer_pid: pid(consumer) });
        let refused = refusal(sends(&state, "m", Some("t"), message));
        assert!(matches!(refused, AgentRefusal::Transfer(Refusal::OtherProcess(OtherProcess))), "{consumer} {provider}: {refused}");
    }
    for (id, message) in [(None, termination()), (Some("t"), Message::Request(request("t")))] {
        let refused = refusal(sends(&state, "m", id, message));
        assert!(matches!(refused, AgentRefusal::Transfer(Refusal::Malformed(_) | Refusal::OtherProcess(_))), "{refused}");
    }
    let decision = sends(&state, "m", Some("t"), termination()).unwrap();
    let next = after(&state, &decision);
    assert_eq!((only(&next).state, only(&next).error_detail.as_deref()), (State::TerminatingRequested, Some("enough")));
    assert_eq!(shown(sends(&next, "m", Some("t"), termination())).3, 0);
    assert!(matches!(refusal(sends(&next, "m2", Some("t"), suspension())), AgentRefusal::Transfer(Refusal::Table(_))));
}

#[test]
fn the_start_of_a_pull_transfer_says_where_the_data_is() {
    for at in [State::Requested, State::Requesting, State::Resuming, State::Resumed, State::Suspended] {
        let state = with(Role::Consumer, at, |t| t.suspended_by = Some(Role::Provider));
        let refused = refusal(sends(&state, "m", Some("t"), start(None)));
        assert!(matches!(refused, AgentRefusal::Transfer(Refusal::Malformed(_))), "{at:?}: {refused}");
        assert!(sends(&state, "m", Some("t"), start(address())).is_ok(), "{at:?}");
    }
    // Where we make the address, or data is pushed, there is none to tell.
    let resumed = Message::Start(TransferStartMessage { provider_pid: pid("t"), consumer_pid: pid("theirs"), data_address: None });
    let provider = with(Role::Provider, State::Suspended, |t| t.suspended_by = Some(Role::Consumer));
    assert!(sends(&provider, "m", Some("t"), resumed).is_ok());
    let push = with(Role::Consumer, State::Requested, |t| t.transfer_type = "HttpData-PUSH".parse().unwrap());
    assert!(sends(&push, "m", Some("t"), start(None)).is_ok());
}

pub(super) fn new() -> NewTransfer {
    NewTransfer {
        id: None,
        profile: profile(),
        address: "http://peer/dsp".parse().unwrap(),
        agreement: "ag".parse().unwrap(),
        transfer_type: "HttpData-PULL".parse().unwrap(),
        metadata: DataplaneMetadata::default(),
        private_properties: Map::new(),
        callbacks: vec![],
    }
}

#[test]
fn clients_begin_transfers() {
    let state = with(Role::Consumer, State::Requested, |_| {});
    let asked = |id: &str, new| Prepared::Request { id: id.parse().unwrap(), new: Box::new(new), settings: Arc::new(settings()) };
    let ask = |state: &ControlPlaneState, id: &str, new| decide(state, &asked(id, new), NOW);
    let decision = ask(&state, "t2", new()).unwrap();
    assert!(matches!(&decision.reply, AgentReply::Transfer(Reply::Begun { id, at: NOW }) if id.as_str() == "t2"));
    assert_eq!((decision.action, decision.effects.len()), ("transfer.preparation_requested", 1));
    assert!(matches!(refusal(ask(&state, "t", new())), AgentRefusal::Transfer(Refusal::Exists(_))));
    let unknown = NewTransfer { agreement: AgreementId::new("none").unwrap(), ..new() };
    assert!(matches!(refusal(ask(&state, "t2", unknown)), AgentRefusal::Transfer(Refusal::NoAgreement(_))));
    assert!(matches!(refusal(ask(&provider(), "t2", new())), AgentRefusal::Transfer(Refusal::NoAgreement(_))));
    let elsewhere = NewTransfer { profile: "other".parse().unwrap(), ..new() };
    assert!(matches!(refusal(ask(&state, "t2", elsewhere)), AgentRefusal::Transfer(Refusal::OtherProfile(_))));
    let decision = ask(
        &agreed(Role::Consumer, "open", negotiation::State::Finalized),
        "t2",
        NewTransfer { transfer_type: "S3-PULL".parse().unwrap(), ..new() },
    );
    assert_eq!(decision.unwrap().action, "transfer.terminated");
}

#[test]
fn clients_and_data_planes_move_transfers() {
    let act = |state: &ControlPlaneState, id: &str, act| {
        decide(state, &Prepared::Act { id: id.parse().unwrap(), act, settings: Arc::new(settings()) }, NOW)
    };
    let signal = |state: &ControlPlaneState, id: &str, signal| decide(state, &Prepared::Signal { id: id.parse().unwrap(), signal }, NOW);
    let mut state = with(Role::Provider, State::Started, |_| {});
    assert_eq!(only(&after(&state, &act(&state, "t", Act::Suspend(None)).unwrap())).state, State::Suspending);
    assert!(matches!(refusal(act(&state, "t", Act::Start)), AgentRefusal::Transfer(Refusal::Table(_))));
    assert!(matches!(refusal(act(&state, "none", Act::Complete)), AgentRefusal::Transfer(Refusal::NotFound(_))));
    assert!(matches!(refusal(signal(&state, "none", Signal::Completed)), AgentRefusal::Transfer(Refusal::NotFound(_))));
    assert!(matches!(refusal(signal(&state, "t", Signal::Prepared(None))), AgentRefusal::Transfer(Refusal::Table(_))));
    // A participant that is switched off does nothing; its data plane still tells what happens.
    state.participant = Some(testing::participant(ParticipantContextState::Deactivated));
    assert!(matches!(refusal(act(&state, "t", Act::Complete)), AgentRefusal::Participant(participant::Refusal::NotActive)));
    assert!(matches!(refusal(sends(&state, "m", Some("t"), completion())), AgentRefusal::Message(dsp::Refusal::NotFound)));
    assert_eq!(only(&after(&state, &signal(&state, "t", Signal::Completed).unwrap())).state, State::Completing);
    let errored = signal(&state, "t", Signal::Errored(Some("wire".into()))).unwrap();
    assert_eq!((errored.action, errored.facts.len(), only(&after(&state, &errored)).errors), ("transfer.errored", 1, 1));
}

#[test]
fn outcomes_find_their_transfer() {
    let state = with(Role::Provider, State::Terminating, |t| (t.message, t.call) = (Some(5), Some(4)));
    let told = Effect { transfer: "t".parse().unwrap(), task: Task::Tell(5, Notice::Termination(None)) };
    let call = Effect { transfer: "t".parse().unwrap(), task: Task::Call(4, PlaneCall::Terminate(None)) };
    let next = after(&state, &undeliverable(&state, &told, "refused", NOW).unwrap());
    assert_eq!((only(&next).state, only(&next).message), (State::Terminating, None));
    let waits = after(&next, &undeliverable(&next, &call, "down", NOW).unwrap());
    assert_eq!((only(&waits).state, only(&waits).due().is_some()), (State::Terminating, true));
    let done = after(&next, &delivered(&next, &call, &Outcome::Answered(Signal::Done), NOW).unwrap());
    assert_eq!(only(&done).state, State::Terminated);
    let gone = Effect { transfer: "none".parse().unwrap(), ..told };
    assert!(!delivered(&state, &gone, &Outcome::NothingToTell, NOW).unwrap().changes());
}

#[test]
fn open_transfers_are_bounded() {
    let mut state = provider();
    let template = only(&with(Role::Provider, State::Started, |_| {})).clone();
    for n in 0..limits::MAX_OPEN_WITH_COUNTERPARTY {
        let (id, theirs) = (format!("t{n}").parse().unwrap(), Some(pid(&format!("c{n}"))));
        state.transfers.apply(&Event::Set(Arc::new(Transfer { id, counterparty_pid: theirs, ..template.clone() })));
    }
    assert_eq!(refusal(sends(&state, "m", None, Message::Request(request("new")))).to_string(), dsp::Refusal::TooMany.to_string());
    assert_eq!(shown(sends(&state, "m", None, Message::Request(request("c0")))).3, 0);
    // One that ends makes room.
    state.transfers.apply(&Event::Set(Arc::new(Transfer { id: "t0".parse().unwrap(), state: State::Completed, ..template })));
    assert!(sends(&state, "m", None, Message::Request(request("new"))).is_ok());
}

#[test]
fn every_message_on_its_way() {
    let (id, context) = (MessageId::new("urn:uuid:1").unwrap(), SentContext::of(&["https://example.com/own".to_owned()]));
    let head = Head { id: &id, context: &context };
    let wire = |state: &ControlPlaneState, notice: &Notice| super::deliver::wire(only(state), notice, "http://own/dsp", head).unwrap();
    for (role, consumer_pid, provider_pid) in [(Role::Consumer, "t", "theirs"), (Role::Provider, "theirs", "t")] {
        let state = with(role, State::Started, |t| t.start_with = Some(StartWith::default()));
        for (notice, kind, path) in [
            (Notice::Start(address()), "TransferStartMessage", "transfers/theirs/start"),
            (Notice::Suspension(Some("why".into())), "TransferSuspensionMessage", "transfers/theirs/suspension"),
            (Notice::Completion, "TransferCompletionMessage", "transfers/theirs/completion"),
            (Notice::Termination(None), "TransferTerminationMessage", "transfers/theirs/termination"),
        ] {
            let wire = wire(&state, &notice).unwrap();
            assert_eq!((wire.kind, wire.path.join("/").as_str()), (kind, path));
            let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
            assert_eq!((&body["consumerPid"], &body["providerPid"]), (&json!(consumer_pid), &json!(provider_pid)), "{body}");
            assert_eq!((&body["@id"], body.get("reason").is_some()), (&json!("urn:uuid:1"), matches!(notice, Notice::Suspension(_))));
            assert_eq!(body["@context"], json!([CONTEXT, "https://example.com/own"]));
        }
    }
    let unknown = with(Role::Consumer, State::Requesting, |t| t.counterparty_pid = None);
    let first = wire(&unknown, &Notice::Request(None)).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((first.path.join("/").as_str(), &body["callbackAddress"]), ("transfers/request", &json!("http://own/dsp")));
    for notice in [Notice::Start(None), Notice::Suspension(None), Notice::Completion, Notice::Termination(None)] {
        assert_eq!(wire(&unknown, &notice), None, "{notice:?}");
    }
}

#[test]
fn a_deleted_participant_keeps_its_data_planes_until_its_last_transfer_has_ended() {
    let state = with(Role::Provider, State::Started, |_| {});
    let delete = participant::Prepared { command: participant::Command::Delete, name: None };
    let decision = participant::decide(&state, &delete, NOW).unwrap();
    let is_dispose = |effect: &AgentEffect| matches!(effect, AgentEffect::DataPlanes(data_planes::Effect::Dispose));
    assert!(decision.effects.iter().any(|o| is_dispose(&o.effect)), "the platform's own data plane stops at once");
    let gone = after(&state, &decision);
    assert_eq!((only(&gone).state, gone.data_planes.len()), (State::Terminating, 1));
    let outcome = |state: &ControlPlaneState, task, outcome| {
        let effect = Effect { transfer: "t".parse().unwrap(), task };
        after(state, &delivered(state, &effect, &outcome, NOW).unwrap())
    };
    let (call, message) = (only(&gone).call.unwrap(), only(&gone).message.unwrap());
    let told = outcome(&gone, Task::Tell(message, Notice::Termination(None)), Outcome::Taken { pid: None });
    assert_eq!((only(&told).state, told.data_planes.len()), (State::Terminating, 1));
    let over = outcome(&told, Task::Call(call, PlaneCall::Terminate(None)), Outcome::Answered(Signal::Done));
    assert_eq!((only(&over).state, over.data_planes.len(), over.is_at_rest()), (State::Terminated, 0, true));
    // Without open transfers they go with it.
    let idle = with(Role::Provider, State::Completed, |_| {});
    assert_eq!(after(&idle, &participant::decide(&idle, &delete, NOW).unwrap()).data_planes.len(), 0);
}
