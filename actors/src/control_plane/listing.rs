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
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::Arc;

/// Participant contexts asked at once.
const PARALLEL: usize = 16;
/// Rows of participant contexts of the Management API.
pub(super) const ROWS: Contexts = Contexts { kind: Kind::ManagedParticipant, agent: "control-plane" };

/// What the directory says of a participant context.
pub(crate) fn body(participant: &ParticipantContextId) -> Value {
    json!({ID: participant})
}

/// The ids of one page of the participant contexts, oldest first, and how many there are.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when the directory cannot be read now.
pub async fn ids(services: &Services, page: Page) -> Result<(Vec<ParticipantContextId>, usize), DirectoryError> {
    ROWS.ids(services, page).await
}

/// One page of the participant contexts, oldest first, and how many there are; one that is on its way out, or parked, is left out.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when the directory or a participant context cannot be read now: a list that lacks something says so.
pub async fn participants(services: &Services, page: Page) -> Result<(Vec<Arc<Participant>>, usize), DirectoryError> {
    let (ids, total) = ROWS.ids(services, page).await?;
    let mut all = Vec::with_capacity(ids.len());
    let asked = ids.into_iter().map(|id| async move {
        let found = services.cluster.query_patiently::<ControlPlane, _>(&Address::of::<ControlPlane>(&id), &ParticipantOf).await;
        (id, found)
    });
    let mut asked = stream::iter(asked).buffered(PARALLEL);
    while let Some((id, found)) = asked.next().await {
        match found {
            Ok(participant) => all.extend(participant),
            Err(AskError::NotRegistered) => {}
            // The others are shown all the same: an operator who looks for what is wrong needs the list.
            Err(AskError::Parked { reason }) => {
                tracing::warn!(category = "app", action = "participant.unreadable", participant = %id, reason, "left out of a list")
            }
            Err(error) => return Err(DirectoryError::Unavailable(error.to_string())),
        }
    }
    Ok((all, total))
}
