//! What moves a transfer, and what is to be done then: acts, messages, signals and calls of data planes.

use super::{State, Transfer};
use crate::control_plane::dsp::Role;
use cellspace_schemas::{Pid, dsp::DataAddress};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What we do, of our own accord or because a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// The provider starts.
    Start,
    /// Pause.
    Suspend(Option<String>),
    /// Go on, after a pause of our own.
    Resume,
    /// It is done.
    Complete,
    /// End it.
    Terminate(Option<String>),
}

impl Act {
    /// For error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start => "a start",
            Self::Suspend(_) => "a suspension",
            Self::Resume => "a resumption",
            Self::Complete => "a completion",
            Self::Terminate(_) => "a termination",
        }
    }
}

/// What the counterparty did.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// The provider has started, or the one who suspended goes on.
    Start(Option<DataAddress>),
    /// It pauses.
    Suspension(Option<String>),
    /// It is done.
    Completion,
    /// It ended it.
    Termination(Option<String>),
}

impl Received {
    /// For error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start(_) => "a start",
            Self::Suspension(_) => "a suspension",
            Self::Completion => "a completion",
            Self::Termination(_) => "a termination",
        }
    }
}

/// What our data plane says: in the answer to a call, or later by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// It works on it, and will say when it is done.
    Pending,
    /// Ready; in push transfers with the address to push to.
    Prepared(Option<DataAddress>),
    /// Data may flow; in pull transfers with the address to pull from.
    Started(Option<DataAddress>),
    /// The data has been transferred.
    Completed,
    /// The wire protocol failed. This moves no state.
    Errored(Option<String>),
    /// The call was carried out; there is nothing to say about it.
    Done,
}

impl Signal {
    /// For error messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "a pending answer of the data plane",
            Self::Prepared(_) => "prepared",
            Self::Started(_) => "started",
            Self::Completed => "completed",
            Self::Errored(_) => "errored",
            Self::Done => "an answer of the data plane",
        }
    }
}

/// Why a transfer moves.
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
    /// Our data plane answered call number `step`.
    Answered {
        /// Which.
        step: u32,
        /// What.
        signal: Signal,
    },
    /// Our data plane refused call number `step`, or it was given up.
    CallFailed {
        /// Which.
        step: u32,
        /// Why.
        reason: String,
    },
    /// Our data plane says something by itself.
    Signalled(Signal),
    /// Its deadline has passed.
    Due,
}

/// A message to the counterparty, without what every message has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// `TransferRequestMessage`
    Request(Option<DataAddress>),
    /// `TransferStartMessage`
    Start(Option<DataAddress>),
    /// `TransferSuspensionMessage`
    Suspension(Option<String>),
    /// `TransferCompletionMessage`
    Completion,
    /// `TransferTerminationMessage`
    Termination(Option<String>),
}

/// A call of our data plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PlaneCall {
    /// `prepare`
    Prepare,
    /// `start`
    Start {
        /// What the consumer has proven.
        claims: Map<String, Value>,
        /// Where to push to.
        data_address: Option<DataAddress>,
    },
    /// `started`
    Started(Option<DataAddress>),
    /// `suspend`
    Suspend(Option<String>),
    /// `resume`
    Resume(Option<DataAddress>),
    /// `terminate`
    Terminate(Option<String>),
    /// `completed`
    Completed,
}

/// What is to be done outside after a transition; its number is that of the step it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Tell the counterparty.
    Tell(u32, Notice),
    /// Call the data plane.
    Call(u32, PlaneCall),
    /// See whether it may go on; whatever its step is.
    Look,
}

/// Why a transfer does not move.
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
    /// The other side suspended it.
    #[error("only the side that suspended a transfer may resume it")]
    NotTheSuspender,
}

/// A transfer after a cause, and what is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The transfer.
    pub transfer: Transfer,
    /// At most one message and one call.
    pub tasks: Vec<Task>,
}
