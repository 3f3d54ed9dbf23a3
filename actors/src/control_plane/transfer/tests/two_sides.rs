//! Both parties and their data planes played against each other.

use super::{address, pid, transfer};
use crate::{
    control_plane::{
        dsp::Role,
        transfer::{Act, Cause, Moved, Notice, PlaneCall, Received, Signal, StartWith, State, Task, Transfer, table::transition},
    },
    data_plane::flow,
};
use cellspace_schemas::{Timestamp, dps::DataFlowState};
use proptest::prelude::*;

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
    pub(super) fn call(&mut self, who: usize) -> bool {
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
