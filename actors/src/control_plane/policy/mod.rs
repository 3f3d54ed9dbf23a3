//! Whether a policy is fulfilled: ODRL rules over constraints, constraints over expressions, expressions over verified claims. Pure.

mod agent;
mod comparisons;
mod constraint;
mod in_force;
mod rules;

#[cfg(test)]
mod tests;

pub use agent::{AgreementFacts, ParticipantAgent, uniform};
pub use comparisons::Comparisons;
pub use constraint::{flaws, is_monitored};
pub use in_force::{ends_at, next_date};
pub use rules::{Verdict, evaluate, is_fulfilled, may_be_fulfilled, reason_against};

use crate::{
    expressions::{Context, Val},
    settings::Settings,
};
use cellspace_schemas::{Timestamp, odrl::AtomicConstraint};
use constraint::Holds;
use std::{cell::RefCell, ptr};

/// When a policy is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyScope {
    /// Whether an offer is shown.
    Catalog,
    /// Whether an agreement is made.
    ContractNegotiation,
    /// Whether a transfer is started.
    TransferProcess,
    /// Whether a transfer goes on.
    PolicyMonitor,
}

impl PolicyScope {
    /// The scope's name in expressions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::ContractNegotiation => "contract.negotiation",
            Self::TransferProcess => "transfer.process",
            Self::PolicyMonitor => "policy.monitor",
        }
    }
}

/// What the policies that one message needs are evaluated on. It remembers what it found out about the counterparty on the way, and is for this message
/// alone.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// When.
    scope: PolicyScope,
    /// Meanings of left operands.
    settings: &'a Settings,
    /// The counterparty, as verified, the agreement in the scopes that have one, and the time.
    context: Context<'a>,
    /// When the agreement was signed.
    signed: Option<Timestamp>,
    /// Comparisons judged before, each for rules with an action.
    judged: RefCell<Vec<(&'a AtomicConstraint, &'a str, Holds)>>,
    /// Who is judged.
    agent: &'a ParticipantAgent,
}

/// Comparisons whose outcome is remembered at most.
const MAX_JUDGED: usize = 64;

impl<'a> Evaluation<'a> {
    /// An evaluation of this counterparty in the scopes that have no agreement.
    #[must_use]
    pub fn new(scope: PolicyScope, settings: &'a Settings, agent: &'a ParticipantAgent, now: Timestamp) -> Self {
        let ctx = Val::record([("agent", agent.value())]);
        Self { scope, settings, context: Context::new(ctx, now), signed: None, judged: RefCell::new(Vec::with_capacity(16)), agent }
    }

    /// An evaluation of the counterparty that asks for a transfer under an agreement.
    #[must_use]
    pub fn under(agreement: &'a AgreementFacts, settings: &'a Settings, agent: &'a ParticipantAgent, now: Timestamp) -> Self {
        Self::with_agreement(PolicyScope::TransferProcess, agreement, settings, agent, now)
    }

    /// An evaluation of the counterparty that has a transfer under an agreement. It presents nothing for that.
    #[must_use]
    pub fn of_running(agreement: &'a AgreementFacts, settings: &'a Settings, agent: &'a ParticipantAgent, now: Timestamp) -> Self {
        Self::with_agreement(PolicyScope::PolicyMonitor, agreement, settings, agent, now)
    }

    fn with_agreement(
        scope: PolicyScope,
        agreement: &'a AgreementFacts,
        settings: &'a Settings,
        agent: &'a ParticipantAgent,
        now: Timestamp,
    ) -> Self {
        let ctx = Val::record([("agent", agent.value()), ("agreement", agreement.value())]);
        let signed = Some(agreement.signed);
        Self { scope, settings, context: Context::new(ctx, now), signed, judged: RefCell::new(Vec::with_capacity(16)), agent }
    }

    /// Whether a comparison holds for rules with this action. Policies often share theirs; it is judged once, and known again by its address.
    fn holds(&self, constraint: &'a AtomicConstraint, action: &'a str) -> Holds {
        let known = self.judged.borrow().iter().find(|(known, of, _)| ptr::eq(*known, constraint) && *of == action).map(|known| known.2);
        known.unwrap_or_else(|| {
            let holds = constraint::atomic(constraint, action, self);
            let mut judged = self.judged.borrow_mut();
            if judged.len() < MAX_JUDGED {
                judged.push((constraint, action, holds));
            }
            holds
        })
    }
}
