//! Whether a caller's participant context is there and switched on: read from its agents at every request, so that a token ends with its
//! participant and not only with itself.

use super::{Caller, Denial, Need, authorize};
use crate::http::{ApiError, Principal};
use cellspace_actors::{
    ControlPlane, CredentialService, control_plane::questions::ParticipantOf, credential_service::questions::ContextOf,
};
use cellspace_cluster::{Address, AskError, Cluster};
use cellspace_schemas::{ParticipantContextId, management::ParticipantContextState};

/// Knows participant contexts.
pub struct KnownParticipants {
    cluster: Cluster,
}

/// How a participant context stands in one of the two APIs that make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is not there, or was deleted.
    Absent,
    /// It is there.
    Present,
    /// It is there and switched off.
    Off,
}

impl KnownParticipants {
    /// Asks this cluster.
    #[must_use]
    pub const fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Decides as [`authorize`], and refuses the own tokens of participants that are not there, or are switched off in either API: admins and
    /// provisioners still reach those.
    ///
    /// # Errors
    /// 401 for a subject that is no participant context, 403 for everything that is denied; unavailable when an agent is.
    pub async fn authorize(&self, caller: &Caller, need: &Need<'_>) -> Result<Principal, ApiError> {
        let standing = match need.known_participant(caller) {
            Some(participant) => self.standing(participant?).await?,
            None => Standing::Present,
        };
        if standing == Standing::Absent {
            return Err(Denial::UnknownCaller.into());
        }
        let principal = authorize(caller, need)?;
        if standing == Standing::Off {
            return Err(Denial::Deactivated.into());
        }
        Ok(principal)
    }

    /// Whether the participant is there and switched on in both APIs, so that its own tokens are good.
    pub async fn is_on(&self, id: &ParticipantContextId) -> bool {
        matches!(self.standing(id).await, Ok(Standing::Present))
    }

    async fn standing(&self, id: &ParticipantContextId) -> Result<Standing, ApiError> {
        let (identity, management) = (Address::of::<CredentialService>(id), Address::of::<ControlPlane>(id));
        let identity = self.cluster.query::<CredentialService, _>(&identity, &ContextOf);
        let management = self.cluster.query::<ControlPlane, _>(&management, &ParticipantOf);
        let (identity, management) = tokio::join!(identity, management);
        let identity = found(identity)?.map_or(Standing::Absent, |context| Standing::of(context.active));
        let management = found(management)?
            .map_or(Standing::Absent, |participant| Standing::of(participant.state != ParticipantContextState::Deactivated));
        Ok(match (identity, management) {
            (Standing::Absent, other) | (other, Standing::Absent) => other,
            (Standing::Off, _) | (_, Standing::Off) => Standing::Off,
            (Standing::Present, Standing::Present) => Standing::Present,
        })
    }
}

impl Standing {
    const fn of(active: bool) -> Self {
        if active { Self::Present } else { Self::Off }
    }
}

fn found<T, R: std::error::Error>(found: Result<Option<T>, AskError<R>>) -> Result<Option<T>, ApiError> {
    match found {
        Err(AskError::NotRegistered) => Ok(None),
        other => other.map_err(|error| ApiError::from_ask(error, |refusal| ApiError::internal(refusal.to_string()))),
    }
}
