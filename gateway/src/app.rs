//! What every handler gets.

use crate::{
    auth::{KnownParticipants, PlaneCallers, Verifier},
    http::Router,
    node::Directory,
    observe::Health,
};
use cellspace_actors::Services;
use cellspace_schemas::ParticipantContextId;
use std::sync::Arc;

/// State of one running node, shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Agents and their services.
    pub services: Arc<Services>,
    /// Checks access tokens.
    pub verifier: Arc<Verifier>,
    /// Which participant contexts exist.
    pub known: Arc<KnownParticipants>,
    /// Checks tokens of foreign data planes.
    pub planes: Arc<PlaneCallers>,
    /// What this node serves.
    pub routes: Arc<Router>,
    /// The participant that this installation is there for, if it is there for one.
    pub single_participant: Option<ParticipantContextId>,
    /// Whether this node is fit.
    pub health: Arc<Health>,
    /// The nodes of the cell; `None` on a node alone.
    pub nodes: Option<Arc<Directory>>,
}
