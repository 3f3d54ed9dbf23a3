//! DCP issuance endpoints of hosted issuers (DCP 1.0, 6.4, 6.7, 6.8): credential requests, their state, issuer metadata.

use super::{
    dcp::{message, nothing},
    issuer_admin::refused,
    prefixes::ISSUANCE,
};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::{
    issuer::{self, Command, Issuer, IssuerState, Refusal, agent::verify_holder, requests},
    trust::{self, TokenError},
};
use cellspace_cluster::{Address, AskError, Call, PrepareError};
use cellspace_schemas::{
    Did, ParticipantContextId, SecretText,
    dcp::CredentialRequestMessage,
    issuer::{
        CredentialDefinitionId, HolderPid, IssuerPid,
        metadata::{CredentialStatus, IssuerMetadata},
    },
};
use http::{StatusCode, header};
use std::sync::Arc;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    // The protocol has its own token, signed by the holder.
    let route = |method, path, handler: Handler| Route {
        listener: Listener::Public,
        api: Api::Dcp,
        method,
        path,
        prefixes: ISSUANCE,
        access: Access::Open,
        handler,
    };
    vec![
        route(Verb::Post, "/participants/{participant}/credentials", |app, request| Box::pin(request_credentials(app, request))),
        route(Verb::Get, "/participants/{participant}/requests/{request}", |app, request| Box::pin(request_status(app, request))),
        route(Verb::Get, "/participants/{participant}/metadata", |app, request| Box::pin(metadata(app, request))),
        route(Verb::Get, "/participants/{participant}/schemas/{schema}", |app, request| Box::pin(schema(app, request))),
    ]
}

/// What a refusal is for holders. An issuer that does not exist, is deactivated or has issued nothing yet is the same to everybody outside.
fn told(refusal: Refusal) -> ApiError {
    if matches!(refusal, Refusal::NoIssuer) { nothing() } else { refused(refusal) }
}

fn issuer(request: &Request) -> Result<ParticipantContextId, ApiError> {
    request.id("participant").map_err(|_| nothing())
}

async fn own_did(app: &App, issuer: &ParticipantContextId) -> Result<Did, ApiError> {
    trust::own_did(&app.services, issuer).await.map_err(|error| match error {
        TokenError::NoParticipant(_) => nothing(),
        TokenError::NoKey(..) | TokenError::Unavailable(_) => ApiError::not_now(error),
    })
}

async fn snapshot(app: &App, issuer: &ParticipantContextId) -> Result<Arc<IssuerState>, ApiError> {
    let found = app.services.cluster.snapshot::<Issuer>(&Address::of::<Issuer>(issuer)).await;
    found.map_err(|error| match error {
        AskError::NotRegistered => nothing(),
        other => ApiError::from_ask_outside(other, told),
    })
}

async fn request_credentials(app: App, request: Request) -> Result<Reply, ApiError> {
    let issuer = issuer(&request)?;
    let token = request.require_bearer()?;
    let (holder_pid, credentials) = read(&request)?;
    let command = Command::Request(requests::Request { bearer: SecretText::new(token), holder_pid, credentials });
    // A repeat is known by its holderPid; an idempotency key of a sender that is not yet known would be anybody's.
    let call = Call { trace: request.trace.clone(), ..Call::by("dcp") };
    let answer = app.services.cluster.ask::<Issuer>(&Address::of::<Issuer>(&issuer), command, call).await;
    let answer = answer.map_err(|error| match error {
        AskError::NotRegistered => nothing(),
        other => ApiError::from_ask_outside(other, told),
    })?;
    match answer {
        issuer::Reply::Accepted(pid) => {
            let location = format!("{}/requests/{pid}", app.services.urls.issuer_service(&issuer));
            Ok(Reply::empty(StatusCode::CREATED).header(header::LOCATION, &location))
        }
        issuer::Reply::Done => Err(ApiError::internal("a request was answered without its process")),
    }
}

/// What a request asks for, in types.
fn read(request: &Request) -> Result<(HolderPid, Vec<CredentialDefinitionId>), ApiError> {
    let message: CredentialRequestMessage = message(request)?;
    let holder_pid = HolderPid::new(&message.holder_pid).map_err(|e| ApiError::invalid(format!("holderPid: {e}")))?;
    let ids = message.credentials.iter().map(|reference| CredentialDefinitionId::new(&reference.id));
    let credentials = ids.collect::<Result<_, _>>().map_err(|e| ApiError::invalid(format!("credentials: {e}")))?;
    Ok((holder_pid, credentials))
}

async fn request_status(app: App, request: Request) -> Result<Reply, ApiError> {
    let issuer = issuer(&request)?;
    let token = request.require_bearer()?;
    let did = own_did(&app, &issuer).await?;
    let sender = verify_holder(&app.services, (&issuer, &did), token, None).await.map_err(|error| match error {
        PrepareError::Refused(refusal) => told(refusal),
        PrepareError::Unavailable(cause) => ApiError::not_now(cause),
    })?;
    let state = snapshot(&app, &issuer).await?;
    // The request of another holder is the same as none.
    let pid: IssuerPid = request.id("request").map_err(|_| nothing())?;
    let process = state.processes.get(&pid).filter(|process| process.holder_did == sender.issuer).ok_or_else(nothing)?;
    Reply::ok(&CredentialStatus::new(process.id.clone(), process.holder_pid.clone(), process.state.request_status()))
}

async fn metadata(app: App, request: Request) -> Result<Reply, ApiError> {
    let issuer = issuer(&request)?;
    let did = own_did(&app, &issuer).await?;
    let state = snapshot(&app, &issuer).await?;
    let objects = state.definitions.values().map(|definition| definition.credential_object(&issuer, &app.services.urls));
    Reply::ok(&IssuerMetadata::new(did, objects.collect()))
}

/// What a definition says of its subjects, for those that name no schema elsewhere; no peer has such a route.
async fn schema(app: App, request: Request) -> Result<Reply, ApiError> {
    let issuer = issuer(&request)?;
    own_did(&app, &issuer).await?;
    let id: CredentialDefinitionId = request.id("schema").map_err(|_| nothing())?;
    let state = snapshot(&app, &issuer).await?;
    let definition = state.definitions.get(&id).ok_or_else(nothing)?;
    Ok(Reply::bytes(StatusCode::OK, "application/schema+json", definition.schema_text().to_owned()))
}
