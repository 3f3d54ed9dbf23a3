//! What nodes of a cell say to each other. The link itself is brought by who runs the node.

use super::Told;
use crate::remote::{AgentAnswer, AgentCall};
use cellspace_storage::{CellName, Member, View};
use futures::future::BoxFuture;

/// Another node, as its lease row tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Who it is; another life of the node is not meant.
    pub member: Member,
    /// Where it is reached.
    pub endpoint: String,
    /// Its cell, when that is another one than this node's.
    pub cell: Option<CellName>,
}

/// Why a peer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It never got what was said, or did not take it: nothing was done.
    #[error("not taken: {0}")]
    NotDone(String),
    /// It may have got it.
    #[error("no answer: {0}")]
    Lost(String),
}

/// The way to other nodes. Each call ends within a bound of the link's; what is lost is said again, or found in the rows.
pub trait PeerLink: Send + Sync + 'static {
    /// Shows a view that this node has put; [`crate::Cell::shown`] there.
    fn show<'a>(&'a self, to: &'a Peer, view: &'a View) -> BoxFuture<'a, Result<(), PeerError>>;

    /// Asks for slots that this node owns under the view `version`; [`crate::Cell::asked`] there, whose answers are in the same order.
    fn ask<'a>(&'a self, to: &'a Peer, slots: &'a [u16], version: u64) -> BoxFuture<'a, Result<Vec<Told>, PeerError>>;

    /// Says that there is news of this kind; answered when they were taken in.
    fn announce<'a>(&'a self, to: &'a Peer, news: &'a str) -> BoxFuture<'a, Result<(), PeerError>>;

    /// Asks for something of an agent; [`crate::Cluster::called`] there.
    fn call<'a>(&'a self, to: &'a Peer, call: &'a AgentCall) -> BoxFuture<'a, Result<AgentAnswer, PeerError>>;
}
