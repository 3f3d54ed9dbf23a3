//! Why an agent of the fabric refuses a command.

use serde::{Deserialize, Serialize};

/// The three kinds of refusals; each says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// What the path names is not there.
    #[error("{0}")]
    NotFound(String),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It does not go with what is there.
    #[error("{0}")]
    Conflict(String),
}
