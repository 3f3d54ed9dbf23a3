//! The state machine of a transfer: which cause leads from which state to which (DSP 2025-1, "Transfer Process Protocol"; data plane signaling,
//! "Protocol Messaging" and "Data Flow Suspension/Resumption").
//!
//! Pure, and STATE: states change by it alone. A message from the counterparty that presupposes the delivery of ours *is* its outcome. Ending a
//! transfer tells the counterparty and the data plane at the same time, so that neither waits for the other.

use super::{
    State, Transfer,
    step::Next,
    words::{Act, Cause, Moved, Notice, PlaneCall, Received, Refused, Signal},
};
use crate::control_plane::dsp::{Role, limits};
use cellspace_schemas::{Timestamp, dsp::transfer::TransferState as Seen};

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
