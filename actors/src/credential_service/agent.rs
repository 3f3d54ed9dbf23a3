//! The agent: dispatch of commands, outcomes and effects to its machines, and nothing else.

use super::{Refusal, State, context, credential, holder_request, issuance, key, sts};
use crate::{Services, name, trust};
use cellspace_cluster::{Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Rejection, RowOf};
use cellspace_schemas::{
    Did, KeyAlias, Owner, ParticipantContextId, SecretText, Timestamp,
    dcp::CredentialMessage,
    identity::KeyPairId,
    issuer::{CredentialDefinitionId, CredentialId, HolderPid},
};
use cellspace_storage::{AgentKind, VaultPath};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// How long the making of a participant context waits for an earlier one of the same id to be gone.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(10);

/// What one of the machines decided.
pub type Decided = Result<Decision<CredentialService>, Rejection<Refusal>>;

/// The credential service of one participant context; the owner of its address is the participant context id.
pub struct CredentialService {
    services: Services,
}

impl CredentialService {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

/// A request to the credential service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// The participant context and its DID.
    Context(context::Command),
    /// Key pairs.
    Key(key::Command),
    /// Credentials.
    Credential(credential::Command),
    /// Asks an issuer for credentials.
    Request(holder_request::Request),
    /// An issuer delivers: its bearer token and message.
    Deliver(SecretText, Box<CredentialMessage>),
}

/// A request with what others said about it.
#[derive(Debug)]
pub enum Prepared {
    /// See [`Command::Context`].
    Context(context::Prepared),
    /// See [`Command::Key`].
    Key(key::Prepared),
    /// See [`Command::Credential`].
    Credential(credential::Prepared),
    /// See [`Command::Request`]; with the request's id.
    Request(holder_request::Request, HolderPid),
    /// See [`Command::Deliver`]; sender and credentials are verified.
    Deliver(holder_request::Delivered),
}

/// A change of state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The participant context and its DID.
    Context(context::ContextEvent),
    /// Key pairs.
    Key(key::KeyEvent),
    /// Credentials.
    Credential(credential::CredentialEvent),
    /// Requests for credentials.
    Request(holder_request::RequestEvent),
}

/// Something to do outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Effect {
    /// Keeps the reserved name of this DID.
    ConfirmName(Owner, Did),
    /// Gives the name back.
    ReleaseName(Owner),
    /// Removes a private key or secret.
    DeleteSecret(KeyAlias),
    /// Sends a `CredentialRequestMessage`.
    RequestCredentials {
        /// Our id of the request.
        holder_pid: HolderPid,
        /// Whom to ask.
        issuer: Did,
        /// What to ask for.
        credentials: Vec<CredentialDefinitionId>,
    },
}

/// What a delivery brought back.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Done; nothing to say.
    Done,
    /// The issuer took the request.
    Acknowledged(holder_request::Acknowledged),
}

/// Answer to a command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Reply {
    /// Done; nothing to say.
    #[default]
    Done,
    /// The request has this id.
    Requested(HolderPid),
}

impl Agent for CredentialService {
    const KIND: AgentKind = AgentKind("credential-service");
    type State = State;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = Outcome;
    type Reply = Reply;
    type Refusal = Refusal;

    fn creates(command: &Command) -> bool {
        matches!(command, Command::Context(context::Command::Create(_)))
    }

    fn prepare<'a>(
        &'a self,
        address: &'a Address,
        snapshot: Arc<State>,
        command: Command,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        Box::pin(async move {
            Ok(match command {
                Command::Context(context::Command::Create(create)) => {
                    Prepared::Context(self.prepare_create(address, &snapshot, create).await?)
                }
                Command::Context(other) => Prepared::Context(context::Prepared::Plain(other)),
                Command::Key(command) => {
                    let context = snapshot.context.as_ref().ok_or(Refusal::NoContext)?;
                    let new = match command.spec() {
                        Some(spec) => Some(self.make_key(address, &snapshot, &context.did, spec).await?),
                        None => None,
                    };
                    Prepared::Key(key::Prepared { command, new })
                }
                Command::Credential(credential::Command::Store { id, raw, replace }) => {
                    let context = snapshot.context.as_ref().ok_or(Refusal::NoContext)?;
                    let id = id.unwrap_or_else(|| CredentialId::from_uuid(Uuid::new_v4()));
                    let credential = issuance::verify_given(&self.services, &context.did, id, raw).await?;
                    Prepared::Credential(credential::Prepared::Store { credential: Arc::new(credential), replace })
                }
                Command::Credential(credential::Command::Delete(id)) => Prepared::Credential(credential::Prepared::Delete(id)),
                Command::Request(request) => {
                    let holder_pid = request.holder_pid.clone().unwrap_or_else(|| HolderPid::from_uuid(Uuid::new_v4()));
                    Prepared::Request(request, holder_pid)
                }
                Command::Deliver(token, message) => {
                    Prepared::Deliver(issuance::verify_delivery(&self.services, &snapshot, token.expose(), call.id, *message).await?)
                }
            })
        })
    }

    fn decide(state: &State, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(Prepared::Context(prepared)) => context::decide(state, prepared, now),
            Input::Command(Prepared::Key(prepared)) => key::decide(state, prepared, now),
            Input::Command(Prepared::Credential(prepared)) => credential::decide(state, prepared),
            Input::Command(Prepared::Request(request, holder_pid)) => holder_request::request(state, request, holder_pid, now),
            Input::Command(Prepared::Deliver(delivered)) => holder_request::deliver(state, delivered, now),
            Input::Delivered(effect, outcome) => match (effect.as_ref(), outcome) {
                (Effect::RequestCredentials { holder_pid, .. }, Outcome::Acknowledged(answer)) => {
                    holder_request::acknowledged(state, holder_pid, answer, now)
                }
                (Effect::ReleaseName(_), _) => context::released(state),
                (Effect::RequestCredentials { .. }, Outcome::Done) | (Effect::ConfirmName(..) | Effect::DeleteSecret(_), _) => {
                    Ok(Decision::nothing())
                }
            },
            Input::Undeliverable(effect, reason) => match effect.as_ref() {
                Effect::RequestCredentials { holder_pid, .. } => holder_request::undeliverable(state, holder_pid, reason, now),
                Effect::ConfirmName(..) => context::name_lost(state, now),
                Effect::ReleaseName(_) => context::released(state),
                Effect::DeleteSecret(_) => Ok(Decision::nothing()),
            },
            // No entity has a deadline.
            Input::Due(_) => Ok(Decision::nothing()),
        }
    }

    fn apply(state: &mut State, event: &Event) {
        match event {
            Event::Context(e) => context::apply(state, e),
            Event::Key(e) => key::apply(state, e),
            Event::Credential(e) => credential::apply(state, e),
            Event::Request(e) => holder_request::apply(state, e),
        }
    }

    fn tenant(state: &State) -> Option<String> {
        state.context.as_ref()?.properties.get(crate::control_plane::participant::TENANT)?.as_str().map(str::to_owned)
    }

    fn row(event: &Event) -> RowOf {
        match event {
            Event::Context(e) => context::row(e),
            Event::Key(e) => key::row(e),
            Event::Credential(e) => credential::row(e),
            Event::Request(e) => holder_request::row(e),
        }
    }

    /// The host of the issuer's DID.
    fn destination(effect: &Effect, _state: &State) -> Option<String> {
        match effect {
            Effect::RequestCredentials { issuer, .. } => trust::did::authority(issuer),
            Effect::ConfirmName(..) | Effect::ReleaseName(_) | Effect::DeleteSecret(_) => None,
        }
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Outcome, DeliveryError>> {
        Box::pin(async move {
            let participant = participant(delivery.address);
            match delivery.effect.as_ref() {
                Effect::ConfirmName(path, did) => {
                    name::confirm(&self.services, path, &participant, did).await?;
                    Ok(Outcome::Done)
                }
                Effect::ReleaseName(path) => {
                    name::release(&self.services, path, &participant).await?;
                    Ok(Outcome::Done)
                }
                Effect::DeleteSecret(alias) => {
                    let path = VaultPath { owner: delivery.address.owner.clone(), alias: alias.clone() };
                    self.services.vault.delete(&path).await.map_err(|e| DeliveryError::Retry(e.to_string()))?;
                    Ok(Outcome::Done)
                }
                Effect::RequestCredentials { holder_pid, issuer, credentials } => {
                    let request = issuance::Outgoing { participant: &participant, holder_pid, issuer, credentials };
                    let answer = issuance::send(&self.services, &request, delivery.attempt, delivery.trace.clone()).await?;
                    Ok(Outcome::Acknowledged(answer))
                }
            }
        })
    }
}

/// The participant context that the agent at this address belongs to.
fn participant(address: &Address) -> ParticipantContextId {
    (&address.owner).into()
}

impl CredentialService {
    /// Reserves the name and makes the keys; the vault comes before the commit that names them.
    async fn prepare_create(
        &self,
        address: &Address,
        snapshot: &State,
        create: Box<context::Create>,
    ) -> Result<context::Prepared, PrepareError<Refusal>> {
        if snapshot.context.is_some() {
            return Err(Refusal::ContextExists.into());
        }
        if snapshot.leaving {
            // What the earlier one leaves behind must not be taken for what this one makes.
            let gone = |state: &State| (!state.leaving).then_some(());
            let waited = self.services.cluster.wait::<Self, _>(address, LEAVING_TIMEOUT, gone).await;
            waited.map_err(|e| PrepareError::Unavailable(e.to_string()))?.ok_or(Refusal::Leaving)?;
        }
        let id = participant(address);
        let path = context::reserve_name(&self.services, &id, &create.did).await?;
        let specs = if create.keys.is_empty() { vec![key::KeySpec::fresh()] } else { create.keys.clone() };
        let mut keys = Vec::with_capacity(specs.len());
        for spec in &specs {
            keys.push(self.make_key(address, snapshot, &create.did, spec).await?);
        }
        if create.sts_account {
            sts::make_secret(&self.services, &id).await.map_err(|e| PrepareError::Unavailable(e.to_string()))?;
        }
        Ok(context::Prepared::Create { id, path, create, keys })
    }

    async fn make_key(
        &self,
        address: &Address,
        snapshot: &State,
        did: &Did,
        spec: &key::KeySpec,
    ) -> Result<key::NewKey, PrepareError<Refusal>> {
        let fresh = Uuid::new_v4();
        let key_id = match spec.key_id.as_deref() {
            None => format!("{did}#{fresh}"),
            Some(url) if url.starts_with("did:") => url.to_owned(),
            Some(fragment) => format!("{did}#{}", fragment.trim_start_matches('#')),
        };
        let alias = spec.alias.clone().unwrap_or_else(|| KeyAlias::from_uuid(fresh));
        let id = spec.resource_id.clone().unwrap_or_else(|| KeyPairId::from_uuid(fresh));
        // Before anything is made: a key of another pair must not be taken for this one.
        key::check_new(snapshot, did, Some(&id), Some(&key_id), Some(&alias))?;
        let path = VaultPath { owner: address.owner.clone(), alias: alias.clone() };
        let unavailable = |e: cellspace_storage::VaultError| PrepareError::Unavailable(e.to_string());
        let public = match &spec.existing {
            None => self.services.vault.generate_key(&path, spec.algorithm()).await.map_err(unavailable)?,
            Some(jwk) => {
                let held = self.services.vault.public_key(&path).await;
                held.ok()
                    .filter(|held| same_key(&held.jwk, jwk))
                    .ok_or(Refusal::BadKey("the vault must hold the private key of publicKeyJwk"))?
            }
        };
        Ok(key::NewKey { id, key_id, alias, public, active: spec.active, usage: spec.usage.clone() })
    }
}

/// Whether two public JWKs are the same key, whatever else they say.
fn same_key(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    ["kty", "crv", "x", "y"].iter().all(|name| a.get(name) == b.get(name))
}
