//! Whether a policy is fulfilled: ODRL rules over constraints, constraints over expressions, expressions over verified claims. Pure.

mod agent;
mod constraint;
mod in_force;
mod rules;

#[cfg(test)]
mod tests;

pub use agent::{AgreementFacts, ParticipantAgent};
pub use constraint::without_meaning;
pub use rules::{Verdict, evaluate};

use crate::settings::Settings;
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

/// What a policy is evaluated on.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    /// When.
    pub scope: PolicyScope,
    /// Meanings of left operands.
    pub settings: &'a Settings,
    /// The counterparty, as verified.
    pub agent: &'a ParticipantAgent,
    /// The agreement, in the scopes that have one.
    pub agreement: Option<&'a AgreementFacts>,
    /// The time.
    pub now: Timestamp,
}
