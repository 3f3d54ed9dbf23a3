//! The agent: dispatch of commands, outcomes and effects to its machines, and nothing else.

mod prepare;

use super::{
    Refusal, State, context, credential, holder_request, issuance, key, listing, offer,
    questions::{ContextOf, Listed, PublishedAt},
    secrets, watch,
};
use crate::{
    Services,
    control_plane::participant::TENANT,
    name,
    records::{self, Keeper, Notes},
    trust,
};
use cellspace_cluster::{
    Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Reach, Rejection, RetryPolicy, RowOf,
};
use cellspace_schemas::{
    Did, KeyAlias, Owner, ParticipantContextId, SecretText, Timestamp,
    dcp::CredentialMessage,
    fabric::TenantId,
    identity::KeyPairId,
    issuer::{CredentialDefinitionId, CredentialId, HolderPid, IssuerPid, metadata::RequestStatus},
};
use cellspace_storage::AgentKind;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

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
    /// A verified issuer offers.
    Offer(offer::Offer),
    /// A private key in the vault that no key pair names yet.
    Record(records::Command),
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
    /// See [`Command::Offer`].
    Offer(offer::Prepared),
    /// See [`Command::Record`].
    Record(records::Command),
}

impl Prepared {
    /// The records of the private keys that it brings: those that were made for it, or those that were there.
    fn records(&self, made: bool) -> Vec<KeyAlias> {
        let keys = match self {
            Self::Context(context::Prepared::Create { keys, .. }) => keys.as_slice(),
            Self::Key(prepared) => prepared.new.as_slice(),
            Self::Context(context::Prepared::Plain(_))
            | Self::Credential(_)
            | Self::Request(..)
            | Self::Deliver(_)
            | Self::Offer(_)
            | Self::Record(_) => &[],
        };
        keys.iter().filter(|key| key.made == made).filter_map(|key| key::vault_alias(&key.names.alias).ok()).collect()
    }
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
    /// Offers.
    Offer(offer::OfferEvent),
    /// Private keys in the vault that no key pair names.
    Record(records::Event),
}

/// Something to do outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Effect {
    /// Keeps the reserved name of this DID.
    ConfirmName(Owner, Did),
    /// Gives the name back.
    ReleaseName(Owner),
    /// Puts the participant context into the directory.
    Enlist(Did),
    /// Takes it out of the directory.
    Delist,
    /// Removes the private key of a key pair, named by its alias.
    DeleteKey(KeyAlias),
    /// Removes whatever else the vault keeps, when the Management API has no participant context of this id either.
    DeleteSecrets,
    /// Sends a `CredentialRequestMessage`.
    RequestCredentials {
        /// Our id of the request.
        holder_pid: HolderPid,
        /// Whom to ask.
        issuer: Did,
        /// What to ask for.
        credentials: Vec<CredentialDefinitionId>,
    },
    /// Asks what has become of a request that the issuer took.
    LookAtRequest {
        /// Our id of the request.
        holder_pid: HolderPid,
        /// Whom to ask.
        issuer: Did,
        /// Its id of the request.
        issuer_pid: IssuerPid,
    },
    /// Looks up the status of a credential of this signed form.
    LookAtStatus(CredentialId, Uuid),
}

/// What a delivery brought back.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Done; nothing to say.
    Done,
    /// The name belongs to another participant context.
    NameTaken,
    /// The issuer took the request.
    Acknowledged(holder_request::Acknowledged),
    /// What the issuer says of the request; `None` when it knows none.
    Request(Option<RequestStatus>),
    /// The status of a credential.
    Status(watch::HeldStatus),
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

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.query::<ContextOf>().query::<PublishedAt>().query::<Listed>()
    }

    /// Keys are noted before there is a participant context.
    fn creates(command: &Command) -> bool {
        matches!(command, Command::Context(context::Command::Create(_)) | Command::Record(records::Command::Begin(_)))
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
                    Prepared::Context(self.prepare_create(address, &snapshot, create, call).await?)
                }
                Command::Context(other) => Prepared::Context(context::Prepared::Plain(other)),
                Command::Key(command) => Prepared::Key(self.prepare_key(address, &snapshot, command, call).await?),
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
                Command::Offer(offer) => {
                    let objects =
                        if offer.may_be_followed(&snapshot) { issuance::offered(&self.services, &offer).await? } else { Vec::new() };
                    Prepared::Offer(offer::Prepared { offer, objects })
                }
                Command::Record(command) => Prepared::Record(command),
            })
        })
    }

    fn decide(state: &State, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(prepared) => {
                records::settled(state, prepared.records(true), prepared.records(false), decide(state, prepared, now))
            }
            Input::Delivered(effect, outcome) => match (effect.as_ref(), outcome) {
                (Effect::RequestCredentials { holder_pid, .. }, Outcome::Acknowledged(answer)) => {
                    holder_request::acknowledged(state, holder_pid, answer, now)
                }
                (Effect::ReleaseName(_), _) => context::released(state),
                (Effect::DeleteKey(alias), _) => {
                    Ok(key::vault_alias(alias).map_or_else(|_| Decision::nothing(), |r| records::gone(state, &r)))
                }
                (Effect::ConfirmName(..), Outcome::NameTaken) => context::name_lost(state, now),
                (Effect::LookAtStatus(id, form), Outcome::Status(status)) => watch::looked_at(state, id, *form, *status),
                (Effect::LookAtRequest { holder_pid, issuer_pid, .. }, Outcome::Request(status)) => {
                    holder_request::looked_at(state, holder_pid, issuer_pid, *status, now)
                }
                (Effect::RequestCredentials { .. }, Outcome::Done | Outcome::NameTaken | Outcome::Status(_) | Outcome::Request(_))
                | (Effect::ConfirmName(..), Outcome::Done | Outcome::Acknowledged(_) | Outcome::Status(_) | Outcome::Request(_))
                | (Effect::LookAtStatus(..), Outcome::Done | Outcome::NameTaken | Outcome::Acknowledged(_) | Outcome::Request(_))
                | (Effect::LookAtRequest { .. }, Outcome::Done | Outcome::NameTaken | Outcome::Acknowledged(_) | Outcome::Status(_))
                | (Effect::Enlist(_) | Effect::Delist | Effect::DeleteSecrets, _) => Ok(Decision::nothing()),
            },
            Input::Undeliverable(effect, reason) => match effect.as_ref() {
                Effect::RequestCredentials { holder_pid, .. } => holder_request::undeliverable(state, holder_pid, reason, now),
                // Out of attempts is no answer: only the name's agent says whose it is.
                Effect::ConfirmName(path, did) => context::confirm_again(state, path, did),
                Effect::ReleaseName(path) => context::release_again(state, path),
                // What is to leave the vault does.
                Effect::DeleteKey(alias) => {
                    Ok(key::vault_alias(alias).map_or_else(|_| Decision::nothing(), |record| records::again(&record)))
                }
                Effect::DeleteSecrets => Ok(context::delete_secrets_again(state)),
                // The dead letter says what is left; a status is looked up again, and what has become of a request is asked again.
                Effect::Enlist(_) | Effect::Delist | Effect::LookAtStatus(..) | Effect::LookAtRequest { .. } => Ok(Decision::nothing()),
            },
            Input::Due(key) => match key.split_once('/') {
                Some((holder_request::TABLE, id)) => {
                    HolderPid::new(id).map_or(Ok(Decision::nothing()), |id| holder_request::due(state, &id, now))
                }
                Some((credential::TABLE, id)) => CredentialId::new(id).map_or(Ok(Decision::nothing()), |id| watch::due(state, &id, now)),
                Some((key::TABLE, id)) => KeyPairId::new(id).map_or(Ok(Decision::nothing()), |id| key::due(state, &id, now)),
                Some((records::TABLE, record)) => Ok(records::due(state, record, now)),
                Some(_) | None => Ok(Decision::nothing()),
            },
        }
    }

    fn apply(state: &mut State, event: &Event) {
        match event {
            Event::Context(e) => context::apply(state, e),
            Event::Key(e) => key::apply(state, e),
            Event::Credential(e) => credential::apply(state, e),
            Event::Request(e) => holder_request::apply(state, e),
            Event::Offer(e) => offer::apply(state, e),
            Event::Record(e) => state.notes.apply(e),
        }
    }

    fn row(event: &Event) -> RowOf {
        match event {
            Event::Context(e) => context::row(e),
            Event::Key(e) => key::row(e),
            Event::Credential(e) => credential::row(e),
            Event::Request(e) => holder_request::row(e),
            Event::Offer(e) => offer::row(e),
            Event::Record(e) => records::row(e),
        }
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        match event {
            Event::Key(e) => Some(key::deadline(e)),
            Event::Request(e) => Some(holder_request::deadline(e)),
            Event::Credential(e) => Some(watch::deadline(e)),
            Event::Record(e) => Some(records::deadline(e)),
            Event::Context(_) | Event::Offer(_) => None,
        }
    }

    fn tenant(state: &State) -> Option<String> {
        let named = state.context.as_ref()?.properties.get(TENANT)?.as_str()?;
        TenantId::new(named).ok().map(String::from)
    }

    fn retry_policy(effect: &Effect) -> RetryPolicy {
        match effect {
            Effect::RequestCredentials { .. } | Effect::LookAtRequest { .. } | Effect::LookAtStatus(..) => RetryPolicy::default(),
            Effect::ConfirmName(..)
            | Effect::ReleaseName(_)
            | Effect::Enlist(_)
            | Effect::Delist
            | Effect::DeleteKey(_)
            | Effect::DeleteSecrets => secrets::RETRY,
        }
    }

    /// The host of the issuer's DID.
    fn destination(effect: &Effect, state: &State) -> Option<String> {
        match effect {
            Effect::RequestCredentials { issuer, .. } | Effect::LookAtRequest { issuer, .. } => trust::did::authority(issuer),
            Effect::LookAtStatus(id, _) => trust::did::authority(&state.credentials.get(id)?.issuer),
            Effect::ConfirmName(..)
            | Effect::ReleaseName(_)
            | Effect::Enlist(_)
            | Effect::Delist
            | Effect::DeleteKey(_)
            | Effect::DeleteSecrets => None,
        }
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Outcome, DeliveryError>> {
        Box::pin(async move {
            let participant = participant(delivery.address);
            match delivery.effect.as_ref() {
                Effect::ConfirmName(path, did) => {
                    let ours = name::confirm(&self.services, path, &participant, did).await?;
                    Ok(if ours { Outcome::Done } else { Outcome::NameTaken })
                }
                Effect::ReleaseName(path) => {
                    name::release(&self.services, path, &participant).await?;
                    Ok(Outcome::Done)
                }
                Effect::Enlist(did) => {
                    listing::ROWS.put(&self.services, &participant, listing::body(&participant, did)).await?;
                    Ok(Outcome::Done)
                }
                Effect::Delist => {
                    listing::ROWS.remove(&self.services, &participant).await?;
                    Ok(Outcome::Done)
                }
                Effect::DeleteSecrets => {
                    secrets::delete_unless_used(&self.services, &delivery.address.owner).await?;
                    Ok(Outcome::Done)
                }
                Effect::DeleteKey(alias) => {
                    // No key can be under an alias that is too long; one that a key pair names again is not what was meant.
                    if let Some(record) = key::vault_alias(alias).ok().filter(|record| !Self::names(&delivery.snapshot, record)) {
                        records::forget(self.services.vault.as_ref(), &delivery.address.owner, &record).await?;
                    }
                    Ok(Outcome::Done)
                }
                // Another one has taken its place meanwhile: that one is looked up by itself.
                Effect::LookAtStatus(id, form) => match delivery.snapshot.credentials.get(id).filter(|held| held.digest() == *form) {
                    Some(held) => {
                        let status = issuance::look_at_status(&self.services, held, delivery.attempt).await?;
                        Ok(status.map_or(Outcome::Done, Outcome::Status))
                    }
                    None => Ok(Outcome::Done),
                },
                Effect::LookAtRequest { issuer, issuer_pid, .. } => {
                    let trace = delivery.trace.clone();
                    let asked = issuance::request_status(&self.services, &participant, issuer, issuer_pid, trace).await;
                    issuance::believed(asked, delivery.attempt)
                }
                Effect::RequestCredentials { holder_pid, issuer, credentials } => {
                    let request = delivery.snapshot.requests.get(holder_pid);
                    let code = request.and_then(|request| request.pre_authorized_code.as_ref());
                    let request = issuance::Outgoing { participant: &participant, holder_pid, issuer, credentials, code };
                    let answer = issuance::send(&self.services, &request, delivery.attempt, delivery.trace.clone()).await?;
                    Ok(Outcome::Acknowledged(answer))
                }
            }
        })
    }
}

/// What the machine that the command is for decides.
fn decide(state: &State, prepared: &Prepared, now: Timestamp) -> Decided {
    match prepared {
        Prepared::Context(prepared) => context::decide(state, prepared, now),
        Prepared::Key(prepared) => key::decide(state, prepared, now),
        Prepared::Credential(prepared) => credential::decide(state, prepared),
        Prepared::Request(request, holder_pid) => holder_request::request(state, request, holder_pid, now),
        Prepared::Deliver(delivered) => holder_request::deliver(state, delivered, now),
        Prepared::Offer(prepared) => offer::decide(state, prepared, now),
        Prepared::Record(command) => records::decide(state, command, now),
    }
}

impl Keeper for CredentialService {
    fn notes(state: &State) -> &Notes {
        &state.notes
    }

    fn names(state: &State, record: &KeyAlias) -> bool {
        let live = state.keys.values().filter(|key| key.state != key::KeyState::Revoked);
        live.filter_map(|key| key::vault_alias(&key.alias).ok()).any(|named| named == *record)
    }

    fn taken(state: &State, record: &KeyAlias) -> Option<Refusal> {
        Self::names(state, record).then_some(Refusal::KeyExists)
    }

    fn asking(command: records::Command) -> Command {
        Command::Record(command)
    }

    fn noting(event: records::Event) -> Event {
        Event::Record(event)
    }

    fn forgetting(record: KeyAlias) -> Effect {
        Effect::DeleteKey(key::alias_of(record))
    }
}

/// The participant context that the agent at this address belongs to.
fn participant(address: &Address) -> ParticipantContextId {
    (&address.owner).into()
}
