//! Secrets that a participant's client has given to keep, for the headers of its callbacks. A row says which there are and where each lies; what they are
//! is in the participant's part of the vault alone.
//!
//! A secret is replaced by the commit that names another record ([`records`]), wholly or not at all. Rows and values go with the participant.

#[cfg(test)]
mod tests;

use super::{
    ControlPlane, ControlPlaneState,
    agent::{Created, Decided, Refusal as AgentRefusal, Reply as AgentReply},
    data_planes, participant,
};
use crate::{Services, records};
use cellspace_cluster::{Address, Call, Decision, Delivery, DeliveryError, PrepareError, RowOf};
use cellspace_schemas::{KeyAlias, SecretId, SecretText, Timestamp, management::SecretDraft};
use cellspace_storage::RowKey;
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// Table of its entities.
pub const TABLE: &str = "secret";
/// Secrets of one participant at most.
pub const MAX_SECRETS: usize = 1_000;
/// Where the records lie within the participant's part of the vault.
const PREFIX: &str = "secret/";

/// A secret, without what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// Its record in the vault.
    pub record: KeyAlias,
    /// When it was given first.
    pub created_at: Timestamp,
}

impl Secret {
    /// The form of the API, without `@context` and without the value.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json!({"@type": "Secret", "@id": self.id.as_str(), "createdAt": self.created_at.millis()})
    }
}

/// The secrets of a participant.
#[derive(Debug, Clone, Default)]
pub struct Secrets(RedBlackTreeMapSync<SecretId, Arc<Secret>>);

impl Secrets {
    /// The one with this id.
    #[must_use]
    pub fn get(&self, id: &SecretId) -> Option<&Arc<Secret>> {
        self.0.get(id)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Secret>> {
        self.0.values()
    }
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Keeps a new secret.
    Create(SecretDraft),
    /// Replaces one.
    Replace(SecretId, SecretText),
    /// Forgets one.
    Delete(SecretId),
}

/// A request whose secret is in the vault.
#[derive(Debug)]
pub enum Prepared {
    /// Names the record as the secret's value.
    Put {
        /// The secret.
        id: SecretId,
        /// Its record.
        record: KeyAlias,
        /// Whether it is a new one.
        new: bool,
    },
    /// Forgets it.
    Delete(SecretId),
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The secret as it now is.
    Set(Arc<Secret>),
    /// It is gone.
    Deleted(SecretId),
}

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It was refused, and what came along is taken out of the vault again.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The participant was deleted meanwhile.
    #[error("the participant context does not exist")]
    NoParticipant,
    /// There is one with this id.
    #[error("secret {0} exists")]
    Exists(SecretId),
    /// There is none.
    #[error("secret {0} does not exist")]
    NotFound(SecretId),
    /// Too many.
    #[error("a participant has at most {MAX_SECRETS} secrets")]
    TooMany,
}

/// Puts the value into the vault: a secret first, then the commit that names it.
///
/// # Errors
/// [`Refusal`], or the vault is out of reach.
pub async fn prepare(
    services: &Services,
    address: &Address,
    snapshot: &ControlPlaneState,
    command: Command,
    call: &Call,
) -> Result<Prepared, PrepareError<AgentRefusal>> {
    snapshot.participant.as_ref().ok_or(AgentRefusal::from(participant::Refusal::NotFound))?;
    let (id, value, new) = match command {
        Command::Create(draft) => (draft.id.unwrap_or_else(|| SecretId::from_uuid(Uuid::now_v7())), draft.value, true),
        Command::Replace(id, value) => (id, value, false),
        Command::Delete(id) => return Ok(Prepared::Delete(id)),
    };
    // Decided once more later; the value of what cannot be kept is not even stored.
    admitted(snapshot, &id, new).map_err(AgentRefusal::from)?;
    let record = records::keep::<ControlPlane>(services, address, PREFIX, value.expose(), call).await?;
    Ok(Prepared::Put { id, record, new })
}

/// The secret that is replaced, if one is.
fn admitted<'s>(state: &'s ControlPlaneState, id: &SecretId, new: bool) -> Result<Option<&'s Arc<Secret>>, Refusal> {
    if state.participant.is_none() {
        return Err(Refusal::NoParticipant);
    }
    match (state.secrets.get(id), new) {
        (Some(_), true) => Err(Refusal::Exists(id.clone())),
        (None, false) => Err(Refusal::NotFound(id.clone())),
        (None, true) if state.secrets.0.size() >= MAX_SECRETS => Err(Refusal::TooMany),
        (old, _) => Ok(old),
    }
}

/// Decides on a request. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &ControlPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    match prepared {
        Prepared::Put { id, record, new } => Ok(match admitted(state, id, *new) {
            // The value is in the vault already: taking it out again is a decision, too.
            Err(refusal) => {
                let refused = Decision::action("secret.refused").replying(AgentReply::Secrets(Reply::Refused(refusal)));
                forget(refused, id, record)
            }
            Ok(Some(old)) => {
                let secret = Secret { record: record.clone(), ..Secret::clone(old) };
                forget(Decision::action("secret.updated").event(Event::Set(Arc::new(secret)).into()), id, &old.record)
            }
            Ok(None) => {
                let secret = Secret { id: id.clone(), record: record.clone(), created_at: now };
                let created = Created { id: id.to_string(), created_at: now };
                Decision::action("secret.created").event(Event::Set(Arc::new(secret)).into()).replying(AgentReply::Created(created))
            }
        }),
        Prepared::Delete(id) => {
            let secret = state.secrets.get(id).ok_or_else(|| AgentRefusal::from(Refusal::NotFound(id.clone())))?;
            Ok(forget(Decision::action("secret.deleted").event(Event::Deleted(id.clone()).into()), id, &secret.record))
        }
    }
}

fn forget(decision: Decision<ControlPlane>, id: &SecretId, record: &KeyAlias) -> Decision<ControlPlane> {
    decision.effect(format!("{TABLE}/{id}"), data_planes::Effect::ForgetSecret(record.clone()).into())
}

/// Takes all values of a participant that is gone out of the vault, once nothing is told in its name any more. May be repeated.
///
/// # Errors
/// When it has to be tried again.
pub async fn dispose(services: &Services, delivery: &Delivery<'_, ControlPlane>) -> Result<(), DeliveryError> {
    at_rest(&delivery.snapshot, delivery.aside).map_err(|what| DeliveryError::Retry(what.to_owned()))?;
    services.vault.delete_folder(&delivery.address.owner, PREFIX).await.map_err(|e| DeliveryError::Retry(e.to_string()))
}

/// Whether nobody needs the secrets of a participant that is gone: no open process, and no word of one that is still under way to who asked for it.
fn at_rest(state: &ControlPlaneState, aside: usize) -> Result<(), &'static str> {
    match (state.is_at_rest(), aside) {
        (false, _) => Err("the participant still ends what it has with others"),
        (true, 0) => Ok(()),
        (true, _) => Err("the participant's callbacks are still told how its processes ended"),
    }
}

/// The values of a participant that is gone have left the vault: so do the rows.
#[must_use]
pub fn disposed(state: &ControlPlaneState) -> Decision<ControlPlane> {
    let ids = state.secrets.iter().map(|secret| secret.id.clone());
    ids.fold(Decision::action("secrets.deleted"), |decision, id| decision.event(Event::Deleted(id).into()))
}

/// Folds an event into the state.
pub fn apply(state: &mut ControlPlaneState, event: &Event) {
    match event {
        Event::Set(secret) => state.secrets.0.insert_mut(secret.id.clone(), secret.clone()),
        Event::Deleted(id) => {
            state.secrets.0.remove_mut(id);
        }
    }
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    match event {
        Event::Set(secret) => RowOf::Put(RowKey::new(TABLE, secret.id.as_str())),
        Event::Deleted(id) => RowOf::Delete(RowKey::new(TABLE, id.as_str())),
    }
}
