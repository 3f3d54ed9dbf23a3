//! Lists over all participant contexts (Management API): the directory knows which there are, their control planes what they are.

use super::{ControlPlane, Participant, questions::ParticipantOf};
use crate::{
    Services,
    directory::{
        DirectoryError, Kind,
        contexts::{Contexts, ID},
    },
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{ParticipantContextId, fabric::Page};
use serde_json::{Value, json};
use std::sync::Arc;

/// Rows of participant contexts of the Management API.
pub(super) const ROWS: Contexts = Contexts { kind: Kind::ManagedParticipant, agent: "control-plane" };

/// What the directory says of a participant context.
pub(crate) fn body(participant: &ParticipantContextId) -> Value {
    json!({ID: participant})
}

/// One page of the participant contexts, oldest first, and how many there are; one that is on its way out, or cannot be read now, is left out.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when the directory cannot be read.
pub async fn participants(services: &Services, page: Page) -> Result<(Vec<Arc<Participant>>, usize), DirectoryError> {
    let (ids, total) = ROWS.ids(services, page).await?;
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        match services.cluster.query::<ControlPlane, _>(&Address::of::<ControlPlane>(&id), &ParticipantOf).await {
            Ok(participant) => all.extend(participant),
            Err(AskError::NotRegistered) => {}
            // The others are shown all the same: an operator who looks for what is wrong needs the list.
            Err(error) => {
                tracing::warn!(category = "app", action = "participant.unreadable", participant = %id, %error, "left out of a list")
            }
        }
    }
    Ok((all, total))
}
