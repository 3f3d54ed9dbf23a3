//! DCP endpoints of participants' credential services (DCP 1.0, sections 5 and 6).

use super::prefixes::CREDENTIALS;
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::{
    credential_service::{
        Command, CredentialService, Refusal,
        offer::{MAX_ID_BYTES, Offer, OfferedObject},
        presentations::{self, QueryError},
    },
    trust::{TokenError, own_did, verify_sender},
};
use cellspace_cluster::{Address, Call};
use cellspace_schemas::{
    ParticipantContextId, SecretText,
    dcp::{self, CredentialMessage, CredentialOfferMessage, PresentationQueryMessage, messages::MAX_CREDENTIALS},
};
use http::StatusCode;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method, path, handler: Handler| Route {
        listener: Listener::Public,
        api: Api::Dcp,
        method,
        path,
        prefixes: CREDENTIALS,
        access: Access::Open,
        handler,
    };
    vec![
        route(Verb::Query, "/participants/{participant}/presentations/query", |app, request| Box::pin(presentations(app, request))),
        route(Verb::Post, "/participants/{participant}/credentials", |app, request| Box::pin(credentials(app, request))),
        route(Verb::Post, "/participants/{participant}/offers", |app, request| Box::pin(offers(app, request))),
    ]
}

/// The same answer to everyone who asks for what is not there, not here, or not for them.
pub(super) fn nothing() -> ApiError {
    ApiError::not_found("not found")
}

/// The message in a request's body, in any form of JSON-LD.
pub(super) fn message<T: dcp::Message>(request: &Request) -> Result<T, ApiError> {
    dcp::read(&request.body).map_err(|error| ApiError::invalid(format!("malformed body: {error}")))
}

async fn presentations(app: App, request: Request) -> Result<Reply, ApiError> {
    let participant: ParticipantContextId = request.id("participant").map_err(|_| nothing())?;
    let token = request.require_bearer()?;
    let query: PresentationQueryMessage = message(&request)?;
    let answer = presentations::answer(&app.services, &participant, token, &query).await.map_err(|error| match error {
        QueryError::NoContext => nothing(),
        QueryError::Invalid(_) => ApiError::invalid(error.to_string()),
        QueryError::NotSupported => ApiError::new(ErrorKind::NotImplemented, error.to_string()),
        QueryError::NotGranted => ApiError::new(ErrorKind::NotAuthorized, error.to_string()),
        QueryError::Sender(error) => error.into(),
        QueryError::Unread(_) => ApiError { not_executed: true, ..ApiError::not_now(error) },
        QueryError::NoKey | QueryError::Unavailable(_) => ApiError::not_now(error),
    })?;
    Reply::ok(&answer)
}

async fn credentials(app: App, request: Request) -> Result<Reply, ApiError> {
    let participant: ParticipantContextId = request.id("participant").map_err(|_| nothing())?;
    let token = SecretText::new(request.require_bearer()?);
    let message: CredentialMessage = message(&request)?;
    let call = Call { trace: request.trace.clone(), ..Call::by("dcp") };
    let command = Command::Deliver(token, Box::new(message));
    let asked = app.services.cluster.ask::<CredentialService>(&Address::of::<CredentialService>(&participant), command, call).await;
    asked.map_err(|error| ApiError::from_ask_outside(error, refused))?;
    Ok(Reply::empty(StatusCode::OK))
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NoContext | Refusal::Inactive | Refusal::NoRequest => nothing(),
        Refusal::Sender(error) => error.into(),
        Refusal::Full(_) => ApiError::conflict(refusal.to_string()),
        other => ApiError::invalid(other.to_string()),
    }
}

/// Offers are kept for the participant, and followed where it has a rule for that.
async fn offers(app: App, request: Request) -> Result<Reply, ApiError> {
    let participant: ParticipantContextId = request.id("participant").map_err(|_| nothing())?;
    let token = request.require_bearer()?;
    let offer: CredentialOfferMessage = message(&request)?;
    let own_did = own_did(&app.services, &participant).await.map_err(|error| match error {
        TokenError::NoParticipant(_) => nothing(),
        TokenError::NoKey(..) | TokenError::Unavailable(_) => ApiError::not_now(error),
    })?;
    let sender = verify_sender(&app.services, (&participant, &own_did), token, None).await?;
    if sender.issuer != offer.issuer {
        return Err(ApiError::new(ErrorKind::Unauthenticated, "issuer of the offer must be its sender"));
    }
    if offer.credentials.is_empty() || offer.credentials.len() > MAX_CREDENTIALS {
        return Err(ApiError::invalid(format!("an offer holds 1 to {MAX_CREDENTIALS} credentials")));
    }
    if offer.id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
        return Err(ApiError::invalid(format!("@id has at most {MAX_ID_BYTES} bytes")));
    }
    let objects = offer.credentials.into_iter().map(OfferedObject::read).collect::<Result<_, _>>();
    let objects = objects.map_err(|e| ApiError::invalid(format!("credentials: {e}")))?;
    let command = Command::Offer(Offer::new(sender.issuer, offer.id, objects, app.services.cluster.now()));
    let call = Call { trace: request.trace.clone(), ..Call::by("dcp") };
    let asked = app.services.cluster.ask::<CredentialService>(&Address::of::<CredentialService>(&participant), command, call).await;
    asked.map_err(|error| ApiError::from_ask_outside(error, refused))?;
    Ok(Reply::empty(StatusCode::OK))
}
