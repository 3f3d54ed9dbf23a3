//! Management of the embedded token service: clients, mappings, scope mappings.

use super::{paging, prefixes::TOKEN_SERVICE_ADMIN, token::read};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::access::clients::{self, ClientRole, Clients, Command, Mapping, NewClient, Refusal, ScopeMapping};
use cellspace_schemas::{ClientId, ParticipantContextId, Timestamp};
use http::{StatusCode, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

/// Largest page of clients and mappings.
const MAX_PAGE: usize = 1_000;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("token-service-api:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("token-service-api:write", Provisioner::Denied);
    // Who makes clients can act as anybody.
    const ADMIN: Access = Access::Scope("token-service-api:admin", Provisioner::Denied);
    let route = |api, method, path, access, handler: Handler| Route {
        listener: Listener::Admin,
        api,
        method,
        path,
        prefixes: TOKEN_SERVICE_ADMIN,
        access,
        handler,
    };
    let oauth = |method, path, access, handler: Handler| route(Api::OAuth, method, path, access, handler);
    vec![
        route(Api::Native, Verb::Post, "/clients", ADMIN, |app, request| Box::pin(create_client(app, request))),
        route(Api::Native, Verb::Get, "/clients", ADMIN, |app, request| Box::pin(list_clients(app, request))),
        route(Api::Native, Verb::Delete, "/clients/{client}", ADMIN, |app, request| Box::pin(delete_client(app, request))),
        oauth(Verb::Get, "/mappings", READ, |app, request| Box::pin(list_mappings(app, request))),
        oauth(Verb::Post, "/mappings", ADMIN, |app, request| Box::pin(create_mapping(app, request))),
        oauth(Verb::Put, "/mappings/{client}/{context}", ADMIN, |app, request| Box::pin(update_mapping(app, request))),
        oauth(Verb::Delete, "/mappings/{client}/{context}", WRITE, |app, request| Box::pin(delete_mapping(app, request))),
        oauth(Verb::Delete, "/mappings/{client}", WRITE, |app, request| Box::pin(delete_mappings(app, request))),
        oauth(Verb::Get, "/scopes", READ, |app, _| Box::pin(list_scopes(app))),
        oauth(Verb::Post, "/scopes", ADMIN, |app, request| Box::pin(create_scope(app, request))),
        oauth(Verb::Put, "/scopes/{scope}", ADMIN, |app, request| Box::pin(update_scope(app, request))),
        oauth(Verb::Delete, "/scopes/{scope}", WRITE, |app, request| Box::pin(delete_scope(app, request))),
    ]
}

async fn ask(app: &App, request: &Request, command: Command) -> Result<clients::Reply, ApiError> {
    let answer = app.services.cluster.ask::<Clients>(&clients::address(), command, request.call()?).await;
    answer.map_err(|error| {
        ApiError::from_ask(error, |refusal| match refusal {
            Refusal::Exists(_) => ApiError::conflict(refusal.to_string()),
            Refusal::NotFound(_) => ApiError::not_found(refusal.to_string()),
            Refusal::TooMany(_) | Refusal::Invalid(_) => ApiError::invalid(refusal.to_string()),
        })
    })
}

// === clients ===

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClientBody {
    id: ClientId,
    role: Option<ClientRole>,
    participant_context: Option<ParticipantContextId>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    may_exchange: bool,
}

/// A client as shown: never its secret, but once when it is made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientView {
    id: ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<ClientRole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant_context: Option<ParticipantContextId>,
    scopes: Vec<String>,
    may_exchange: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

async fn create_client(app: App, request: Request) -> Result<Reply, ApiError> {
    let ClientBody { id, role, participant_context: participant, scopes, may_exchange } = request.json()?;
    let new = NewClient { id: id.clone(), role, participant: participant.clone(), scopes: scopes.clone(), may_exchange };
    let clients::Reply::Created(nonce) = ask(&app, &request, Command::CreateClient(new)).await? else {
        return Err(ApiError::internal("a client was made without a secret"));
    };
    let secret = app.services.tokens.client_secret(&id, nonce);
    let client_secret = Some(secret.expose_secret().to_owned());
    let view = ClientView { id, role, participant_context: participant, scopes, may_exchange, created_at: None, client_secret };
    Ok(Reply::json(StatusCode::CREATED, &view)?.header(header::CACHE_CONTROL, "no-store"))
}

/// `offset` and `limit` of a list.
fn page(request: &Request, default: usize) -> Result<(usize, usize), ApiError> {
    Ok((paging::number(request, "offset", 0)?, paging::number(request, "limit", default)?.min(MAX_PAGE)))
}

async fn list_clients(app: App, request: Request) -> Result<Reply, ApiError> {
    let (offset, limit) = page(&request, 50)?;
    let page = read(&app, |state| {
        let mut all: Vec<_> = state.clients().collect();
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all.into_iter().skip(offset).take(limit).cloned().collect::<Vec<_>>()
    });
    let view = |client: &std::sync::Arc<clients::Client>| ClientView {
        id: client.id.clone(),
        role: client.role,
        participant_context: client.participant.clone(),
        scopes: client.scopes.clone(),
        may_exchange: client.may_exchange,
        created_at: Some(client.created_at),
        client_secret: None,
    };
    Reply::ok(&page.await?.iter().map(view).collect::<Vec<_>>())
}

async fn delete_client(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::DeleteClient(request.id("client")?)).await?;
    Ok(Reply::no_content())
}

// === mappings ===

async fn list_mappings(app: App, request: Request) -> Result<Reply, ApiError> {
    let (offset, limit) = page(&request, MAX_PAGE)?;
    Reply::ok(&read(&app, |state| state.mappings().skip(offset).take(limit).cloned().collect::<Vec<_>>()).await?)
}

async fn create_mapping(app: App, request: Request) -> Result<Reply, ApiError> {
    let mapping: Mapping = request.json()?;
    ask(&app, &request, Command::CreateMapping(mapping.clone())).await?;
    Reply::json(StatusCode::CREATED, &mapping)
}

/// The path decides whose mapping it is; the body may repeat it.
#[derive(Deserialize)]
pub(super) struct MappingBody {
    scopes: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
}

async fn update_mapping(app: App, request: Request) -> Result<Reply, ApiError> {
    let MappingBody { scopes, audiences } = request.json()?;
    let (client_identifier, participant_context) = (request.id("client")?, request.id("context")?);
    ask(&app, &request, Command::UpdateMapping(Mapping { client_identifier, participant_context, scopes, audiences })).await?;
    Ok(Reply::no_content())
}

async fn delete_mapping(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::DeleteMapping(request.id("client")?, request.id("context")?)).await?;
    Ok(Reply::no_content())
}

async fn delete_mappings(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::DeleteMappings(request.id("client")?)).await?;
    Ok(Reply::no_content())
}

// === scope mappings ===

async fn list_scopes(app: App) -> Result<Reply, ApiError> {
    Reply::ok(&read(&app, |state| state.scopes().cloned().collect::<Vec<_>>()).await?)
}

async fn create_scope(app: App, request: Request) -> Result<Reply, ApiError> {
    let scope: ScopeMapping = request.json()?;
    ask(&app, &request, Command::CreateScope(scope.clone())).await?;
    Reply::json(StatusCode::CREATED, &scope)
}

/// The path decides the name; the body may repeat it.
#[derive(Deserialize)]
pub(super) struct ScopeBody {
    claims: clients::mapping::ScopeClaims,
}

async fn update_scope(app: App, request: Request) -> Result<Reply, ApiError> {
    let ScopeBody { claims } = request.json()?;
    let scope = request.param("scope")?.to_owned();
    ask(&app, &request, Command::UpdateScope(ScopeMapping { scope, claims })).await?;
    Ok(Reply::no_content())
}

async fn delete_scope(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::DeleteScope(request.param("scope")?.to_owned())).await?;
    Ok(Reply::no_content())
}
