//! Credentials that the participant holds.

use super::{
    Event, Refusal, State,
    agent::Decided,
    watch::{HeldStatus, Watch},
};
use crate::trust::{credential::VerifiedCredential, replay::SKEW};
use cellspace_cluster::{Decision, RowOf};
use cellspace_schemas::{
    Did, ParticipantContextId, Timestamp,
    dcp::{CredentialFormat, CredentialScope},
    identity::{CredentialResource, credential::CredentialView},
    issuer::{CredentialId, HolderPid},
};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Table of its rows.
pub const TABLE: &str = "credential";
/// Most credentials of a participant.
pub const MAX_CREDENTIALS: usize = 10_000;

/// A credential with its signed form; its signature was verified before it was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredCredential {
    /// Id of the resource.
    pub id: CredentialId,
    /// Its own id.
    pub credential_id: Option<String>,
    /// Format.
    pub format: CredentialFormat,
    /// Types.
    pub types: Vec<String>,
    /// Contexts.
    pub contexts: Vec<String>,
    /// Who issued it.
    pub issuer: Did,
    /// Whom it speaks of.
    pub holder: Did,
    /// From when.
    pub valid_from: Option<Timestamp>,
    /// Until when.
    pub valid_until: Option<Timestamp>,
    /// The JWT.
    pub raw: String,
    /// What it says.
    pub json: Value,
    /// The request that brought it.
    pub request: Option<HolderPid>,
    /// Its status, as far as it is known.
    #[serde(default)]
    pub status: HeldStatus,
    /// What is done for it by time.
    #[serde(default)]
    pub watch: Watch,
}

impl StoredCredential {
    /// From a credential that is verified now.
    #[must_use]
    pub fn new(
        id: CredentialId,
        verified: &VerifiedCredential,
        holder: &Did,
        raw: String,
        request: Option<HolderPid>,
        now: Timestamp,
    ) -> Self {
        let credential = &verified.credential;
        Self {
            id,
            credential_id: credential.id.clone(),
            format: credential.format,
            types: credential.types.clone(),
            contexts: credential.contexts.clone(),
            issuer: credential.issuer.clone(),
            holder: holder.clone(),
            valid_from: credential.valid_from,
            valid_until: credential.valid_until,
            raw,
            json: verified.json(),
            request,
            status: HeldStatus::Active,
            watch: Watch::begin(!credential.status.is_empty(), now),
        }
    }

    /// Whether it may be presented now.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        let in_time = self.valid_from.is_none_or(|from| from <= now) && self.valid_until.is_none_or(|until| until > now);
        in_time && self.status == HeldStatus::Active
    }

    /// Whether it is none that counts now already, also by a clock that is a little ahead.
    #[must_use]
    pub fn is_to_come(&self, now: Timestamp) -> bool {
        self.valid_from.is_some_and(|from| from > now.plus(SKEW))
    }

    /// Whether the other is this credential again: what its issuer calls it decides, or that it is the same to the byte.
    #[must_use]
    pub fn is_also(&self, other: &Self) -> bool {
        let same_id = self.credential_id.is_some() && self.credential_id == other.credential_id;
        self.issuer == other.issuer && (same_id || self.raw == other.raw)
    }

    /// Whether a scope means it.
    #[must_use]
    pub fn is_meant_by(&self, scope: &CredentialScope) -> bool {
        scope.matches(self.credential_id.as_deref(), &self.types, &self.contexts)
    }

    /// As the Identity API shows it.
    #[must_use]
    pub fn resource(&self, participant: &ParticipantContextId, now: Timestamp) -> CredentialResource {
        let state = if self.status == HeldStatus::Revoked {
            600
        } else if self.status == HeldStatus::Suspended {
            700
        } else if self.valid_until.is_some_and(|until| until <= now) {
            800
        } else if self.valid_from.is_some_and(|from| from > now) {
            900
        } else {
            500
        };
        // That API's own view: one pair of date names and an issuer object for both data models.
        let mut credential = self.json.clone();
        if let Some(view) = credential.as_object_mut() {
            view.insert("issuer".to_owned(), json!({"id": self.issuer}));
            for (name, also, date) in [("issuanceDate", "validFrom", self.valid_from), ("expirationDate", "validUntil", self.valid_until)] {
                let value = view.remove(also).or_else(|| view.remove(name)).or_else(|| date.map(|d| Value::String(d.to_rfc3339())));
                view.insert(name.to_owned(), value.unwrap_or(Value::Null));
            }
            view.entry("credentialStatus").or_insert_with(|| json!([]));
        }
        CredentialResource {
            id: self.id.clone(),
            participant_context_id: participant.clone(),
            issuer_id: self.issuer.clone(),
            holder_id: self.holder.clone(),
            state,
            usage: "Holder",
            metadata: Map::new(),
            verifiable_credential: CredentialView { raw_vc: self.raw.clone(), format: self.format.name(), credential },
        }
    }
}

/// Requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Stores a credential given by the participant itself.
    Store {
        /// Id of the resource; fresh when absent.
        id: Option<CredentialId>,
        /// The JWT.
        raw: String,
        /// Whether a credential of this id is replaced, or must not be there.
        replace: bool,
    },
    /// Deletes a credential.
    Delete(CredentialId),
}

/// A request with its verified credential.
#[derive(Debug)]
pub enum Prepared {
    /// Verified.
    Store {
        /// The credential.
        credential: Arc<StoredCredential>,
        /// Whether it replaces, or must not be there.
        replace: bool,
    },
    /// Needs nothing.
    Delete(CredentialId),
}

/// Changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum CredentialEvent {
    /// The credential is now this.
    Stored(Arc<StoredCredential>),
    /// It is gone.
    Removed(CredentialId),
}

/// Decides.
///
/// # Errors
/// [`Refusal`]; nothing was changed.
pub fn decide(state: &State, prepared: &Prepared) -> Decided {
    if state.context.is_none() {
        return Err(Refusal::NoContext.into());
    }
    match prepared {
        Prepared::Store { credential, replace } => {
            match (state.credentials.contains_key(&credential.id), replace) {
                (true, false) => return Err(Refusal::CredentialExists.into()),
                (false, true) => return Err(Refusal::NoCredential.into()),
                (false, false) if state.credentials.size() >= MAX_CREDENTIALS => return Err(Refusal::Full("credentials").into()),
                (true, true) | (false, false) => {}
            }
            Ok(Decision::action("credential.stored").event(Event::Credential(CredentialEvent::Stored(credential.clone()))))
        }
        Prepared::Delete(id) if state.credentials.contains_key(id) => {
            Ok(Decision::action("credential.deleted").event(Event::Credential(CredentialEvent::Removed(id.clone()))))
        }
        Prepared::Delete(_) => Err(Refusal::NoCredential.into()),
    }
}

/// Folds.
pub fn apply(state: &mut State, event: &CredentialEvent) {
    match event {
        CredentialEvent::Stored(credential) => state.credentials.insert_mut(credential.id.clone(), credential.clone()),
        CredentialEvent::Removed(id) => {
            state.credentials.remove_mut(id);
        }
    }
}

/// Its row.
#[must_use]
pub fn row(event: &CredentialEvent) -> RowOf {
    match event {
        CredentialEvent::Stored(credential) => RowOf::Put(RowKey::new(TABLE, credential.id.as_str())),
        CredentialEvent::Removed(id) => RowOf::Delete(RowKey::new(TABLE, id.as_str())),
    }
}
