//! What the node's data workers share.

use super::{Admission, meter::Meter};
use std::sync::Arc;

/// Shared by all responses that stream on this node.
#[derive(Debug, Default)]
pub struct Workers {
    /// Places for responses.
    pub admission: Arc<Admission>,
    /// What went through flows and is not told yet.
    pub meter: Arc<Meter>,
}
