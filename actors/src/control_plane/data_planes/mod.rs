//! Registered data planes: registration (data plane signaling, "Registration") and selection.

pub mod client;
mod plane;
#[cfg(test)]
mod tests;

pub use plane::{Authorization, CallbackKeys, DataPlane, DataPlanes, Event, MAX_DATA_PLANES, PlaneRef, row};

use super::{
    ControlPlane, ControlPlaneState,
    agent::{Decided, Refusal as AgentRefusal},
    transfer::Transfer,
};
use crate::{
    Services, credential_service,
    data_plane::{self, DataPlane as PlatformPlane},
    records,
};
use cellspace_cluster::{Address, AskError, Call, Decision, Delivery, DeliveryError, PrepareError, RetryPolicy};
use cellspace_schemas::{
    DataPlaneId, KeyAlias, Timestamp,
    dps::{AuthorizationEntry, DataPlaneRegistrationMessage},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// Table of its entities.
pub const TABLE: &str = "data-plane";
/// Where the secrets lie within the participant's part of the vault.
const PREFIX: &str = "data-plane-";

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
        /// The same of its authorization, with the secret in the vault.
        authorization: Option<Authorization>,
    },
    /// Removes it.
    Unregister(DataPlaneId),
}

impl Prepared {
    /// The record of the secret that was made for it.
    #[must_use]
    pub fn secret(&self) -> Option<&KeyAlias> {
        match self {
            Self::Register { authorization, .. } => authorization.as_ref().and_then(Authorization::secret),
            Self::Unregister(_) => None,
        }
    }
}

/// Something to do after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Removes a secret that nothing names any longer.
    ForgetSecret(KeyAlias),
    /// Ends what the platform's own data plane does for a participant that is gone.
    Dispose,
}

/// It was done.
#[derive(Debug, Clone)]
pub struct Outcome;

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It was refused, and the secret that came along is taken out of the vault again.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
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
    /// Transfers run on it.
    #[error("transfers that are not over run on data plane {0}")]
    InUse(DataPlaneId),
    /// It moved so often that too many of its places are still in use.
    #[error("transfers that are not over run on too many earlier endpoints of data planes")]
    TooManyInUse,
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
    call: &Call,
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
        Some(AuthorizationEntry::ClientCredentials { token_endpoint, client_id, client_secret, jwks, jwks_uri }) => {
            let secret = records::keep::<ControlPlane>(services, address, PREFIX, client_secret.expose(), call).await?;
            let keys = jwks.clone().map(CallbackKeys::Inline).or_else(|| jwks_uri.clone().map(CallbackKeys::At));
            let (token_endpoint, client_id) = (token_endpoint.clone(), client_id.clone());
            Some(Authorization::ClientCredentials { token_endpoint, client_id, secret, keys })
        }
        Some(AuthorizationEntry::TokenExchange { token_exchange_endpoint, issuer, jwks_uri }) => {
            let (endpoint, issuer, jwks_uri) = (token_exchange_endpoint.clone(), issuer.clone(), jwks_uri.clone());
            Some(Authorization::TokenExchange { endpoint, issuer, jwks_uri })
        }
    };
    Ok(Prepared::Register { id, message, authorization })
}

/// Decides on a request. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &ControlPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    match prepared {
        Prepared::Register { id, message, authorization } => match register(state, id, message, authorization.as_ref(), now) {
            Ok(decision) => Ok(decision),
            // The secret is in the vault already: taking it out again is a decision, too.
            Err(refusal) => match authorization.as_ref().and_then(Authorization::secret) {
                Some(secret) => {
                    let refused = Decision::action("data_plane.refused").replying(super::Reply::DataPlanes(Reply::Refused(refusal)));
                    Ok(forget(refused, id, secret))
                }
                None => Err(AgentRefusal::from(refusal).into()),
            },
        },
        Prepared::Unregister(id) => {
            let old = state.data_planes.get(id).ok_or_else(|| AgentRefusal::from(Refusal::NotFound(id.clone())))?;
            if running(state).any(|bound| bound.id == *id) {
                return Err(AgentRefusal::from(Refusal::InUse(id.clone())).into());
            }
            let decision = Decision::action("data_plane.unregistered").event(Event::Deleted(id.clone()).into());
            Ok(old.secret().into_iter().fold(decision, |decision, secret| forget(decision, id, secret)))
        }
    }
}

fn register(
    state: &ControlPlaneState,
    id: &DataPlaneId,
    message: &DataPlaneRegistrationMessage,
    authorization: Option<&Authorization>,
    now: Timestamp,
) -> Result<Decision<ControlPlane>, Refusal> {
    let planes = &state.data_planes;
    let old = planes.get(id);
    if old.is_none() && planes.len() >= MAX_DATA_PLANES {
        return Err(Refusal::TooMany);
    }
    let moved = old.filter(|old| old.endpoint != message.endpoint);
    let revision = old.map_or(0, |old| old.revision).saturating_add(u32::from(moved.is_some()));
    let reference = PlaneRef { id: id.clone(), revision };
    let plane = DataPlane::registered(reference, message, authorization.cloned(), now);
    let decision = Decision::action("data_plane.registered").event(Event::Set(Arc::new(plane)).into());
    // What runs at the earlier endpoint is ended there.
    let kept = moved.filter(|old| running(state).any(|bound| *bound == old.reference()));
    if kept.is_some() && planes.superseded_len() >= MAX_DATA_PLANES {
        return Err(Refusal::TooManyInUse);
    }
    Ok(match (old, kept) {
        (_, Some(kept)) => decision.event(Event::Superseded(kept.clone()).into()),
        (Some(old), None) => old.secret().into_iter().fold(decision, |decision, secret| forget(decision, id, secret)),
        (None, None) => decision,
    })
}

/// What transfers that are not over run on.
fn running(state: &ControlPlaneState) -> impl Iterator<Item = &PlaneRef> {
    state.transfers.iter().filter(|transfer| !transfer.state.is_final()).filter_map(|transfer| transfer.data_plane.as_ref())
}

fn forget(decision: Decision<ControlPlane>, id: &DataPlaneId, secret: &KeyAlias) -> Decision<ControlPlane> {
    decision.effect(format!("{TABLE}/{id}"), Effect::ForgetSecret(secret.clone()).into())
}

/// A transfer is over: the earlier registration that it was the last to run on is forgotten.
#[must_use]
pub fn released(state: &ControlPlaneState, transfer: &Transfer, decision: Decision<ControlPlane>) -> Decision<ControlPlane> {
    let earlier = transfer.data_plane.as_ref().and_then(|bound| state.data_planes.superseded(bound));
    let Some(plane) = earlier else { return decision };
    let bound = plane.reference();
    let others = state.transfers.iter().filter(|other| other.id != transfer.id && !other.state.is_final());
    if others.filter_map(|other| other.data_plane.as_ref()).any(|other| *other == bound) {
        return decision;
    }
    let id = bound.id.clone();
    let decision = decision.event(Event::Released(bound).into());
    plane.secret().into_iter().fold(decision, |decision, secret| forget(decision, &id, secret))
}

/// The participant is leaving: the platform's own data plane stops what it does for it.
#[must_use]
pub fn disposing(decision: Decision<ControlPlane>) -> Decision<ControlPlane> {
    decision.effect(TABLE, Effect::Dispose.into())
}

/// The participant is gone: so are its registrations, their secrets, and what the platform's own data plane does for it.
#[must_use]
pub fn disposed(state: &ControlPlaneState, decision: Decision<ControlPlane>) -> Decision<ControlPlane> {
    let mut decision = disposing(decision);
    for plane in state.data_planes.all() {
        let reference = plane.reference();
        let event = match state.data_planes.superseded(&reference) {
            Some(_) => Event::Released(reference),
            None => Event::Deleted(reference.id),
        };
        decision = decision.event(event.into());
        if let Some(secret) = plane.secret() {
            decision = forget(decision, &plane.id, secret);
        }
    }
    decision
}

/// It was done.
///
/// # Errors
/// None.
pub fn delivered(state: &ControlPlaneState, effect: &Effect, _outcome: &Outcome, _now: Timestamp) -> Decided {
    Ok(match effect {
        Effect::ForgetSecret(record) => records::gone(state, record),
        Effect::Dispose => Decision::nothing(),
    })
}

/// It could not be done: what is to leave the vault is tried again, of the rest the runtime keeps a dead letter.
///
/// # Errors
/// None.
pub fn undeliverable(_state: &ControlPlaneState, effect: &Effect, _reason: &str, _now: Timestamp) -> Decided {
    Ok(match effect {
        Effect::ForgetSecret(record) => records::again(record),
        Effect::Dispose => Decision::nothing(),
    })
}

/// Folds an event into the state.
pub fn apply(state: &mut ControlPlaneState, event: &Event) {
    state.data_planes.apply(event);
}

/// Carries out an outbox row; may be repeated.
///
/// # Errors
/// [`DeliveryError::Retry`] when the vault or the data plane is out of reach.
pub async fn deliver(services: &Services, effect: &Effect, delivery: &Delivery<'_, ControlPlane>) -> Result<Outcome, DeliveryError> {
    let owner = delivery.address.owner.clone();
    match effect {
        Effect::ForgetSecret(record) => records::forget(services.vault.as_ref(), &owner, record).await.map(|()| Outcome),
        Effect::Dispose => {
            let plane = Address::of::<PlatformPlane>(owner);
            loop {
                let call = Call { trace: delivery.trace.clone(), ..Call::by(delivery.address.to_string()) };
                match services.cluster.ask::<PlatformPlane>(&plane, data_plane::Command::Dispose, call).await {
                    Ok(data_plane::Reply::More) => {}
                    Ok(data_plane::Reply::Done | data_plane::Reply::Flow(_)) | Err(AskError::NotRegistered) => return Ok(Outcome),
                    Err(error) => return Err(DeliveryError::Retry(error.to_string())),
                }
            }
        }
    }
}

/// How often and how long a delivery is tried.
#[must_use]
pub const fn retry_policy(_effect: &Effect) -> RetryPolicy {
    credential_service::secrets::RETRY
}
