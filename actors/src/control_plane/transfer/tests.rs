//! Every state, role and cause against the arrows of the protocol; both parties and their data planes played against each other.

use super::{
    Act, Cause, Notice, PlaneCall, Received, Signal, StartWith, State, Task, Transfer,
    table::{Moved, Refused, transition},
};
use crate::{
    control_plane::{
        data_planes::PlaneRef,
        dsp::{Repeats, Role, limits},
    },
    data_plane::flow,
};
use cellspace_schemas::{
    Did, Pid, Timestamp,
    dps::DataFlowState,
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

pub fn transfer(state: State, role: Role) -> Transfer {
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
        data_done: false,
        end_again_at: None,
        end_failures: 0,
        ends_at: None,
        look_at: None,
        patience: None,
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

/// Both parties with their outboxes and data planes; nothing is lost, but the two lanes of each party run at any speed, and answers to messages come
/// back at any time before the lane's next message.
struct World {
    parties: [Transfer; 2],
    messages: [Vec<(u32, Notice)>; 2],
    answers: [Option<Cause>; 2],
    calls: [Vec<(u32, PlaneCall)>; 2],
    planes: [DataFlowState; 2],
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
            answers: [None, None],
            calls: [vec![], vec![]],
            planes: [DataFlowState::Initialized; 2],
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
                Task::Look => panic!("the table looks at nothing"),
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

    /// The answer to the last message of a party comes back.
    fn answer(&mut self, who: usize) -> bool {
        self.answers[who].take().is_some_and(|answer| self.cause(who, answer))
    }

    /// The oldest message of a party reaches the other one, after the answer to the one before.
    fn deliver(&mut self, who: usize) -> bool {
        if self.answer(who) {
            return true;
        }
        if self.messages[who].is_empty() {
            return false;
        }
        let (step, notice) = self.messages[who].remove(0);
        if self.parties[who].message != Some(step) {
            return self.cause(who, Cause::Delivered { step, pid: None });
        }
        let taken = match notice {
            // The provider's transfer begins with the request.
            Notice::Request(_) => self.cause(1 - who, Cause::Act(Act::Start)),
            Notice::Start(address) => self.receive(1 - who, Received::Start(address)),
            Notice::Suspension(reason) => self.receive(1 - who, Received::Suspension(reason)),
            Notice::Completion => self.receive(1 - who, Received::Completion),
            Notice::Termination(reason) => self.receive(1 - who, Received::Termination(reason)),
        };
        self.answers[who] =
            Some(if taken { Cause::Delivered { step, pid: Some(pid()) } } else { Cause::Undeliverable { step, reason: "refused".into() } });
        true
    }

    fn receive(&mut self, who: usize, message: Received) -> bool {
        self.cause(who, Cause::Received { message, pid: pid() })
    }

    /// The oldest call of a party reaches its data plane, which is one of ours. Only the end of what has ended may be refused.
    fn call(&mut self, who: usize) -> bool {
        if self.calls[who].is_empty() {
            return false;
        }
        let (step, call) = self.calls[who].remove(0);
        if self.parties[who].state.is_terminating() && !matches!(call, PlaneCall::Terminate(_)) {
            return self.cause(who, Cause::Answered { step, signal: Signal::Done });
        }
        let party = &self.parties[who];
        let (pull, owner) = (!party.transfer_type.is_push(), party.owns_address());
        let made = |owner: bool| if owner { address() } else { None };
        let (asked, answer) = match &call {
            PlaneCall::Prepare => (flow::Signal::Prepare, Signal::Prepared(made(!pull))),
            PlaneCall::Start { .. } => (flow::Signal::Start, Signal::Started(made(pull))),
            PlaneCall::Started(_) => (flow::Signal::Started, Signal::Done),
            PlaneCall::Suspend(_) => (flow::Signal::Suspend, Signal::Done),
            PlaneCall::Resume(_) => (flow::Signal::Resume, Signal::Started(made(owner))),
            PlaneCall::Completed => (flow::Signal::Completed, Signal::Done),
            PlaneCall::Terminate(_) => (flow::Signal::Terminate, Signal::Done),
        };
        let end = if party.role == Role::Consumer { flow::Role::Consumer } else { flow::Role::Provider };
        match flow::next(self.planes[who], end, asked) {
            Ok(state) => self.planes[who] = state,
            Err(_) if asked == flow::Signal::Terminate && self.planes[who].is_final() => {}
            Err(refused) => panic!("{refused}: {:?} in {:?}", party.role, party.state),
        }
        self.cause(who, Cause::Answered { step, signal: answer });
        true
    }

    /// A data plane of a flow that runs undisturbed is done by itself, and says so.
    fn finish(&mut self, who: usize) {
        let party = &self.parties[who];
        let undisturbed = matches!(party.state, State::Started | State::Starting) && self.calls[who].is_empty();
        if undisturbed && self.planes[who] == DataFlowState::Started {
            self.planes[who] = DataFlowState::Completed;
            assert!(self.cause(who, Cause::Signalled(Signal::Completed)), "{:?}", self.parties[who]);
        }
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
            assert_eq!((world.states(), world.planes), (["STARTED"; 2], [DataFlowState::Started; 2]), "{transfer_type}");
            assert!(world.cause(who, Cause::Act(Act::Suspend(None))));
            world.settle();
            assert_eq!((world.states(), world.planes), (["SUSPENDED"; 2], [DataFlowState::Suspended; 2]), "{transfer_type} {who}");
            assert!(!world.cause(1 - who, Cause::Act(Act::Resume)), "the other side resumed");
            assert!(world.cause(who, Cause::Act(Act::Resume)));
            world.settle();
            assert_eq!((world.states(), world.planes), (["STARTED"; 2], [DataFlowState::Started; 2]), "{transfer_type} {who} resumed");
            assert!(world.cause(who, Cause::Act(Act::Terminate(None))));
            world.settle();
            assert_eq!((world.states(), world.planes), (["TERMINATED"; 2], [DataFlowState::Terminated; 2]), "{transfer_type} {who} ended");
        }
    }
}

#[test]
fn both_suspend_at_once_and_the_provider_may_resume() {
    let mut world = World::new("HttpData-PULL");
    world.settle();
    assert!(world.cause(0, Cause::Act(Act::Suspend(None))) && world.cause(1, Cause::Act(Act::Suspend(None))));
    world.settle();
    assert_eq!((world.states(), world.planes), (["SUSPENDED"; 2], [DataFlowState::Suspended; 2]));
    assert!(!world.cause(0, Cause::Act(Act::Resume)) && world.cause(1, Cause::Act(Act::Resume)));
    world.settle();
    assert_eq!((world.states(), world.planes), (["STARTED"; 2], [DataFlowState::Started; 2]));
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
    assert_eq!((world.states()[0], world.planes[0]), ("TERMINATED", DataFlowState::Terminated));
}

#[test]
fn what_the_data_plane_has_done_before_the_counterparty_knows_is_told_in_order() {
    let mut world = World::new("HttpData-PUSH");
    // Prepared, requested; the provider's data plane is done before its start is answered, and again before the start message is.
    assert!(world.call(0) && world.deliver(0) && world.deliver(0));
    assert!(world.cause(1, Cause::Signalled(Signal::Completed)));
    assert!(world.call(1));
    world.planes[1] = DataFlowState::Completed;
    assert!(world.cause(1, Cause::Signalled(Signal::Completed)));
    assert_eq!(world.parties[1].state, State::Starting);
    world.settle();
    assert_eq!((world.states(), world.planes), (["COMPLETED"; 2], [DataFlowState::Completed; 2]));
}

#[test]
fn suspended_and_resumed_before_the_other_data_plane_has_suspended() {
    for who in [0, 1] {
        let mut world = World::new("HttpData-PULL");
        world.settle();
        assert!(world.cause(who, Cause::Act(Act::Suspend(None))));
        // Everything but the other side's data plane.
        while world.call(who) | world.deliver(who) {}
        assert_eq!((world.parties[who].state, world.parties[1 - who].state), (State::Suspended, State::SuspendingRequested));
        assert!(world.cause(who, Cause::Act(Act::Resume)));
        while world.call(who) | world.deliver(who) {}
        assert_eq!(world.parties[1 - who].state, State::ResumingRequested);
        world.settle();
        assert_eq!((world.states(), world.planes), (["STARTED"; 2], [DataFlowState::Started; 2]));
    }
}

#[test]
fn a_flow_that_cannot_be_ended_is_ended_later() {
    for (begin, last) in [(Act::Terminate(None), "TERMINATED"), (Act::Complete, "COMPLETED")] {
        let mut world = World::new("HttpData-PULL");
        world.settle();
        assert!(world.cause(1, Cause::Act(begin)));
        while world.deliver(1) {}
        let mut now = Timestamp(10);
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let (step, _) = world.calls[1].remove(0);
            let failed = transition(&world.parties[1], Cause::CallFailed { step, reason: "down".into() }, now).unwrap();
            world.take(1, failed);
            assert!(!world.parties[1].state.is_final(), "over while its flow runs");
            let due = world.parties[1].due().unwrap();
            pauses.push(due.since(now).as_secs());
            let early = transition(&world.parties[1], Cause::Due, now);
            assert_eq!(early, Ok(None));
            now = due;
            let again = transition(&world.parties[1], Cause::Due, now).unwrap();
            world.take(1, again);
            assert!(matches!(world.calls[1][..], [(_, PlaneCall::Terminate(_))]), "{:?}", world.calls[1]);
            assert_eq!(world.parties[1].due(), None);
        }
        assert!(pauses.starts_with(&[1, 2, 4, 8]) && pauses.ends_with(&[3_600, 3_600]), "{pauses:?}");
        world.settle();
        assert_eq!((world.states()[1], world.planes[1]), (last, DataFlowState::Terminated));
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

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]

    /// Whatever both clients and data planes do, however the lanes run: it comes to rest on both sides alike, nobody ends it by a termination that nobody
    /// asked for, and it can always be ended on both sides with both data planes at rest. The data planes panic on a call that their states do not
    /// allow.
    #[test]
    fn any_interleaving(push in any::<bool>(), steps in prop::collection::vec((0usize..2, 0usize..9), 0..80)) {
        let mut world = World::new(if push { "HttpData-PUSH" } else { "HttpData-PULL" });
        for (who, what) in steps {
            let final_before = [world.parties[0].state.is_final(), world.parties[1].state.is_final()];
            let states = world.states();
            match what {
                0 | 1 => { world.deliver(who); }
                2 => { world.answer(who); }
                3 | 4 => { world.call(who); }
                5 => { world.cause(who, Cause::Act(Act::Suspend(None))); }
                6 => { world.cause(who, Cause::Act(Act::Resume)); }
                7 => { world.cause(who, Cause::Act(Act::Complete)); }
                _ => world.finish(who),
            }
            for who in [0, 1] {
                prop_assert!(!final_before[who] || world.states()[who] == states[who], "left a final state");
            }
        }
        world.settle();
        let rest = world.states();
        let matched = rest[0] == rest[1];
        prop_assert!(matched, "{rest:?}");
        prop_assert!(matches!(rest[0], "STARTED" | "SUSPENDED" | "COMPLETED"), "{rest:?}");
        world.cause(0, Cause::Act(Act::Terminate(None)));
        world.settle();
        prop_assert!(world.parties.iter().all(|t| t.state.is_final()), "{:?}", world.states());
        let over = world.planes.iter().all(|p| p.is_final());
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
