//! States of a negotiation, by their words and numbers in the Management API.

use cellspace_schemas::dsp::negotiation::NegotiationState as Seen;
use serde::{Deserialize, Serialize};

/// Where a negotiation stands with us. The states in `-ING` have a message under way that the counterparty has not acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The consumer's request is under way.
    Requesting,
    /// The consumer has requested.
    Requested,
    /// The provider's offer is under way.
    Offering,
    /// The provider has offered.
    Offered,
    /// The consumer's acceptance is under way.
    Accepting,
    /// The consumer has accepted.
    Accepted,
    /// The provider's agreement is under way.
    Agreeing,
    /// The provider has agreed.
    Agreed,
    /// The consumer's verification is under way.
    Verifying,
    /// The consumer has verified.
    Verified,
    /// The provider's finalization is under way.
    Finalizing,
    /// The agreement holds. Final.
    Finalized,
    /// Our termination is under way.
    Terminating,
    /// Ended without an agreement that holds. Final.
    Terminated,
}

impl State {
    /// All, in the order of the protocol.
    pub const ALL: [Self; 14] = [
        Self::Requesting,
        Self::Requested,
        Self::Offering,
        Self::Offered,
        Self::Accepting,
        Self::Accepted,
        Self::Agreeing,
        Self::Agreed,
        Self::Verifying,
        Self::Verified,
        Self::Finalizing,
        Self::Finalized,
        Self::Terminating,
        Self::Terminated,
    ];

    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requesting => "REQUESTING",
            Self::Requested => "REQUESTED",
            Self::Offering => "OFFERING",
            Self::Offered => "OFFERED",
            Self::Accepting => "ACCEPTING",
            Self::Accepted => "ACCEPTED",
            Self::Agreeing => "AGREEING",
            Self::Agreed => "AGREED",
            Self::Verifying => "VERIFYING",
            Self::Verified => "VERIFIED",
            Self::Finalizing => "FINALIZING",
            Self::Finalized => "FINALIZED",
            Self::Terminating => "TERMINATING",
            Self::Terminated => "TERMINATED",
        }
    }

    /// Its number, which queries use.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Requesting => 100,
            Self::Requested => 200,
            Self::Offering => 300,
            Self::Offered => 400,
            Self::Accepting => 700,
            Self::Accepted => 800,
            Self::Agreeing => 825,
            Self::Agreed => 850,
            Self::Verifying => 1050,
            Self::Verified => 1100,
            Self::Finalizing => 1150,
            Self::Finalized => 1200,
            Self::Terminating => 1300,
            Self::Terminated => 1400,
        }
    }

    /// Whether no other state can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Finalized | Self::Terminated => true,
            Self::Requesting
            | Self::Requested
            | Self::Offering
            | Self::Offered
            | Self::Accepting
            | Self::Accepted
            | Self::Agreeing
            | Self::Agreed
            | Self::Verifying
            | Self::Verified
            | Self::Finalizing
            | Self::Terminating => false,
        }
    }

    /// What the audit row calls the step into this state.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Requesting => "negotiation.requesting",
            Self::Requested => "negotiation.requested",
            Self::Offering => "negotiation.offering",
            Self::Offered => "negotiation.offered",
            Self::Accepting => "negotiation.accepting",
            Self::Accepted => "negotiation.accepted",
            Self::Agreeing => "negotiation.agreeing",
            Self::Agreed => "negotiation.agreed",
            Self::Verifying => "negotiation.verifying",
            Self::Verified => "negotiation.verified",
            Self::Finalizing => "negotiation.finalizing",
            Self::Finalized => "negotiation.finalized",
            Self::Terminating => "negotiation.terminating",
            Self::Terminated => "negotiation.terminated",
        }
    }

    /// The message that is under way in this state.
    #[must_use]
    pub const fn sends(self) -> Option<Sent> {
        match self {
            Self::Requesting => Some(Sent::Request),
            Self::Offering => Some(Sent::Offer),
            Self::Accepting => Some(Sent::Accepted),
            Self::Agreeing => Some(Sent::Agreement),
            Self::Verifying => Some(Sent::Verification),
            Self::Finalizing => Some(Sent::Finalized),
            Self::Terminating => Some(Sent::Termination),
            Self::Requested | Self::Offered | Self::Accepted | Self::Agreed | Self::Verified | Self::Finalized | Self::Terminated => None,
        }
    }
}

/// A message that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sent {
    /// `ContractRequestMessage`
    Request,
    /// `ContractOfferMessage`
    Offer,
    /// `ContractNegotiationEventMessage` ACCEPTED
    Accepted,
    /// `ContractAgreementMessage`
    Agreement,
    /// `ContractAgreementVerificationMessage`
    Verification,
    /// `ContractNegotiationEventMessage` FINALIZED
    Finalized,
    /// `ContractNegotiationTerminationMessage`
    Termination,
}

impl Sent {
    /// The states that its acknowledgement leads to: ours, and the one that both parties see.
    #[must_use]
    pub const fn reaches(self) -> (State, Seen) {
        match self {
            Self::Request => (State::Requested, Seen::Requested),
            Self::Offer => (State::Offered, Seen::Offered),
            Self::Accepted => (State::Accepted, Seen::Accepted),
            Self::Agreement => (State::Agreed, Seen::Agreed),
            Self::Verification => (State::Verified, Seen::Verified),
            Self::Finalized => (State::Finalized, Seen::Finalized),
            Self::Termination => (State::Terminated, Seen::Terminated),
        }
    }
}
