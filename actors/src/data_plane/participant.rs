//! What a data plane asks about its participant: whether it is there, active, under which DID, and whose tenant's it is.

use super::command::Refusal;
use crate::{Services, control_plane::ControlPlane};
use cellspace_cluster::{Address, AskError, PrepareError};
use cellspace_schemas::{Did, ParticipantContextId};
use std::sync::Arc;

/// A participant context that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its DID.
    pub identity: Did,
    /// Whether it may act and be addressed.
    pub active: bool,
    /// Its tenant, when its context names one.
    pub tenant: Option<Arc<str>>,
}

/// Finds the participant in its control plane.
///
/// # Errors
/// [`Refusal::UnknownParticipant`], or its control plane is out of reach.
pub async fn find(services: &Services, participant: &ParticipantContextId) -> Result<Known, PrepareError<Refusal>> {
    let address = Address::of::<ControlPlane>(participant);
    let known = services.cluster.read::<ControlPlane, _>(&address, |state| {
        state.participant.as_ref().map(|p| Known { identity: p.identity.clone(), active: p.is_active(), tenant: p.tenant().map(Arc::from) })
    });
    match known.await {
        Ok(Some(known)) => Ok(known),
        Ok(None) | Err(AskError::NotRegistered) => Err(Refusal::UnknownParticipant.into()),
        Err(error) => Err(PrepareError::Unavailable(error.to_string())),
    }
}
