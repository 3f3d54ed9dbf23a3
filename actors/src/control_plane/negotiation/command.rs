//! Requests to the negotiations of a participant, and their answers.

use super::{Act, State, table};
use crate::{
    control_plane::dsp::{Envelope, OtherProcess, Role, Sender, Steering},
    settings::Settings,
};
use cellspace_schemas::{
    AgreementId, AssetId, Did, NegotiationId, Pid, ProfileId, Timestamp,
    dsp::{
        BaseUrl,
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage, MessageOffer,
        },
    },
    management::CallbackAddress,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// A client asks us, as consumer, to negotiate.
    Request(Box<NewNegotiation>),
    /// A client asks us, as provider, to begin with an offer.
    Offer(Box<NewNegotiation>),
    /// A client, or whatever steers us, wants this done.
    Act {
        /// With which negotiation.
        id: NegotiationId,
        /// What.
        act: Box<Act>,
    },
    /// A client accepts, as consumer, the offer on the table.
    Accept {
        /// In which negotiation.
        id: NegotiationId,
        /// What the client has seen there, when it says so: nothing else is accepted then.
        seen: Option<Box<MessageOffer>>,
    },
    /// A client agrees, as provider, to the terms that the consumer has requested; the agreement gets a fresh id.
    Agree {
        /// In which negotiation.
        id: NegotiationId,
        /// What the client has seen there, when it says so: nothing else is agreed to then.
        seen: Option<Box<MessageOffer>>,
    },
    /// A client removes one that ended without an agreement.
    Delete(NegotiationId),
    /// A client wants nothing to be transferred under an agreement any more.
    Retire {
        /// Which.
        agreement: AgreementId,
        /// Why.
        reason: String,
    },
    /// A counterparty's message.
    Receive(Box<Incoming>),
}

/// What a client wants to negotiate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewNegotiation {
    /// Its id, when the client chose one.
    pub id: Option<NegotiationId>,
    /// The dataspace profile.
    pub profile: ProfileId,
    /// The other party.
    pub counterparty: Did,
    /// Where it takes messages.
    pub address: BaseUrl,
    /// What is asked for, or offered.
    pub offer: MessageOffer,
    /// Whom the client wants to be told.
    pub callbacks: Vec<CallbackAddress>,
}

/// A message of a counterparty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Incoming {
    /// What it came with.
    pub envelope: Envelope,
    /// Our process in its path; absent in a first message.
    pub id: Option<NegotiationId>,
    /// The message.
    pub message: Message,
}

/// What counterparties send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Message {
    /// `ContractRequestMessage`
    Request(ContractRequestMessage),
    /// `ContractOfferMessage`
    Offer(ContractOfferMessage),
    /// `ContractAgreementMessage`
    Agreement(ContractAgreementMessage),
    /// `ContractAgreementVerificationMessage`
    Verification(ContractAgreementVerificationMessage),
    /// `ContractNegotiationEventMessage`
    Event(ContractNegotiationEventMessage),
    /// `ContractNegotiationTerminationMessage`
    Termination(ContractNegotiationTerminationMessage),
}

impl Message {
    /// `(consumerPid, providerPid)` as it names them.
    #[must_use]
    pub fn pids(&self) -> (Option<&Pid>, Option<&Pid>) {
        match self {
            Self::Request(m) => (Some(&m.consumer_pid), m.provider_pid.as_ref()),
            Self::Offer(m) => (m.consumer_pid.as_ref(), Some(&m.provider_pid)),
            Self::Agreement(m) => (Some(&m.consumer_pid), Some(&m.provider_pid)),
            Self::Verification(m) => (Some(&m.consumer_pid), Some(&m.provider_pid)),
            Self::Event(m) => (Some(&m.consumer_pid), Some(&m.provider_pid)),
            Self::Termination(m) => (Some(&m.consumer_pid), Some(&m.provider_pid)),
        }
    }
}

/// A request with what others said about it, and fresh ids.
pub enum Prepared {
    /// A client asks us to negotiate.
    Begin {
        /// Its id.
        id: NegotiationId,
        /// As what.
        role: Role,
        /// What.
        new: Box<NewNegotiation>,
        /// The settings now.
        settings: Arc<Settings>,
    },
    /// Something is to be done.
    Act {
        /// With which negotiation.
        id: NegotiationId,
        /// What.
        act: Box<Act>,
        /// The terms that must be on the table for it.
        seen: Option<Box<MessageOffer>>,
    },
    /// One is to be removed.
    Delete(NegotiationId),
    /// An agreement is to be retired.
    Retire {
        /// Which.
        agreement: AgreementId,
        /// Why.
        reason: String,
    },
    /// A counterparty's message.
    Receive(Box<Arrived>),
}

/// A message whose sender is verified.
pub struct Arrived {
    /// The message.
    pub incoming: Incoming,
    /// Its sender.
    pub sender: Sender,
    /// Id of the negotiation it may begin.
    pub fresh: NegotiationId,
    /// Id of the agreement it may lead to.
    pub fresh_agreement: AgreementId,
    /// What we do by ourselves.
    pub steering: Arc<dyn Steering>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin { id, role, .. } => write!(f, "Begin({id}, {role:?})"),
            Self::Act { id, act, .. } => write!(f, "Act({id}, {})", act.name()),
            Self::Delete(id) => write!(f, "Delete({id})"),
            Self::Retire { agreement, .. } => write!(f, "Retire({agreement})"),
            Self::Receive(arrived) => write!(f, "Receive(from {}, {:?})", arrived.sender.did(), arrived.incoming.message),
        }
    }
}

/// Answer to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// A negotiation was begun for a client.
    Begun {
        /// Its id.
        id: NegotiationId,
        /// When.
        at: Timestamp,
    },
    /// The negotiation as the counterparty sees it.
    Process(ContractNegotiation),
}

/// Why a request is refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The state machine refuses.
    #[error(transparent)]
    Table(#[from] table::Refused),
    /// No such negotiation.
    #[error("contract negotiation {0} does not exist")]
    NotFound(NegotiationId),
    /// The id is taken.
    #[error("contract negotiation {0} exists")]
    Exists(NegotiationId),
    /// The profile is not one of the participant's.
    #[error("the participant is not associated with profile {0}")]
    NoProfile(ProfileId),
    /// There is nothing to offer under this id.
    #[error("asset {0} does not exist")]
    NoAsset(AssetId),
    /// An offer that the counterparty cannot have seen: unknown, hidden or someone else's.
    #[error("the offer is not known")]
    UnknownOffer,
    /// The rules are not those of the offer.
    #[error("the rules differ from those of the offer")]
    OtherRules,
    /// Other terms are on the table than the client has seen.
    #[error("the offer is not the one that is negotiated now")]
    OtherTerms,
    /// The counterparty's process id belongs to another request of its.
    #[error("the process id is used by another negotiation")]
    PidUsed,
    /// The agreement's id belongs to another negotiation.
    #[error("the agreement id is used by another agreement")]
    AgreementUsed,
    /// The message names other processes than its own.
    #[error(transparent)]
    OtherProcess(#[from] OtherProcess),
    /// The message is not for our role, or lacks what a first message needs.
    #[error("{0}")]
    Malformed(&'static str),
    /// No such agreement.
    #[error("contract agreement {0} does not exist")]
    NoAgreement(AgreementId),
    /// Nothing can be transferred under the agreement yet, or ever.
    #[error("contract agreement {id} of a negotiation in state {state} is not in force", state = .state.name())]
    NotInForce {
        /// The agreement.
        id: AgreementId,
        /// The state of its negotiation.
        state: State,
    },
    /// Only what ended without an agreement can be removed.
    #[error("a contract negotiation in state {state} {with} cannot be removed", state = .state.name(), with = if *.agreed { "with an agreement" } else { "without an agreement" })]
    NotRemovable {
        /// Its state.
        state: State,
        /// Whether there is an agreement.
        agreed: bool,
    },
}
