//! Asks the object behind a row for itself.

use super::row::{Holder, Kind};
use crate::{
    Services,
    control_plane::{self, ControlPlane, ControlPlaneState},
    credential_service::{self, CredentialService, listing},
    fabric::{OrchestrationAgent, TenantAgent, index},
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    ParticipantContextId,
    fabric::{OrchestrationId, ParticipantProfileId, TenantId},
};
use serde_json::Value;
use std::sync::Arc;

/// Version and form of the object, or `None` when there is none.
///
/// # Errors
/// The reason when the object cannot be asked now.
pub(super) async fn object(
    services: &Services,
    kind: Kind,
    id: &str,
    holder: Option<&Holder>,
) -> Result<Option<(i64, Arc<Value>)>, String> {
    let found = match kind {
        Kind::Tenant => match TenantId::new(id) {
            Ok(tenant) => read(services.cluster.read::<TenantAgent, _>(&Address::of::<TenantAgent>(&tenant), index::tenant).await)?,
            Err(_) => None,
        },
        Kind::ParticipantProfile | Kind::Identifier => {
            let profile = match kind {
                Kind::ParticipantProfile => ParticipantProfileId::new(id).ok(),
                Kind::Tenant | Kind::Identifier | Kind::Orchestration | Kind::ParticipantContext | Kind::ManagedParticipant => {
                    holder.and_then(|h| h.profile.clone())
                }
            };
            let (Some(holder), Some(profile)) = (holder, profile) else { return Ok(None) };
            let address = Address::of::<TenantAgent>(&holder.tenant);
            let view =
                |state: &_| if kind == Kind::Identifier { index::identifier(state, &profile) } else { index::profile(state, &profile) };
            read(services.cluster.read::<TenantAgent, _>(&address, view).await)?
        }
        Kind::Orchestration => match OrchestrationId::new(id) {
            Ok(id) => {
                let address = Address::of::<OrchestrationAgent>(&id);
                read(services.cluster.read::<OrchestrationAgent, _>(&address, index::orchestration).await)?
            }
            Err(_) => None,
        },
        Kind::ParticipantContext => match ParticipantContextId::new(id) {
            Ok(id) => {
                let view = |state: &credential_service::State| {
                    let context = state.context.as_ref()?;
                    Some(index::Entry { version: 1, body: Arc::new(listing::body(&context.id, &context.did)) })
                };
                read(services.cluster.read::<CredentialService, _>(&Address::of::<CredentialService>(&id), view).await)?
            }
            Err(_) => None,
        },
        Kind::ManagedParticipant => match ParticipantContextId::new(id) {
            Ok(id) => {
                let view = |state: &ControlPlaneState| {
                    let participant = state.participant.as_ref()?;
                    Some(index::Entry { version: 1, body: Arc::new(control_plane::listing::body(&participant.id)) })
                };
                read(services.cluster.read::<ControlPlane, _>(&Address::of::<ControlPlane>(&id), view).await)?
            }
            Err(_) => None,
        },
    };
    Ok(found.map(|entry| (entry.version, entry.body)))
}

fn read<R: std::error::Error>(answer: Result<Option<index::Entry>, AskError<R>>) -> Result<Option<index::Entry>, String> {
    match answer {
        Ok(found) => Ok(found),
        Err(AskError::NotRegistered) => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}
