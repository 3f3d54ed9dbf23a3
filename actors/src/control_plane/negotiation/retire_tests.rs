//! What the end of an agreement means for the transfers under it.

use super::{Agreement, Command, Event, Prepared, Refusal, State, decide, due, tests::negotiation};
use crate::control_plane::{
    ControlPlaneState, Effect, Refusal as AgentRefusal,
    agent::Decided,
    archive,
    dsp::{Role, limits},
    participant,
    testing::{self, NOW, after, offer, own, peer, refusal},
    transfer::{self, Cause, Notice, PlaneCall, State as At, Task, Transfer, table::transition, tests::transfer},
};
use cellspace_schemas::{AgreementId, Timestamp, management::ParticipantContextState};
use std::{sync::Arc, time::Duration};

fn id() -> AgreementId {
    "ag".parse().unwrap()
}

/// With an agreement whose negotiation is in this state.
fn agreed(role: Role, state: State) -> ControlPlaneState {
    let (provider, consumer) = if role == Role::Provider { (own(), peer()) } else { (peer(), own()) };
    let agreement = Agreement::on(&offer("open", 9), id(), provider, consumer, NOW);
    let negotiation = super::Negotiation { agreement: Some(Arc::new(agreement)), ..negotiation(state, role) };
    let mut known = testing::state();
    known.negotiations.apply(&Event::Set(Arc::new(negotiation)));
    known
}

fn add(state: &mut ControlPlaneState, id: &str, at: At, change: impl FnOnce(&mut Transfer)) {
    let mut t = Transfer { id: id.parse().unwrap(), counterparty_pid: None, message: None, call: None, ..transfer(at, Role::Provider) };
    change(&mut t);
    transfer::apply(state, &transfer::Event::Set(Arc::new(t)));
}

fn retire(state: &ControlPlaneState, reason: &str) -> Decided {
    decide(state, &Prepared::Retire { agreement: id(), reason: reason.to_owned() }, NOW)
}

fn states(state: &ControlPlaneState) -> Vec<(String, At)> {
    state.transfers.iter().map(|t| (t.id.to_string(), t.state)).collect()
}

#[test]
fn a_retired_agreement_ends_what_is_done_under_it() {
    for role in [Role::Provider, Role::Consumer] {
        let mut state = agreed(role, State::Finalized);
        add(&mut state, "a-started", At::Started, |_| {});
        add(&mut state, "b-suspended", At::Suspended, |_| {});
        add(&mut state, "c-ending", At::Terminating, |t| t.message = Some(5));
        add(&mut state, "d-completed", At::Completed, |_| {});
        add(&mut state, "e-other", At::Started, |t| t.agreement = "other".parse().unwrap());
        let decision = retire(&state, "no longer wanted").unwrap();
        let told: Vec<_> = decision.effects.iter().map(|sent| (sent.lane.as_str(), &sent.effect)).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        for (lane, effect) in &told {
            let Effect::Transfer(effect) = effect else { panic!("{effect:?}") };
            let why = match &effect.task {
                Task::Tell(_, Notice::Termination(why)) | Task::Call(_, PlaneCall::Terminate(why)) => why,
                other => panic!("{other:?}"),
            };
            assert_eq!(why.as_deref(), Some("no longer wanted"), "{lane}");
        }
        let next = after(&state, &decision);
        assert_eq!(
            states(&next),
            [
                ("a-started".to_owned(), At::Terminating),
                ("b-suspended".to_owned(), At::Terminating),
                ("c-ending".to_owned(), At::Terminating),
                ("d-completed".to_owned(), At::Completed),
                ("e-other".to_owned(), At::Started),
            ]
        );
        let negotiation = next.negotiations.of_agreement(&id()).unwrap();
        assert!(negotiation.agreement_in_force().is_none() && negotiation.due().is_none());
        assert_eq!(negotiation.holds_asset(), role == Role::Provider, "it is still referred to");
        let retired = negotiation.agreement.as_ref().unwrap().retired.as_ref().unwrap();
        assert_eq!((retired.at, retired.reason.as_str()), (NOW, "no longer wanted"));
        // Once more: it stays as it is.
        assert!(!retire(&next, "again").unwrap().changes());
    }
}

#[test]
fn only_what_is_in_force_is_retired() {
    assert!(matches!(refusal(retire(&testing::state(), "")), AgentRefusal::Negotiation(Refusal::NoAgreement(_))));
    for (state, refused) in [(State::Agreed, true), (State::Terminated, true), (State::Finalizing, false), (State::Finalized, false)] {
        let outcome = retire(&agreed(Role::Provider, state), "");
        assert_eq!(outcome.is_err(), refused, "{state:?}");
        if refused {
            assert!(matches!(refusal(outcome), AgentRefusal::Negotiation(Refusal::NotInForce { .. })), "{state:?}");
        }
    }
    let mut off = agreed(Role::Provider, State::Finalized);
    off.participant = Some(testing::participant(ParticipantContextState::Deactivated));
    assert!(matches!(refusal(retire(&off, "")), AgentRefusal::Participant(participant::Refusal::NotActive)));
}

#[test]
fn many_transfers_end_in_turns() {
    let mut state = agreed(Role::Provider, State::Finalized);
    (0..600).for_each(|n| add(&mut state, &format!("t{n}"), At::Started, |_| {}));
    let running = |state: &ControlPlaneState| state.transfers.iter().filter(|t| t.state == At::Started).count();
    let n = state.negotiations.of_agreement(&id()).unwrap().id.clone();
    let mut state = after(&state, &retire(&state, "over").unwrap());
    let mut left = vec![running(&state)];
    while let Some(at) = state.negotiations.get(&n).unwrap().due() {
        assert!(at > NOW && at < NOW.plus(Duration::from_secs(1)));
        state = after(&state, &due(&state, &n, at).unwrap());
        left.push(running(&state));
    }
    assert_eq!(left, [344, 88, 0]);
    assert!(!due(&state, &n, NOW).unwrap().changes());
}

#[test]
fn a_retired_agreement_is_found_wherever_it_is_kept() {
    let command = Command::Retire { agreement: id(), reason: String::new() };
    assert_eq!(archive::recall::keys_of(&command.into()), [archive::Key::Agreement(id())]);
}

#[test]
fn a_policy_ends_transfers_at_its_date() {
    let ends = NOW.plus(Duration::from_secs(60));
    for (role, at) in
        [(Role::Provider, At::Started), (Role::Consumer, At::Suspended), (Role::Provider, At::Requested), (Role::Consumer, At::Requesting)]
    {
        let t = Transfer { ends_at: Some(ends), message: None, call: None, state_at: NOW, created_at: NOW, ..transfer(at, role) };
        assert_eq!(t.due(), Some(ends), "{at:?}");
        assert_eq!(transition(&t, Cause::Due, Timestamp(ends.0 - 1)), Ok(None), "{at:?}");
        let ended = transition(&t, Cause::Due, ends).unwrap().unwrap();
        assert_eq!((ended.transfer.state, ended.transfer.due()), (At::Terminating, None), "{at:?}");
        let notice = |task: &Task| matches!(task, Task::Tell(_, Notice::Termination(Some(why))) if why == limits::NOT_IN_FORCE);
        assert!(ended.tasks.iter().any(notice), "{at:?}: {:?}", ended.tasks);
    }
    // What is ending already, or has ended, ends as it does.
    for at in [At::Completing, At::Terminating, At::Completed, At::Terminated] {
        let t = Transfer { ends_at: Some(ends), message: None, call: None, ..transfer(at, Role::Provider) };
        assert_eq!((t.due(), transition(&t, Cause::Due, ends)), (None, Ok(None)), "{at:?}");
    }
}
