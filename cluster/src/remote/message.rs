//! What goes from node to node for an agent, and comes back.

use crate::{AskError, Call, CallId, IdempotencyKey, Undo};
use cellspace_schemas::{Owner, TraceContext};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use std::{error::Error, time::Duration};
use tokio::time::Instant;

/// What is asked of an agent of another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentCall {
    /// Whose agent.
    pub owner: Owner,
    /// Its kind.
    pub kind: String,
    /// Its name; mostly empty.
    #[serde(default)]
    pub name: String,
    /// The view that whoever sends this has applied.
    pub view: u64,
    /// Hops with this one.
    pub hops: u8,
    /// How long it is waited for, in milliseconds.
    pub left: u64,
    /// What is asked.
    pub what: What,
}

/// A command or a question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum What {
    /// A command with its circumstances.
    Command {
        /// As the agent's kind writes it.
        command: Box<RawValue>,
        /// The trace that it belongs to.
        trace: Option<TraceContext>,
        /// The caller's key.
        idempotency: Option<String>,
        /// Who acts.
        actor: String,
    },
    /// A question.
    Query {
        /// Its name.
        name: String,
        /// As it writes itself.
        query: Box<RawValue>,
    },
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum AgentAnswer {
    /// The reply.
    Done(Box<RawValue>),
    /// [`AskError::Refused`]
    Refused(Box<RawValue>),
    /// [`AskError::NotRegistered`]
    NotRegistered,
    /// [`AskError::KeyReused`]
    KeyReused,
    /// [`AskError::TooMany`], milliseconds to wait.
    TooMany(u64),
    /// [`AskError::Unavailable`], with milliseconds to wait.
    Unavailable(String, u64),
    /// [`AskError::Parked`]
    Parked(String),
    /// [`AskError::Unknown`]
    Unknown(String),
    /// Nothing was executed: the agent is not there, or not any more.
    Elsewhere(String),
}

/// Nothing is waited for longer, whatever is said.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// What another node says at the end of its time is on its way for so long.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// How long another node may take for what is waited for until then: what it says at the end of that time still arrives.
#[must_use]
pub fn time_there(until: Instant) -> Duration {
    let left = until.saturating_duration_since(Instant::now());
    left - GRACE.min(left / 4)
}

/// As it is sent to another node.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl AgentCall {
    /// So long it is waited for.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.left).min(LONGEST)
    }

    /// The same with less time.
    pub(super) fn within(&mut self, left: Duration) {
        self.left = millis(left);
    }
}

impl What {
    pub(super) fn command(command: &impl Serialize, call: &Call) -> Result<Self, serde_json::Error> {
        Ok(Self::Command {
            command: to_raw_value(command)?,
            trace: call.trace.clone(),
            idempotency: call.idempotency.as_ref().map(|key| key.as_str().to_owned()),
            actor: call.actor.clone(),
        })
    }

    /// What is known when its answer is lost.
    pub(super) fn lost(&self, reason: String) -> AgentAnswer {
        match self {
            Self::Command { .. } => AgentAnswer::Unknown(reason),
            Self::Query { .. } => AgentAnswer::Elsewhere(reason),
        }
    }
}

/// The circumstances of a command that came from another node; `None` when the key is none.
pub(super) fn call(trace: Option<TraceContext>, idempotency: Option<String>, actor: String, timeout: Duration) -> Option<Call> {
    let idempotency = match idempotency {
        None => None,
        Some(key) => Some(IdempotencyKey::parse(&key)?),
    };
    Some(Call { id: CallId::fresh(), timeout, trace, idempotency, actor, undo: Undo::default() })
}

impl AgentAnswer {
    pub(super) fn of<T: Serialize>(answer: Result<T, AskError<impl Error>>) -> Self {
        let refused = |refusal: &dyn Error| Self::Unavailable(format!("a refusal that does not travel: {refusal}"), 1_000);
        Self::with(answer, |refusal| refused(&refusal))
    }

    pub(super) fn with<T: Serialize, R: Error>(answer: Result<T, AskError<R>>, refused: impl FnOnce(R) -> Self) -> Self {
        match answer {
            // Executed it was, whatever becomes of its answer.
            Ok(reply) => {
                to_raw_value(&reply).map_or_else(|error| Self::Unknown(format!("the reply cannot be written: {error}")), Self::Done)
            }
            Err(AskError::Refused(refusal)) => refused(refusal),
            Err(AskError::NotRegistered) => Self::NotRegistered,
            Err(AskError::KeyReused) => Self::KeyReused,
            Err(AskError::TooMany { retry_after }) => Self::TooMany(millis(retry_after)),
            Err(AskError::Unavailable { reason, retry_after }) => Self::Unavailable(reason, millis(retry_after)),
            Err(AskError::Parked { reason }) => Self::Parked(reason),
            Err(AskError::Unknown { reason }) => Self::Unknown(reason),
        }
    }

    /// As the caller is told; `Err` when it may try again elsewhere.
    pub(super) fn read<T: DeserializeOwned, R: Error>(
        self,
        refused: impl FnOnce(&RawValue) -> Result<R, serde_json::Error>,
    ) -> Result<Result<T, AskError<R>>, String> {
        let unreadable = |error: serde_json::Error| AskError::Unknown { reason: format!("the answer cannot be read: {error}") };
        Ok(match self {
            Self::Done(reply) => serde_json::from_str(reply.get()).map_err(unreadable),
            Self::Refused(refusal) => Err(refused(&refusal).map_or_else(unreadable, AskError::Refused)),
            Self::NotRegistered => Err(AskError::NotRegistered),
            Self::KeyReused => Err(AskError::KeyReused),
            Self::TooMany(wait) => Err(AskError::TooMany { retry_after: Duration::from_millis(wait) }),
            Self::Unavailable(reason, wait) => Err(AskError::Unavailable { reason, retry_after: Duration::from_millis(wait) }),
            Self::Parked(reason) => Err(AskError::Parked { reason }),
            Self::Unknown(reason) => Err(AskError::Unknown { reason }),
            Self::Elsewhere(reason) => return Err(reason),
        })
    }
}
