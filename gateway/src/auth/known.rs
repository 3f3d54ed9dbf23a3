//! Which participant contexts exist: asked of the store, remembered when they do.

use super::Denial;
use crate::http::{Api, ApiError, ErrorKind};
use cellspace_actors::{ControlPlane, CredentialService};
use cellspace_cluster::{Address, Agent, AskError, Cluster};
use cellspace_schemas::{ParticipantContextId, management::ParticipantContextState};
use cellspace_storage::AgentKind;

/// Kinds of agents that make a participant context; either is enough.
const KINDS: [AgentKind; 2] = [ControlPlane::KIND, CredentialService::KIND];
/// Contexts remembered.
const MAX_KNOWN: usize = 65_536;

/// Knows participant contexts. One that exists is never forgotten by the store, so only the good answer is kept.
pub struct KnownParticipants {
    cluster: Cluster,
    known: quick_cache::sync::Cache<ParticipantContextId, ()>,
}

impl KnownParticipants {
    /// Asks this cluster.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, known: quick_cache::sync::Cache::new(MAX_KNOWN) }
    }

    /// Whether a participant context was ever created under this id.
    ///
    /// # Errors
    /// Unavailable when the store is.
    pub async fn exists(&self, id: &ParticipantContextId) -> Result<bool, ApiError> {
        if self.known.get(id).is_some() {
            return Ok(true);
        }
        for kind in KINDS {
            let address = Address { owner: id.into(), kind, name: String::new() };
            let exists = self.cluster.exists(&address).await;
            if exists.map_err(ApiError::later)? {
                self.known.insert(id.clone(), ());
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses the own tokens of a participant context that is switched off in the API asked: admins and provisioners still reach it.
    ///
    /// # Errors
    /// 403 when it is; unavailable when its agent is.
    pub async fn refuse_deactivated(&self, api: Api, id: &ParticipantContextId) -> Result<(), ApiError> {
        let active = match api {
            Api::Identity | Api::IssuerAdmin => {
                let address = Address::of::<CredentialService>(id);
                let active = |state: &<CredentialService as Agent>::State| state.context.as_ref().is_none_or(|context| context.active);
                answer(self.cluster.read::<CredentialService, _>(&address, active).await)?
            }
            _ => {
                let address = Address::of::<ControlPlane>(id);
                let active = |state: &<ControlPlane as Agent>::State| {
                    state.participant.as_ref().is_none_or(|participant| participant.state != ParticipantContextState::Deactivated)
                };
                answer(self.cluster.read::<ControlPlane, _>(&address, active).await)?
            }
        };
        if active { Ok(()) } else { Err(ApiError::new(ErrorKind::NotAuthorized, "the participant context is deactivated")) }
    }

    /// Refuses an id that no participant context has.
    ///
    /// # Errors
    /// 401 when there is none; unavailable when the store is.
    pub async fn require(&self, id: &ParticipantContextId) -> Result<(), ApiError> {
        if self.exists(id).await? { Ok(()) } else { Err(Denial::UnknownCaller.into()) }
    }
}

/// What does not exist is not switched off: its handler says that it is not there.
fn answer<R: std::error::Error>(active: Result<bool, AskError<R>>) -> Result<bool, ApiError> {
    match active {
        Err(AskError::NotRegistered) => Ok(true),
        other => other.map_err(|error| ApiError::from_ask(error, |refusal| ApiError::internal(refusal.to_string()))),
    }
}
