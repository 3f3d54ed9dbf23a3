//! Every state and input of a name.

use super::agent::{Command, Event, Exists, Inquire, Name, Refusal, State};
use cellspace_cluster::{Agent, Input, Rejection};
use cellspace_schemas::{Did, ParticipantContextId, Timestamp};
use std::{sync::Arc, time::Duration};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn id(name: &str) -> ParticipantContextId {
    ParticipantContextId::new(name).unwrap()
}

fn did() -> Did {
    Did::new("did:web:cells.example:acme").unwrap()
}

fn reserve(name: &str) -> Input<Name> {
    Input::Command(Command::Reserve { participant: id(name), did: did() })
}

fn confirm(name: &str) -> Input<Name> {
    Input::Command(Command::Confirm { participant: id(name), did: did() })
}

fn release(name: &str) -> Input<Name> {
    Input::Command(Command::Release(id(name)))
}

fn cancel(name: &str) -> Input<Name> {
    Input::Command(Command::Cancel(id(name)))
}

fn found(exists: bool) -> Input<Name> {
    Input::Delivered(Arc::new(Inquire::of(id("a"), did())), Exists::from(exists))
}

fn step(state: &mut State, input: &Input<Name>) -> Result<&'static str, Refusal> {
    match Name::decide(state, input, NOW) {
        Ok(decision) => {
            decision.events.iter().for_each(|event| Name::apply(state, event));
            Ok(decision.action)
        }
        Err(Rejection::Refused(refusal)) => Err(refusal),
        Err(Rejection::Stale) => panic!("nothing here goes stale"),
    }
}

#[test]
fn every_input_in_every_state() {
    let after = |inputs: &[Input<Name>]| {
        let mut state = State::default();
        inputs.iter().for_each(|input| {
            step(&mut state, input).unwrap();
        });
        state
    };
    let states = [("free", after(&[])), ("reserved", after(&[reserve("a")])), ("confirmed", after(&[reserve("a"), confirm("a")]))];
    let taken = Err(Refusal::Taken);
    #[rustfmt::skip]
    let table = [
        ("reserve", reserve("a"), [Ok("name.reserved"), Ok("name.reserved"), Ok("")], [Some("a"), Some("a"), Some("a")]),
        ("reserve for another", reserve("b"), [Ok("name.reserved"), taken.clone(), taken.clone()], [Some("b"), Some("a"), Some("a")]),
        ("confirm", confirm("a"), [Ok("name.confirmed"), Ok("name.confirmed"), Ok("")], [Some("a"), Some("a"), Some("a")]),
        ("confirm for another", confirm("b"), [Ok("name.confirmed"), taken.clone(), taken], [Some("b"), Some("a"), Some("a")]),
        ("release", release("a"), [Ok(""), Ok("name.released"), Ok("name.released")], [None, None, None]),
        ("release of another", release("b"), [Ok(""), Ok(""), Ok("")], [None, Some("a"), Some("a")]),
        ("cancel", cancel("a"), [Ok(""), Ok("name.released"), Ok("")], [None, None, Some("a")]),
        ("cancel of another", cancel("b"), [Ok(""), Ok(""), Ok("")], [None, Some("a"), Some("a")]),
        ("due", Input::Due("reservation".to_owned()), [Ok(""), Ok("name.inquiry"), Ok("")], [None, Some("a"), Some("a")]),
        ("it exists", found(true), [Ok(""), Ok("name.confirmed"), Ok("")], [None, Some("a"), Some("a")]),
        ("it does not exist", found(false), [Ok(""), Ok("name.released"), Ok("")], [None, None, Some("a")]),
    ];
    for (name, input, outcomes, owners) in table {
        for (((from, state), outcome), owner) in states.iter().zip(outcomes).zip(owners) {
            let mut state = state.clone();
            assert_eq!(step(&mut state, &input), outcome, "{name} when {from}");
            assert_eq!(state.participant().map(ParticipantContextId::as_str), owner, "{name} when {from}");
        }
    }
}

#[test]
fn only_reservations_have_a_deadline() {
    let mut state = State::default();
    let deadline = |state: &State, input: &Input<Name>| {
        let decision = Name::decide(state, input, NOW).unwrap();
        decision.events.first().and_then(Name::deadline).map(|(_, at)| at)
    };
    assert_eq!(deadline(&state, &reserve("a")), Some(Some(NOW.plus(Duration::from_secs(60)))));
    step(&mut state, &reserve("a")).unwrap();
    assert_eq!(deadline(&state, &confirm("a")), Some(None));
    assert_eq!(deadline(&state, &release("a")), Some(None));
    assert_eq!(Name::deadline(&Event::Released), Some(("reservation".to_owned(), None)));
}
