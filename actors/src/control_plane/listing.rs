//! Lists over all participant contexts (Management API): the directory knows which there are, their control planes what they are.

use super::{ControlPlane, Participant};
use crate::{
    Services,
    directory::{self, DirectoryError, Kind, NewRow},
};
use cellspace_cluster::{Address, AskError, Call};
use cellspace_schemas::{
    ParticipantContextId,
    fabric::{Page, Predicate},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Member of a directory row with the participant context's id.
const ID: &str = "participantContextId";

fn row(participant: &ParticipantContextId) -> NewRow {
    NewRow { kind: Kind::ManagedParticipant, id: participant.as_str().into(), holder: None, references: Vec::new() }
}

/// What the directory says of a participant context.
pub(crate) fn body(participant: &ParticipantContextId) -> Value {
    json!({ID: participant})
}

fn call(participant: &ParticipantContextId) -> Call {
    Call::by(format!("control-plane/{participant}"))
}

/// Puts a participant context into the directory.
///
/// # Errors
/// [`DirectoryError`] when the shard cannot take it.
pub async fn enlist(services: &Services, participant: &ParticipantContextId) -> Result<(), DirectoryError> {
    directory::put(services, row(participant), 1, Arc::new(body(participant)), &call(participant)).await
}

/// Takes a participant context out of the directory.
///
/// # Errors
/// [`DirectoryError`] when the shard cannot take it.
pub async fn delist(services: &Services, participant: &ParticipantContextId) -> Result<(), DirectoryError> {
    directory::remove(services, row(participant), &call(participant)).await
}

/// One page of the participant contexts, oldest first, and how many there are; one that is on its way out, or cannot be read now, is left out.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when the directory cannot be read.
pub async fn participants(services: &Services, page: Page) -> Result<(Vec<Arc<Participant>>, usize), DirectoryError> {
    let found = directory::query(services, Kind::ManagedParticipant, &Predicate::All, page).await?;
    let ids = found.bodies.iter().filter_map(|body| ParticipantContextId::new(body.get(ID)?.as_str()?).ok());
    let mut all = Vec::with_capacity(found.bodies.len());
    for id in ids {
        match services.cluster.read::<ControlPlane, _>(&Address::of::<ControlPlane>(&id), |state| state.participant.clone()).await {
            Ok(participant) => all.extend(participant),
            Err(AskError::NotRegistered) => {}
            // The others are shown all the same: an operator who looks for what is wrong needs the list.
            Err(error) => {
                tracing::warn!(category = "app", action = "participant.unreadable", participant = %id, %error, "left out of a list")
            }
        }
    }
    Ok((all, found.total))
}
