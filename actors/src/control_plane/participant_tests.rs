//! The participant context: what it may become, and what its end means for what it began.

use super::{
    ControlPlane, ControlPlaneState, Effect as AgentEffect, Event as AgentEvent, Refusal as AgentRefusal,
    agent::Decided,
    dsp::Role,
    negotiation,
    participant::{Command, Effect, Event, NewParticipant, Outcome, Prepared, Refusal, TABLE, decide, delivered, due, undeliverable},
    testing::{NOW, after, offer, own, participant, peer, profile, refusal, state},
};
use cellspace_cluster::{Agent, Input, Rejection};
use cellspace_schemas::{Owner, Timestamp, dsp::negotiation::NegotiationState, management::ParticipantContextState};
use serde_json::json;
use std::sync::Arc;

fn new(identity: &str) -> NewParticipant {
    NewParticipant {
        id: "p".parse().unwrap(),
        identity: identity.parse().unwrap(),
        state: ParticipantContextState::Activated,
        properties: serde_json::Map::new(),
    }
}

fn go(state: &ControlPlaneState, command: Command, named: bool) -> Decided {
    let name = named.then(|| Owner::new("own").unwrap());
    decide(state, &Prepared { command, name }, NOW)
}

fn told(state: &ControlPlaneState, command: Command) -> Refusal {
    match refusal(go(state, command, true)) {
        AgentRefusal::Participant(refusal) => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn a_name_is_confirmed_and_given_back() {
    let empty = ControlPlaneState::default();
    let made = go(&empty, Command::Create(new("did:web:own")), true).unwrap();
    let [name, list] = &made.effects[..] else { panic!("{:?}", made.effects) };
    assert!(matches!(&name.effect, AgentEffect::Participant(Effect::ConfirmName(..))));
    assert!(matches!(&list.effect, AgentEffect::Participant(Effect::Enlist)));
    // Without a name nothing is made: the command is prepared again.
    assert!(matches!(go(&empty, Command::Create(new("did:web:own")), false), Err(Rejection::Stale)));
    let there = after(&empty, &made);
    assert_eq!(told(&there, Command::Create(new("did:web:own"))), Refusal::Exists("p".parse().unwrap()));
    let left = go(&there, Command::Delete, true).unwrap();
    let follows = |wanted: Effect| left.effects.iter().any(|o| matches!(&o.effect, AgentEffect::Participant(effect) if *effect == wanted));
    assert!(follows(Effect::ReleaseName(Owner::new("own").unwrap())) && follows(Effect::Delist) && follows(Effect::DeleteSecrets));
    assert!(follows(Effect::ForgetCatalogs));
    let gone = after(&there, &left);
    assert_eq!(told(&gone, Command::Create(new("did:web:own"))), Refusal::Deleted("p".parse().unwrap()));
    assert_eq!((told(&gone, Command::Delete), told(&gone, Command::Update(new("did:web:own")))), (Refusal::NotFound, Refusal::NotFound));
    // Another has the name by now: it must not act.
    let lost = Effect::ConfirmName(Owner::new("own").unwrap(), own());
    let stopped = after(&there, &delivered(&there, &lost, Outcome::NameTaken).unwrap());
    assert_eq!(stopped.participant.unwrap().state, ParticipantContextState::Deactivated);
    assert!(!delivered(&gone, &lost, Outcome::NameTaken).unwrap().changes());
    // Nobody could be asked for long: that is no answer.
    let release = Effect::ReleaseName(Owner::new("own").unwrap());
    let effects = [&lost, &release, &Effect::Enlist, &Effect::Delist, &Effect::DeleteSecrets, &Effect::ForgetCatalogs];
    let actions = |state: &ControlPlaneState| effects.map(|effect| undeliverable(state, effect).unwrap().action);
    assert_eq!(actions(&there), ["name.confirm.again", "", "participant.list.again", "", "", ""]);
    assert_eq!(actions(&gone), ["", "name.release.again", "", "participant.unlist.again", "secrets.delete.again", "catalogs.forget.again"]);
}

#[test]
fn the_identity_stays() {
    let state = state();
    assert_eq!(told(&state, Command::Update(new("did:web:other"))), Refusal::OtherIdentity);
    let updated = go(&state, Command::Update(NewParticipant { state: ParticipantContextState::Deactivated, ..new("did:web:own") }), false);
    assert_eq!(after(&state, &updated.unwrap()).participant.unwrap().state, ParticipantContextState::Deactivated);
}

#[test]
fn the_tenant_is_known_until_the_last_row() {
    let state = state();
    assert_eq!(ControlPlane::tenant(&state).as_deref(), Some("t-1"));
    let gone = after(&state, &go(&state, Command::Delete, true).unwrap());
    assert_eq!(ControlPlane::tenant(&gone).as_deref(), Some("t-1"));
    let kept = &gone.deleted.unwrap().properties;
    assert_eq!(serde_json::Value::Object(kept.clone()), json!({"tenant": "t-1"}));
    assert_eq!(ControlPlane::tenant(&ControlPlaneState::default()), None);
}

/// A participant with so many open negotiations and one that has ended.
fn busy(open: usize) -> ControlPlaneState {
    let mut state = state();
    for n in 0..=open {
        let at = if n == open { negotiation::State::Finalized } else { negotiation::State::Requested };
        let one = negotiation::Negotiation {
            id: format!("n{n}").parse().unwrap(),
            role: Role::Provider,
            state: at,
            seen: NegotiationState::Requested,
            step: 2,
            counterparty: peer(),
            address: "http://peer/dsp".parse().unwrap(),
            counterparty_pid: Some(format!("c{n}").parse().unwrap()),
            profile: profile(),
            offer: offer("open", 9),
            agreement: None,
            accepted: super::dsp::Repeats::default(),
            error_detail: None,
            finding: None,
            patience: None,
            callbacks: vec![],
            created_at: NOW,
            state_at: NOW,
        };
        state.negotiations.apply(&negotiation::Event::Set(Arc::new(one)));
    }
    state
}

#[test]
fn who_leaves_ends_what_is_open_and_says_so() {
    let state = busy(3);
    let decision = go(&state, Command::Delete, true).unwrap();
    let gone = after(&state, &decision);
    let told = decision.effects.iter().filter(|o| matches!(o.effect, AgentEffect::Negotiation(_))).count();
    assert_eq!((told, gone.participant.is_none(), gone.is_at_rest()), (3, true, false));
    assert!(gone.negotiations.iter().all(|n| matches!(n.state, negotiation::State::Terminating | negotiation::State::Finalized)));
    // Once its counterparties have answered nothing is open any more.
    let mut rest = gone;
    for outgoing in decision.effects {
        if let effect @ AgentEffect::Negotiation(_) = outgoing.effect {
            let outcome = negotiation::Outcome::Taken { pid: None }.into();
            let over = ControlPlane::decide(&rest, &Input::Delivered(Arc::new(effect), outcome), NOW).unwrap();
            rest = after(&rest, &over);
        }
    }
    assert!(rest.is_at_rest());
}

#[test]
fn many_are_ended_in_turns_of_their_own() {
    let mut state = busy(600);
    let first = go(&state, Command::Delete, true).unwrap();
    assert!(first.effects.len() < 300, "{}", first.effects.len());
    let mut decision = first;
    let mut turns = 1;
    loop {
        state = after(&state, &decision);
        let deleted = decision.events.iter().find(|event| matches!(event, AgentEvent::Participant(Event::Deleted { .. }))).unwrap();
        let (key, next) = ControlPlane::deadline(deleted).unwrap();
        assert_eq!(key, format!("{TABLE}/"));
        let Some(next) = next else { break };
        assert!(next > NOW);
        decision = ControlPlane::decide(&state, &Input::Due(key), next).unwrap();
        turns += 1;
    }
    assert_eq!(turns, 3);
    assert!(state.negotiations.iter().all(|n| matches!(n.state, negotiation::State::Terminating | negotiation::State::Finalized)));
    assert!(!due(&ControlPlaneState::default(), Timestamp(1)).unwrap().changes());
}

#[test]
fn deadlines_reach_their_machine() {
    let mut state = state();
    state.participant = Some(participant(ParticipantContextState::Activated));
    for key in ["participant/", "negotiation/none", "transfer/none", "negotiation/ ", "old", ""] {
        assert!(!ControlPlane::decide(&state, &Input::Due(key.to_owned()), NOW).unwrap().changes(), "{key}");
    }
}
