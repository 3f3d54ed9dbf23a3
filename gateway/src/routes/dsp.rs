//! What the routes of protocol messages share (DSP 2025-1, HTTPS bindings).
//!
//! What is not there, not here, or not for the sender is answered with bytes that follow from the request's path alone.

use crate::{
    App,
    http::{ApiError, ErrorKind, Reply, Request, render::NO_PROCESS},
};
use cellspace_actors::{
    control_plane::{
        Command, ControlPlane, ControlPlaneState, Refusal,
        agent::Reply as Answer,
        archive::{self, Key},
        dsp::{
            self, Envelope, Mark,
            incoming::{self, Proof},
        },
        negotiation,
        scopes::scopes_for,
        transfer,
    },
    trust,
};
use cellspace_cluster::{Address, AskError, Call, PrepareError};
use cellspace_schemas::{
    Did, ParticipantContextId, Pid, ProfileId, SecretText,
    dsp::message::{Message, MessageError, Received, read, render},
};
use http::StatusCode;
use serde::{Serialize, de::DeserializeOwned};
use std::{str::FromStr, sync::Arc};

/// A message's receiver, and the token it came with.
struct Target {
    /// The receiver.
    participant: ParticipantContextId,
    /// In which profile.
    profile: ProfileId,
    /// Its state.
    state: Arc<ControlPlaneState>,
    /// The message's token.
    token: SecretText,
}

/// The process that the path names, as both parties' ids of an error.
fn pids_of_path(request: &Request) -> (Option<String>, Option<String>) {
    let pid = request.params.get("pid").unwrap_or(NO_PROCESS);
    (Some(pid.to_owned()), Some(pid.to_owned()))
}

/// 404: no such participant, profile or process here, or not for the sender.
fn nothing(request: &Request) -> ApiError {
    let (consumer, provider) = pids_of_path(request);
    ApiError::not_found("not found").with_pids(consumer, provider)
}

/// Whether the participant deals with others: one that is switched off in the Identity API is for them as one that is not there.
///
/// # Errors
/// Unavailable when its credential service is.
pub(super) async fn is_party(app: &App, participant: &ParticipantContextId) -> Result<bool, ApiError> {
    // Asked before anything is done with the message.
    trust::is_active(&app.services, participant).await.map_err(|error| ApiError { not_executed: true, ..ApiError::not_now(error) })
}

/// Finds the receiver; a message without a token is refused here.
///
/// # Errors
/// Not found, unauthenticated.
async fn target(app: &App, request: &Request) -> Result<Target, ApiError> {
    let settings = app.services.settings.load();
    let parsed = request.param("participant")?.parse().ok().zip(settings.profile_at(request.param("profile")?).cloned());
    let (participant, profile): (ParticipantContextId, ProfileId) = parsed.ok_or_else(|| nothing(request))?;
    let state = app.services.cluster.snapshot::<ControlPlane>(&Address::of::<ControlPlane>(&participant)).await;
    let state = state.map_err(|error| match error {
        // Before anything is done with the message.
        AskError::Unavailable { reason, .. } => ApiError { not_executed: true, ..ApiError::not_now(reason) },
        other => asked(request, other),
    })?;
    incoming::receiver(&state, &settings, &profile).map_err(|_| nothing(request))?;
    if !is_party(app, &participant).await? {
        return Err(nothing(request));
    }
    let Some(token) = request.bearer() else {
        let (consumer, provider) = pids_of_path(request);
        return Err(ApiError::new(ErrorKind::Unauthenticated, "a bearer token is required").with_pids(consumer, provider));
    };
    let token = SecretText::new(token);
    Ok(Target { participant, profile, state, token })
}

/// 413 for a message that is too long, 400 for one that is wrong.
const fn kind(error: &MessageError) -> ErrorKind {
    match error {
        MessageError::TooLarge => ErrorKind::TooLarge,
        MessageError::TooDeep
        | MessageError::Malformed { .. }
        | MessageError::NoContext
        | MessageError::JsonLd(_)
        | MessageError::WrongType { .. } => ErrorKind::Invalid,
    }
}

impl Target {
    /// The message in the body, and what it comes with.
    ///
    /// # Errors
    /// Invalid message.
    fn read<T: Message + DeserializeOwned>(&self, app: &App, request: &Request) -> Result<(T, Envelope), ApiError> {
        let settings = app.services.settings.load();
        let contexts = settings.profiles.get(&self.profile).map_or(&[][..], |profile| &profile.contexts[..]);
        let (consumer, provider) = pids_of_path(request);
        let Received { id, body } =
            read::<T>(&request.body, contexts).map_err(|e| ApiError::new(kind(&e), e.to_string()).with_pids(consumer, provider))?;
        let mark = Mark::of(T::TYPE, id.as_ref(), &request.body);
        Ok((body, Envelope { profile: self.profile.clone(), token: self.token.clone(), mark }))
    }

    /// Asks the receiver. The sender is the actor; keys of clients mean nothing here, since messages have ids of their own.
    ///
    /// # Errors
    /// What the refusal is for a counterparty; `pids` are `(consumerPid, providerPid)` as the message names them.
    async fn ask(
        &self,
        app: &App,
        request: &Request,
        kind: &'static str,
        pids: (Option<&Pid>, Option<&Pid>),
        command: Command,
    ) -> Result<Answer, ApiError> {
        let sender = trust::claimed_sender(&self.token);
        let mut call = Call::by(sender.as_ref().map_or("counterparty", Did::as_str));
        call.trace.clone_from(&request.trace);
        let answer = app.services.cluster.ask::<ControlPlane>(&Address::of::<ControlPlane>(&self.participant), command, call).await;
        let refusal = answer.as_ref().err().map(ToString::to_string);
        tracing::info!(
            category = "dsp",
            vpa = %Address::of::<ControlPlane>(&self.participant),
            action = kind,
            counterparty = sender.as_ref().map(Did::as_str),
            refusal,
            "received"
        );
        answer.map_err(|error| {
            let error = asked(request, error);
            match error.kind {
                // These two must look the same whatever the message said.
                ErrorKind::NotFound | ErrorKind::Unauthenticated => error,
                _ => {
                    let name = |pid: Option<&Pid>| Some(pid.map_or(NO_PROCESS, Pid::as_str).to_owned());
                    error.with_pids(name(pids.0), name(pids.1))
                }
            }
        })
    }

    /// The verified sender of a request without a body.
    ///
    /// # Errors
    /// Unauthenticated; unavailable when it cannot be verified now.
    async fn sender(&self, app: &App, request: &Request) -> Result<Did, ApiError> {
        let proof = Proof { profile: &self.profile, token: self.token.expose(), call: None, believe_absence: false };
        match incoming::sender(&app.services, &self.state, proof, |settings| scopes_for(settings, &self.profile, [])).await {
            Ok(sender) => Ok(sender.did().clone()),
            Err(PrepareError::Refused(refusal)) => Err(refused(request, refusal.into())),
            Err(PrepareError::Unavailable(cause)) => Err(ApiError::not_now(cause)),
        }
    }
}

/// What a protocol's messages become of.
pub(super) trait Protocol {
    /// Ids of its processes.
    type Id: FromStr + Send;
    /// Its messages.
    type Received;
    /// Its processes as counterparties see them.
    type Process: Message + Serialize;

    /// `(consumerPid, providerPid)` as the message names them.
    fn pids(message: &Self::Received) -> (Option<&Pid>, Option<&Pid>);

    /// The command of a message for the process in its path, if there is one.
    fn command(envelope: Envelope, id: Option<Self::Id>, message: Self::Received) -> Command;

    /// The process in the answer to such a command.
    fn process(answer: Answer) -> Option<Self::Process>;

    /// What its id leads to, wherever it is kept.
    fn key(id: &Self::Id) -> Key;

    /// A process of ours with its counterparty and its profile.
    fn find<'a>(state: &'a ControlPlaneState, id: &Self::Id) -> Option<(&'a Did, &'a ProfileId, Self::Process)>;
}

/// A message that begins a process: answered with what it began.
///
/// # Errors
/// As the protocol tells them.
pub(super) async fn first<P: Protocol, T: Message + DeserializeOwned>(
    app: App,
    request: Request,
    wrap: fn(T) -> P::Received,
) -> Result<Reply, ApiError> {
    receive::<P, T>(&app, &request, None, wrap, StatusCode::CREATED).await
}

/// A message in a process.
///
/// # Errors
/// As the protocol tells them.
pub(super) async fn next<P: Protocol, T: Message + DeserializeOwned>(
    app: App,
    request: Request,
    wrap: fn(T) -> P::Received,
) -> Result<Reply, ApiError> {
    // Text that can be no process of ours is the id of none.
    let id: P::Id = request.param("pid")?.parse().map_err(|_| nothing(&request))?;
    receive::<P, T>(&app, &request, Some(id), wrap, StatusCode::OK).await
}

async fn receive<P: Protocol, T: Message + DeserializeOwned>(
    app: &App,
    request: &Request,
    id: Option<P::Id>,
    wrap: fn(T) -> P::Received,
    status: StatusCode,
) -> Result<Reply, ApiError> {
    let target = target(app, request).await?;
    let (message, envelope) = target.read::<T>(app, request)?;
    let message = wrap(message);
    let (consumer, provider) = P::pids(&message);
    let (consumer, provider) = (consumer.cloned(), provider.cloned());
    let command = P::command(envelope, id, message);
    let reply = target.ask(app, request, T::TYPE, (consumer.as_ref(), provider.as_ref()), command).await?;
    let process = P::process(reply).ok_or_else(|| ApiError::internal("a message was answered without a process"))?;
    answer(app, &target, status, &process)
}

/// A process as its counterparty, and nobody else, may see it.
///
/// # Errors
/// As the protocol tells them.
pub(super) async fn get<P: Protocol>(app: App, request: Request) -> Result<Reply, ApiError> {
    let target = target(&app, &request).await?;
    let sender = target.sender(&app, &request).await?;
    let id = request.param("pid")?.parse::<P::Id>().ok();
    let state = match &id {
        Some(id) => {
            let address = Address::of::<ControlPlane>(&target.participant);
            let found = archive::with(&app.services.cluster, &address, target.state.clone(), P::key(id)).await;
            found.map_err(ApiError::not_now)?
        }
        None => target.state.clone(),
    };
    let found = id.and_then(|id| P::find(&state, &id));
    let own = found.filter(|(counterparty, profile, _)| **counterparty == sender && **profile == target.profile);
    let (.., process) = own.ok_or_else(|| nothing(&request))?;
    answer(&app, &target, StatusCode::OK, &process)
}

/// A runtime error as the protocol tells it.
fn asked(request: &Request, error: AskError<Refusal>) -> ApiError {
    match error {
        AskError::NotRegistered => nothing(request),
        other => ApiError::from_ask_outside(other, |refusal| refused(request, refusal)),
    }
}

/// A refusal as the protocol tells it: 400 for what the state does not allow and for bad messages, never 404 for these.
fn refused(request: &Request, refusal: Refusal) -> ApiError {
    let message = refusal.to_string();
    let (consumer, provider) = pids_of_path(request);
    let kind = match refusal {
        // A participant that was switched off meanwhile is as one that is not there.
        Refusal::Participant(_) | Refusal::Message(dsp::Refusal::NotFound) => return nothing(request),
        Refusal::Message(dsp::Refusal::Unauthenticated(_)) => ErrorKind::Unauthenticated,
        Refusal::Message(dsp::Refusal::TooEarly(_)) => return ApiError::not_executed(refusal).with_pids(consumer, provider),
        Refusal::Message(dsp::Refusal::Changed | dsp::Refusal::NotNow(_)) => ErrorKind::Unavailable,
        Refusal::Message(dsp::Refusal::TooMany) => ErrorKind::TooMany,
        Refusal::Message(dsp::Refusal::Invalid(_)) => ErrorKind::Invalid,
        Refusal::Negotiation(negotiation::Refusal::PidUsed | negotiation::Refusal::AgreementUsed)
        | Refusal::Transfer(transfer::Refusal::PidUsed) => ErrorKind::Conflict,
        Refusal::Negotiation(_) | Refusal::Transfer(_) => ErrorKind::Invalid,
        Refusal::DataPlanes(_) | Refusal::Secrets(_) | Refusal::Resources(_) | Refusal::Mismatch => ErrorKind::Internal,
    };
    ApiError::new(kind, message).with_pids(consumer, provider)
}

/// An answer with a message of the protocol, in the target's profile.
///
/// # Errors
/// Internal error when it cannot be written.
fn answer<T: Message + Serialize>(app: &App, target: &Target, status: StatusCode, message: &T) -> Result<Reply, ApiError> {
    let body =
        render(message, None, app.services.settings.load().context(&target.profile)).map_err(|e| ApiError::internal(e.to_string()))?;
    Ok(Reply::bytes(status, "application/json", body))
}
