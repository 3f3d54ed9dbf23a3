//! Which change of a process is which event. Pure: of a process before and after a turn, whatever moved it, all that happened in between, in order.

use super::super::{
    dsp::Role,
    negotiation::{Negotiation, Sent, State as Negotiating},
    transfer::{State as Transferring, Transfer},
};
use cellspace_schemas::{dsp::negotiation::NegotiationState as Seen, management::ProcessEvent as Event};

/// What happened to a negotiation: the states of the protocol, as soon as both parties know them.
#[must_use]
pub fn of_negotiation(before: Option<&Negotiation>, after: &Negotiation) -> Vec<Event> {
    let Some(before) = before else {
        let by_us = matches!(after.state, Negotiating::Requesting | Negotiating::Offering) && after.counterparty_pid.is_none();
        return vec![if by_us { Event::NegotiationInitiated } else { seen(after.seen) }];
    };
    // Whatever leads out of a state with a message under way, but for an end, shows that the counterparty has the message. So does an end that follows
    // from what the counterparty has answered to it.
    let answered = after.finding.is_some() && before.finding.is_none();
    let ends = matches!(after.state, Negotiating::Terminating | Negotiating::Terminated) && !answered;
    let sent = before.state.sends().filter(|sent| after.state != before.state && (!ends || *sent == Sent::Termination));
    let reached = sent.map(|sent| sent.reaches().1);
    let further = (after.seen != reached.unwrap_or(before.seen)).then_some(after.seen);
    reached.into_iter().chain(further).map(seen).collect()
}

const fn seen(state: Seen) -> Event {
    match state {
        Seen::Requested => Event::NegotiationRequested,
        Seen::Offered => Event::NegotiationOffered,
        Seen::Accepted => Event::NegotiationAccepted,
        Seen::Agreed => Event::NegotiationAgreed,
        Seen::Verified => Event::NegotiationVerified,
        Seen::Finalized => Event::NegotiationFinalized,
        Seen::Terminated => Event::NegotiationTerminated,
    }
}

/// What happened to a transfer: the states that it has come to with us, its data plane included.
#[must_use]
pub fn of_transfer(before: Option<&Transfer>, after: &Transfer) -> Vec<Event> {
    use Transferring as S;
    let Some(before) = before else {
        let begun = match after.role {
            Role::Consumer => Event::TransferInitiated,
            Role::Provider => Event::TransferRequested,
        };
        let ended = (after.state == S::Terminated).then_some(Event::TransferTerminated);
        return std::iter::once(begun).chain(ended).collect();
    };
    if before.state == after.state {
        return Vec::new();
    }
    let event = match after.state {
        S::Requesting => Some(Event::TransferPrepared),
        S::Requested => Some(Event::TransferRequested),
        // The start has overtaken the answer to our request.
        S::StartupRequested => (before.state == S::Requesting).then_some(Event::TransferRequested),
        S::Started => Some(Event::TransferStarted),
        // Done before both knew that it had started: it passes through STARTED.
        S::Completing => (before.state != S::Started).then_some(Event::TransferStarted),
        // So it does when the counterparty, for which it had started, is ahead of us.
        S::CompletingRequested | S::SuspendingRequested => {
            (before.state != S::Started && before.is_started_for_counterparty()).then_some(Event::TransferStarted)
        }
        S::Suspended => Some(Event::TransferSuspended),
        S::Resuming | S::ResumingRequested => {
            matches!(before.state, S::Suspended | S::SuspendingRequested).then_some(Event::TransferResuming)
        }
        S::Completed => Some(Event::TransferCompleted),
        S::Terminated => Some(Event::TransferTerminated),
        S::PreparationRequested | S::Starting | S::Suspending | S::Resumed | S::Terminating | S::TerminatingRequested => None,
    };
    event.into_iter().collect()
}
