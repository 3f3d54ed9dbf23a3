//! Asks the object behind a row for itself.

use super::row::{Holder, Kind};
use crate::{
    Services,
    control_plane::{self, ControlPlane, questions::ParticipantOf},
    credential_service::{CredentialService, listing, questions::ContextOf},
    fabric::{
        OrchestrationAgent, TenantAgent,
        index::{Entry, OrchestrationEntry, TenantEntry},
    },
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    ParticipantContextId,
    fabric::{OrchestrationId, ParticipantProfileId, TenantId},
};
use serde_json::Value;
use std::sync::Arc;

/// Why an object cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// Nobody can, until an operator has looked at it.
    Parked(String),
    /// Not now.
    NotNow(String),
}

/// Version and form of the object, or `None` when there is none.
///
/// # Errors
/// [`Unread`]
pub(super) async fn object(
    services: &Services,
    kind: Kind,
    id: &str,
    holder: Option<&Holder>,
) -> Result<Option<(i64, Arc<Value>)>, Unread> {
    let cluster = &services.cluster;
    let found = match kind {
        Kind::Tenant => match TenantId::new(id) {
            Ok(tenant) => {
                read(cluster.query_patiently::<TenantAgent, _>(&Address::of::<TenantAgent>(&tenant), &TenantEntry::Tenant).await)?
            }
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
            let entry = if kind == Kind::Identifier { TenantEntry::Identifier(profile) } else { TenantEntry::Profile(profile) };
            read(cluster.query_patiently::<TenantAgent, _>(&address, &entry).await)?
        }
        Kind::Orchestration => match OrchestrationId::new(id) {
            Ok(id) => {
                let address = Address::of::<OrchestrationAgent>(&id);
                read(cluster.query_patiently::<OrchestrationAgent, _>(&address, &OrchestrationEntry).await)?
            }
            Err(_) => None,
        },
        Kind::ParticipantContext => match ParticipantContextId::new(id) {
            Ok(id) => {
                let address = Address::of::<CredentialService>(&id);
                let context = read(cluster.query_patiently::<CredentialService, _>(&address, &ContextOf).await)?;
                context.map(|context| Entry { version: 1, body: Arc::new(listing::body(&context.id, &context.did)) })
            }
            Err(_) => None,
        },
        Kind::ManagedParticipant => match ParticipantContextId::new(id) {
            Ok(id) => {
                let address = Address::of::<ControlPlane>(&id);
                let participant = read(cluster.query_patiently::<ControlPlane, _>(&address, &ParticipantOf).await)?;
                participant.map(|participant| Entry { version: 1, body: Arc::new(control_plane::listing::body(&participant.id)) })
            }
            Err(_) => None,
        },
    };
    Ok(found.map(|entry| (entry.version, entry.body)))
}

fn read<T, R: std::error::Error>(answer: Result<Option<T>, AskError<R>>) -> Result<Option<T>, Unread> {
    match answer {
        Ok(found) => Ok(found),
        Err(AskError::NotRegistered) => Ok(None),
        Err(AskError::Parked { reason }) => Err(Unread::Parked(reason)),
        Err(e) => Err(Unread::NotNow(e.to_string())),
    }
}
