//! Every state, role and cause against the arrows of the protocol; both parties and their data planes played against each other.

use super::{
    Act, Cause, Notice, PlaneCall, Received, Signal, StartWith, State, Task, Transfer,
    table::{Moved, Refused, transition},
};
use crate::control_plane::{
    data_planes::PlaneRef,
    dsp::{Repeats, Role},
};
use cellspace_schemas::{
    Did, Pid, Timestamp,
    dsp::{DataAddress, transfer::TransferState as Seen},
    management::DataplaneMetadata,
};
use proptest::prelude::*;
use serde_json::json;

fn pid() -> Pid {
    Pid::new("theirs").unwrap()
}

fn address() -> Option<DataAddress> {
    Some(DataAddress { endpoint_type: "t".into(), endpoint: Some("http://data".into()), endpoint_properties: vec![] })
}

fn transfer(state: State, role: Role) -> Transfer {
    Transfer {
        id: "t".parse().unwrap(),
        role,
        state,
        seen: Seen::Requested,
        step: 5,
        message: Some(5),
        call: Some(4),
        counterparty: Did::new("did:web:peer").unwrap(),
        address: "http://x".parse().unwrap(),
        counterparty_pid: Some(pid()),
        profile: "p".parse().unwrap(),
        agreement: "ag".parse().unwrap(),
        asset: "asset".parse().unwrap(),
        transfer_type: "HttpData-PULL".parse().unwrap(),
        metadata: DataplaneMetadata::default(),
        data_plane: Some(PlaneRef { id: "plane".parse().unwrap(), revision: 0 }),
        start_with: None,
        suspended_by: None,
        accepted: Repeats::default(),
        error_detail: None,
        errors: 0,
        callbacks: vec![],
        private_properties: serde_json::Map::new(),
        created_at: Timestamp(1),
        state_at: Timestamp(1),
    }
}

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
        ("answered started", answered(Signal::Started(None))),
        ("answered pending", answered(Signal::Pending)),
        ("answered done", answered(Signal::Done)),
        ("call failed", Cause::CallFailed { step: 4, reason: "why".into() }),
        ("says prepared", Cause::Signalled(Signal::Prepared(None))),
        ("says started", Cause::Signalled(Signal::Started(None))),
        ("says completed", Cause::Signalled(Signal::Completed)),
        ("says errored", Cause::Signalled(Signal::Errored(None))),
        ("old delivered", Cause::Delivered { step: 3, pid: Some(pid()) }),
        ("old undeliverable", Cause::Undeliverable { step: 3, reason: "why".into() }),
        ("old answer", Cause::Answered { step: 3, signal: Signal::Done }),
        ("old failure", Cause::CallFailed { step: 3, reason: "why".into() }),
    ]
}

const OPEN: &str = "PREPARATION_REQUESTED REQUESTING REQUESTED STARTING STARTUP_REQUESTED STARTED SUSPENDING SUSPENDING_REQUESTED SUSPENDED \
                    RESUMING RESUMING_REQUESTED RESUMED COMPLETING COMPLETING_REQUESTED";

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
        ("CP", "STARTED", "suspension", "SUSPENDING_REQUESTED"),
        ("C", "STARTUP_REQUESTED RESUMING_REQUESTED SUSPENDING", "suspension", "SUSPENDING_REQUESTED"),
        ("P", "STARTING RESUMING", "suspension", "SUSPENDING_REQUESTED"),
        ("P", "SUSPENDING SUSPENDED", "suspension", "."),
        ("C", "SUSPENDED", "suspension", "."),
        ("CP", "STARTED SUSPENDING COMPLETING", "completion", "COMPLETING_REQUESTED"),
        ("C", "STARTUP_REQUESTED RESUMING_REQUESTED", "completion", "COMPLETING_REQUESTED"),
        ("P", "STARTING RESUMING", "completion", "COMPLETING_REQUESTED"),
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
        ("P", "RESUMING_REQUESTED", "answered done", "RESUMING"),
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
        ("CP", "COMPLETING TERMINATING", "call failed", "."),
        ("CP", "COMPLETING_REQUESTED", "call failed", "COMPLETED"),
        ("CP", "TERMINATING_REQUESTED", "call failed", "TERMINATED"),
        ("CP", "PREPARATION_REQUESTED STARTUP_REQUESTED SUSPENDING SUSPENDING_REQUESTED RESUMING_REQUESTED", "call failed", "TERMINATING"),
        ("CP", "STARTED", "says completed", "COMPLETING"),
        ("C", "STARTUP_REQUESTED", "says completed", "COMPLETING"),
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
                before.suspended_by = Some(role);
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
                    (None, Cause::Delivered { .. } | Cause::Undeliverable { .. } | Cause::Answered { .. } | Cause::CallFailed { .. }) => {
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

/// Both parties with their outboxes and data planes; nothing is lost, but the two lanes of each party run at any speed.
struct World {
    parties: [Transfer; 2],
    messages: [Vec<(u32, Notice)>; 2],
    calls: [Vec<(u32, PlaneCall)>; 2],
    planes: [&'static str; 2],
}

impl World {
    fn new(transfer_type: &str) -> Self {
        let of = |role: Role, state| {
            let mut t = transfer(state, role);
            t.transfer_type = transfer_type.parse().unwrap();
            (t.step, t.message, t.call) = (0, None, None);
            t.counterparty_pid = (role == Role::Provider).then(pid);
            t.start_with = (role == Role::Provider).then(StartWith::default);
            t
        };
        let provider = of(Role::Provider, State::Requested);
        let mut world = Self {
            parties: [of(Role::Consumer, State::Requested), provider],
            messages: [vec![], vec![]],
            calls: [vec![], vec![]],
            planes: ["", ""],
        };
        let begun = world.parties[0].clone().preparing(Timestamp(1));
        world.take(0, Some(begun));
        world
    }

    fn take(&mut self, who: usize, moved: Option<Moved>) {
        let Some(Moved { transfer, tasks }) = moved else { return };
        self.parties[who] = transfer;
        for task in tasks {
            match task {
                Task::Tell(step, notice) => self.messages[who].push((step, notice)),
                Task::Call(step, call) => self.calls[who].push((step, call)),
            }
        }
    }

    fn cause(&mut self, who: usize, cause: Cause) -> bool {
        match transition(&self.parties[who], cause, Timestamp(2)) {
            Ok(moved) => {
                self.take(who, moved);
                true
            }
            Err(_) => false,
        }
    }

    /// The oldest message of a party reaches the other one. The answer may come back before or after what the other one does next.
    fn deliver(&mut self, who: usize) -> bool {
        if self.messages[who].is_empty() {
            return false;
        }
        let (step, notice) = self.messages[who].remove(0);
        if self.parties[who].message != Some(step) {
            self.cause(who, Cause::Delivered { step, pid: None });
            return true;
        }
        let other = 1 - who;
        let message = match notice {
            // The provider's transfer begins with the request.
            Notice::Request(_) => {
                let start = self.cause(other, Cause::Act(Act::Start));
                self.cause(who, Cause::Delivered { step, pid: Some(pid()) });
                return start;
            }
            Notice::Start(address) => Received::Start(address),
            Notice::Suspension(reason) => Received::Suspension(reason),
            Notice::Completion => Received::Completion,
            Notice::Termination(reason) => Received::Termination(reason),
        };
        if self.cause(other, Cause::Received { message, pid: pid() }) {
            self.cause(who, Cause::Delivered { step, pid: None });
        } else {
            self.cause(who, Cause::Undeliverable { step, reason: "refused".into() });
        }
        true
    }

    /// The oldest call of a party reaches its data plane, which follows the states of data plane signaling.
    fn call(&mut self, who: usize) -> bool {
        if self.calls[who].is_empty() {
            return false;
        }
        let (step, call) = self.calls[who].remove(0);
        if self.parties[who].state.is_terminating() && !matches!(call, PlaneCall::Terminate(_)) {
            self.cause(who, Cause::Answered { step, signal: Signal::Done });
            return true;
        }
        let pull = !self.parties[who].transfer_type.is_push();
        let made = |owner: bool| if owner { address() } else { None };
        let (state, signal) = match (&call, self.planes[who]) {
            (PlaneCall::Prepare, "") => ("PREPARED", Signal::Prepared(made(!pull))),
            (PlaneCall::Start { .. }, "") => ("STARTED", Signal::Started(made(pull))),
            (PlaneCall::Started(_), "PREPARED") => ("STARTED", Signal::Done),
            (PlaneCall::Suspend(_), "STARTED") => ("SUSPENDED", Signal::Done),
            (PlaneCall::Resume(_), "SUSPENDED") => ("STARTED", Signal::Started(made(self.parties[who].owns_address()))),
            (PlaneCall::Completed, "STARTED" | "SUSPENDED") => ("COMPLETED", Signal::Done),
            (PlaneCall::Terminate(_), _) => ("TERMINATED", Signal::Done),
            (_, plane) => panic!("{call:?} in {plane} of {:?}, {:?}", self.parties[who].role, self.parties[who].state),
        };
        self.planes[who] = state;
        self.cause(who, Cause::Answered { step, signal });
        true
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            if !(self.deliver(0) | self.call(0) | self.deliver(1) | self.call(1)) {
                return;
            }
        }
        panic!("no end");
    }

    fn states(&self) -> [&'static str; 2] {
        [self.parties[0].state.name(), self.parties[1].state.name()]
    }
}

#[test]
fn a_transfer_from_request_to_end() {
    for transfer_type in ["HttpData-PULL", "HttpData-PUSH"] {
        for who in [0, 1] {
            let mut world = World::new(transfer_type);
            world.settle();
            assert_eq!((world.states(), world.planes), (["STARTED"; 2], ["STARTED"; 2]), "{transfer_type}");
            assert!(world.cause(who, Cause::Act(Act::Suspend(None))));
            world.settle();
            assert_eq!((world.states(), world.planes), (["SUSPENDED"; 2], ["SUSPENDED"; 2]), "{transfer_type} {who}");
            assert!(!world.cause(1 - who, Cause::Act(Act::Resume)), "the other side resumed");
            assert!(world.cause(who, Cause::Act(Act::Resume)));
            world.settle();
            assert_eq!((world.states(), world.planes), (["STARTED"; 2], ["STARTED"; 2]), "{transfer_type} {who} resumed");
            assert!(world.cause(who, Cause::Act(Act::Terminate(None))));
            world.settle();
            assert_eq!((world.states(), world.planes), (["TERMINATED"; 2], ["TERMINATED"; 2]), "{transfer_type} {who} ended");
        }
    }
}

#[test]
fn both_suspend_at_once_and_the_provider_may_resume() {
    let mut world = World::new("HttpData-PULL");
    world.settle();
    assert!(world.cause(0, Cause::Act(Act::Suspend(None))) && world.cause(1, Cause::Act(Act::Suspend(None))));
    world.settle();
    assert_eq!((world.states(), world.planes), (["SUSPENDED"; 2], ["SUSPENDED"; 2]));
    assert!(!world.cause(0, Cause::Act(Act::Resume)) && world.cause(1, Cause::Act(Act::Resume)));
    world.settle();
    assert_eq!((world.states(), world.planes), (["STARTED"; 2], ["STARTED"; 2]));
}

#[test]
fn a_failing_data_plane_ends_both_sides() {
    let mut world = World::new("HttpData-PULL");
    // Prepared, requested; then the provider's data plane cannot start.
    assert!(world.call(0) && world.deliver(0));
    let (step, _) = world.calls[1].remove(0);
    world.cause(1, Cause::CallFailed { step, reason: "http://internal:1 is down".into() });
    let told = world.messages[1].iter().map(|(_, notice)| format!("{notice:?}")).collect::<String>();
    assert!(told.contains("data plane failed") && !told.contains("internal"), "{told}");
    world.settle();
    assert_eq!(world.states(), ["TERMINATED"; 2]);
    assert_eq!(world.parties[1].error_detail.as_deref(), Some("http://internal:1 is down"));
}

#[test]
fn without_a_data_plane_it_is_over_at_once() {
    let mut t = transfer(State::Requested, Role::Consumer);
    t.data_plane = None;
    let ended = t.preparing(Timestamp(3));
    assert_eq!((ended.transfer.state, ended.tasks.len()), (State::Terminated, 0));
    assert_eq!(ended.transfer.error_detail.as_deref(), Some("no data plane found for HttpData-PULL"));
}

#[test]
fn termination_before_the_request_tells_nobody() {
    let mut world = World::new("HttpData-PULL");
    assert!(world.cause(0, Cause::Act(Act::Terminate(Some("changed my mind".into())))));
    assert!(world.messages[0].is_empty());
    world.settle();
    assert_eq!((world.states()[0], world.planes[0]), ("TERMINATED", "TERMINATED"));
}

proptest! {
    /// Whatever both clients do, however the lanes run: it comes to rest, and can always be ended on both sides with both data planes at rest. The
    /// simulated data planes panic on a call that their states do not allow.
    #[test]
    fn any_interleaving(push in any::<bool>(), steps in prop::collection::vec((0usize..2, 0usize..7), 0..60)) {
        let mut world = World::new(if push { "HttpData-PUSH" } else { "HttpData-PULL" });
        for (who, what) in steps {
            let final_before = [world.parties[0].state.is_final(), world.parties[1].state.is_final()];
            let states = world.states();
            match what {
                0 | 1 => { world.deliver(who); }
                2 | 3 => { world.call(who); }
                4 => { world.cause(who, Cause::Act(Act::Suspend(None))); }
                5 => { world.cause(who, Cause::Act(Act::Resume)); }
                _ => { world.cause(who, Cause::Act(Act::Complete)); }
            }
            for who in [0, 1] {
                prop_assert!(!final_before[who] || world.states()[who] == states[who], "left a final state");
            }
        }
        world.settle();
        let rest = world.states();
        let matched = rest[0] == rest[1];
        prop_assert!(matched, "{rest:?}");
        prop_assert!(matches!(rest[0], "STARTED" | "SUSPENDED" | "COMPLETED" | "TERMINATED"), "{rest:?}");
        world.cause(0, Cause::Act(Act::Terminate(None)));
        world.settle();
        prop_assert!(world.parties.iter().all(|t| t.state.is_final()), "{:?}", world.states());
        let over = world.planes.iter().all(|p| matches!(*p, "COMPLETED" | "TERMINATED"));
        prop_assert!(over, "{:?}", world.planes);
    }
}

/// What a dead letter keeps of an effect gives nobody access to data.
#[test]
fn no_data_address_is_left_in_a_redacted_effect() {
    let start = |data_address| PlaneCall::Start { claims: serde_json::Map::new(), data_address };
    let tasks = |address: Option<DataAddress>| {
        let notices = [Notice::Request(address.clone()), Notice::Start(address.clone())].map(|notice| Task::Tell(1, notice));
        let calls =
            [start(address.clone()), PlaneCall::Started(address.clone()), PlaneCall::Resume(address)].map(|call| Task::Call(1, call));
        notices.into_iter().chain(calls).map(|task| super::Effect { transfer: "t".parse().unwrap(), task })
    };
    for (with, without) in tasks(address()).zip(tasks(None)) {
        assert_eq!(super::redact(&with).as_ref(), Some(&without));
        assert_eq!(super::redact(&without), None);
    }
}
