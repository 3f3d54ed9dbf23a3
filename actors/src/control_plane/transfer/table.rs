//! The state machine of a transfer: which cause leads from which state to which (DSP 2025-1, "Transfer Process Protocol"; data plane signaling,
//! "Protocol Messaging" and "Data Flow Suspension/Resumption").
//!
//! Pure, and STATE: states change by it alone. A message from the counterparty that presupposes the delivery of ours *is* its outcome. Ending a
//! transfer tells the counterparty and the data plane at the same time, so that neither waits for the other.

use super::{State, Transfer};
use crate::control_plane::dsp::{Role, limits};
use cellspace_schemas::{
    Pid, Timestamp,
    dsp::{DataAddress, transfer::TransferState as Seen},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// What we do, of our own accord or because a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// The provider starts.
    Start,
    /// Pause.
    Suspend(Option<String>),
    /// Go on, after a pause of our own.
    Resume,
    /// It is done.
    Complete,
    /// End it.
    Terminate(Option<String>),
}

impl Act {
    /// For error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start => "a start",
            Self::Suspend(_) => "a suspension",
            Self::Resume => "a resumption",
            Self::Complete => "a completion",
            Self::Terminate(_) => "a termination",
        }
    }
}

/// What the counterparty did.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// The provider has started, or the one who suspended goes on.
    Start(Option<DataAddress>),
    /// It pauses.
    Suspension(Option<String>),
    /// It is done.
    Completion,
    /// It ended it.
    Termination(Option<String>),
}

impl Received {
    /// For error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start(_) => "a start",
            Self::Suspension(_) => "a suspension",
            Self::Completion => "a completion",
            Self::Termination(_) => "a termination",
        }
    }
}

/// What our data plane says: in the answer to a call, or later by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// It works on it, and will say when it is done.
    Pending,
    /// Ready; in push transfers with the address to push to.
    Prepared(Option<DataAddress>),
    /// Data may flow; in pull transfers with the address to pull from.
    Started(Option<DataAddress>),
    /// The data has been transferred.
    Completed,
    /// The wire protocol failed. This moves no state.
    Errored(Option<String>),
    /// The call was carried out; there is nothing to say about it.
    Done,
}

impl Signal {
    /// For error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "a pending answer of the data plane",
            Self::Prepared(_) => "prepared",
            Self::Started(_) => "started",
            Self::Completed => "completed",
            Self::Errored(_) => "errored",
            Self::Done => "an answer of the data plane",
        }
    }
}

/// Why a transfer moves.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// We do something.
    Act(Act),
    /// A message came; the counterparty calls its process `pid`.
    Received {
        /// The message.
        message: Received,
        /// The sender's process.
        pid: Pid,
    },
    /// The counterparty acknowledged our message number `step`.
    Delivered {
        /// Which.
        step: u32,
        /// The counterparty's process, when it told it.
        pid: Option<Pid>,
    },
    /// Our message number `step` was refused or given up.
    Undeliverable {
        /// Which.
        step: u32,
        /// Why.
        reason: String,
    },
    /// Our data plane answered call number `step`.
    Answered {
        /// Which.
        step: u32,
        /// What.
        signal: Signal,
    },
    /// Our data plane refused call number `step`, or it was given up.
    CallFailed {
        /// Which.
        step: u32,
        /// Why.
        reason: String,
    },
    /// Our data plane says something by itself.
    Signalled(Signal),
    /// Its deadline has passed.
    Due,
}

/// A message to the counterparty, without what every message has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// `TransferRequestMessage`
    Request(Option<DataAddress>),
    /// `TransferStartMessage`
    Start(Option<DataAddress>),
    /// `TransferSuspensionMessage`
    Suspension(Option<String>),
    /// `TransferCompletionMessage`
    Completion,
    /// `TransferTerminationMessage`
    Termination(Option<String>),
}

/// A call of our data plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PlaneCall {
    /// `prepare`
    Prepare,
    /// `start`
    Start {
        /// What the consumer has proven.
        claims: Map<String, Value>,
        /// Where to push to.
        data_address: Option<DataAddress>,
    },
    /// `started`
    Started(Option<DataAddress>),
    /// `suspend`
    Suspend(Option<String>),
    /// `resume`
    Resume(Option<DataAddress>),
    /// `terminate`
    Terminate(Option<String>),
    /// `completed`
    Completed,
}

/// What is to be done outside after a transition; its number is that of the step it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Tell the counterparty.
    Tell(u32, Notice),
    /// Call the data plane.
    Call(u32, PlaneCall),
    /// See whether it may go on; whatever its step is.
    Look,
}

/// Why a transfer does not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The state does not allow it.
    #[error("state {state} of the {role} does not allow {what}", state = .state.name(), role = match .role { Role::Consumer => "consumer", Role::Provider => "provider" })]
    NotAllowed {
        /// The state.
        state: State,
        /// Our role.
        role: Role,
        /// What came.
        what: &'static str,
    },
    /// The other side suspended it.
    #[error("only the side that suspended a transfer may resume it")]
    NotTheSuspender,
}

/// A transfer after a cause, and what is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The transfer.
    pub transfer: Transfer,
    /// At most one message and one call.
    pub tasks: Vec<Task>,
}

/// The transfer after the cause; `None` when nothing changes.
///
/// # Errors
/// [`Refused`]; nothing changes then.
#[allow(clippy::too_many_lines)] // One arm per arrow: the table is to be read in one piece.
pub fn transition(transfer: &Transfer, cause: Cause, now: Timestamp) -> Result<Option<Moved>, Refused> {
    use Role::{Consumer, Provider};
    use State::{
        Completed, Completing, CompletingRequested, PreparationRequested, Requested, Requesting, Resumed, Resuming, ResumingRequested,
        Started, Starting, StartupRequested, Suspended, Suspending, SuspendingRequested, Terminated, Terminating, TerminatingRequested,
    };
    let t = transfer;
    let waits_for_message = |step: u32| t.message == Some(step);
    let waits_for_call = |step: u32| t.call == Some(step);
    let moved = |next: Next| Ok(Some(next.settled(now)));
    match (t.state, t.role, cause) {
        // --- what we do

        // REQUESTED --start--> STARTUP_REQUESTED (provider): the data plane starts first
        (Requested, Provider, Cause::Act(Act::Start)) => {
            let mut next = t.next(StartupRequested, now);
            let with = next.transfer.start_with.take().unwrap_or_default();
            moved(next.call(PlaneCall::Start { claims: with.claims, data_address: with.data_address }))
        }
        // STARTED --suspend--> SUSPENDING (both)
        (Started, Consumer | Provider, Cause::Act(Act::Suspend(reason))) => {
            let next = t.next(Suspending, now).suspended_by(t.role);
            moved(next.call(PlaneCall::Suspend(reason.clone())).tell(Notice::Suspension(reason)))
        }
        // SUSPENDED --resume--> RESUMING_REQUESTED (who makes the data address), or RESUMING (the other); only who suspended
        (Suspended, Consumer | Provider, Cause::Act(Act::Resume)) => {
            if t.suspended_by != Some(t.role) {
                return Err(Refused::NotTheSuspender);
            }
            if t.owns_address() {
                moved(t.next(ResumingRequested, now).call(PlaneCall::Resume(None)))
            } else {
                moved(t.next(Resuming, now).tell(Notice::Start(None)))
            }
        }
        // STARTED --complete--> COMPLETING (both)
        (Started, Consumer | Provider, Cause::Act(Act::Complete)) => {
            moved(t.next(Completing, now).call(PlaneCall::Completed).tell(Notice::Completion))
        }
        // TERMINATING, TERMINATING_REQUESTED --terminate--> the same: it is on its way
        (Terminating | TerminatingRequested, Consumer | Provider, Cause::Act(Act::Terminate(_))) => Ok(None),
        // any open state --terminate--> TERMINATING (both)
        (open, Consumer | Provider, Cause::Act(Act::Terminate(reason))) if !open.is_final() => moved(t.ending(reason.clone(), reason, now)),

        // --- what the counterparty does

        // REQUESTED, REQUESTING --start--> STARTUP_REQUESTED (consumer)
        (Requested | Requesting, Consumer, Cause::Received { message: Received::Start(address), pid }) => {
            moved(t.next(StartupRequested, now).told_by(pid, Seen::Started).call(PlaneCall::Started(address)))
        }
        // SUSPENDED, SUSPENDING_REQUESTED --start--> RESUMING_REQUESTED (both), when the counterparty suspended; our data plane resumes after
        // it has suspended
        (Suspended | SuspendingRequested, Consumer | Provider, Cause::Received { message: Received::Start(address), pid }) => {
            if t.suspended_by != Some(t.role.other()) {
                return Err(Refused::NotTheSuspender);
            }
            moved(t.next(ResumingRequested, now).told_by(pid, Seen::Started).call(PlaneCall::Resume(address)))
        }
        // SUSPENDING --start--> the same (provider): of two suspensions that crossed the consumer has taken back its own before it saw ours
        (Suspending, Provider, Cause::Received { message: Received::Start(_), pid })
            if t.message.is_some() && t.seen == Seen::Suspended =>
        {
            moved(t.same().told_by(pid, Seen::Started))
        }
        // RESUMING, RESUMED --start with the data address--> RESUMING_REQUESTED (who does not make the address)
        (Resuming | Resumed, Consumer | Provider, Cause::Received { message: Received::Start(address), pid }) if !t.owns_address() => {
            moved(t.next(ResumingRequested, now).told_by(pid, Seen::Started).call(PlaneCall::Resume(address)))
        }
        // STARTED, and every state that the counterparty takes for it --suspension--> SUSPENDING_REQUESTED (both)
        (_, Consumer | Provider, Cause::Received { message: Received::Suspension(reason), pid }) if t.is_started_for_counterparty() => {
            // What is done already is not suspended: --suspension--> COMPLETING
            if t.data_done {
                return moved(t.next(Completing, now).told_by(pid, Seen::Suspended).tell(Notice::Completion));
            }
            let next = t.next(SuspendingRequested, now).told_by(pid, Seen::Suspended).suspended_by(t.role.other());
            moved(next.call(PlaneCall::Suspend(reason)))
        }
        // STARTED, and every state that the counterparty takes for it --completion--> COMPLETING_REQUESTED (both)
        (_, Consumer | Provider, Cause::Received { message: Received::Completion, pid }) if t.is_started_for_counterparty() => {
            moved(t.next(CompletingRequested, now).told_by(pid, Seen::Completed).call(t.last_call()))
        }
        // COMPLETING --suspension, start after it--> the same (both): the completion, which is under way, ends the suspension
        (Completing, Consumer | Provider, Cause::Received { message: Received::Suspension(_), pid }) => {
            moved(t.same().told_by(pid, Seen::Suspended))
        }
        (Completing, Consumer | Provider, Cause::Received { message: Received::Start(_), pid }) if t.seen == Seen::Suspended => {
            moved(t.same().told_by(pid, Seen::Started))
        }
        // SUSPENDING --suspension--> SUSPENDING_REQUESTED, SUSPENDED --> the same (consumer): of two that cross the provider's counts on both sides
        (Suspending, Consumer, Cause::Received { message: Received::Suspension(_), pid }) => {
            moved(t.next(SuspendingRequested, now).told_by(pid, Seen::Suspended).suspended_by(Provider).still_calling(t))
        }
        // RESUMING_REQUESTED --suspension--> SUSPENDING_REQUESTED (consumer), when it is the consumer that resumes: the same, a step later
        (ResumingRequested, Consumer, Cause::Received { message: Received::Suspension(reason), pid })
            if t.suspended_by == Some(Consumer) =>
        {
            let next = t.next(SuspendingRequested, now).told_by(pid, Seen::Suspended).suspended_by(Provider);
            moved(next.call(PlaneCall::Suspend(reason)))
        }
        (Suspended, Consumer, Cause::Received { message: Received::Suspension(_), pid }) if t.suspended_by == Some(Consumer) => {
            moved(t.same().told_by(pid, Seen::Suspended).suspended_by(Provider))
        }
        // SUSPENDING, SUSPENDED --suspension--> the same (provider)
        (Suspending | Suspended, Provider, Cause::Received { message: Received::Suspension(_), pid })
            if t.suspended_by == Some(Provider) =>
        {
            moved(t.same().told_by(pid, Seen::Suspended))
        }
        // SUSPENDING, SUSPENDED, RESUMING_REQUESTED --completion--> COMPLETING_REQUESTED (both), when we suspended: it was done before our message came
        (Suspending | Suspended | ResumingRequested, Consumer | Provider, Cause::Received { message: Received::Completion, pid })
            if t.suspended_by == Some(t.role) =>
        {
            moved(t.next(CompletingRequested, now).told_by(pid, Seen::Completed).call(t.last_call()))
        }
        // COMPLETING --completion--> COMPLETING_REQUESTED (both): both say so
        (Completing, Consumer | Provider, Cause::Received { message: Received::Completion, pid }) => {
            moved(t.next(CompletingRequested, now).told_by(pid, Seen::Completed).still_calling(t))
        }
        // TERMINATING --termination--> TERMINATING_REQUESTED (both): our message is pointless, our data plane has been told
        (Terminating, Consumer | Provider, Cause::Received { message: Received::Termination(_), pid }) => {
            moved(t.next(TerminatingRequested, now).told_by(pid, Seen::Terminated).still_calling(t))
        }
        // any open state --termination--> TERMINATING_REQUESTED (both)
        (open, Consumer | Provider, Cause::Received { message: Received::Termination(reason), pid })
            if !open.is_final() && !open.is_terminating() =>
        {
            let mut next = t.next(TerminatingRequested, now).told_by(pid, Seen::Terminated);
            let told = reason.unwrap_or_else(|| "terminated by the counterparty".to_owned());
            next.transfer.error_detail = Some(told);
            moved(next.call_if_chosen(PlaneCall::Terminate(None)))
        }

        // --- what became of our messages

        // REQUESTING --delivered--> REQUESTED (consumer)
        (Requesting, Consumer, Cause::Delivered { step, pid }) if waits_for_message(step) => {
            moved(t.next(Requested, now).acknowledged(pid, Seen::Requested))
        }
        // STARTING --delivered--> STARTED (provider)
        (Starting, Provider, Cause::Delivered { step, pid }) if waits_for_message(step) => {
            moved(t.next(Started, now).acknowledged(pid, Seen::Started))
        }
        // RESUMING --delivered--> STARTED (who makes the data address), or RESUMED (the other)
        (Resuming, Consumer | Provider, Cause::Delivered { step, pid }) if waits_for_message(step) => {
            let state = if t.owns_address() { Started } else { Resumed };
            moved(t.next(state, now).acknowledged(pid, Seen::Started))
        }
        // SUSPENDING --delivered--> the same, until the data plane is done too: then SUSPENDED (both)
        (Suspending, Consumer | Provider, Cause::Delivered { step, pid }) if waits_for_message(step) => {
            moved(t.same().message_done().acknowledged(pid, Seen::Suspended))
        }
        // COMPLETING --delivered--> the same, until the data plane is done too: then COMPLETED (both)
        (Completing, Consumer | Provider, Cause::Delivered { step, pid }) if waits_for_message(step) => {
            moved(t.same().message_done().acknowledged(pid, Seen::Completed))
        }
        // TERMINATING --delivered--> the same, until the data plane is done too: then TERMINATED (both)
        (Terminating, Consumer | Provider, Cause::Delivered { step, pid }) if waits_for_message(step) => {
            moved(t.same().message_done().acknowledged(pid, Seen::Terminated))
        }
        // any state --late answer--> the same; what it tells of the counterparty's process is kept
        (_, Consumer | Provider, Cause::Delivered { step: _, pid }) => match (&t.counterparty_pid, pid) {
            (None, Some(pid)) => moved(t.same().acknowledged(Some(pid), t.seen)),
            (Some(_), _) | (None, None) => Ok(None),
        },
        // TERMINATING --undeliverable--> the same, until the data plane is done too: then TERMINATED (both); there is nobody to tell
        (Terminating, Consumer | Provider, Cause::Undeliverable { step, reason: _ }) if waits_for_message(step) => {
            moved(t.same().message_done())
        }
        // REQUESTING --undeliverable--> TERMINATING without a message (consumer): the counterparty has no process of it
        (Requesting, Consumer, Cause::Undeliverable { step, reason }) if waits_for_message(step) => {
            let mut next = t.next(Terminating, now);
            next.transfer.error_detail = Some(reason);
            moved(next.call_if_chosen(PlaneCall::Terminate(None)))
        }
        // any other state with a message under way --undeliverable--> TERMINATING (both): the parties' states differ
        (_, Consumer | Provider, Cause::Undeliverable { step, reason }) if waits_for_message(step) => {
            moved(t.ending(Some("a message was refused".to_owned()), Some(reason), now))
        }
        // any state --outcome of an older message--> the same
        (_, Consumer | Provider, Cause::Undeliverable { .. }) => Ok(None),

        // --- what our data plane says

        // PREPARATION_REQUESTED --pending--> the same (consumer): it will say when it is prepared
        // STARTUP_REQUESTED --pending--> the same (provider): it will say when it has started
        (PreparationRequested | StartupRequested, Consumer | Provider, Cause::Answered { step, signal: Signal::Pending })
            if waits_for_call(step) =>
        {
            moved(t.same().call_done())
        }
        // PREPARATION_REQUESTED --prepared--> REQUESTING (consumer)
        (PreparationRequested, Consumer, Cause::Answered { step, signal: Signal::Prepared(address) }) if waits_for_call(step) => {
            moved(t.next(Requesting, now).tell(Notice::Request(address)))
        }
        (PreparationRequested, Consumer, Cause::Signalled(Signal::Prepared(address))) => {
            moved(t.next(Requesting, now).tell(Notice::Request(address)))
        }
        // STARTUP_REQUESTED --started--> STARTING (provider)
        (StartupRequested, Provider, Cause::Answered { step, signal: Signal::Started(address) })
            if waits_for_call(step) && t.may_tell(address.as_ref()) =>
        {
            moved(t.next(Starting, now).tell(Notice::Start(address)))
        }
        (StartupRequested, Provider, Cause::Signalled(Signal::Started(address))) if t.may_tell(address.as_ref()) => {
            moved(t.next(Starting, now).tell(Notice::Start(address)))
        }
        // STARTUP_REQUESTED --done, started--> STARTED (consumer)
        (StartupRequested, Consumer, Cause::Answered { step, signal: Signal::Done | Signal::Started(_) }) if waits_for_call(step) => {
            moved(t.next(Started, now))
        }
        (StartupRequested, Consumer, Cause::Signalled(Signal::Started(_))) => moved(t.next(Started, now)),
        // RESUMING_REQUESTED --done, started--> RESUMING with the data address (who makes it), or STARTED (the other)
        (ResumingRequested, Consumer | Provider, Cause::Answered { step, signal: Signal::Done | Signal::Started(_) })
            if waits_for_call(step) && !t.owns_address() =>
        {
            moved(t.next(Started, now))
        }
        (ResumingRequested, Consumer | Provider, Cause::Answered { step, signal: Signal::Started(address) })
            if waits_for_call(step) && t.may_tell(address.as_ref()) =>
        {
            moved(t.next(Resuming, now).tell(Notice::Start(address)))
        }
        (ResumingRequested, Consumer | Provider, Cause::Answered { step, signal: Signal::Done })
            if waits_for_call(step) && t.may_tell(None) =>
        {
            moved(t.next(Resuming, now).tell(Notice::Start(None)))
        }
        // SUSPENDING, SUSPENDING_REQUESTED --done--> SUSPENDED, COMPLETING, COMPLETING_REQUESTED --> COMPLETED, TERMINATING,
        // TERMINATING_REQUESTED --> TERMINATED (both), as soon as the counterparty has answered too
        (
            Suspending | SuspendingRequested | Completing | CompletingRequested | Terminating | TerminatingRequested,
            Consumer | Provider,
            Cause::Answered { step, signal: _ },
        ) if waits_for_call(step) => moved(t.same().call_done()),
        // any state --answer that does not fit the call--> TERMINATING (both)
        (_, Consumer | Provider, Cause::Answered { step, signal }) if waits_for_call(step) => {
            let detail = format!("unexpected answer of the data plane: {}", signal.name());
            moved(t.ending(Some(PLANE_FAILED.to_owned()), Some(detail), now))
        }
        // any state --answer to an older call--> the same
        (_, Consumer | Provider, Cause::Answered { .. }) => Ok(None),
        // STARTED --completed--> COMPLETING (both); STARTUP_REQUESTED too (consumer), since it proves that the call came through
        (Started, Consumer | Provider, Cause::Signalled(Signal::Completed))
        | (StartupRequested, Consumer, Cause::Signalled(Signal::Completed)) => moved(t.next(Completing, now).tell(Notice::Completion)),
        // STARTUP_REQUESTED, STARTING (provider), RESUMING_REQUESTED, RESUMING (both) --completed--> the same, and on reaching STARTED COMPLETING: the
        // counterparty must learn first that it has started
        (StartupRequested | Starting, Provider, Cause::Signalled(Signal::Completed))
        | (ResumingRequested | Resuming, Consumer | Provider, Cause::Signalled(Signal::Completed)) => {
            let mut next = t.same();
            next.transfer.data_done = true;
            moved(next)
        }
        // any open state --errored--> the same: recovery is decided here, the counterparty is not told
        (open, Consumer | Provider, Cause::Signalled(Signal::Errored(error))) if !open.is_final() => {
            let mut next = t.same();
            next.transfer.errors = t.errors.saturating_add(1);
            next.transfer.error_detail = Some(error.unwrap_or_else(|| "the data plane reported an error".to_owned()));
            moved(next)
        }
        // any state after it --prepared, started, completed--> the same: it is said again
        (_, Consumer, Cause::Signalled(Signal::Prepared(_) | Signal::Started(_))) => Ok(None),
        (
            Starting | Started | Suspending | SuspendingRequested | Suspended | Resuming | ResumingRequested | Resumed | Completing
            | CompletingRequested | Completed | Terminating | TerminatingRequested | Terminated,
            Provider,
            Cause::Signalled(Signal::Started(_)),
        ) => Ok(None),
        (
            Completing | CompletingRequested | Completed | Terminating | TerminatingRequested | Terminated,
            Consumer | Provider,
            Cause::Signalled(Signal::Completed | Signal::Errored(_)),
        ) => Ok(None),
        // COMPLETING, COMPLETING_REQUESTED, TERMINATING, TERMINATING_REQUESTED --call failed--> the same (both): its flow may still be open
        (
            Completing | CompletingRequested | Terminating | TerminatingRequested,
            Consumer | Provider,
            Cause::CallFailed { step, reason },
        ) if waits_for_call(step) => moved(t.same().end_again(reason, now)),
        // COMPLETING, COMPLETING_REQUESTED, TERMINATING, TERMINATING_REQUESTED --due--> the same (both): the flow is to end, in whatever way
        (Completing | CompletingRequested | Terminating | TerminatingRequested, Consumer | Provider, Cause::Due)
            if t.end_again_at.is_some_and(|at| at <= now) =>
        {
            let mut next = t.same();
            next.transfer.end_again_at = None;
            moved(next.call(PlaneCall::Terminate(t.error_detail.clone())))
        }
        // any state that is not ending --due--> TERMINATING (both): the policy of the agreement ends it
        (_, Consumer | Provider, Cause::Due) if t.is_over(now) => {
            let why = Some(limits::NOT_IN_FORCE.to_owned());
            moved(t.ending(why.clone(), why, now))
        }
        // REQUESTED --due--> TERMINATING (provider): nobody has answered
        (Requested, Provider, Cause::Due) if t.unanswered_at().is_some_and(|at| at <= now) => {
            let why = Some(limits::NOT_ANSWERED.to_owned());
            moved(t.ending(why.clone(), why, now))
        }
        // PREPARATION_REQUESTED, STARTUP_REQUESTED --due--> TERMINATING (both): our data plane has not said what it said it would
        (PreparationRequested | StartupRequested, Consumer | Provider, Cause::Due) if t.waits_until().is_some_and(|at| at <= now) => {
            moved(t.ending(Some(PLANE_FAILED.to_owned()), Some(t.waited_for("the data plane")), now))
        }
        // any other state with nothing under way --due--> TERMINATING (both): the counterparty has let it wait for long enough
        (_, Consumer | Provider, Cause::Due) if t.waits_until().is_some_and(|at| at <= now) => {
            let why = Some(t.waited_for("the counterparty"));
            moved(t.ending(why.clone(), why, now))
        }
        // any state --due--> the same: what was due was done before
        (_, Consumer | Provider, Cause::Due) => Ok(None),
        // any other state with a call under way --call failed--> TERMINATING (both)
        (_, Consumer | Provider, Cause::CallFailed { step, reason }) if waits_for_call(step) => {
            moved(t.ending(Some(PLANE_FAILED.to_owned()), Some(reason), now))
        }
        // any state --failure of an older call--> the same
        (_, Consumer | Provider, Cause::CallFailed { .. }) => Ok(None),

        // everything else is not in the protocol
        (state, role, Cause::Act(act)) => Err(Refused::NotAllowed { state, role, what: act.name() }),
        (state, role, Cause::Received { message, .. }) => Err(Refused::NotAllowed { state, role, what: message.name() }),
        (state, role, Cause::Signalled(signal)) => Err(Refused::NotAllowed { state, role, what: signal.name() }),
    }
}

/// What the counterparty is told when our data plane fails: nothing of its inside.
const PLANE_FAILED: &str = "the data plane failed";
/// Pause before a data plane that could not be told to end a flow is told again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// A transfer on its way into a state.
struct Next {
    transfer: Transfer,
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
    fn last_call(&self) -> PlaneCall {
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
    fn may_tell(&self, address: Option<&DataAddress>) -> bool {
        address.is_some() || self.transfer_type.is_push()
    }

    /// Entering a state: nothing that was under way before is waited for any longer.
    fn next(&self, state: State, now: Timestamp) -> Next {
        let transfer = Self { state, state_at: now, message: None, call: None, end_again_at: None, ..self.clone() };
        Next { transfer, tasks: Vec::new() }
    }

    /// Staying in the state.
    fn same(&self) -> Next {
        Next { transfer: self.clone(), tasks: Vec::new() }
    }

    /// Why it ends when nobody has answered in time.
    fn waited_for(&self, whom: &str) -> String {
        format!("no answer of {whom} within {} hours in state {}", self.hours_of_patience(), self.state.name())
    }

    /// Ending it by ourselves. `told` goes to the counterparty, `detail` stays with us.
    fn ending(&self, told: Option<String>, detail: Option<String>, now: Timestamp) -> Next {
        let mut next = self.next(State::Terminating, now);
        next.transfer.error_detail = detail.or_else(|| self.error_detail.clone());
        let next = next.call_if_chosen(PlaneCall::Terminate(told.clone()));
        // Before its request is under way the consumer's transfer is unknown to the counterparty.
        if self.state == State::PreparationRequested { next } else { next.tell(Notice::Termination(told)) }
    }
}

impl Next {
    fn tell(mut self, message: Notice) -> Self {
        self.transfer.step = self.transfer.step.saturating_add(1);
        self.transfer.message = Some(self.transfer.step);
        self.tasks.push(Task::Tell(self.transfer.step, message));
        self
    }

    fn call(mut self, call: PlaneCall) -> Self {
        self.transfer.step = self.transfer.step.saturating_add(1);
        self.transfer.call = Some(self.transfer.step);
        self.tasks.push(Task::Call(self.transfer.step, call));
        self
    }

    fn call_if_chosen(self, call: PlaneCall) -> Self {
        // A provider's data plane that was never told to start knows nothing of the flow.
        if self.transfer.data_plane.is_some() && self.transfer.start_with.is_none() { self.call(call) } else { self }
    }

    /// The call that was under way before still is, or is still to be made again.
    fn still_calling(mut self, before: &Transfer) -> Self {
        self.transfer.call = before.call;
        self.transfer.end_again_at = before.end_again_at;
        self
    }

    /// The call that ends the flow failed: it is made again later, with a pause that grows.
    fn end_again(mut self, reason: String, now: Timestamp) -> Self {
        let t = &mut self.transfer;
        t.call = None;
        t.end_again_at = Some(now.plus(FIRST_PAUSE.saturating_mul(1 << t.end_failures.min(20)).min(LONGEST_PAUSE)));
        t.end_failures = t.end_failures.saturating_add(1);
        t.error_detail.get_or_insert(reason);
        self
    }

    fn suspended_by(mut self, role: Role) -> Self {
        self.transfer.suspended_by = Some(role);
        self
    }

    fn told_by(self, pid: Pid, seen: Seen) -> Self {
        self.acknowledged(Some(pid), seen)
    }

    fn acknowledged(mut self, pid: Option<Pid>, seen: Seen) -> Self {
        self.transfer.seen = seen;
        if self.transfer.counterparty_pid.is_none() {
            self.transfer.counterparty_pid = pid;
        }
        self
    }

    fn message_done(mut self) -> Self {
        self.transfer.message = None;
        self
    }

    fn call_done(mut self) -> Self {
        self.transfer.call = None;
        self
    }

    /// States that wait for nothing any more end in the one they lead to.
    fn settled(mut self, now: Timestamp) -> Moved {
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
