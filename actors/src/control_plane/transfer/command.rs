//! Requests to the transfers of a participant, and their answers.

use super::{Act, Signal, words};
use crate::{
    control_plane::dsp::{Envelope, OtherProcess, Sender, Steering},
    settings::Settings,
};
use cellspace_schemas::{
    AgreementId, Pid, ProfileId, Timestamp, TransferId, TransferType,
    dsp::{
        BaseUrl,
        transfer::{
            TransferCompletionMessage, TransferProcess, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage,
            TransferTerminationMessage,
        },
    },
    management::{CallbackAddress, DataplaneMetadata},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, sync::Arc};

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// A client asks us, as consumer, to transfer.
    Request(Box<NewTransfer>),
    /// A client, or whatever steers us, wants this done.
    Act {
        /// With which transfer.
        id: TransferId,
        /// What.
        act: Act,
    },
    /// A counterparty's message.
    Receive(Box<Incoming>),
    /// Our data plane says something by itself.
    Signal {
        /// About which transfer.
        id: TransferId,
        /// What.
        signal: Signal,
    },
}

/// What a client wants to be transferred.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewTransfer {
    /// Its id, when the client chose one.
    pub id: Option<TransferId>,
    /// The dataspace profile.
    pub profile: ProfileId,
    /// Where the provider takes messages.
    pub address: BaseUrl,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// How.
    pub transfer_type: TransferType,
    /// What our data plane is told.
    pub metadata: DataplaneMetadata,
    /// The client's own properties.
    pub private_properties: Map<String, Value>,
    /// Whom the client wants to be told.
    pub callbacks: Vec<CallbackAddress>,
}

/// A message of a counterparty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Incoming {
    /// What it came with.
    pub envelope: Envelope,
    /// Our process in its path; absent in a request.
    pub id: Option<TransferId>,
    /// The message.
    pub message: Message,
}

/// What counterparties send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Message {
    /// `TransferRequestMessage`
    Request(TransferRequestMessage),
    /// `TransferStartMessage`
    Start(TransferStartMessage),
    /// `TransferSuspensionMessage`
    Suspension(TransferSuspensionMessage),
    /// `TransferCompletionMessage`
    Completion(TransferCompletionMessage),
    /// `TransferTerminationMessage`
    Termination(TransferTerminationMessage),
}

impl Message {
    /// `(consumerPid, providerPid)` as it names them.
    #[must_use]
    pub fn pids(&self) -> (&Pid, Option<&Pid>) {
        match self {
            Self::Request(m) => (&m.consumer_pid, None),
            Self::Start(m) => (&m.consumer_pid, Some(&m.provider_pid)),
            Self::Suspension(m) => (&m.consumer_pid, Some(&m.provider_pid)),
            Self::Completion(m) => (&m.consumer_pid, Some(&m.provider_pid)),
            Self::Termination(m) => (&m.consumer_pid, Some(&m.provider_pid)),
        }
    }
}

/// A request with what others said about it, and fresh ids.
pub enum Prepared {
    /// A client asks us to transfer.
    Request {
        /// Its id.
        id: TransferId,
        /// What.
        new: Box<NewTransfer>,
        /// The settings now.
        settings: Arc<Settings>,
    },
    /// Something is to be done.
    Act {
        /// With which transfer.
        id: TransferId,
        /// What.
        act: Act,
        /// What expressions mean.
        settings: Arc<Settings>,
    },
    /// A counterparty's message.
    Receive(Box<Arrived>),
    /// Our data plane says something.
    Signal {
        /// About which transfer.
        id: TransferId,
        /// What.
        signal: Signal,
    },
}

/// A message whose sender is verified.
pub struct Arrived {
    /// The message.
    pub incoming: Incoming,
    /// Its sender.
    pub sender: Sender,
    /// Id of the transfer it may begin.
    pub fresh: TransferId,
    /// What we do by ourselves.
    pub steering: Arc<dyn Steering>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { id, .. } => write!(f, "Request({id})"),
            Self::Act { id, act, .. } => write!(f, "Act({id}, {})", act.name()),
            Self::Receive(arrived) => write!(f, "Receive(from {}, {:?})", arrived.sender.did(), arrived.incoming.message),
            Self::Signal { id, signal } => write!(f, "Signal({id}, {})", signal.name()),
        }
    }
}

/// Answer to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// A transfer was begun for a client.
    Begun {
        /// Its id.
        id: TransferId,
        /// When.
        at: Timestamp,
    },
    /// The transfer as the counterparty sees it.
    Process(TransferProcess),
}

/// Why a request is refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The state machine refuses.
    #[error(transparent)]
    Table(#[from] words::Refused),
    /// No such transfer.
    #[error("transfer process {0} does not exist")]
    NotFound(TransferId),
    /// The id is taken.
    #[error("transfer process {0} exists")]
    Exists(TransferId),
    /// The profile is not one of the participant's, or not that of the agreement.
    #[error("profile {0} is not that of the agreement")]
    OtherProfile(ProfileId),
    /// No agreement in force under which we are the consumer.
    #[error("there is no agreement {0} in force with this participant as consumer")]
    NoAgreement(AgreementId),
    /// No data plane of ours transfers so.
    #[error("transfer type {0} is not supported")]
    Unsupported(TransferType),
    /// The policy of the agreement is not fulfilled: what was required, never what was found.
    #[error("{0}")]
    Unmet(String),
    /// The counterparty's process id belongs to another request of its.
    #[error("the process id is used by another transfer")]
    PidUsed,
    /// The message names other processes than its own.
    #[error(transparent)]
    OtherProcess(#[from] OtherProcess),
    /// The message cannot be meant so.
    #[error("{0}")]
    Malformed(&'static str),
}
