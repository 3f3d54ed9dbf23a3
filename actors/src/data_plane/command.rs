//! What is asked of a data plane, what it answers, and why it refuses.

use super::{
    flow::{Flow, NotAllowed, ReceivedAddress, Signal, Terms},
    source::{Source, SourceError},
    usage::Batch,
};
use crate::records;
use cellspace_schemas::{
    KeyAlias, MessageId, ParticipantContextId, SourceName, TransferId, TransferType,
    dps::{DataAddress, DataFlowPrepareMessage, DataFlowStartMessage},
    source::SourceDocument,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// A request to the data plane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Makes or replaces a source.
    PutSource {
        /// Its name.
        name: SourceName,
        /// How it is from now on.
        document: Box<SourceDocument>,
    },
    /// Removes a source.
    DeleteSource(SourceName),
    /// Begins a consumer's flow.
    Prepare(Box<DataFlowPrepareMessage>),
    /// Begins a provider's flow.
    Start(Box<DataFlowStartMessage>),
    /// Moves a flow.
    Signal {
        /// Which.
        flow: TransferId,
        /// The message's id, where the message has one.
        message: Option<MessageId>,
        /// How.
        signal: FlowSignal,
    },
    /// Counts what went through flows.
    RecordUsage(Batch),
    /// The participant is gone for good: ends its flows and forgets what they were for. To be asked again as long as the answer is
    /// [`Reply::More`].
    Dispose,
    /// A record in the vault that nothing names yet.
    Record(records::Command),
}

/// A signal to a flow that is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FlowSignal {
    /// The provider has started.
    Started(Option<DataAddress>),
    /// Pause, with the reason.
    Suspend(Option<String>),
    /// Go on.
    Resume(Option<DataAddress>),
    /// End, with the reason.
    Terminate(Option<String>),
    /// End normally.
    Completed,
}

/// A request with what others said about it and fresh ids.
#[derive(Debug)]
pub enum Prepared {
    /// A checked source.
    PutSource {
        /// Its name.
        name: SourceName,
        /// The source.
        source: Arc<Source>,
        /// The vault's new record of its secret, when one was sent.
        record: Option<KeyAlias>,
        /// The participant's tenant.
        tenant: Option<Arc<str>>,
    },
    /// Removes a source.
    DeleteSource(SourceName),
    /// Begins a flow.
    Open(Box<Opening>),
    /// Moves a flow.
    Signal(Box<Signalled>),
    /// Counts what went through flows.
    RecordUsage {
        /// Whose.
        participant: ParticipantContextId,
        /// What.
        batch: Batch,
    },
    /// Ends everything.
    Dispose,
    /// See [`Command::Record`].
    Record(records::Command),
}

impl Prepared {
    /// The record that was made for it.
    #[must_use]
    pub fn made(&self) -> Option<&KeyAlias> {
        match self {
            Self::PutSource { record, .. } => record.as_ref(),
            Self::Signal(signalled) => match &signalled.address {
                Some(OfferedAddress::Stored(address)) => Some(&address.record),
                Some(OfferedAddress::NotStored) | None => None,
            },
            Self::DeleteSource(_) | Self::Open(_) | Self::RecordUsage { .. } | Self::Dispose | Self::Record(_) => None,
        }
    }
}

/// A flow to begin.
#[derive(Debug)]
pub struct Opening {
    /// [`Signal::Prepare`] or [`Signal::Start`].
    pub beginning: Beginning,
    /// The flow.
    pub flow: TransferId,
    /// The message's id.
    pub message: MessageId,
    /// What it is about.
    pub terms: Terms,
    /// The participant's tenant.
    pub tenant: Option<Arc<str>>,
}

/// How a flow begins.
#[derive(Debug)]
pub enum Beginning {
    /// As a consumer's.
    Prepare,
    /// As a provider's.
    Start {
        /// Where the data comes from.
        source: SourceName,
        /// Fresh id of the access token.
        grant: Uuid,
    },
}

/// A signal to a flow.
#[derive(Debug)]
pub struct Signalled {
    /// Which flow.
    pub flow: TransferId,
    /// The message's id, where the message has one.
    pub message: Option<MessageId>,
    /// Which signal.
    pub signal: Signal,
    /// Why.
    pub reason: Option<String>,
    /// The address that came along.
    pub address: Option<OfferedAddress>,
    /// Fresh id of an access token, should one be needed.
    pub grant: Uuid,
}

/// An address that came with a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferedAddress {
    /// It lies in the vault.
    Stored(ReceivedAddress),
    /// When the signal was prepared it did not look as if the flow took it, so nothing was put into the vault.
    NotStored,
}

/// Answer to a command. Holds no secret: it may be stored under an idempotency key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    #[default]
    Done,
    /// Part of it is done.
    More,
    /// The flow as it now is.
    Flow(Arc<Flow>),
}

/// Something to do after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Removes a record of the vault that nothing names any more; records are never named again.
    Forget(KeyAlias),
}

/// Why a command is refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such participant context.
    #[error("the participant context does not exist")]
    UnknownParticipant,
    /// The participant context is not active: no flow begins.
    #[error("the participant context is not active")]
    NotActive,
    /// A message in the name of another participant.
    #[error("participantId must be the DID of this participant context")]
    WrongParticipant,
    /// An identifier that can be none.
    #[error("{0} is not an identifier")]
    BadId(&'static str),
    /// No such flow.
    #[error("data flow {0} does not exist")]
    UnknownFlow(TransferId),
    /// The process has a flow already.
    #[error("data flow {0} exists")]
    FlowExists(TransferId),
    /// The flow's state does not take the signal.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// This data plane does not do that.
    #[error("transfer type {0} is not supported, only HttpData-PULL is")]
    TransferType(TransferType),
    /// The asset names no source.
    #[error("metadata.source must name a source of this participant context")]
    NoSource,
    /// The asset names a source that is not there.
    #[error("source {0} does not exist")]
    UnknownSource(SourceName),
    /// An address where none belongs.
    #[error("a start of a pull transfer must not carry a dataAddress")]
    AddressInPull,
    /// An address that leads nowhere.
    #[error("dataAddress.endpoint must be an http or https URL")]
    BadAddress,
    /// The body names another source than the path.
    #[error("name must be that of the path")]
    OtherName,
    /// A rule of sources is broken.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source may not be called.
    #[error("baseUrl is not an allowed target")]
    Target,
    /// A source names a secret that is not there.
    #[error("authorization.secret is needed: no secret is stored under the alias {0}")]
    UnknownSecret(KeyAlias),
    /// Too many.
    #[error("a data plane has at most {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
}
