//! A step of a transfer: how it enters a state, what is under way then, and when that leads on by itself.

use super::{
    State, Transfer,
    words::{Moved, Notice, PlaneCall, Task},
};
use crate::control_plane::dsp::Role;
use cellspace_schemas::{
    Pid, Timestamp,
    dsp::{DataAddress, transfer::TransferState as Seen},
};
use std::time::Duration;

/// Pause before a data plane that could not be told to end a flow is told again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// A transfer on its way into a state.
pub(super) struct Next {
    pub(super) transfer: Transfer,
    tasks: Vec<Task>,
}

impl Transfer {
    /// Made by the consumer: its data plane is prepared first (data plane signaling, "Prepare"). Without a data plane it is over at once.
    #[must_use]
    pub fn preparing(self, now: Timestamp) -> Moved {
        if self.data_plane.is_none() {
            let detail = format!("no data plane found for {}", self.transfer_type);
            let ended = Self { state: State::Terminated, seen: Seen::Terminated, error_detail: Some(detail), ..self };
            return Moved { transfer: ended, tasks: Vec::new() };
        }
        self.next(State::PreparationRequested, now).call(PlaneCall::Prepare).settled(now)
    }

    /// Whether the counterparty may take it for STARTED: both know that it is, or our start is under way and may have arrived.
    pub(in crate::control_plane) fn is_started_for_counterparty(&self) -> bool {
        match self.state {
            State::Starting => self.role == Role::Provider && self.message.is_some(),
            State::Resuming => self.message.is_some(),
            State::Started | State::StartupRequested | State::ResumingRequested | State::Resumed => self.seen == Seen::Started,
            State::PreparationRequested
            | State::Requesting
            | State::Requested
            | State::Suspending
            | State::SuspendingRequested
            | State::Suspended
            | State::Completing
            | State::CompletingRequested
            | State::Completed
            | State::Terminating
            | State::TerminatingRequested
            | State::Terminated => false,
        }
    }

    /// What our data plane is told when the counterparty says that it is done: only a flow that is started can be completed (data plane signaling,
    /// "Data Flow State Machine"), every other one is ended.
    pub(super) fn last_call(&self) -> PlaneCall {
        match self.state {
            State::Suspending | State::Suspended | State::Resumed => PlaneCall::Terminate(None),
            State::Resuming if !self.owns_address() => PlaneCall::Terminate(None),
            State::PreparationRequested
            | State::Requesting
            | State::Requested
            | State::Starting
            | State::StartupRequested
            | State::Started
            | State::SuspendingRequested
            | State::Resuming
            | State::ResumingRequested
            | State::Completing
            | State::CompletingRequested
            | State::Completed
            | State::Terminating
            | State::TerminatingRequested
            | State::Terminated => PlaneCall::Completed,
        }
    }

    /// Whether a start with this data address may be sent: that of a pull transfer has one (DSP 2025-1, "Transfer Start Message").
    pub(super) fn may_tell(&self, address: Option<&DataAddress>) -> bool {
        address.is_some() || self.transfer_type.is_push()
    }

    /// Entering a state: nothing that was under way before is waited for any longer.
    pub(super) fn next(&self, state: State, now: Timestamp) -> Next {
        let transfer = Self { state, state_at: now, message: None, call: None, end_again_at: None, ..self.clone() };
        Next { transfer, tasks: Vec::new() }
    }

    /// Staying in the state.
    pub(super) fn same(&self) -> Next {
        Next { transfer: self.clone(), tasks: Vec::new() }
    }

    /// Why it ends when nobody has answered in time.
    pub(super) fn waited_for(&self, whom: &str) -> String {
        format!("no answer of {whom} within {} hours in state {}", self.hours_of_patience(), self.state.name())
    }

    /// Ending it by ourselves. `told` goes to the counterparty, `detail` stays with us.
    pub(super) fn ending(&self, told: Option<String>, detail: Option<String>, now: Timestamp) -> Next {
        let mut next = self.next(State::Terminating, now);
        next.transfer.error_detail = detail.or_else(|| self.error_detail.clone());
        let next = next.call_if_chosen(PlaneCall::Terminate(told.clone()));
        // Before its request is under way the consumer's transfer is unknown to the counterparty.
        if self.state == State::PreparationRequested { next } else { next.tell(Notice::Termination(told)) }
    }
}

impl Next {
    pub(super) fn tell(mut self, message: Notice) -> Self {
        self.transfer.step = self.transfer.step.saturating_add(1);
        self.transfer.message = Some(self.transfer.step);
        self.tasks.push(Task::Tell(self.transfer.step, message));
        self
    }

    pub(super) fn call(mut self, call: PlaneCall) -> Self {
        self.transfer.step = self.transfer.step.saturating_add(1);
        self.transfer.call = Some(self.transfer.step);
        self.tasks.push(Task::Call(self.transfer.step, call));
        self
    }

    pub(super) fn call_if_chosen(self, call: PlaneCall) -> Self {
        // A provider's data plane that was never told to start knows nothing of the flow.
        if self.transfer.data_plane.is_some() && self.transfer.start_with.is_none() { self.call(call) } else { self }
    }

    /// The call that was under way before still is, or is still to be made again.
    pub(super) fn still_calling(mut self, before: &Transfer) -> Self {
        self.transfer.call = before.call;
        self.transfer.end_again_at = before.end_again_at;
        self
    }

    /// The call that ends the flow failed: it is made again later, with a pause that grows.
    pub(super) fn end_again(mut self, reason: String, now: Timestamp) -> Self {
        let t = &mut self.transfer;
        t.call = None;
        t.end_again_at = Some(now.plus(FIRST_PAUSE.saturating_mul(1 << t.end_failures.min(20)).min(LONGEST_PAUSE)));
        t.end_failures = t.end_failures.saturating_add(1);
        t.error_detail.get_or_insert(reason);
        self
    }

    pub(super) fn suspended_by(mut self, role: Role) -> Self {
        self.transfer.suspended_by = Some(role);
        self
    }

    pub(super) fn told_by(self, pid: Pid, seen: Seen) -> Self {
        self.acknowledged(Some(pid), seen)
    }

    pub(super) fn acknowledged(mut self, pid: Option<Pid>, seen: Seen) -> Self {
        self.transfer.seen = seen;
        if self.transfer.counterparty_pid.is_none() {
            self.transfer.counterparty_pid = pid;
        }
        self
    }

    pub(super) fn message_done(mut self) -> Self {
        self.transfer.message = None;
        self
    }

    pub(super) fn call_done(mut self) -> Self {
        self.transfer.call = None;
        self
    }

    /// States that wait for nothing any more end in the one they lead to.
    pub(super) fn settled(mut self, now: Timestamp) -> Moved {
        let t = &mut self.transfer;
        if t.message.is_none() && t.call.is_none() && t.end_again_at.is_none() {
            let end = match t.state {
                State::Suspending | State::SuspendingRequested => Some(State::Suspended),
                State::Completing | State::CompletingRequested => Some(State::Completed),
                State::Terminating | State::TerminatingRequested => Some(State::Terminated),
                State::PreparationRequested
                | State::Requesting
                | State::Requested
                | State::Starting
                | State::StartupRequested
                | State::Started
                | State::Suspended
                | State::Resuming
                | State::ResumingRequested
                | State::Resumed
                | State::Completed
                | State::Terminated => None,
            };
            if let Some(end) = end {
                t.state = end;
                t.state_at = now;
                if end == State::Terminated {
                    t.seen = Seen::Terminated;
                }
            }
        }
        if t.state == State::Started {
            t.suspended_by = None;
            // STARTED --data plane is done already--> COMPLETING
            if t.data_done {
                let Next { transfer, tasks } = t.next(State::Completing, now).tell(Notice::Completion);
                self.transfer = transfer;
                self.tasks.extend(tasks);
            }
        }
        Moved { transfer: self.transfer, tasks: self.tasks }
    }
}
