//! Every state, role and cause against the arrows of the protocol.

use super::{address, pid, transfer};
use crate::control_plane::{
    dsp::{Role, limits},
    transfer::{
        Act, Cause, Moved, Notice, PlaneCall, Received, Signal, StartWith, State, Task, Transfer, table::transition, words::Refused,
    },
};
use cellspace_schemas::{Timestamp, dsp::transfer::TransferState as Seen};
use serde_json::json;

/// Every cause there is, by name. `own` and `peer` in the name of a state in [`ARROWS`] say who suspended.
fn causes() -> Vec<(&'static str, Cause)> {
    let act = Cause::Act;
    let received = |message| Cause::Received { message, pid: pid() };
    let answered = |signal| Cause::Answered { step: 4, signal };
    vec![
        ("do start", act(Act::Start)),
        ("do suspend", act(Act::Suspend(None))),
        ("do resume", act(Act::Resume)),
        ("do complete", act(Act::Complete)),
        ("do terminate", act(Act::Terminate(None))),
        ("start", received(Received::Start(address()))),
        ("suspension", received(Received::Suspension(None))),
        ("completion", received(Received::Completion)),
        ("termination", received(Received::Termination(None))),
        ("delivered", Cause::Delivered { step: 5, pid: None }),
        ("undeliverable", Cause::Undeliverable { step: 5, reason: "why".into() }),
        ("answered prepared", answered(Signal::Prepared(None))),
        ("answered started", answered(Signal::Started(address()))),
        ("answered pending", answered(Signal::Pending)),
        ("answered done", answered(Signal::Done)),
        ("call failed", Cause::CallFailed { step: 4, reason: "why".into() }),
        ("says prepared", Cause::Signalled(Signal::Prepared(None))),
        ("says started", Cause::Signalled(Signal::Started(address()))),
        ("says completed", Cause::Signalled(Signal::Completed)),
        ("says errored", Cause::Signalled(Signal::Errored(None))),
        ("due", Cause::Due),
        ("old delivered", Cause::Delivered { step: 3, pid: Some(pid()) }),
        ("old undeliverable", Cause::Undeliverable { step: 3, reason: "why".into() }),
        ("old answer", Cause::Answered { step: 3, signal: Signal::Done }),
        ("old failure", Cause::CallFailed { step: 3, reason: "why".into() }),
    ]
}

const OPEN: &str = "PREPARATION_REQUESTED REQUESTING REQUESTED STARTING STARTUP_REQUESTED STARTED SUSPENDING SUSPENDING_REQUESTED SUSPENDED \
                    RESUMING RESUMING_REQUESTED RESUMED COMPLETING COMPLETING_REQUESTED";

/// States that the counterparty knows to be STARTED; in RESUMING_REQUESTED that is so when it is the one that resumes.
const SEEN_STARTED: &str = "STARTUP_REQUESTED STARTED SUSPENDING RESUMING_REQUESTED RESUMED COMPLETING";

/// The arrows of the protocol for pull transfers, with a message (step 5) and a call (step 4) under way. `=`: nothing changes, `.`: the same state, but
/// something is remembered. What is not here is refused, or, for outcomes, changes nothing.
fn arrows() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    vec![
        // role, from, cause, to
        ("P", "REQUESTED", "do start", "STARTUP_REQUESTED"),
        ("CP", "STARTED", "do suspend", "SUSPENDING"),
        ("P", "SUSPENDED", "do resume", "RESUMING_REQUESTED"),
        ("C", "SUSPENDED", "do resume", "RESUMING"),
        ("CP", "STARTED", "do complete", "COMPLETING"),
        ("CP", "TERMINATING TERMINATING_REQUESTED", "do terminate", "="),
        ("CP", OPEN, "do terminate", "TERMINATING"),
        ("C", "REQUESTED REQUESTING", "start", "STARTUP_REQUESTED"),
        ("C", "RESUMING RESUMED", "start", "RESUMING_REQUESTED"),
        ("CP", "SUSPENDING_REQUESTED", "start", "RESUMING_REQUESTED"),
        ("CP", "STARTED", "suspension", "SUSPENDING_REQUESTED"),
        ("CP", "COMPLETING", "suspension", "."),
        ("C", "STARTUP_REQUESTED RESUMING_REQUESTED RESUMING RESUMED SUSPENDING", "suspension", "SUSPENDING_REQUESTED"),
        ("P", "RESUMED", "suspension", "SUSPENDING_REQUESTED"),
        ("P", "STARTING RESUMING RESUMING_REQUESTED", "suspension", "SUSPENDING_REQUESTED"),
        ("P", "SUSPENDING SUSPENDED", "suspension", "."),
        ("C", "SUSPENDED", "suspension", "."),
        ("CP", "STARTED SUSPENDING SUSPENDED COMPLETING RESUMING RESUMING_REQUESTED", "completion", "COMPLETING_REQUESTED"),
        ("C", "STARTUP_REQUESTED", "completion", "COMPLETING_REQUESTED"),
        ("CP", "RESUMED", "completion", "COMPLETING_REQUESTED"),
        ("P", "STARTING", "completion", "COMPLETING_REQUESTED"),
        ("CP", OPEN, "termination", "TERMINATING_REQUESTED"),
        ("CP", "TERMINATING", "termination", "TERMINATING_REQUESTED"),
        ("C", "REQUESTING", "delivered", "REQUESTED"),
        ("P", "STARTING", "delivered", "STARTED"),
        ("P", "RESUMING", "delivered", "STARTED"),
        ("C", "RESUMING", "delivered", "RESUMED"),
        ("CP", "SUSPENDING COMPLETING TERMINATING", "delivered", "."),
        ("CP", "TERMINATING", "undeliverable", "."),
        ("CP", "REQUESTING STARTING SUSPENDING RESUMING COMPLETING", "undeliverable", "TERMINATING"),
        ("C", "PREPARATION_REQUESTED", "answered prepared", "REQUESTING"),
        ("C", "PREPARATION_REQUESTED", "says prepared", "REQUESTING"),
        ("P", "STARTUP_REQUESTED", "answered started", "STARTING"),
        ("P", "STARTUP_REQUESTED", "says started", "STARTING"),
        ("C", "STARTUP_REQUESTED", "answered done", "STARTED"),
        ("C", "STARTUP_REQUESTED", "answered started", "STARTED"),
        ("C", "STARTUP_REQUESTED", "says started", "STARTED"),
        ("P", "RESUMING_REQUESTED", "answered started", "RESUMING"),
        ("P", "RESUMING_REQUESTED", "answered done", "TERMINATING"),
        ("C", "RESUMING_REQUESTED", "answered started", "STARTED"),
        ("C", "RESUMING_REQUESTED", "answered done", "STARTED"),
        ("CP", "PREPARATION_REQUESTED STARTUP_REQUESTED", "answered pending", "."),
        ("CP", "SUSPENDING COMPLETING TERMINATING", "answered prepared", "."),
        ("CP", "SUSPENDING_REQUESTED", "answered prepared", "SUSPENDED"),
        ("CP", "COMPLETING_REQUESTED", "answered prepared", "COMPLETED"),
        ("CP", "TERMINATING_REQUESTED", "answered prepared", "TERMINATED"),
        ("CP", "SUSPENDING COMPLETING TERMINATING", "answered started", "."),
        ("CP", "SUSPENDING_REQUESTED", "answered started", "SUSPENDED"),
        ("CP", "COMPLETING_REQUESTED", "answered started", "COMPLETED"),
        ("CP", "TERMINATING_REQUESTED", "answered started", "TERMINATED"),
        ("CP", "SUSPENDING COMPLETING TERMINATING", "answered pending", "."),
        ("CP", "SUSPENDING_REQUESTED", "answered pending", "SUSPENDED"),
        ("CP", "COMPLETING_REQUESTED", "answered pending", "COMPLETED"),
        ("CP", "TERMINATING_REQUESTED", "answered pending", "TERMINATED"),
        ("CP", "SUSPENDING COMPLETING TERMINATING", "answered done", "."),
        ("CP", "SUSPENDING_REQUESTED", "answered done", "SUSPENDED"),
        ("CP", "COMPLETING_REQUESTED", "answered done", "COMPLETED"),
        ("CP", "TERMINATING_REQUESTED", "answered done", "TERMINATED"),
        ("CP", "COMPLETING COMPLETING_REQUESTED TERMINATING TERMINATING_REQUESTED", "call failed", "."),
        ("CP", "PREPARATION_REQUESTED STARTUP_REQUESTED SUSPENDING SUSPENDING_REQUESTED RESUMING_REQUESTED", "call failed", "TERMINATING"),
        ("CP", "STARTED", "says completed", "COMPLETING"),
        ("C", "STARTUP_REQUESTED", "says completed", "COMPLETING"),
        ("P", "STARTUP_REQUESTED STARTING", "says completed", "."),
        ("CP", "RESUMING_REQUESTED RESUMING", "says completed", "."),
        ("CP", "COMPLETING COMPLETING_REQUESTED COMPLETED TERMINATING TERMINATING_REQUESTED TERMINATED", "says completed", "="),
        ("CP", "COMPLETED TERMINATED", "says errored", "="),
        ("CP", OPEN, "says errored", "."),
        ("CP", "TERMINATING TERMINATING_REQUESTED", "says errored", "."),
        ("C", "REQUESTING REQUESTED STARTING STARTUP_REQUESTED STARTED", "says prepared", "="),
        ("C", "SUSPENDING SUSPENDING_REQUESTED SUSPENDED RESUMING RESUMING_REQUESTED RESUMED", "says prepared", "="),
        ("C", "COMPLETING COMPLETING_REQUESTED COMPLETED TERMINATING TERMINATING_REQUESTED TERMINATED", "says prepared", "="),
        ("C", "PREPARATION_REQUESTED REQUESTING REQUESTED STARTING STARTED", "says started", "="),
        ("CP", "STARTING STARTED SUSPENDING SUSPENDING_REQUESTED SUSPENDED RESUMING RESUMING_REQUESTED RESUMED", "says started", "="),
        ("CP", "COMPLETING COMPLETING_REQUESTED COMPLETED TERMINATING TERMINATING_REQUESTED TERMINATED", "says started", "="),
        // An answer that fits no call of the state.
        ("P", "PREPARATION_REQUESTED", "answered prepared", "TERMINATING"),
        ("CP", "PREPARATION_REQUESTED", "answered started", "TERMINATING"),
        ("CP", "PREPARATION_REQUESTED", "answered done", "TERMINATING"),
        ("CP", "STARTUP_REQUESTED", "answered prepared", "TERMINATING"),
        ("P", "STARTUP_REQUESTED", "answered done", "TERMINATING"),
        ("CP", "RESUMING_REQUESTED", "answered prepared", "TERMINATING"),
        ("CP", "RESUMING_REQUESTED", "answered pending", "TERMINATING"),
    ]
}

/// States with a call under way: elsewhere an answer belongs to none.
const WITH_CALL: &str = "PREPARATION_REQUESTED STARTUP_REQUESTED SUSPENDING SUSPENDING_REQUESTED RESUMING_REQUESTED COMPLETING COMPLETING_REQUESTED \
                         TERMINATING TERMINATING_REQUESTED";
/// States with a message under way.
const WITH_MESSAGE: &str = "REQUESTING STARTING SUSPENDING RESUMING COMPLETING TERMINATING";

fn has(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|w| w == word)
}

#[test]
fn every_state_role_and_cause() {
    let arrows = arrows();
    for state in State::ALL {
        for role in Role::ALL {
            for (name, cause) in causes() {
                let letter = if role == Role::Consumer { "C" } else { "P" };
                let mut before = transfer(state, role);
                before.call = before.call.filter(|_| has(WITH_CALL, state.name()));
                before.message = before.message.filter(|_| has(WITH_MESSAGE, state.name()));
                before.suspended_by = Some(if state == State::SuspendingRequested { role.other() } else { role });
                // A provider is not told that it has started, it says so.
                let shown = has(SEEN_STARTED, state.name()) && !(role == Role::Provider && state == State::StartupRequested);
                before.seen = if shown { Seen::Started } else { before.seen };
                let arrow = arrows.iter().find(|(roles, from, by, _)| roles.contains(letter) && has(from, state.name()) && *by == name);
                let found = transition(&before, cause.clone(), Timestamp(9));
                let context = format!("{} {role:?} {name}", state.name());
                match (arrow, &cause) {
                    (Some((.., "=")), _) => assert_eq!(found, Ok(None), "{context}"),
                    (Some((.., to)), _) => {
                        let after = found.unwrap_or_else(|e| panic!("{context}: {e}")).unwrap_or_else(|| panic!("{context}: nothing"));
                        let expected = if *to == "." { state.name() } else { to };
                        assert_eq!(after.transfer.state.name(), expected, "{context}");
                    }
                    (None, Cause::Act(Act::Resume) | Cause::Received { message: Received::Start(_), .. }) => {
                        assert!(found.is_err(), "{context}: {found:?}");
                    }
                    (None, Cause::Act(_) | Cause::Received { .. } | Cause::Signalled(_)) => {
                        assert!(matches!(found, Err(Refused::NotAllowed { .. })), "{context}: {found:?}");
                    }
                    (
                        None,
                        Cause::Delivered { .. }
                        | Cause::Undeliverable { .. }
                        | Cause::Answered { .. }
                        | Cause::CallFailed { .. }
                        | Cause::Due,
                    ) => {
                        assert_eq!(found, Ok(None), "{context}");
                    }
                }
            }
        }
    }
}

#[test]
fn only_who_suspended_resumes() {
    for role in Role::ALL {
        let mut suspended = transfer(State::Suspended, role);
        (suspended.message, suspended.call) = (None, None);
        let start = Cause::Received { message: Received::Start(address()), pid: pid() };
        suspended.suspended_by = Some(role);
        assert!(transition(&suspended, Cause::Act(Act::Resume), Timestamp(9)).is_ok());
        assert_eq!(transition(&suspended, start.clone(), Timestamp(9)), Err(Refused::NotTheSuspender));
        suspended.suspended_by = Some(role.other());
        assert_eq!(transition(&suspended, Cause::Act(Act::Resume), Timestamp(9)), Err(Refused::NotTheSuspender));
        let resumed = transition(&suspended, start, Timestamp(9)).unwrap().unwrap();
        assert_eq!(resumed.transfer.state, State::ResumingRequested);
    }
}

#[test]
fn states_by_word_and_number() {
    let mut last = 0;
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), json!(state.name()));
        assert!(state.code() > last, "{}", state.name());
        last = state.code();
    }
}

#[test]
fn a_request_that_nobody_answers_ends() {
    let mut t = transfer(State::Requested, Role::Provider);
    (t.step, t.message, t.call, t.start_with) = (0, None, None, Some(StartWith::default()));
    let due = t.due().unwrap();
    assert_eq!(due, t.created_at.plus(limits::UNANSWERED));
    assert_eq!(transition(&t, Cause::Due, Timestamp(due.0 - 1)), Ok(None));
    let ended = transition(&t, Cause::Due, due).unwrap().unwrap();
    assert_eq!((ended.transfer.state, ended.transfer.due()), (State::Terminating, None));
    assert!(
        matches!(&ended.tasks[..], [Task::Tell(1, Notice::Termination(Some(why)))] if why == limits::NOT_ANSWERED),
        "{:?}",
        ended.tasks
    );
    // What we have acted on has no deadline.
    let started = transition(&t, Cause::Act(Act::Start), Timestamp(2)).unwrap().unwrap();
    assert_eq!(started.transfer.due(), None);
}

#[test]
fn nobody_is_waited_for_without_end() {
    for (role, state) in [Role::Consumer, Role::Provider].into_iter().flat_map(|role| State::ALL.map(|state| (role, state))) {
        let t = Transfer { message: None, call: None, state_at: Timestamp(10), ..transfer(state, role) };
        if matches!(state, State::Started | State::Suspended) || state.is_ending() {
            assert_eq!(t.due(), None, "{role:?} {state:?}");
            continue;
        }
        let plane = matches!(state, State::PreparationRequested | State::StartupRequested);
        let whom = if plane { "the data plane" } else { "the counterparty" };
        for (patience, hours) in [(None, 168), (Some(2), 2)] {
            let t = Transfer { patience, ..t.clone() };
            let due = Timestamp((hours + 1) * 3_600_000);
            assert_eq!(t.due(), Some(due), "{role:?} {state:?}");
            assert_eq!(transition(&t, Cause::Due, Timestamp(due.0 - 1)), Ok(None), "{role:?} {state:?}");
            let Moved { transfer: ended, tasks } = transition(&t, Cause::Due, due).unwrap().unwrap();
            let detail = format!("no answer of {whom} within {hours} hours in state {}", state.name());
            assert_eq!((ended.state, ended.error_detail.as_ref()), (State::Terminating, Some(&detail)), "{role:?} {state:?}");
            let told = tasks.iter().find_map(|task| if let Task::Tell(_, notice) = task { Some(notice) } else { None });
            let expected = Notice::Termination(Some(if plane { "the data plane failed".to_owned() } else { detail }));
            assert_eq!(told, (state != State::PreparationRequested).then_some(&expected), "{role:?} {state:?}");
            assert!(tasks.iter().any(|task| matches!(task, Task::Call(_, PlaneCall::Terminate(_)))), "{role:?} {state:?}");
            // While something of ours is under way, its own bounds count.
            for (message, call) in [(Some(5), None), (None, Some(5))] {
                assert_eq!(Transfer { message, call, ..t.clone() }.due(), None, "{role:?} {state:?}");
            }
        }
    }
}

#[test]
fn a_start_of_a_pull_transfer_needs_an_address() {
    let t = transfer(State::StartupRequested, Role::Provider);
    let without = transition(&t, Cause::Answered { step: 4, signal: Signal::Started(None) }, Timestamp(9)).unwrap().unwrap();
    assert_eq!(without.transfer.state, State::Terminating);
    let mut push = t;
    push.transfer_type = "HttpData-PUSH".parse().unwrap();
    let with = transition(&push, Cause::Answered { step: 4, signal: Signal::Started(None) }, Timestamp(9)).unwrap().unwrap();
    assert_eq!(with.transfer.state, State::Starting);
}
