//! Which participant context a DID of this installation belongs to.
//!
//! The owner of the agent's address is the path of the DID (see [`crate::PublicUrls::did_path`]). A name is reserved before the participant context is
//! made, confirmed by the context's outbox, and released with it or when its making failed. The participant context of a credential service and that of
//! a control plane share a name when they have the same id; it is free again when both are gone.

pub mod agent;
#[cfg(test)]
mod agent_tests;
pub mod reservation;

pub use agent::{Command, HolderOf, Name, Refusal};
pub use reservation::Reservation;

use crate::{
    Services,
    control_plane::{ControlPlane, questions::ParticipantOf},
    credential_service::{CredentialService, questions::ContextOf},
};
use cellspace_cluster::{Address, AskError, Call, DeliveryError};
use cellspace_schemas::{Did, Owner, ParticipantContextId};

/// Most path segments of a DID served here: each has a route of its own.
pub const MAX_SEGMENTS: usize = 4;

/// First path segments of the public listener that are the platform's own.
const RESERVED: [&str; 3] = ["api", "keys", "statuslist"];

/// Whether a document can be served under this path: not too deep, not below a path of the platform's own, and not where another DID's document
/// is found.
#[must_use]
pub fn is_servable(path: &Owner) -> bool {
    let segments: Vec<&str> = path.as_str().split('/').collect();
    let plain = |segment: &&str| !matches!(*segment, "" | "." | ".." | ".well-known" | "did.json") && !segment.contains('%');
    let reserved = segments.first().is_some_and(|first| RESERVED.contains(first));
    path.as_str() == ".well-known" || (segments.len() <= MAX_SEGMENTS && !reserved && segments.iter().all(plain))
}

/// Why a name cannot be reserved.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReserveError {
    /// It belongs to another participant context.
    #[error("the name is taken")]
    Taken,
    /// The name's agent cannot be asked now.
    #[error("{0}")]
    Unavailable(String),
}

/// Reserves a name for a participant context; repeating it is harmless.
///
/// # Errors
/// [`ReserveError`].
pub async fn reserve(services: &Services, path: &Owner, participant: &ParticipantContextId, did: &Did) -> Result<(), ReserveError> {
    let command = Command::Reserve { participant: participant.clone(), did: did.clone() };
    ask(services, path, participant, command).await.map_err(|error| match error {
        AskError::Refused(Refusal::Taken) => ReserveError::Taken,
        other => ReserveError::Unavailable(other.to_string()),
    })
}

/// Keeps a reserved name; whether it does not belong to another participant context by now.
///
/// # Errors
/// When it has to be tried again.
pub async fn confirm(services: &Services, path: &Owner, participant: &ParticipantContextId, did: &Did) -> Result<bool, DeliveryError> {
    match ask(services, path, participant, Command::Confirm { participant: participant.clone(), did: did.clone() }).await {
        Ok(()) => Ok(true),
        Err(AskError::Refused(Refusal::Taken)) => Ok(false),
        Err(other) => Err(DeliveryError::Retry(other.to_string())),
    }
}

/// Gives a name back that was reserved for a participant context that is not made after all; a confirmed one stays.
///
/// # Errors
/// When it has to be tried again.
pub async fn cancel(services: &Services, path: &Owner, participant: &ParticipantContextId) -> Result<(), DeliveryError> {
    settle(services, path, participant, Command::Cancel(participant.clone())).await
}

/// Gives a name back, unless the participant still has it in its credential service or its control plane. Whoever leaves last, after the commit that
/// made it leave, frees the name.
///
/// # Errors
/// When it has to be tried again.
pub async fn release(services: &Services, path: &Owner, participant: &ParticipantContextId) -> Result<(), DeliveryError> {
    if is_used(services, path, participant).await? {
        return Ok(());
    }
    settle(services, path, participant, Command::Release(participant.clone())).await
}

/// Whether the participant has the name, in its credential service or its control plane.
async fn is_used(services: &Services, path: &Owner, participant: &ParticipantContextId) -> Result<bool, DeliveryError> {
    let (credentials, control) = (Address::of::<CredentialService>(participant), Address::of::<ControlPlane>(participant));
    let context = found(services.cluster.query::<CredentialService, _>(&credentials, &ContextOf).await)?;
    if context.is_some_and(|context| context.path == *path) {
        return Ok(true);
    }
    let own = found(services.cluster.query::<ControlPlane, _>(&control, &ParticipantOf).await)?;
    Ok(own.is_some_and(|own| services.urls.did_path(&own.identity).as_ref() == Some(path)))
}

fn found<T, R: std::error::Error>(read: Result<Option<T>, AskError<R>>) -> Result<Option<T>, DeliveryError> {
    match read {
        Ok(found) => Ok(found),
        Err(AskError::NotRegistered) => Ok(None),
        Err(other) => Err(DeliveryError::Retry(other.to_string())),
    }
}

/// The participant context that the name belongs to.
///
/// # Errors
/// When the name's agent cannot be asked now.
pub async fn owner_of(services: &Services, path: &Owner) -> Result<Option<ParticipantContextId>, ReserveError> {
    match services.cluster.query::<Name, _>(&Address::of::<Name>(path.clone()), &HolderOf).await {
        Ok(participant) => Ok(participant),
        Err(AskError::NotRegistered) => Ok(None),
        Err(other) => Err(ReserveError::Unavailable(other.to_string())),
    }
}

async fn settle(services: &Services, path: &Owner, participant: &ParticipantContextId, command: Command) -> Result<(), DeliveryError> {
    match ask(services, path, participant, command).await {
        Ok(()) | Err(AskError::NotRegistered) => Ok(()),
        Err(other) => Err(DeliveryError::Retry(other.to_string())),
    }
}

async fn ask(services: &Services, path: &Owner, participant: &ParticipantContextId, command: Command) -> Result<(), AskError<Refusal>> {
    let call = Call::by(format!("credential-service/{participant}"));
    services.cluster.ask_anywhere::<Name>(&Address::of::<Name>(path.clone()), command, call).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_with_a_route_are_served() {
        let servable = |path: &str| is_servable(&Owner::new(path).unwrap());
        for good in [".well-known", "acme", "a/b/c/d", "issuer", "a/api"] {
            assert!(servable(good), "{good}");
        }
        for bad in ["api", "keys/a", "statuslist/a/b", "a/b/c/d/e", "a/.well-known", "a//b", "a/did.json", "a/..", "a%2Fb", ".well-known/a"]
        {
            assert!(!servable(bad), "{bad}");
        }
    }
}
