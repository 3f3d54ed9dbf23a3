//! The participant context: identity, state, properties, configuration and profile association.

use super::{
    ControlPlaneState,
    agent::{Created, Decided, Reply},
    data_planes,
};
use crate::settings::DEFAULT_PROFILE;
use cellspace_cluster::{Decision, RowOf};
use cellspace_schemas::{
    Did, ParticipantContextId, ProfileId, Timestamp,
    management::{
        ParticipantContextConfig, ParticipantContextState,
        participant_context::{MAX_CONFIG_ENTRIES, MAX_PROFILES},
    },
};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Table of the participant's only row.
pub const TABLE: &str = "participant";
/// Property of participant contexts that names their tenant.
pub const TENANT: &str = "tenant";
/// Configuration entry with the associated profiles, comma-separated (Management API `AssociateDataspaceProfile`).
pub const PROFILES_ENTRY: &str = "edc.dataspace.profiles";
/// A participant context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Its id.
    pub id: ParticipantContextId,
    /// Its DID: what counterparties know it by.
    pub identity: Did,
    /// Its state.
    pub state: ParticipantContextState,
    /// Free properties.
    pub properties: Map<String, Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its configuration.
    pub config: ParticipantContextConfig,
}

impl Participant {
    /// Whether it may act and be addressed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == ParticipantContextState::Activated
    }

    /// The profiles it is associated with, in the order of the association; without one, the default profile.
    #[must_use]
    pub fn profiles(&self) -> Vec<ProfileId> {
        let listed = self.config.entries.get(PROFILES_ENTRY).map_or(DEFAULT_PROFILE, String::as_str);
        listed.split(',').filter_map(|name| ProfileId::new(name.trim()).ok()).collect()
    }

    /// The profile of a request: the one asked for, when the participant is associated with it; without one, the only one it has.
    ///
    /// # Errors
    /// Tells the client what to do.
    pub fn profile_for(&self, asked: Option<&ProfileId>) -> Result<ProfileId, String> {
        match (asked, self.profiles().as_slice()) {
            (Some(asked), own) if own.contains(asked) => Ok(asked.clone()),
            (Some(asked), _) => Err(format!("the participant is not associated with the dataspace profile {asked}")),
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err("profile is required, since the participant is associated with more than one".to_owned()),
        }
    }

    /// Whether it may use the profile.
    #[must_use]
    pub fn has_profile(&self, profile: &ProfileId) -> bool {
        self.profiles().contains(profile)
    }
}

/// A new participant context.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewParticipant {
    /// Its id.
    pub id: ParticipantContextId,
    /// Its DID.
    pub identity: Did,
    /// Its state.
    pub state: ParticipantContextState,
    /// Free properties.
    pub properties: Map<String, Value>,
}

/// A request about the participant context.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Makes it.
    Create(NewParticipant),
    /// Replaces identity, state and properties.
    Update(NewParticipant),
    /// Removes it for good: its id is not used again, so that nobody inherits its agreements.
    Delete,
    /// Replaces the configuration.
    ReplaceConfig(ParticipantContextConfig),
    /// Adds to the configuration, the newer value wins.
    MergeConfig(ParticipantContextConfig),
    /// Replaces the profile association.
    AssociateProfiles(Vec<ProfileId>),
}

/// Nothing needs to be asked of others.
pub type Prepared = Command;

/// A change of the participant's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The participant as it now is.
    Set(Arc<Participant>),
    /// It is gone for good; the row stays as the reason why the id is not used again.
    Deleted,
}

/// Why a request about the participant context is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is there already.
    #[error("participant context {0} exists")]
    Exists(ParticipantContextId),
    /// It was there and was removed.
    #[error("participant context {0} was deleted, its id is not used again")]
    Deleted(ParticipantContextId),
    /// It is not there, or was removed.
    #[error("the participant context does not exist")]
    NotFound,
    /// It is not there or not `ACTIVATED`.
    #[error("the participant context is not active")]
    NotActive,
    /// Too many entries.
    #[error("a participant has at most {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
}

/// Nothing to ask.
#[must_use]
pub fn prepare(command: Command) -> Prepared {
    command
}

/// Decides about the participant context. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &ControlPlaneState, command: &Prepared, now: Timestamp) -> Decided {
    use super::agent::Refusal as R;
    let known = || state.participant.as_ref().map(|p| Participant::clone(p)).ok_or(R::from(Refusal::NotFound));
    let set =
        |action, participant: Participant| Decision::action(action).event(Event::Set(Arc::new(participant)).into()).replying(Reply::Done);
    match command {
        Command::Create(new) => match &state.participant {
            None if state.deleted => Err(R::from(Refusal::Deleted(new.id.clone())).into()),
            Some(there) => Err(R::from(Refusal::Exists(there.id.clone())).into()),
            None => {
                let reply = Reply::Created(Created { id: new.id.to_string(), created_at: now });
                Ok(set("participant.created", new.clone().made(now)).replying(reply))
            }
        },
        Command::Update(new) => {
            let there = known()?;
            let updated = Participant { created_at: there.created_at, config: there.config, ..new.clone().made(now) };
            Ok(set("participant.updated", updated))
        }
        Command::Delete => {
            known()?;
            Ok(data_planes::disposed(state, Decision::action("participant.deleted").event(Event::Deleted.into())))
        }
        Command::ReplaceConfig(config) => {
            bounded(config)?;
            Ok(set("participant.config.replaced", Participant { config: config.clone(), ..known()? }))
        }
        Command::MergeConfig(more) => {
            let mut participant = known()?;
            participant.config.entries.extend(more.entries.clone());
            participant.config.private_entries.extend(more.private_entries.clone());
            bounded(&participant.config)?;
            Ok(set("participant.config.merged", participant))
        }
        Command::AssociateProfiles(profiles) => {
            if profiles.len() > MAX_PROFILES {
                return Err(R::from(Refusal::Limit { what: "profiles", limit: MAX_PROFILES }).into());
            }
            let mut participant = known()?;
            let names = profiles.iter().map(ProfileId::as_str).collect::<Vec<_>>().join(",");
            participant.config.entries.insert(PROFILES_ENTRY.to_owned(), names);
            Ok(set("participant.profiles.associated", participant))
        }
    }
}

impl NewParticipant {
    fn made(self, now: Timestamp) -> Participant {
        let Self { id, identity, state, properties } = self;
        Participant { id, identity, state, properties, created_at: now, config: ParticipantContextConfig::default() }
    }
}

fn bounded(config: &ParticipantContextConfig) -> Result<(), super::agent::Refusal> {
    if config.entries.len().max(config.private_entries.len()) > MAX_CONFIG_ENTRIES {
        return Err(Refusal::Limit { what: "configuration entries", limit: MAX_CONFIG_ENTRIES }.into());
    }
    Ok(())
}

/// Folds an event into the state.
pub fn apply(state: &mut ControlPlaneState, event: &Event) {
    match event {
        Event::Set(participant) => state.participant = Some(participant.clone()),
        Event::Deleted => {
            state.participant = None;
            state.deleted = true;
        }
    }
}

/// The participant's only row.
#[must_use]
pub fn row(_event: &Event) -> RowOf {
    RowOf::Put(RowKey::new(TABLE, ""))
}
