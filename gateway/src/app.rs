//! What every handler gets.

use cellspace_actors::Services;
use std::sync::Arc;

/// State of one running node, shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Agents and their services.
    pub services: Arc<Services>,
}
