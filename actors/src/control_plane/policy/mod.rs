//! Whether a policy is fulfilled: ODRL rules over constraints, constraints over expressions, expressions over verified claims. Pure.

mod agent;
mod constraint;
mod in_force;
mod rules;

#[cfg(test)]
mod tests;

pub use agent::{AgreementFacts, ParticipantAgent, uniform};
pub use constraint::without_meaning;
pub use rules::{Verdict, evaluate, is_fulfilled};

use crate::{
    expressions::{Context, Val},
    settings::Settings,
};
use cellspace_schemas::Timestamp;

/// When a policy is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyScope {
    /// Whether an offer is shown.
    Catalog,
    /// Whether an agreement is made.
    ContractNegotiation,
    /// Whether a transfer is started.
    TransferProcess,
}

impl PolicyScope {
    /// The scope's name in expressions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::ContractNegotiation => "contract.negotiation",
            Self::TransferProcess => "transfer.process",
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
}

impl<'a> Evaluation<'a> {
    /// An evaluation of this counterparty in the scopes that have no agreement.
    #[must_use]
    pub fn new(scope: PolicyScope, settings: &'a Settings, agent: &'a ParticipantAgent, now: Timestamp) -> Self {
        let ctx = Val::record([("agent", agent.value())]);
        Self { scope, settings, context: Context::new(ctx, now), signed: None }
    }

    /// An evaluation of the counterparty that asks for a transfer under an agreement.
    #[must_use]
    pub fn under(agreement: &'a AgreementFacts, settings: &'a Settings, agent: &'a ParticipantAgent, now: Timestamp) -> Self {
        let ctx = Val::record([("agent", agent.value()), ("agreement", agreement.value())]);
        Self { scope: PolicyScope::TransferProcess, settings, context: Context::new(ctx, now), signed: Some(agreement.signed) }
    }
}
