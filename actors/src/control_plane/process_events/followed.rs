//! What somebody is told who follows a participant.

use super::{
    super::{ControlPlaneState, archive},
    Process,
    envelope::{envelope, of_gone, of_negotiation, of_transfer},
};
use crate::Services;
use cellspace_cluster::{Address, Happened};
use cellspace_schemas::management::ProcessEvent;
use cellspace_storage::StoreError;
use serde_json::Value;
use std::sync::Arc;

/// The name and the envelope of what happened to a process of the participant; its id is the position. `None` when it is nothing that is told.
///
/// # Errors
/// When the archive cannot be read.
pub async fn followed(
    services: &Services,
    address: &Address,
    state: Arc<ControlPlaneState>,
    happened: &Happened,
) -> Result<Option<(&'static str, Value)>, StoreError> {
    let Some(event) = ProcessEvent::named(&happened.happening.kind) else { return Ok(None) };
    let Some(process) = Process::of(event, &happened.happening.subject) else { return Ok(None) };
    let state = archive::with(&services.cluster, address, state, process.key()).await?;
    let Some(participant) = state.known() else { return Ok(None) };
    let payload = match &process {
        Process::Negotiation(id) => state.negotiations.get(id).map(|n| of_negotiation(event, n, &participant.id)),
        Process::Transfer(id) => state.transfers.get(id).map(|t| of_transfer(event, t, &participant.id)),
    };
    let payload = payload.unwrap_or_else(|| of_gone(&process, &participant.id));
    Ok(Some((event.name(), envelope(&happened.position.to_string(), happened.at, event, &payload))))
}
