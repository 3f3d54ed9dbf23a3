//! What travels with a command.

use crate::Undo;
use cellspace_schemas::TraceContext;
use std::{fmt, time::Duration};
use uuid::Uuid;

/// Identity of one [`crate::Cluster::ask`], the same in every round of preparation that it takes; also the command's id in the audit row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub Uuid);

impl CallId {
    /// One that nobody had before.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client's `Idempotency-Key`: 1 to 128 visible ASCII characters, bound to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Longest key, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks the header's value; `None` when it is empty, too long or has other than visible ASCII characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ok = (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        ok.then(|| Self(text.to_owned()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Circumstances of one command.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which call it is. Whatever is set here, [`crate::Cluster::ask`] makes a fresh one.
    pub id: CallId,
    /// How long the caller waits at most; afterwards the outcome is unknown to it.
    pub timeout: Duration,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
    /// Repeats under the same key get the first answer.
    pub idempotency: Option<IdempotencyKey>,
    /// Who acts, for the audit row: a subject, a counterparty's DID, or an agent's address.
    pub actor: String,
    /// What is to be taken back should it not be executed. Whatever is set here, each round of preparation gets a fresh one.
    pub undo: Undo,
}

impl Call {
    /// A call by `actor` with 30 seconds, no key and no trace.
    #[must_use]
    pub fn by(actor: impl Into<String>) -> Self {
        Self {
            id: CallId::fresh(),
            timeout: Duration::from_secs(30),
            trace: None,
            idempotency: None,
            actor: actor.into(),
            undo: Undo::default(),
        }
    }
}
