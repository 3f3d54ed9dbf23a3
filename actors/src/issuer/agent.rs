//! The agent: dispatch of commands and outcomes, and the I/O around them.

use super::{
    IssuerState, admin, admission,
    approval::{self, Answer},
    call_out::{self, CallOuts},
    delivery, hook, requests,
    state::{self, Event},
};
use crate::{
    Services,
    credential_service::CredentialService,
    trust::{self, PeerError, TokenError, claimed_sender},
};
use cellspace_cluster::{
    Address, Agent, AskError, Call, CallId, Decision, Delivery, DeliveryError, Input, PrepareError, Rejection, RetryPolicy, RowOf, Track,
};
use cellspace_schemas::{
    Did, Owner, ParticipantContextId, SecretText, Timestamp,
    issuer::{CredentialDefinitionId, CredentialId, IssuerPid},
};
use cellspace_storage::AgentKind;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use uuid::Uuid;

/// What a machine decided.
pub type Decided = Result<Decision<Issuer>, Rejection<Refusal>>;

/// The hosted issuer of one participant context; the owner of its address is the participant context id.
pub struct Issuer {
    services: Services,
    call_outs: CallOuts,
}

impl Issuer {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services, call_outs: CallOuts::default() }
    }
}

/// A request to the issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Of an operator.
    Admin(admin::Command),
    /// Of a holder.
    Request(requests::Request),
    /// Of whoever approves.
    Verdict(approval::Command),
}

/// A request with what others said about it.
#[derive(Debug)]
pub enum Prepared {
    /// Of an operator.
    Admin(admin::Command),
    /// Of a verified sender.
    Request(requests::Prepared),
    /// Of whoever approves.
    Verdict(approval::Prepared),
}

/// Something to send to a holder, or to whoever approves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Effect {
    /// The credentials of a process.
    Deliver {
        /// Which process.
        process: IssuerPid,
        /// Access token for the holder's credential service, passed on when the holder gave one.
        token: Option<SecretText>,
    },
    /// That a process ended without a credential, and why.
    Reject {
        /// Which process.
        process: IssuerPid,
        /// As with [`Self::Deliver`].
        token: Option<SecretText>,
    },
    /// To the hook of a definition: that a process waits.
    Ask(hook::Ask),
    /// An offer.
    Offer {
        /// To whom.
        holder: Did,
        /// Of what.
        credentials: Vec<CredentialDefinitionId>,
        /// Why, when that was said.
        #[serde(default)]
        reason: Option<String>,
    },
}

/// Answer to a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done; nothing to say.
    #[default]
    Done,
    /// The request has this process.
    Accepted(IssuerPid),
}

/// Why a command is refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The participant context is none, or is deactivated.
    #[error("the issuer does not exist")]
    NoIssuer,
    /// Something in it is not valid.
    #[error("{0}")]
    Invalid(String),
    /// What it names does not exist.
    #[error("{0} {1} does not exist")]
    NotFound(&'static str, String),
    /// What it would make exists.
    #[error("{0} {1} exists")]
    Exists(&'static str, String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// The sender's token breaks a rule.
    #[error("{0}")]
    Unauthorized(String),
    /// The sender cannot be verified now.
    #[error("{0}")]
    NotNow(String),
    /// The sender is not registered.
    #[error("the sender must be a registered holder")]
    UnknownHolder,
    /// A definition's attestations, rules or mappings are not fulfilled; says what is required.
    #[error("{0}")]
    NotEntitled(String),
    /// Too many holders have come that nobody registered.
    #[error("the issuer takes no more holders that are not registered")]
    NoRoom,
    /// The holder has too many requests under way.
    #[error("a holder has at most {} requests under way", admission::MAX_UNDER_WAY)]
    TooMany,
}

impl Refusal {
    pub(super) fn not_found(what: &'static str, id: &impl fmt::Display) -> Self {
        Self::NotFound(what, id.to_string())
    }

    pub(super) fn exists(what: &'static str, id: &impl fmt::Display) -> Self {
        Self::Exists(what, id.to_string())
    }
}

/// A token that cannot be made: either there is no such issuer, or it may be tried again.
fn no_token(error: TokenError) -> PrepareError<Refusal> {
    match error {
        TokenError::NoParticipant(_) => Refusal::NoIssuer.into(),
        TokenError::NoKey(..) | TokenError::Unavailable(_) => PrepareError::Unavailable(error.to_string()),
    }
}

/// Verifies the ID token of a holder.
///
/// # Errors
/// [`Refusal::Unauthorized`] with the rule that was broken; [`Refusal::NotNow`] when its DID document cannot be fetched.
pub async fn verify_holder(
    services: &Services,
    issuer: (&ParticipantContextId, &Did),
    token: &str,
    call: Option<CallId>,
) -> Result<trust::IdToken, PrepareError<Refusal>> {
    trust::verify_sender(services, issuer, token, call).await.map_err(|error| match error {
        PeerError::Refused(rule) => Refusal::Unauthorized(rule).into(),
        PeerError::TooEarly | PeerError::Unreachable(_) => Refusal::NotNow(error.to_string()).into(),
    })
}

async fn prepare_request(
    (services, call_outs): (&Services, &CallOuts),
    issuer: &ParticipantContextId,
    state: &IssuerState,
    request: requests::Request,
    call: CallId,
) -> Result<requests::Prepared, PrepareError<Refusal>> {
    // Before the token, which is used up by its verification.
    request.check()?;
    let issuer_did = trust::own_did(services, issuer).await.map_err(no_token)?;
    let id_token = verify_holder(services, (issuer, &issuer_did), request.bearer.expose(), Some(call)).await?;
    // Nobody is asked about a stranger.
    let now = services.cluster.now();
    let attested = match admission::holder_of(state, &id_token.issuer, &request.credentials, now) {
        Ok(holder) if admission::is_judged(state, &holder, &request.holder_pid, &request.credentials, now) => {
            call_outs.ask(services, issuer, state, &holder, &request.credentials).await?
        }
        Ok(_) | Err(_) => call_out::Attested::new(),
    };
    let list_bits = services.status_lists.bits();
    let fresh = request.credentials.iter().map(|_| requests::Fresh::new(CredentialId::from_uuid(Uuid::new_v4()), list_bits));
    Ok(requests::Prepared {
        holder: id_token.issuer,
        issuer: issuer_did,
        token: id_token.token.map(SecretText::new),
        holder_pid: request.holder_pid,
        process: IssuerPid::from_uuid(Uuid::now_v7()),
        fresh: fresh.collect(),
        credentials: request.credentials,
        attested,
    })
}

async fn prepare_verdict(
    (services, call_outs): (&Services, &CallOuts),
    issuer: &ParticipantContextId,
    state: &IssuerState,
    verdict: approval::Command,
) -> Result<approval::Prepared, PrepareError<Refusal>> {
    let process = match verdict {
        approval::Command::Approve(process) => process,
        approval::Command::Reject { process, reason } => return Ok(approval::Prepared::Reject { process, reason }),
    };
    let issuer_did = trust::own_did(services, issuer).await.map_err(no_token)?;
    // Nobody is asked when nothing is to be decided.
    let open = state.processes.get(&process).filter(|process| matches!(process.answer, Some(Answer::Open(_))));
    let list_bits = services.status_lists.bits();
    let (mut attested, mut fresh) = (call_out::Attested::new(), Vec::new());
    if let Some((open, holder)) = open.and_then(|process| Some((process, state.holders.get(&process.holder)?))) {
        attested = call_outs.ask(services, issuer, state, holder, &open.definitions()).await?;
        fresh.extend(open.requested.iter().map(|requested| requests::Fresh::new(requested.credential.clone(), list_bits)));
    }
    Ok(approval::Prepared::Approve(approval::Approved { process, issuer: issuer_did, fresh, attested }))
}

/// An issuer is there for as long as its participant context is, active or not.
///
/// # Errors
/// [`Refusal::NoIssuer`] without one; unavailable when it cannot be asked.
pub async fn require_context(services: &Services, owner: impl Into<Owner>) -> Result<(), PrepareError<Refusal>> {
    let context = Address::of::<CredentialService>(owner);
    match services.cluster.read::<CredentialService, _>(&context, |state| state.context.is_some()).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(AskError::NotRegistered) => Err(Refusal::NoIssuer.into()),
        Err(error) => Err(PrepareError::Unavailable(error.to_string())),
    }
}

/// The participant context that an issuer's address names.
pub(super) fn issuer_of(address: &Address) -> Result<ParticipantContextId, Refusal> {
    ParticipantContextId::new(address.owner.as_str()).map_err(|_| Refusal::NoIssuer)
}

impl Agent for Issuer {
    const KIND: AgentKind = AgentKind("issuer");
    type State = IssuerState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = ();
    type Reply = Reply;
    type Refusal = Refusal;

    fn creates(command: &Command) -> bool {
        match command {
            Command::Admin(command) => command.creates(),
            Command::Request(_) | Command::Verdict(_) => false,
        }
    }

    fn counterparty(command: &Command) -> Option<String> {
        match command {
            Command::Request(request) => claimed_sender(&request.bearer).map(String::from),
            Command::Admin(_) | Command::Verdict(_) => None,
        }
    }

    fn prepare<'a>(
        &'a self,
        address: &'a Address,
        snapshot: Arc<IssuerState>,
        command: Command,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        Box::pin(async move {
            match command {
                Command::Admin(command) => {
                    require_context(&self.services, address.owner.clone()).await?;
                    call_out::check_targets(&self.services, &command)?;
                    Ok(Prepared::Admin(command))
                }
                Command::Request(request) => {
                    prepare_request((&self.services, &self.call_outs), &issuer_of(address)?, &snapshot, request, call.id)
                        .await
                        .map(Prepared::Request)
                }
                Command::Verdict(verdict) => {
                    require_context(&self.services, address.owner.clone()).await?;
                    prepare_verdict((&self.services, &self.call_outs), &issuer_of(address)?, &snapshot, verdict)
                        .await
                        .map(Prepared::Verdict)
                }
            }
        })
    }

    fn decide(state: &IssuerState, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(Prepared::Admin(command)) => admin::decide(state, command, now),
            Input::Command(Prepared::Request(request)) => requests::decide(state, request, now),
            Input::Command(Prepared::Verdict(verdict)) => approval::decide(state, verdict, now),
            Input::Delivered(effect, ()) => match effect.as_ref() {
                Effect::Deliver { process, .. } => requests::delivered(state, process, now),
                Effect::Reject { .. } | Effect::Ask(_) | Effect::Offer { .. } => Ok(Decision::nothing()),
            },
            Input::Undeliverable(effect, reason) => match effect.as_ref() {
                Effect::Deliver { process, .. } => requests::undeliverable(state, process, reason, now),
                // The dead letter says why: what became of the process is decided, or is decided without the hook; an offer has no state of its own.
                Effect::Reject { .. } | Effect::Ask(_) | Effect::Offer { .. } => Ok(Decision::nothing()),
            },
            Input::Due(key) => approval::due(state, key, now),
        }
    }

    fn apply(state: &mut IssuerState, event: &Event) {
        state.apply(event);
    }

    fn row(event: &Event) -> RowOf {
        state::row(event)
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        match event {
            Event::Process(process) => approval::deadline(process),
            Event::Holder(_)
            | Event::HolderDeleted(_)
            | Event::Attestation(_)
            | Event::AttestationDeleted(_)
            | Event::Definition(_)
            | Event::DefinitionDeleted(_)
            | Event::Credential(_) => None,
        }
    }

    /// The host of the holder's DID. A hook's is one of this issuer alone: what one issuer names says nothing to others, nor to messages that go there.
    fn destination(effect: &Effect, state: &IssuerState) -> Option<String> {
        match effect {
            Effect::Deliver { process, .. } | Effect::Reject { process, .. } => {
                trust::did::authority(&state.processes.get(process)?.holder_did)
            }
            Effect::Ask(ask) => Some(format!("hook/{}/{}", ask.issuer, ask.target(state)?.authority())),
            Effect::Offer { holder, .. } => trust::did::authority(holder),
        }
    }

    fn track(effect: &Effect) -> Track {
        match effect {
            Effect::Deliver { .. } | Effect::Reject { .. } | Effect::Offer { .. } => Track::Main,
            Effect::Ask(_) => Track::Background,
        }
    }

    /// The holder's access token.
    fn redact(effect: &Effect) -> Option<Effect> {
        match effect {
            Effect::Deliver { process, token: Some(_) } => Some(Effect::Deliver { process: process.clone(), token: None }),
            Effect::Reject { process, token: Some(_) } => Some(Effect::Reject { process: process.clone(), token: None }),
            Effect::Deliver { token: None, .. } | Effect::Reject { token: None, .. } | Effect::Ask(_) | Effect::Offer { .. } => None,
        }
    }

    fn retry_policy(effect: &Effect) -> RetryPolicy {
        match effect {
            Effect::Deliver { .. } | Effect::Reject { .. } | Effect::Offer { .. } => RetryPolicy::default(),
            Effect::Ask(_) => hook::RETRY,
        }
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(delivery::deliver(&self.services, delivery))
    }
}
