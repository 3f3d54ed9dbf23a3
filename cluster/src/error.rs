//! Every error says one of three: *not executed*, *refused*, *unknown*.

use std::time::Duration;

/// Why `prepare` brought nothing to decide on. Nothing was executed.
#[derive(Debug, Clone)]
pub enum PrepareError<R> {
    /// The caller is told why.
    Refused(R),
    /// Something needed is out of reach; the caller may try again.
    Unavailable(String),
}

impl<R> From<R> for PrepareError<R> {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal)
    }
}

/// Why `decide` made no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection<R> {
    /// The command is not allowed; nothing was changed.
    Refused(R),
    /// What `prepare` asked for is no longer what the state needs: run it once more.
    Stale,
}

impl<R> From<R> for Rejection<R> {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal)
    }
}

/// Why [`crate::Cluster::ask`] has no reply.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AskError<R: std::error::Error> {
    /// *Refused*: the agent said no; nothing was changed.
    #[error(transparent)]
    Refused(R),
    /// *Refused*: no such agent.
    #[error("no such agent")]
    NotRegistered,
    /// *Refused*: the idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// *Not executed*: the participant's own budget is spent.
    #[error("too many requests for this participant")]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// *Not executed*: this node cannot now.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// *Not executed*: the agent failed again and again, and waits for an operator ([`crate::Cluster::unpark`]).
    #[error("unavailable: the agent is parked: {reason}")]
    Parked {
        /// How it failed last.
        reason: String,
    },
    /// *Unknown*: it may have been executed; retry with the same idempotency key.
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
}
