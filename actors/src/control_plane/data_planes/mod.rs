//! Registered data planes: registration (data plane signaling, "Registration") and selection.

pub mod client;
mod plane;

pub use plane::{ClientCredentials, DataPlane, DataPlanes, Event, MAX_DATA_PLANES, row};

use super::{
    ControlPlane, ControlPlaneState,
    agent::{Decided, Refusal as AgentRefusal},
};
use crate::Services;
use cellspace_cluster::{Address, Call, Decision, Delivery, DeliveryError, PrepareError, RetryPolicy};
use cellspace_schemas::{
    DataPlaneId, KeyAlias, Timestamp,
    dps::{AuthorizationEntry, DataPlaneRegistrationMessage},
};
use cellspace_storage::{Secret, VaultPath};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// Table of its entities.
pub const TABLE: &str = "data-plane";

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Registers a data plane, or replaces its registration.
    Register(DataPlaneRegistrationMessage),
    /// Removes it.
    Unregister(DataPlaneId),
}

/// A request whose secret is in the vault.
#[derive(Debug)]
pub enum Prepared {
    /// Registers a data plane.
    Register {
        /// Its id.
        id: DataPlaneId,
        /// What it said.
        message: DataPlaneRegistrationMessage,
        /// Where its secret is.
        authorization: Option<ClientCredentials>,
    },
    /// Removes it.
    Unregister(DataPlaneId),
}

/// Something to do after the commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Effect {
    /// Removes a secret that nothing names any longer.
    ForgetSecret(KeyAlias),
}

/// It was done.
#[derive(Debug, Clone)]
pub struct Outcome;

/// Answer to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// It is registered under this id.
    Registered(DataPlaneId),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No authorization, and not ours.
    #[error("a data plane outside {0} needs an authorization entry")]
    NoAuthorization(String),
    /// No such data plane.
    #[error("data plane {0} does not exist")]
    NotFound(DataPlaneId),
    /// Too many.
    #[error("a participant has at most {MAX_DATA_PLANES} data planes")]
    TooMany,
}

/// Puts the secret of a registration into the vault: a secret first, then the commit that names it.
///
/// # Errors
/// [`Refusal`], or the vault is out of reach.
pub async fn prepare(
    services: &Services,
    address: &Address,
    snapshot: Arc<ControlPlaneState>,
    command: Command,
    _call: &Call,
) -> Result<Prepared, PrepareError<AgentRefusal>> {
    snapshot.participant.as_ref().ok_or(AgentRefusal::from(super::participant::Refusal::NotFound))?;
    let message = match command {
        Command::Unregister(id) => return Ok(Prepared::Unregister(id)),
        Command::Register(message) => message,
    };
    let id = message.dataplane_id.clone().unwrap_or_else(|| DataPlaneId::from_uuid(Uuid::now_v7()));
    let authorization = match &message.authorization {
        // Tokens of the platform go to the platform alone.
        None if !message.endpoint.is_within(&services.urls.admin) => {
            return Err(AgentRefusal::from(Refusal::NoAuthorization(services.urls.admin.to_string())).into());
        }
        None => None,
        Some(AuthorizationEntry::ClientCredentials { token_endpoint, client_id, client_secret }) => {
            let unavailable = |e: &dyn std::fmt::Display| PrepareError::Unavailable(format!("the secret cannot be stored: {e}"));
            let alias = KeyAlias::new(format!("data-plane-{}", Uuid::now_v7())).map_err(|e| unavailable(&e))?;
            let path = VaultPath { owner: address.owner.clone(), alias: alias.clone() };
            services.vault.put_secret(&path, Secret::from(client_secret.expose().to_owned())).await.map_err(|e| unavailable(&e))?;
            Some(ClientCredentials { token_endpoint: token_endpoint.clone(), client_id: client_id.clone(), secret: alias })
        }
    };
    Ok(Prepared::Register { id, message, authorization })
}

/// Decides on a request. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &ControlPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    let planes = &state.data_planes;
    let forget = |decision: Decision<ControlPlane>, id: &DataPlaneId| match planes.get(id).and_then(|old| old.authorization.as_ref()) {
        Some(old) => decision.effect(format!("{TABLE}/{id}"), Effect::ForgetSecret(old.secret.clone()).into()),
        None => decision,
    };
    match prepared {
        Prepared::Register { id, message, authorization } => {
            if planes.get(id).is_none() && planes.len() >= MAX_DATA_PLANES {
                return Err(AgentRefusal::from(Refusal::TooMany).into());
            }
            let plane = DataPlane::registered(id.clone(), message, authorization.clone(), now);
            let decision = Decision::action("data_plane.registered").event(Event::Set(Arc::new(plane)).into());
            Ok(forget(decision, id).replying(super::Reply::DataPlanes(Reply::Registered(id.clone()))))
        }
        Prepared::Unregister(id) => {
            planes.get(id).ok_or_else(|| AgentRefusal::from(Refusal::NotFound(id.clone())))?;
            Ok(forget(Decision::action("data_plane.unregistered").event(Event::Deleted(id.clone()).into()), id))
        }
    }
}

/// A secret was removed: nothing follows.
///
/// # Errors
/// None.
pub fn delivered(_state: &ControlPlaneState, _effect: &Effect, _outcome: &Outcome, _now: Timestamp) -> Decided {
    Ok(Decision::nothing())
}

/// A secret could not be removed: the runtime keeps that as a dead letter.
///
/// # Errors
/// None.
pub fn undeliverable(_state: &ControlPlaneState, _effect: &Effect, _reason: &str, _now: Timestamp) -> Decided {
    Ok(Decision::nothing())
}

/// Folds an event into the state.
pub fn apply(state: &mut ControlPlaneState, event: &Event) {
    state.data_planes.apply(event);
}

/// Carries out an outbox row; may be repeated.
///
/// # Errors
/// [`DeliveryError::Retry`] when the vault is out of reach.
pub async fn deliver(services: &Services, effect: &Effect, delivery: &Delivery<'_, ControlPlane>) -> Result<Outcome, DeliveryError> {
    let Effect::ForgetSecret(alias) = effect;
    let path = VaultPath { owner: delivery.address.owner.clone(), alias: alias.clone() };
    services.vault.delete(&path).await.map(|()| Outcome).map_err(|e| DeliveryError::Retry(e.to_string()))
}

/// How often and how long a delivery is tried.
#[must_use]
pub fn retry_policy(_effect: &Effect) -> RetryPolicy {
    RetryPolicy::default()
}
