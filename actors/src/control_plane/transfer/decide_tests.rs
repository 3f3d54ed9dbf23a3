//! What becomes of every request to the transfers of a participant.

use super::{
    Act, Arrived, Effect, Event, Incoming, Message, NewTransfer, Notice, Outcome, PlaneCall, Prepared, Refusal, Reply, Signal, StartWith,
    State, Task, Transfer, decide, delivered, due, monitor, prepare, undeliverable,
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
use crate::settings::{CelExpression, Settings};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{
    AgreementId, Did, MessageId, Pid, SecretText, Timestamp,
    dsp::{
        CONTEXT, DataAddress, SentContext,
        negotiation::{NegotiationState, Reasons},
        transfer::{
            TransferCompletionMessage, TransferRequestMessage, TransferStartMessage, TransferState as Seen, TransferSuspensionMessage,
            TransferTerminationMessage,
        },
    },
    management::{DataplaneMetadata, ParticipantContextState},
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn pid(text: &str) -> Pid {
    Pid::new(text).unwrap()
}

fn address() -> Option<DataAddress> {
    Some(DataAddress { endpoint_type: "t".into(), endpoint: Some("http://data".into()), endpoint_properties: vec![] })
}

/// With an agreement on the asset in a negotiation in this state.
fn agreed(role: Role, asset: &str, at: negotiation::State) -> ControlPlaneState {
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
fn with(role: Role, at: State, change: impl FnOnce(&mut Transfer)) -> ControlPlaneState {
    let mut state = agreed(role, "open", negotiation::State::Finalized);
    let mut t = Transfer {
        id: "t".parse().unwrap(),
        role,
        state: at,
        seen: Seen::Started,
        step: 5,
        message: None,
        call: None,
        counterparty: peer(),
        address: "http://peer/dsp".parse().unwrap(),
        counterparty_pid: Some(pid("theirs")),
        profile: profile(),
        agreement: "ag".parse().unwrap(),
        asset: "open".parse().unwrap(),
        transfer_type: "HttpData-PULL".parse().unwrap(),
        metadata: DataplaneMetadata::default(),
        data_plane: Some(PlaneRef { id: "dp".parse().unwrap(), revision: 0 }),
        start_with: None,
        suspended_by: None,
        data_done: false,
        end_again_at: None,
        end_failures: 0,
        ends_at: None,
        look_at: None,
        patience: None,
        accepted: dsp::Repeats::default(),
        error_detail: None,
        errors: 0,
        callbacks: vec![],
        private_properties: Map::new(),
        created_at: NOW,
        state_at: NOW,
    };
    change(&mut t);
    state.transfers.apply(&Event::Set(Arc::new(t)));
    state
}

fn only(state: &ControlPlaneState) -> &Transfer {
    let mut all = state.transfers.iter();
    let one = all.next().unwrap();
    assert!(all.next().is_none());
    one
}

fn request(consumer: &str) -> TransferRequestMessage {
    TransferRequestMessage {
        consumer_pid: pid(consumer),
        agreement_id: "ag".parse().unwrap(),
        format: "HttpData-PULL".parse().unwrap(),
        data_address: None,
        callback_address: "http://peer/dsp".parse().unwrap(),
    }
}

fn sent_by(
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

fn sends(state: &ControlPlaneState, mark: &str, id: Option<&str>, message: Message) -> Decided {
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

fn new() -> NewTransfer {
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

/// The agreement's policy permits use for a day.
fn for_a_day(role: Role) -> ControlPlaneState {
    let mut state = agreed(role, "open", negotiation::State::Finalized);
    let mut negotiation = state.negotiations.get(&"n".parse().unwrap()).unwrap().as_ref().clone();
    let mut agreement = negotiation.agreement.as_deref().unwrap().clone();
    let constraint = json!({"leftOperand": "inForceDate", "operator": "lteq", "rightOperand": "contractAgreement+1d"});
    let policy = json!({"@type": "Agreement", "permission": [{"action": "use", "constraint": [constraint]}]});
    agreement.policy = serde_json::from_value(policy).unwrap();
    negotiation.agreement = Some(Arc::new(agreement));
    state.negotiations.apply(&negotiation::Event::Set(Arc::new(negotiation)));
    state
}

#[test]
fn a_transfer_ends_with_its_agreement() {
    let last = NOW.plus(DAY);
    let state = for_a_day(Role::Consumer);
    let ask =
        |now| decide(&state, &Prepared::Request { id: "t2".parse().unwrap(), new: Box::new(new()), settings: Arc::new(settings()) }, now);
    let begun = after(&state, &ask(last).unwrap());
    assert_eq!(only(&begun).due(), Some(Timestamp(last.0 + 1)));
    assert!(matches!(refusal(ask(Timestamp(last.0 + 1))), AgentRefusal::Transfer(Refusal::NoAgreement(_))));
    let requested =
        after(&for_a_day(Role::Provider), &sends(&for_a_day(Role::Provider), "m", None, Message::Request(request("c"))).unwrap());
    assert_eq!(only(&requested).due(), Some(Timestamp(last.0 + 1)));
    let ended = after(&requested, &due(&requested, &only(&requested).id, Timestamp(last.0 + 1)).unwrap());
    assert_eq!(only(&ended).state, State::Terminating);
    assert_eq!(only(&after(&requested, &due(&requested, &only(&requested).id, last).unwrap())).state, only(&requested).state);
}

/// Expressions, one of which is for running transfers: whether it holds is its text.
fn watching(text: &str) -> Arc<Settings> {
    let mut expressions = settings().cel_expressions;
    let [id, left_operand] = ["Watched", "Watched"].map(str::to_owned);
    let scopes = vec!["policy.monitor".to_owned()];
    let watched =
        CelExpression { id: id.clone(), left_operand, expression: text.to_owned(), description: String::new(), scopes, actions: vec![] };
    expressions.insert(id, watched);
    Arc::new(Settings::new(2, expressions, settings().dcp_scopes, std::collections::BTreeMap::new()))
}

/// The agreement's policy permits use for a day, and afterwards to who is watched.
fn for_a_day_and_watched() -> ControlPlaneState {
    let watched = json!({"leftOperand": "Watched", "operator": "eq", "rightOperand": "x"});
    agreed_on(&json!({"permission": [{"action": "use", "constraint": [{"or": [date("lteq", 1), watched]}]}]}))
}

/// A constraint to some days after the agreement.
fn date(operator: &str, days: u32) -> Value {
    json!({"leftOperand": "inForceDate", "operator": operator, "rightOperand": format!("contractAgreement+{days}d")})
}

/// The agreement's policy has these rules.
fn agreed_on(rules: &Value) -> ControlPlaneState {
    let mut state = for_a_day(Role::Provider);
    let mut negotiation = state.negotiations.get(&"n".parse().unwrap()).unwrap().as_ref().clone();
    let mut agreement = negotiation.agreement.as_deref().unwrap().clone();
    let mut policy = json!({"@type": "Agreement"});
    policy.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
    agreement.policy = serde_json::from_value(policy).unwrap();
    negotiation.agreement = Some(Arc::new(agreement));
    state.negotiations.apply(&negotiation::Event::Set(Arc::new(negotiation)));
    state
}

#[test]
fn a_running_transfer_is_looked_at_when_dates_pass() {
    let watched_by = |text: &str| Sender { settings: watching(text), ..sender(peer(), &["Membership"], &["manufacturer"]) };
    let asks = |state: &ControlPlaneState, text: &str| {
        sent_by(watched_by(text), Arc::new(AtOnce), state, "m", None, Message::Request(request("c")))
    };
    let state = for_a_day_and_watched();
    let after_a_day = Timestamp(NOW.plus(DAY).0 + 1);
    let begun = after(&state, &asks(&state, "false").unwrap());
    let transfer = only(&begun);
    assert_eq!((transfer.state, transfer.ends_at, transfer.due()), (State::StartupRequested, None, Some(after_a_day)));
    // Whatever the expressions are at the beginning: they may be others by then.
    let other = after(&state, &sends(&state, "m", None, Message::Request(request("c"))).unwrap());
    assert_eq!(only(&other).due(), Some(after_a_day));
    assert!(!due(&begun, &transfer.id, Timestamp(after_a_day.0 - 1)).unwrap().changes());
    let decision = due(&begun, &transfer.id, after_a_day).unwrap();
    let looked_at = after(&begun, &decision);
    assert_eq!((only(&looked_at).state, only(&looked_at).due()), (State::StartupRequested, None));
    let look = Effect { transfer: transfer.id.clone(), task: Task::Look };
    assert!(matches!(&decision.effects[..], [one] if matches!(&one.effect, AgentEffect::Transfer(effect) if *effect == look)));

    // Before the day has passed it may go on whatever the expression says, afterwards as it says then.
    let looked = |text: &str, now| monitor::looked(&looked_at, only(&looked_at), &watching(text), now);
    assert_eq!(looked("false", NOW), Outcome::Looked { unmet: None });
    assert_eq!(looked("ctx.agreement.consumerId == 'did:web:peer'", after_a_day), Outcome::Looked { unmet: None });
    let Outcome::Looked { unmet: Some(unmet) } = looked("false", after_a_day) else { panic!("it may go on") };
    assert!(unmet.contains("Watched"), "{unmet}");
    let outcome = Outcome::Looked { unmet: Some(unmet.clone()) };
    let ended = after(&looked_at, &delivered(&looked_at, &look, &outcome, after_a_day).unwrap());
    assert_eq!((only(&ended).state, only(&ended).error_detail.as_ref()), (State::Terminating, Some(&unmet)));
    assert!(!delivered(&ended, &look, &outcome, after_a_day).unwrap().changes());
    for (state, outcome) in [(&looked_at, Outcome::Looked { unmet: None }), (&looked_at, Outcome::NothingToTell)] {
        assert!(!delivered(state, &look, &outcome, after_a_day).unwrap().changes());
    }
    // What was not answered in time is ended for that, and not looked at before.
    let held = after(&state, &sent_by(watched_by("true"), Arc::new(Silent), &state, "m", None, Message::Request(request("c"))).unwrap());
    let ended = after(&held, &due(&held, &only(&held).id, only(&held).due().unwrap()).unwrap());
    assert_eq!(only(&ended).error_detail.as_deref(), Some(limits::NOT_ANSWERED));
}

/// What follows from dates alone ends a transfer without an expression, also when it is not for good.
#[test]
fn dates_that_settle_nothing_for_good_are_judged_when_they_pass() {
    let claim = json!({"leftOperand": "Membership", "operator": "eq", "rightOperand": "active"});
    let after_a_day = Timestamp(NOW.plus(DAY).0 + 1);
    let permission = |constraint: Value| json!({"permission": [{"action": "use", "constraint": [constraint]}]});
    let prohibition = |constraints: Value| json!({"prohibition": [{"action": "use", "constraint": constraints}]});
    for (rules, ends) in [
        (permission(json!({"xone": [date("lteq", 1), date("gteq", 3)]})), true),
        (permission(json!({"xone": [date("lteq", 1), date("gteq", 1)]})), false),
        (permission(json!({"xone": [date("lteq", 1), claim]})), false),
        (permission(json!({"or": [date("lteq", 1), claim]})), false),
        (prohibition(json!([date("gteq", 1), date("lteq", 2)])), true),
        (prohibition(json!([date("gteq", 2), date("lteq", 3)])), false),
    ] {
        let state = agreed_on(&rules);
        let mut running = with(Role::Provider, State::Started, |t| t.look_at = Some(Timestamp(NOW.plus(DAY).0 + 1)));
        running.negotiations.apply(&negotiation::Event::Set(state.negotiations.get(&"n".parse().unwrap()).unwrap().clone()));
        assert_eq!(running.negotiations.agreement(&"ag".parse().unwrap()).unwrap().ends_at(), None, "{rules}");
        let looked_at = after(&running, &due(&running, &only(&running).id, after_a_day).unwrap());
        let looked = |now| match monitor::looked(&looked_at, only(&looked_at), &settings(), now) {
            Outcome::Looked { unmet } => unmet.is_some(),
            other => panic!("{other:?}"),
        };
        assert_eq!((looked(NOW), looked(after_a_day)), (false, ends), "{rules}");
    }
}

#[test]
fn what_may_not_go_on_is_not_started_and_not_resumed() {
    let watched = |t: &mut Transfer| t.suspended_by = Some(Role::Provider);
    let mut state = with(Role::Provider, State::Suspended, watched);
    let with_policy = for_a_day_and_watched();
    let negotiation = with_policy.negotiations.get(&"n".parse().unwrap()).unwrap();
    let mut negotiation = Negotiation::clone(negotiation);
    let mut agreement = negotiation.agreement.as_deref().unwrap().clone();
    agreement.policy = serde_json::from_value(json!({"@type": "Agreement", "permission": [{"action": "use",
        "constraint": [{"leftOperand": "Watched", "operator": "eq", "rightOperand": "x"}]}]}))
    .unwrap();
    negotiation.agreement = Some(Arc::new(agreement));
    state.negotiations.apply(&negotiation::Event::Set(Arc::new(negotiation.clone())));

    let resume = |state: &ControlPlaneState, text: &str| {
        let prepared = Prepared::Act { id: "t".parse().unwrap(), act: Act::Resume, settings: watching(text) };
        only(&after(state, &decide(state, &prepared, NOW).unwrap())).clone()
    };
    assert_eq!(resume(&state, "true").state, State::ResumingRequested);
    let ended = resume(&state, "false");
    assert_eq!((ended.state, ended.error_detail.unwrap().contains("Watched")), (State::Terminating, true));
    // By the consumer it is resumed with a message, and started with a request.
    let mut by_consumer = with(Role::Provider, State::Suspended, |t| t.suspended_by = Some(Role::Consumer));
    by_consumer.negotiations.apply(&negotiation::Event::Set(Arc::new(negotiation.clone())));
    // What is done already ends as it would, even if its resumption crosses its completion.
    let mut done = with(Role::Provider, State::Completing, |t| (t.seen, t.suspended_by) = (Seen::Suspended, Some(Role::Consumer)));
    done.negotiations.apply(&negotiation::Event::Set(Arc::new(negotiation.clone())));
    let sender_of = |text: &str| Sender { settings: watching(text), ..sender(peer(), &["Membership"], &["manufacturer"]) };
    let crossing = Message::Start(TransferStartMessage { consumer_pid: pid("theirs"), provider_pid: pid("t"), data_address: None });
    let decision = sent_by(sender_of("false"), Arc::new(AtOnce), &done, "m", Some("t"), crossing).unwrap();
    let crossed = after(&done, &decision);
    assert_eq!((only(&crossed).state, only(&crossed).seen), (State::Completed, Seen::Started));
    let mut nothing = testing::state();
    nothing.negotiations.apply(&negotiation::Event::Set(Arc::new(negotiation)));
    for (text, resumed) in [("true", State::ResumingRequested), ("false", State::Terminating)] {
        let sender = Sender { settings: watching(text), ..sender(peer(), &["Membership"], &["manufacturer"]) };
        let resumption = TransferStartMessage { consumer_pid: pid("theirs"), provider_pid: pid("t"), data_address: None };
        let resumption = Message::Start(resumption);
        let decision = sent_by(sender.clone(), Arc::new(AtOnce), &by_consumer, "m", Some("t"), resumption).unwrap();
        assert_eq!(only(&after(&by_consumer, &decision)).state, resumed);
        let asked = sent_by(sender, Arc::new(AtOnce), &nothing, "m", None, Message::Request(request("c")));
        match text {
            "true" => assert_eq!(only(&after(&nothing, &asked.unwrap())).state, State::StartupRequested),
            _ => assert!(matches!(refusal(asked), AgentRefusal::Transfer(Refusal::Unmet(unmet)) if unmet.contains("Watched"))),
        }
    }
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
