//! The participant context and its DID: made, activated and deactivated, published and unpublished, deleted.

use super::{
    Effect, Event, Refusal, State,
    agent::{Decided, Reply},
    credential, holder_request, key, offer,
};
use crate::name;
use cellspace_cluster::{Decision, RowOf};
use cellspace_schemas::{
    Did, Owner, ParticipantContextId, Timestamp,
    dcp::Service,
    identity::{OfferRule, ParticipantResource, participant::MAX_ENTRIES},
};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Table of its only row.
pub const TABLE: &str = "context";
/// Lane of everything that concerns the vault, the name and the directory: one, so that what was made first is taken away last.
pub(super) const LANE: &str = "context";

/// Whether the DID document can be resolved (Identity API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DidState {
    /// Made, never published.
    Generated,
    /// Can be resolved.
    Published,
    /// Cannot be resolved any more.
    Unpublished,
}

impl DidState {
    /// The state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generated => "GENERATED",
            Self::Published => "PUBLISHED",
            Self::Unpublished => "UNPUBLISHED",
        }
    }
}

/// A participant context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParticipantContext {
    /// Its id.
    pub id: ParticipantContextId,
    /// Its DID.
    pub did: Did,
    /// Where the DID's document is served: owner of the name's agent.
    pub path: Owner,
    /// Whether it acts at all.
    pub active: bool,
    /// Whether it was active before.
    pub was_active: bool,
    /// State of its DID.
    pub did_state: DidState,
    /// Services of its DID document.
    pub services: Vec<Service>,
    /// Scopes as given.
    pub scopes: Vec<String>,
    /// Properties as given.
    pub properties: Map<String, Value>,
    /// Whether it is a client of the secure token service.
    pub sts_account: bool,
    /// What it asks for by itself when it is offered.
    #[serde(default)]
    pub offer_rules: Vec<OfferRule>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub last_modified: Timestamp,
}

impl ParticipantContext {
    /// Whether its DID can be resolved.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.did_state == DidState::Published
    }

    /// As the Identity API shows it.
    #[must_use]
    pub fn resource(&self) -> ParticipantResource {
        ParticipantResource {
            participant_context_id: self.id.clone(),
            did: self.did.clone(),
            state: match (self.active, self.was_active) {
                (true, _) => 1,
                (false, true) => 2,
                (false, false) => 0,
            },
            roles: Vec::new(),
            scopes: self.scopes.clone(),
            created_at: self.created_at,
            last_modified: self.last_modified,
            properties: self.properties.clone(),
        }
    }
}

/// What a participant context is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Create {
    /// Its DID.
    pub did: Did,
    /// Whether it is active at once.
    pub active: bool,
    /// Services of its DID document.
    pub services: Vec<Service>,
    /// Its keys; none makes one with default values.
    pub keys: Vec<key::KeySpec>,
    /// Scopes, kept and shown.
    pub scopes: Vec<String>,
    /// Properties, kept and shown.
    pub properties: Map<String, Value>,
    /// Whether it becomes a client of the secure token service.
    pub sts_account: bool,
}

/// Requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Makes the participant context.
    Create(Box<Create>),
    /// Activates (and publishes) or deactivates (and unpublishes) it.
    SetActive(bool),
    /// Publishes or unpublishes its DID.
    Publish(Did, bool),
    /// Replaces its scopes.
    SetScopes(Vec<String>),
    /// Replaces what it asks for by itself when it is offered.
    SetOfferRules(Vec<OfferRule>),
    /// Changes a service of the DID document.
    Service {
        /// Of which DID.
        did: Did,
        /// What is changed.
        change: ServiceChange,
        /// Whether the document is published with it, if it is not.
        publish: bool,
    },
    /// Deletes it with everything it has.
    Delete,
}

/// A change of the services of a DID document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ServiceChange {
    /// One more.
    Add(Service),
    /// Another one in the place of that with its id.
    Replace(Service),
    /// The one with this id goes.
    Remove(String),
}

/// A request with what it needs.
#[derive(Debug)]
pub enum Prepared {
    /// Keys are in the vault, the name is reserved.
    Create {
        /// Whose.
        id: ParticipantContextId,
        /// The name's owner.
        path: Owner,
        /// As asked for.
        create: Box<Create>,
        /// Its keys.
        keys: Vec<key::NewKey>,
    },
    /// Needs nothing.
    Plain(Command),
}

/// Changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ContextEvent {
    /// The participant context is now this.
    Changed(Arc<ParticipantContext>),
    /// It was deleted; its keys and its name are on their way out.
    Leaving,
    /// Its keys and its name are gone. This row stays: the reason why its id is not used again.
    Gone,
}

/// Decides.
///
/// # Errors
/// [`Refusal`]; nothing was changed.
pub fn decide(state: &State, prepared: &Prepared, now: Timestamp) -> Decided {
    match (prepared, state.context.as_ref()) {
        (Prepared::Create { .. } | Prepared::Plain(Command::Create(_)), Some(_)) => Err(Refusal::ContextExists.into()),
        (Prepared::Create { .. }, None) if state.deleted => Err(Refusal::Deleted.into()),
        // Only `Prepared::Create` makes one: its keys and name are there.
        (Prepared::Plain(_), None) => Err(Refusal::NoContext.into()),
        (Prepared::Create { id, path, create, keys }, None) => create_context(state, id, path, create, keys, now),
        (Prepared::Plain(command), Some(context)) => change(state, context, command, now),
    }
}

fn create_context(
    state: &State,
    id: &ParticipantContextId,
    path: &Owner,
    create: &Create,
    keys: &[key::NewKey],
    now: Timestamp,
) -> Decided {
    let context = ParticipantContext {
        id: id.clone(),
        did: create.did.clone(),
        path: path.clone(),
        active: create.active,
        was_active: create.active,
        did_state: if create.active { DidState::Published } else { DidState::Generated },
        services: create.services.clone(),
        scopes: create.scopes.clone(),
        properties: create.properties.clone(),
        sts_account: create.sts_account,
        offer_rules: Vec::new(),
        created_at: now,
        last_modified: now,
    };
    let mut decision = Decision::action("participant.created").event(changed(context));
    let mut after = state.clone();
    for key in keys {
        let events = key::add(&after, key, false, now)?;
        for event in &events {
            key::apply(&mut after, event);
        }
        decision.events.extend(events.into_iter().map(Event::Key));
    }
    let (name, row) = (Effect::ConfirmName(path.clone(), create.did.clone()), Effect::Enlist(create.did.clone()));
    Ok(decision.effect(LANE, name).effect(LANE, row).replying(Reply::Done))
}

fn change(state: &State, context: &Arc<ParticipantContext>, command: &Command, now: Timestamp) -> Decided {
    let mut next = ParticipantContext { last_modified: now, ..(**context).clone() };
    let action = match command {
        Command::Create(_) => return Err(Refusal::ContextExists.into()),
        Command::SetActive(active) if *active == context.active => return Ok(Decision::nothing()),
        // GENERATED, UNPUBLISHED --activate--> PUBLISHED
        Command::SetActive(true) => {
            (next.active, next.was_active, next.did_state) = (true, true, DidState::Published);
            "participant.activated"
        }
        // PUBLISHED --deactivate--> UNPUBLISHED
        Command::SetActive(false) => {
            (next.active, next.did_state) = (false, DidState::Unpublished);
            "participant.deactivated"
        }
        Command::Publish(did, _) | Command::Service { did, .. } if *did != context.did => return Err(Refusal::OtherDid.into()),
        Command::Publish(_, true) | Command::Service { publish: true, .. } if !context.active => return Err(Refusal::Inactive.into()),
        Command::Publish(_, wanted) if *wanted == context.is_published() => return Ok(Decision::nothing()),
        // GENERATED, UNPUBLISHED --publish--> PUBLISHED
        Command::Publish(_, true) => {
            next.did_state = DidState::Published;
            "did.published"
        }
        // PUBLISHED --unpublish--> UNPUBLISHED
        Command::Publish(_, false) => {
            next.did_state = DidState::Unpublished;
            "did.unpublished"
        }
        Command::SetScopes(scopes) => {
            next.scopes.clone_from(scopes);
            "participant.scopes"
        }
        Command::SetOfferRules(rules) => {
            next.offer_rules.clone_from(rules);
            "participant.offer.rules"
        }
        Command::Service { change, publish, .. } => {
            if *publish {
                next.did_state = DidState::Published;
            }
            change_service(&mut next.services, change)?
        }
        Command::Delete => return Ok(delete(state, context)),
    };
    Ok(Decision::action(action).event(changed(next)))
}

/// Changes the services; the audit's word for it.
fn change_service(services: &mut Vec<Service>, change: &ServiceChange) -> Result<&'static str, Refusal> {
    Ok(match change {
        ServiceChange::Add(service) => {
            if services.iter().any(|s| s.id == service.id) {
                return Err(Refusal::ServiceExists);
            }
            if services.len() >= MAX_ENTRIES {
                return Err(Refusal::Full("services"));
            }
            services.push(service.clone());
            "did.service.added"
        }
        ServiceChange::Replace(service) => {
            *services.iter_mut().find(|s| s.id == service.id).ok_or(Refusal::NoService)? = service.clone();
            "did.service.replaced"
        }
        ServiceChange::Remove(id) => {
            let before = services.len();
            services.retain(|s| s.id != *id);
            if services.len() == before {
                return Err(Refusal::NoService);
            }
            "did.service.removed"
        }
    })
}

fn delete(state: &State, context: &ParticipantContext) -> Decision<super::CredentialService> {
    let mut decision = Decision::action("participant.deleted");
    decision.events.extend(state.keys.keys().map(|id| Event::Key(key::KeyEvent::Removed(id.clone()))));
    decision.events.extend(state.credentials.keys().map(|id| Event::Credential(credential::CredentialEvent::Removed(id.clone()))));
    decision.events.extend(state.requests.keys().map(|id| Event::Request(holder_request::RequestEvent::Removed(id.clone()))));
    decision.events.extend(state.offers.keys().map(|issuer| Event::Offer(offer::OfferEvent::Removed(issuer.clone()))));
    decision.events.push(Event::Context(ContextEvent::Leaving));
    for key in state.keys.values().filter(|key| key.state != key::KeyState::Revoked) {
        decision = decision.effect(LANE, Effect::DeleteKey(key.alias.clone()));
    }
    decision.effect(LANE, Effect::Delist).effect(LANE, Effect::ReleaseName(context.path.clone())).effect(LANE, Effect::DeleteSecrets)
}

/// The name is not confirmed yet: its agent could not be asked for long, which is no answer.
pub fn confirm_again(state: &State, path: &Owner, did: &Did) -> Decided {
    Ok(match &state.context {
        Some(context) if context.did == *did => {
            Decision::action("name.confirm.again").effect(LANE, Effect::ConfirmName(path.clone(), did.clone()))
        }
        Some(_) | None => Decision::nothing(),
    })
}

/// The name is not free yet: its agent could not be asked for long.
pub fn release_again(state: &State, path: &Owner) -> Decided {
    Ok(if state.leaving {
        Decision::action("name.release.again").effect(LANE, Effect::ReleaseName(path.clone()))
    } else {
        Decision::nothing()
    })
}

/// What the vault keeps of who is deleted is not gone yet, or what it ends with others takes long.
pub fn delete_secrets_again(state: &State) -> Decision<super::CredentialService> {
    if state.deleted { Decision::action("secrets.delete.again").effect(LANE, Effect::DeleteSecrets) } else { Decision::nothing() }
}

/// The name is free.
pub fn released(state: &State) -> Decided {
    if !state.leaving {
        return Ok(Decision::nothing());
    }
    Ok(Decision::action("participant.gone").event(Event::Context(ContextEvent::Gone)))
}

/// The name turned out to belong to another participant context: this one must not be resolved.
pub fn name_lost(state: &State, now: Timestamp) -> Decided {
    match &state.context {
        None => Ok(Decision::nothing()),
        Some(context) => change(state, context, &Command::SetActive(false), now),
    }
}

fn changed(context: ParticipantContext) -> Event {
    Event::Context(ContextEvent::Changed(Arc::new(context)))
}

/// Folds.
pub fn apply(state: &mut State, event: &ContextEvent) {
    (state.context, state.deleted, state.leaving) = match event {
        ContextEvent::Changed(context) => (Some(context.clone()), false, false),
        ContextEvent::Leaving => (None, true, true),
        ContextEvent::Gone => (None, true, false),
    };
}

/// Its row.
#[must_use]
pub fn row(_event: &ContextEvent) -> RowOf {
    RowOf::Put(RowKey::new(TABLE, ""))
}

/// Checks the DID and reserves its name; answers the name's owner.
///
/// # Errors
/// [`Refusal::DidNotServed`] or [`Refusal::DidInUse`]; unavailable when the name's agent cannot be asked.
pub async fn reserve_name(
    services: &crate::Services,
    id: &ParticipantContextId,
    did: &Did,
) -> Result<Owner, cellspace_cluster::PrepareError<Refusal>> {
    let not_served = || Refusal::DidNotServed { host: services.urls.did_host() };
    let path = services.urls.did_path(did).filter(name::is_servable).ok_or_else(not_served)?;
    match name::reserve(services, &path, id, did).await {
        Ok(()) => Ok(path),
        Err(name::ReserveError::Taken) => Err(Refusal::DidInUse.into()),
        Err(name::ReserveError::Unavailable(reason)) => Err(cellspace_cluster::PrepareError::Unavailable(reason)),
    }
}
