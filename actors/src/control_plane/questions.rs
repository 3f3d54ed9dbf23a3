//! What others ask of a participant's control plane, from whichever node.

use super::{ControlPlane, ControlPlaneState, Participant};
use cellspace_cluster::Query;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The participant context, when it is there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ParticipantOf;

impl Query<ControlPlane> for ParticipantOf {
    const NAME: &'static str = "participant";
    type Answer = Option<Arc<Participant>>;

    fn answer(&self, state: &ControlPlaneState) -> Self::Answer {
        state.participant.clone()
    }
}
