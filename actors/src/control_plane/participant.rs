//! The participant context: identity, state, properties, configuration and profile association.

use super::{
    ControlPlane, ControlPlaneState,
    agent::{Created, Decided, Reply},
    data_planes, ending, listing, negotiation, secrets, transfer,
};
use crate::{
    Services, credential_service, federated_catalog,
    name::{self, ReserveError},
    settings::{DEFAULT_PROFILE, Settings},
};
use cellspace_cluster::{Decision, Delivery, DeliveryError, PrepareError, Rejection, RowOf};
use cellspace_schemas::{
    Did, Owner, ParticipantContextId, ProfileId, Timestamp,
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
/// What counterparties are told of open processes when the participant is deleted.
const LEFT: &str = "the participant has left";
/// Lane of what becomes of its name.
const LANE: &str = "participant";
/// Lane of its row in the directory.
const LISTED: &str = "participant/listed";
/// Lane of what becomes of its secrets, which may take longer.
const SECRETS: &str = "participant/secrets";
/// Lane of what it was shown of others' catalogs.
const CATALOGS: &str = "participant/catalogs";

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
    /// The tenant it belongs to, when whoever made it said so.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.properties.get(TENANT).and_then(Value::as_str)
    }

    /// What remains of it after its deletion.
    fn departed(&self) -> Self {
        let mut properties = self.properties.clone();
        properties.retain(|name, _| name == TENANT);
        Self { state: ParticipantContextState::Deactivated, properties, config: ParticipantContextConfig::default(), ..self.clone() }
    }

    /// Whether it may act and be addressed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == ParticipantContextState::Activated
    }

    /// The profiles that it uses: those it is associated with, in the order of the association, without one the default profile; and all others, where
    /// every participant uses all.
    #[must_use]
    pub fn profiles(&self, settings: &Settings) -> Vec<ProfileId> {
        let mut own = self.associated();
        if settings.every_profile {
            own.extend(settings.profiles.keys().filter(|name| !self.has_profile(name)).cloned());
        }
        own
    }

    /// The profiles it is associated with.
    fn associated(&self) -> Vec<ProfileId> {
        self.listed_profiles().filter_map(|name| ProfileId::new(name).ok()).collect()
    }

    fn listed_profiles(&self) -> impl Iterator<Item = &str> {
        self.config.entries.get(PROFILES_ENTRY).map_or(DEFAULT_PROFILE, String::as_str).split(',').map(str::trim)
    }

    /// The profile of a request: the one asked for, when the participant uses it; without one, the only one it is associated with.
    ///
    /// # Errors
    /// Tells the client what to do.
    pub fn profile_for(&self, asked: Option<&ProfileId>, settings: &Settings) -> Result<ProfileId, String> {
        match (asked, self.associated().as_slice()) {
            (Some(asked), _) if self.uses(asked, settings) => Ok(asked.clone()),
            (Some(asked), _) => Err(format!("the participant is not associated with the dataspace profile {asked}")),
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err("profile is required, since the participant is associated with more than one".to_owned()),
        }
    }

    /// Whether it uses the profile.
    #[must_use]
    pub fn uses(&self, profile: &ProfileId, settings: &Settings) -> bool {
        self.has_profile(profile) || settings.every_profile && settings.profiles.contains_key(profile)
    }

    fn has_profile(&self, profile: &ProfileId) -> bool {
        self.listed_profiles().any(|name| name == profile.as_str())
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
    /// Replaces state and properties. The identity stays: agreements and credentials are bound to it.
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

/// A request; of a new participant, the name of its DID is reserved.
#[derive(Debug)]
pub struct Prepared {
    /// The request.
    pub command: Command,
    /// The name's owner, where the name is made or given back.
    pub name: Option<Owner>,
}

/// Something to do after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Keeps the reserved name.
    ConfirmName(Owner, Did),
    /// Gives the name back, unless the participant's credential service has it too.
    ReleaseName(Owner),
    /// Puts it into lists.
    Enlist,
    /// Takes it out of lists.
    Delist,
    /// Removes its secrets, unless the participant's credential service is still there, once its open processes have ended.
    DeleteSecrets,
    /// Removes its target nodes and what was seen of them.
    ForgetCatalogs,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The name belongs to another participant context.
    NameTaken,
}

/// A change of the participant's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The participant as it now is.
    Set(Arc<Participant>),
    /// It is gone for good; the row stays as the reason why the id is not used again.
    Deleted {
        /// What its open processes need to end.
        departed: Arc<Participant>,
        /// When the next of them are ended; `None` once all are.
        next: Option<Timestamp>,
    },
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
    /// The DID is not one of this installation.
    #[error("identity must be a did:web of this installation: did:web:{host}:<name>")]
    NotServed {
        /// Its host.
        host: String,
    },
    /// The DID belongs to another participant context.
    #[error("identity is in use by another participant context")]
    InUse,
    /// The DID was to be changed.
    #[error("identity cannot be changed")]
    OtherIdentity,
    /// Too many entries.
    #[error("a participant has at most {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
}

/// Sees to it that the DID of a new participant is served here and belongs to nobody else, as the credential service does.
///
/// # Errors
/// [`Refusal::NotServed`], [`Refusal::InUse`]; unavailable when the name's agent cannot be asked.
pub async fn prepare(
    services: &Services,
    snapshot: &ControlPlaneState,
    command: Command,
) -> Result<Prepared, PrepareError<super::agent::Refusal>> {
    let name = match &command {
        Command::Create(new) if snapshot.known().is_none() => Some(reserve(services, new).await?),
        // One that is there or was deleted is refused without its name.
        Command::Create(_) => None,
        // The name of what is deleted.
        Command::Delete => snapshot.participant.as_ref().and_then(|participant| services.urls.did_path(&participant.identity)),
        Command::Update(_) | Command::ReplaceConfig(_) | Command::MergeConfig(_) | Command::AssociateProfiles(_) => None,
    };
    Ok(Prepared { command, name })
}

async fn reserve(services: &Services, new: &NewParticipant) -> Result<Owner, PrepareError<super::agent::Refusal>> {
    let refused = |refusal: Refusal| super::agent::Refusal::from(refusal);
    let path = services.urls.did_path(&new.identity).filter(name::is_servable);
    let path = path.ok_or_else(|| refused(Refusal::NotServed { host: services.urls.did_host() }))?;
    match name::reserve(services, &path, &new.id, &new.identity).await {
        Ok(()) => Ok(path),
        Err(ReserveError::Taken) => Err(refused(Refusal::InUse).into()),
        Err(ReserveError::Unavailable(reason)) => Err(PrepareError::Unavailable(reason)),
    }
}

/// Decides about the participant context. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &ControlPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    use super::agent::Refusal as R;
    let known = || state.participant.as_ref().map(|p| Participant::clone(p)).ok_or(R::from(Refusal::NotFound));
    let set =
        |action, participant: Participant| Decision::action(action).event(Event::Set(Arc::new(participant)).into()).replying(Reply::Done);
    match &prepared.command {
        Command::Create(new) => match (&state.participant, &prepared.name) {
            (Some(there), _) => Err(R::from(Refusal::Exists(there.id.clone())).into()),
            (None, _) if state.deleted.is_some() => Err(R::from(Refusal::Deleted(new.id.clone())).into()),
            (None, Some(name)) => {
                let reply = Reply::Created(Created { id: new.id.to_string(), created_at: now });
                let confirm = Effect::ConfirmName(name.clone(), new.identity.clone());
                let made = set("participant.created", new.clone().made(now)).effect(LANE, confirm.into());
                Ok(made.effect(LISTED, Effect::Enlist.into()).replying(reply))
            }
            // It was there when the command was prepared.
            (None, None) => Err(Rejection::Stale),
        },
        Command::Update(new) => {
            let there = known()?;
            if new.identity != there.identity {
                return Err(R::from(Refusal::OtherIdentity).into());
            }
            let updated = Participant { created_at: there.created_at, config: there.config, ..new.clone().made(now) };
            Ok(set("participant.updated", updated))
        }
        Command::Delete => {
            let departed = Arc::new(known()?.departed());
            let mut left = state.clone();
            apply(&mut left, &Event::Deleted { departed: departed.clone(), next: None });
            let decision = ended(&left, departed, Decision::action("participant.deleted"), now)?;
            // The platform's own data plane stops at once; what is registered is needed until the last transfer has ended.
            let mut decision =
                if state.transfers.open().all() == 0 { data_planes::disposed(state, decision) } else { data_planes::disposing(decision) };
            if let Some(name) = &prepared.name {
                decision = decision.effect(LANE, Effect::ReleaseName(name.clone()).into());
            }
            let decision = decision.effect(LISTED, Effect::Delist.into()).effect(SECRETS, Effect::DeleteSecrets.into());
            Ok(decision.effect(CATALOGS, Effect::ForgetCatalogs.into()))
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

/// Adds the end of open processes to the decision, as many as one turn takes.
fn ended(state: &ControlPlaneState, departed: Arc<Participant>, decision: Decision<ControlPlane>, now: Timestamp) -> Decided {
    let negotiations = state.negotiations.iter().filter(|n| !matches!(n.state, negotiation::State::Terminating) && !n.state.is_final());
    let transfers = state.transfers.iter().filter(|t| !t.state.is_terminating() && !t.state.is_final());
    let ends = negotiations.map(|n| negotiation::end(state, &n.id, LEFT, now)).chain(transfers.map(|t| transfer::end(state, t, LEFT, now)));
    let (decision, next) = ending::ended(decision, ends, now)?;
    Ok(decision.event(Event::Deleted { departed, next }.into()))
}

/// Ends further open processes of a deleted participant. Pure.
///
/// # Errors
/// None in practice.
pub fn due(state: &ControlPlaneState, now: Timestamp) -> Decided {
    match &state.deleted {
        Some(departed) => ended(state, departed.clone(), Decision::action("participant.leaving"), now),
        None => Ok(Decision::nothing()),
    }
}

/// What follows from an outcome: a participant whose name belongs to another by now must not act. Pure.
///
/// # Errors
/// None.
pub fn delivered(state: &ControlPlaneState, effect: &Effect, outcome: Outcome) -> Decided {
    match (effect, outcome, &state.participant) {
        (Effect::ConfirmName(..), Outcome::NameTaken, Some(participant)) if participant.is_active() => {
            let stopped = Participant { state: ParticipantContextState::Deactivated, ..Participant::clone(participant) };
            Ok(Decision::action("participant.deactivated").event(Event::Set(Arc::new(stopped)).into()))
        }
        (Effect::DeleteSecrets, Outcome::Done, None) => Ok(secrets::disposed(state)),
        (
            Effect::ConfirmName(..)
            | Effect::ReleaseName(_)
            | Effect::Enlist
            | Effect::Delist
            | Effect::DeleteSecrets
            | Effect::ForgetCatalogs,
            Outcome::Done | Outcome::NameTaken,
            _,
        ) => Ok(Decision::nothing()),
    }
}

/// What follows when a name or a list could not be settled: its agent could not be asked for long, which is no answer, so that it is asked again. Pure.
///
/// # Errors
/// None.
pub fn undeliverable(state: &ControlPlaneState, effect: &Effect) -> Decided {
    Ok(match effect {
        Effect::ConfirmName(_, did) if state.participant.as_ref().is_some_and(|participant| participant.identity == *did) => {
            Decision::action("name.confirm.again").effect(LANE, effect.clone().into())
        }
        Effect::ReleaseName(_) if state.deleted.is_some() => Decision::action("name.release.again").effect(LANE, effect.clone().into()),
        Effect::Enlist if state.participant.is_some() => Decision::action("participant.list.again").effect(LISTED, effect.clone().into()),
        Effect::Delist if state.deleted.is_some() => Decision::action("participant.unlist.again").effect(LISTED, effect.clone().into()),
        Effect::ForgetCatalogs if state.deleted.is_some() => {
            Decision::action("catalogs.forget.again").effect(CATALOGS, effect.clone().into())
        }
        Effect::DeleteSecrets if state.deleted.is_some() => Decision::action("secrets.delete.again").effect(SECRETS, effect.clone().into()),
        Effect::ConfirmName(..)
        | Effect::ReleaseName(_)
        | Effect::Enlist
        | Effect::Delist
        | Effect::DeleteSecrets
        | Effect::ForgetCatalogs => Decision::nothing(),
    })
}

/// Settles the name and the list, removes secrets; may be repeated.
///
/// # Errors
/// [`DeliveryError`]
pub async fn deliver(services: &Services, effect: &Effect, delivery: &Delivery<'_, ControlPlane>) -> Result<Outcome, DeliveryError> {
    let gone = || DeliveryError::Refused("the participant is gone".to_owned());
    let participant = &delivery.snapshot.known().ok_or_else(gone)?.id;
    match effect {
        Effect::ConfirmName(path, did) if !name::confirm(services, path, participant, did).await? => return Ok(Outcome::NameTaken),
        Effect::ConfirmName(..) => {}
        Effect::ReleaseName(path) => name::release(services, path, participant).await?,
        Effect::Enlist => listing::ROWS.put(services, participant, listing::body(participant)).await?,
        Effect::Delist => listing::ROWS.remove(services, participant).await?,
        Effect::DeleteSecrets => {
            credential_service::secrets::delete_unless_used(services, &delivery.address.owner).await?;
            // Where the credential service stays, its keys do; what this participant's client has given to keep does not.
            secrets::dispose(services, delivery).await?;
        }
        Effect::ForgetCatalogs => federated_catalog::forget(services, participant).await?,
    }
    Ok(Outcome::Done)
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
    (state.participant, state.deleted) = match event {
        Event::Set(participant) => (Some(participant.clone()), None),
        Event::Deleted { departed, .. } => (None, Some(departed.clone())),
    };
}

/// The participant's only row.
#[must_use]
pub fn row(_event: &Event) -> RowOf {
    RowOf::Put(RowKey::new(TABLE, ""))
}

/// When further processes of a deleted participant are to be ended.
#[must_use]
pub const fn deadline(event: &Event) -> Option<Timestamp> {
    match event {
        Event::Set(_) => None,
        Event::Deleted { next, .. } => *next,
    }
}
