//! What the node's data workers share.

use super::Admission;
use std::sync::Arc;

/// Shared by all responses that stream on this node.
#[derive(Debug, Default)]
pub struct Workers {
    /// Places for responses.
    pub admission: Arc<Admission>,
}
