//! What nodes of a cell say to each other. The link itself is brought by who runs the node.

use crate::membership::Answer;
use cellspace_storage::{Member, View};
use futures::future::BoxFuture;

/// Another node, as its lease row tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Who it is; another life of the node is not meant.
    pub member: Member,
    /// Where it is reached.
    pub endpoint: String,
}

/// A peer did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the peer did not answer: {0}")]
pub struct PeerError(pub String);

/// The way to other nodes. Each call ends within a bound of the link's; what is lost is said again, or found in the rows.
pub trait PeerLink: Send + Sync + 'static {
    /// Shows a view that this node has put; [`crate::Cell::shown`] there.
    fn show<'a>(&'a self, to: &'a Peer, view: &'a View) -> BoxFuture<'a, Result<(), PeerError>>;

    /// Asks for slots that this node owns under the view `version`; [`crate::Cell::asked`] there, whose answers are in the same order.
    fn ask<'a>(&'a self, to: &'a Peer, slots: &'a [u16], version: u64) -> BoxFuture<'a, Result<Vec<Answer>, PeerError>>;
}
