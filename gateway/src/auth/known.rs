//! Which participant contexts exist: asked of the store, remembered when they do.

use super::Denial;
use crate::http::ApiError;
use cellspace_cluster::{Address, Cluster};
use cellspace_schemas::ParticipantContextId;
use cellspace_storage::AgentKind;
use std::time::Duration;

/// Kinds of agents that make a participant context; either is enough.
const KINDS: [AgentKind; 2] = [AgentKind("control-plane"), AgentKind("credential-service")];
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
            if exists.map_err(|e| ApiError::unavailable(e.to_string(), Duration::from_secs(1)))? {
                self.known.insert(id.clone(), ());
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses an id that no participant context has.
    ///
    /// # Errors
    /// 401 when there is none; unavailable when the store is.
    pub async fn require(&self, id: &ParticipantContextId) -> Result<(), ApiError> {
        if self.exists(id).await? { Ok(()) } else { Err(Denial::UnknownCaller.into()) }
    }
}
