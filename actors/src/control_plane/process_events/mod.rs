//! What happens to negotiations and transfers, told to those who asked: posted to the callback addresses of the process, and read by who follows the
//! participant.
//!
//! [`change`] knows which change of a process is which event, [`envelope`] what is told of it. [`tell`] puts both into the decision that makes the change;
//! [`deliver`](mod@deliver) posts, aside from all messages of the process, and nothing follows from what becomes of it.

pub mod change;
pub mod deliver;
pub mod envelope;
pub mod followed;
pub mod tell;

#[cfg(test)]
mod tests;

pub use deliver::deliver;
pub use followed::followed;
pub(super) use tell::{negotiation, transfer};

use super::{ControlPlaneState, archive::Key};
use cellspace_cluster::RetryPolicy;
use cellspace_schemas::{
    NegotiationId, Timestamp, TransferId,
    management::{CallbackAddress, ProcessEvent},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, time::Duration};
use url::Url;

/// Receivers are waited for through a restart of theirs, some twenty minutes; each event anew.
const RETRY: RetryPolicy = RetryPolicy { first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(60), attempts: 30 };

/// A process with events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Process {
    /// A contract negotiation.
    Negotiation(NegotiationId),
    /// A transfer.
    Transfer(TransferId),
}

impl Process {
    /// The process of this id that the event happened to.
    #[must_use]
    pub fn of(event: ProcessEvent, id: &str) -> Option<Self> {
        use ProcessEvent as E;
        match event {
            E::NegotiationInitiated
            | E::NegotiationRequested
            | E::NegotiationOffered
            | E::NegotiationAccepted
            | E::NegotiationAgreed
            | E::NegotiationVerified
            | E::NegotiationFinalized
            | E::NegotiationTerminated => id.parse().ok().map(Self::Negotiation),
            E::TransferInitiated
            | E::TransferPrepared
            | E::TransferRequested
            | E::TransferStarted
            | E::TransferSuspended
            | E::TransferResuming
            | E::TransferCompleted
            | E::TransferTerminated => id.parse().ok().map(Self::Transfer),
        }
    }

    /// What leads to it, wherever it is kept.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Negotiation(id) => Key::Negotiation(id.clone()),
            Self::Transfer(id) => Key::Transfer(id.clone()),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Negotiation(id) => id.as_str(),
            Self::Transfer(id) => id.as_str(),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negotiation(id) => write!(f, "negotiation/{id}"),
            Self::Transfer(id) => write!(f, "transfer/{id}"),
        }
    }
}

/// An event to be posted to one of the callback addresses of its process. It needs nothing of the process, which may be removed meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Whose.
    pub process: Process,
    /// Where to, without the events that are asked for.
    pub callback: Box<CallbackAddress>,
    /// What happened.
    pub event: ProcessEvent,
    /// When.
    pub at: Timestamp,
    /// What is told of it.
    pub payload: Value,
}

/// The receiver took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome;

/// The receiver, as one of this participant alone: what one of them makes of a host says nothing to others, nor to the messages that go there.
#[must_use]
pub fn destination(effect: &Effect, state: &ControlPlaneState) -> Option<String> {
    state.known().map(|participant| format!("callback/{}/{}", participant.id, effect.callback.host()))
}

/// Takes out of a kept effect, as JSON, what only its receiver is to know: all of the address but the host.
pub fn shown(effect: &mut Value) {
    let Some(uri) = effect.pointer_mut("/callback/uri") else { return };
    let parsed = uri.as_str().and_then(|uri| Url::parse(uri).ok());
    *uri = parsed.map_or(Value::Null, |uri| uri.origin().ascii_serialization().into());
}

/// How often and how long a delivery is tried.
#[must_use]
pub const fn retry_policy(_effect: &Effect) -> RetryPolicy {
    RETRY
}
