//! Until when a transfer may go on, and what of its agreement is looked at meanwhile.

use super::{
    Act, Effect, Message, Outcome, Prepared, Refusal, State, Task, Transfer, decide,
    decide_tests::{DAY, agreed, new, only, pid, request, sends, sent_by, with},
    delivered, due, monitor,
};
use crate::{
    control_plane::{
        ControlPlaneState, Effect as AgentEffect, Refusal as AgentRefusal,
        dsp::{AtOnce, Role, Sender, limits},
        negotiation::{self, Negotiation},
        testing::{self, NOW, Silent, after, peer, refusal, sender, settings},
    },
    settings::{CelExpression, Settings},
};
use cellspace_schemas::{
    Timestamp,
    dsp::transfer::{TransferStartMessage, TransferState as Seen},
};
use serde_json::{Value, json};
use std::sync::Arc;

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
