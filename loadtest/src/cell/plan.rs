//! What a cell is to be.

use crate::transcript::Tape;
use std::sync::Arc;

/// How slots are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// As a cell does that says nothing of it.
    Usual,
    /// As the example of three nodes does.
    Quick,
}

/// How nodes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// As in production.
    Direct,
    /// By way of relays in this process, that can be cut.
    Relayed,
}

/// The cell that something is played with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes of Cassandra; everything has as many replicas.
    pub cassandra: u8,
    /// How slots are handed over.
    pub hand_over: HandOver,
    /// How nodes reach each other.
    pub links: Links,
    /// How long agents that nobody uses stay in memory, when not as long as usually.
    pub idle_after: Option<&'static str>,
    /// What decides about order and moments. The same seed plays the same plan; what it meets depends on the machine too.
    pub seed: u64,
    /// Takes samples of what clients and admin listeners say.
    pub tape: Option<Arc<Tape>>,
}
