//! The state machine of a negotiation: which cause leads from which state to which (DSP 2025-1, "Contract Negotiation Protocol").
//!
//! Pure, and STATE: states change by it alone. A message from the counterparty that presupposes the delivery of ours *is* its outcome: hence the
//! arrows out of the states in `-ING`.

use super::{Agreement, Negotiation, State};
use crate::control_plane::dsp::Role;
use cellspace_schemas::{
    AgreementId, Did, Pid, Timestamp,
    dsp::negotiation::{MessageAgreement, MessageOffer, NegotiationState as Seen},
    odrl::PolicyType,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What we do, of our own accord or because a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Act {
    /// The provider makes an offer.
    Offer(MessageOffer),
    /// The consumer answers an offer with one of its own.
    CounterOffer(MessageOffer),
    /// The consumer accepts the offer.
    Accept,
    /// The provider agrees; the agreement gets this id.
    Agree(AgreementId),
    /// The consumer verifies the agreement.
    Verify,
    /// The provider finalizes.
    Finalize,
    /// End it.
    Terminate(String),
}

impl Act {
    /// For error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Offer(_) => "an offer",
            Self::CounterOffer(_) => "a counter-offer",
            Self::Accept => "an acceptance",
            Self::Agree(_) => "an agreement",
            Self::Verify => "a verification",
            Self::Finalize => "a finalization",
            Self::Terminate(_) => "a termination",
        }
    }
}

/// What the counterparty did.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// The consumer's counter-offer.
    Request(MessageOffer),
    /// The provider's offer.
    Offer(MessageOffer),
    /// The consumer accepts.
    Accepted,
    /// The provider agrees.
    Agreement(MessageAgreement),
    /// The consumer has verified.
    Verification,
    /// The provider has finalized.
    Finalized,
    /// The counterparty ended it.
    Termination(Option<String>),
}

impl Received {
    /// For error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "a request",
            Self::Offer(_) => "an offer",
            Self::Accepted => "an acceptance",
            Self::Agreement(_) => "an agreement",
            Self::Verification => "a verification",
            Self::Finalized => "a finalization",
            Self::Termination(_) => "a termination",
        }
    }
}

/// Why a negotiation moves.
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
    /// Its deadline has passed.
    Due,
}

/// Why a negotiation does not move.
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
    /// The agreement is not the one that was asked for.
    #[error("the agreement does not match the offer: {0}")]
    OtherAgreement(&'static str),
}

/// The negotiation after the cause; `None` when nothing changes. A new `step` means that the message of the new state is to be sent.
///
/// # Errors
/// [`Refused`]; nothing changes then.
pub fn transition(negotiation: &Negotiation, cause: Cause, own: &Did, now: Timestamp) -> Result<Option<Negotiation>, Refused> {
    use Role::{Consumer, Provider};
    use State::{
        Accepted, Accepting, Agreed, Agreeing, Finalized, Finalizing, Offered, Offering, Requested, Requesting, Terminated, Terminating,
        Verified, Verifying,
    };
    let n = negotiation;
    match (n.state, n.role, cause) {
        // --- what we do

        // REQUESTED --offer--> OFFERING (provider)
        (Requested, Provider, Cause::Act(Act::Offer(offer))) => Ok(Some(Negotiation { offer, ..n.sending(Offering, now) })),
        // OFFERED --counter-offer--> REQUESTING (consumer)
        (Offered, Consumer, Cause::Act(Act::CounterOffer(offer))) => Ok(Some(Negotiation { offer, ..n.sending(Requesting, now) })),
        // OFFERED --accept--> ACCEPTING (consumer)
        (Offered, Consumer, Cause::Act(Act::Accept)) => Ok(Some(n.sending(Accepting, now))),
        // REQUESTED, ACCEPTED --agree--> AGREEING (provider)
        (Requested | Accepted, Provider, Cause::Act(Act::Agree(id))) => {
            let agreement = Agreement::on(&n.offer, id, own.clone(), n.counterparty.clone(), now);
            Ok(Some(Negotiation { agreement: Some(Arc::new(agreement)), ..n.sending(Agreeing, now) }))
        }
        // AGREED --verify--> VERIFYING (consumer)
        (Agreed, Consumer, Cause::Act(Act::Verify)) => Ok(Some(n.sending(Verifying, now))),
        // VERIFIED --finalize--> FINALIZING (provider)
        (Verified, Provider, Cause::Act(Act::Finalize)) => Ok(Some(n.sending(Finalizing, now))),
        // TERMINATING --terminate--> the same: it is on its way
        (Terminating, Consumer | Provider, Cause::Act(Act::Terminate(_))) => Ok(None),
        // any open state --terminate--> TERMINATING (both)
        (open, Consumer | Provider, Cause::Act(Act::Terminate(reason))) if !open.is_final() => {
            Ok(Some(Negotiation { error_detail: Some(reason), ..n.sending(Terminating, now) }))
        }

        // --- what the counterparty does

        // OFFERED, OFFERING --request--> REQUESTED (provider)
        (Offered | Offering, Provider, Cause::Received { message: Received::Request(offer), pid }) => {
            Ok(Some(Negotiation { offer, ..n.reached(Requested, Seen::Requested, pid, now) }))
        }
        // REQUESTED, REQUESTING --offer--> OFFERED (consumer)
        (Requested | Requesting, Consumer, Cause::Received { message: Received::Offer(offer), pid }) => {
            Ok(Some(Negotiation { offer, ..n.reached(Offered, Seen::Offered, pid, now) }))
        }
        // OFFERED, OFFERING --accepted--> ACCEPTED (provider)
        (Offered | Offering, Provider, Cause::Received { message: Received::Accepted, pid }) => {
            Ok(Some(n.reached(Accepted, Seen::Accepted, pid, now)))
        }
        // REQUESTED, REQUESTING, ACCEPTED, ACCEPTING --agreement--> AGREED (consumer)
        (Requested | Requesting | Accepted | Accepting, Consumer, Cause::Received { message: Received::Agreement(agreement), pid }) => {
            let agreement = n.matching(agreement, own, now)?;
            Ok(Some(Negotiation { agreement: Some(Arc::new(agreement)), ..n.reached(Agreed, Seen::Agreed, pid, now) }))
        }
        // AGREED, AGREEING --verification--> VERIFIED (provider)
        (Agreed | Agreeing, Provider, Cause::Received { message: Received::Verification, pid }) => {
            Ok(Some(n.reached(Verified, Seen::Verified, pid, now)))
        }
        // VERIFIED, VERIFYING --finalized--> FINALIZED (consumer)
        (Verified | Verifying, Consumer, Cause::Received { message: Received::Finalized, pid }) => {
            Ok(Some(n.reached(Finalized, Seen::Finalized, pid, now)))
        }
        // any open state --termination--> TERMINATED (both)
        (open, Consumer | Provider, Cause::Received { message: Received::Termination(reason), pid }) if !open.is_final() => {
            let told = reason.unwrap_or_else(|| "terminated by the counterparty".to_owned());
            let error_detail = n.error_detail.clone().or(Some(told));
            Ok(Some(Negotiation { error_detail, ..n.reached(Terminated, Seen::Terminated, pid, now) }))
        }

        // --- what became of our messages

        // REQUESTING --delivered--> REQUESTED, OFFERING --> OFFERED, and so on for every state with a message under way
        (sending, Consumer | Provider, Cause::Delivered { step, pid }) if step == n.step && sending.sends().is_some() => {
            let Some(sent) = sending.sends() else { return Ok(None) };
            let (state, seen) = sent.reaches();
            let counterparty_pid = n.counterparty_pid.clone().or(pid);
            Ok(Some(Negotiation { state, seen, counterparty_pid, state_at: now, ..n.clone() }))
        }
        // any state --late answer--> the same; what it tells of the counterparty's process is kept
        (_, Consumer | Provider, Cause::Delivered { step: _, pid }) => Ok(match (&n.counterparty_pid, pid) {
            (None, Some(pid)) => Some(Negotiation { counterparty_pid: Some(pid), ..n.clone() }),
            (Some(_), _) | (None, None) => None,
        }),
        // TERMINATING --undeliverable--> TERMINATED (both): there is nobody to tell
        (Terminating, Consumer | Provider, Cause::Undeliverable { step, reason: _ }) if step == n.step => {
            Ok(Some(Negotiation { state: Terminated, seen: Seen::Terminated, state_at: now, ..n.clone() }))
        }
        // REQUESTING --undeliverable--> TERMINATED (consumer), OFFERING --> TERMINATED (provider), when the counterparty has no process of it
        (Requesting, Consumer, Cause::Undeliverable { step, reason }) | (Offering, Provider, Cause::Undeliverable { step, reason })
            if step == n.step && n.counterparty_pid.is_none() =>
        {
            let ended = Negotiation { state: Terminated, seen: Seen::Terminated, state_at: now, ..n.clone() };
            Ok(Some(Negotiation { error_detail: Some(reason), ..ended }))
        }
        // any other state with a message under way --undeliverable--> TERMINATING (both): the parties' states differ
        (sending, Consumer | Provider, Cause::Undeliverable { step, reason }) if step == n.step && sending.sends().is_some() => {
            Ok(Some(Negotiation { error_detail: Some(reason), ..n.sending(Terminating, now) }))
        }
        // any state --outcome of an older message--> the same
        (_, Consumer | Provider, Cause::Undeliverable { .. }) => Ok(None),

        // --- what is left undone

        // any open state without a message of ours under way --due--> TERMINATING (both): one party has waited long enough for the other
        (_, Consumer | Provider, Cause::Due) if n.due().is_some_and(|at| at <= now) => {
            Ok(Some(Negotiation { error_detail: Some(n.overdue()), ..n.sending(Terminating, now) }))
        }
        // any state --due--> the same: we have answered before
        (_, Consumer | Provider, Cause::Due) => Ok(None),

        // everything else is not in the protocol
        (state, role, Cause::Act(act)) => Err(Refused::NotAllowed { state, role, what: act.name() }),
        (state, role, Cause::Received { message, .. }) => Err(Refused::NotAllowed { state, role, what: message.name() }),
    }
}

impl Negotiation {
    /// In a state whose message is now to be sent.
    fn sending(&self, state: State, now: Timestamp) -> Self {
        Self { state, step: self.step.saturating_add(1), state_at: now, ..self.clone() }
    }

    /// In the state that a message of the counterparty leads to.
    fn reached(&self, state: State, seen: Seen, pid: Pid, now: Timestamp) -> Self {
        let counterparty_pid = self.counterparty_pid.clone().or(Some(pid));
        Self { state, seen, counterparty_pid, state_at: now, ..self.clone() }
    }

    /// The agreement, when it is the one asked for: same dataset, same parties, same rules.
    fn matching(&self, agreement: MessageAgreement, own: &Did, now: Timestamp) -> Result<Agreement, Refused> {
        if agreement.target != self.offer.target {
            return Err(Refused::OtherAgreement("another target"));
        }
        if agreement.assigner != self.counterparty.as_str() {
            return Err(Refused::OtherAgreement("the assigner is not the provider"));
        }
        if agreement.assignee != own.as_str() {
            return Err(Refused::OtherAgreement("the assignee is not the consumer"));
        }
        if !agreement.policy.same_rules(&self.offer.policy) {
            return Err(Refused::OtherAgreement("other rules"));
        }
        let mut policy = agreement.policy;
        policy.kind = PolicyType::Agreement;
        Ok(Agreement {
            id: agreement.id,
            asset: agreement.target,
            provider: self.counterparty.clone(),
            consumer: own.clone(),
            signed_at: agreement.timestamp.unwrap_or(now),
            policy,
            retired: None,
        })
    }
}
