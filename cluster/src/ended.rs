//! Why an activation ends other than by passivation.

use crate::codec::CodecError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the partition was claimed by a newer activation")]
    Fenced,
    #[error("this node does not serve the agent's slot any more")]
    NoLease,
    #[error("the outcome of a commit is unknown: {0}")]
    InDoubt(String),
    #[error("the store failed: {0}")]
    Store(String),
    #[error("the store refused a commit for good: {0}")]
    Refused(String),
    #[error("row {0}: {1}")]
    Row(String, CodecError),
    #[error("a turn cannot be written: {0}")]
    Unwritable(#[from] CodecError),
    #[error("the agent panicked: {0}")]
    Panicked(String),
}

impl Ended {
    /// Whether the agent itself is to blame, and may be parked for it.
    pub(crate) const fn own_fault(&self) -> bool {
        match self {
            Self::Fenced | Self::NoLease | Self::InDoubt(_) | Self::Store(_) => false,
            Self::Refused(_) | Self::Row(..) | Self::Unwritable(_) | Self::Panicked(_) => true,
        }
    }
}
