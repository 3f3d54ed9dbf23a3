//! The runtime as operators see it: parked agents, outboxes, dead letters. No peer has these routes.

use super::prefixes::RUNTIME;
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb, route::Handler},
    node::TellError,
};
use cellspace_cluster::{Address, AdminError, NodeName, OutboxId};
use cellspace_schemas::Owner;
use http::StatusCode;
use serde_json::json;

const AGENT: &str = "/agents/{kind}/{owner}";
const LETTER: &str = "/agents/{kind}/{owner}/dead-letters/{letter}";

/// The routes. An agent that has a name is named with `?name=`.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method, path, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::Native,
        method,
        path,
        prefixes: RUNTIME,
        access: Access::Scope("runtime-api:admin", Provisioner::Denied),
        handler,
    };
    vec![
        route(Verb::Get, "/nodes", |app, _| Box::pin(nodes(app))),
        route(Verb::Post, "/nodes/{node}/drain", |app, request| Box::pin(drain(app, request))),
        route(Verb::Get, "/parked", |app, _| Box::pin(async move { parked(&app) })),
        route(Verb::Get, AGENT, |app, request| Box::pin(explain(app, request))),
        route(Verb::Post, "/agents/{kind}/{owner}/unpark", |app, request| Box::pin(unpark(app, request))),
        route(Verb::Get, "/agents/{kind}/{owner}/outbox", |app, request| Box::pin(outbox(app, request))),
        route(Verb::Post, "/agents/{kind}/{owner}/dead-letters/{letter}/redrive", |app, request| Box::pin(redrive(app, request))),
        route(Verb::Delete, LETTER, |app, request| Box::pin(discard(app, request))),
    ]
}

/// None on a node that is no part of a cell.
async fn nodes(app: App) -> Result<Reply, ApiError> {
    match &app.nodes {
        Some(nodes) => Reply::ok(&nodes.list().await.map_err(ApiError::later)?),
        None => Reply::ok(&json!([])),
    }
}

async fn drain(app: App, request: Request) -> Result<Reply, ApiError> {
    let node = NodeName(request.param("node")?.to_owned());
    let nodes = app.nodes.as_ref().ok_or_else(|| ApiError::not_found("this node is no part of a cell"))?;
    nodes.drain(&node).await.map_err(|error| match error {
        TellError::Unknown(_) => ApiError::not_found(error.to_string()),
        TellError::NotReached(..) => ApiError::later(error),
    })?;
    tracing::info!(category = "audit", %node, action = "node.told_to_drain", actor = actor(&request));
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

fn parked(app: &App) -> Result<Reply, ApiError> {
    let parked = app.services.cluster.parked();
    let shown = |(address, reason): (Address, String)| json!({ "address": address.to_string(), "reason": reason });
    Reply::ok(&parked.into_iter().map(shown).collect::<Vec<_>>())
}

async fn explain(app: App, request: Request) -> Result<Reply, ApiError> {
    Reply::ok(&app.services.cluster.explain(&address(&app, &request)?).await.map_err(told)?)
}

async fn unpark(app: App, request: Request) -> Result<Reply, ApiError> {
    let address = address(&app, &request)?;
    if !app.services.cluster.unpark(&address) {
        return Err(ApiError::not_found(format!("{address} is not parked")));
    }
    let actor = request.principal.as_ref().map(|principal| principal.subject.as_str());
    tracing::info!(category = "audit", vpa = %address, action = "agent.unparked", actor);
    Ok(Reply::no_content())
}

async fn outbox(app: App, request: Request) -> Result<Reply, ApiError> {
    let address = address(&app, &request)?;
    let rows = app.services.cluster.outbox(&address).await.map_err(told)?;
    let letters = app.services.cluster.dead_letters(&address).await.map_err(told)?;
    Reply::json(StatusCode::OK, &json!({ "rows": rows, "deadLetters": letters }))
}

async fn redrive(app: App, request: Request) -> Result<Reply, ApiError> {
    let (address, letter) = letter(&app, &request)?;
    app.services.cluster.redrive(&address, letter, actor(&request)).await.map_err(told)?;
    Ok(Reply::no_content())
}

async fn discard(app: App, request: Request) -> Result<Reply, ApiError> {
    let (address, letter) = letter(&app, &request)?;
    app.services.cluster.discard(&address, letter, actor(&request)).await.map_err(told)?;
    Ok(Reply::no_content())
}

fn actor(request: &Request) -> &str {
    request.principal.as_ref().map_or("anonymous", |principal| principal.subject.as_str())
}

fn letter(app: &App, request: &Request) -> Result<(Address, OutboxId), ApiError> {
    Ok((address(app, request)?, request.id("letter")?))
}

fn address(app: &App, request: &Request) -> Result<Address, ApiError> {
    let (kind, owner) = (request.param("kind")?, request.id::<Owner>("owner")?);
    let name = request.query.get("name").map_or("", String::as_str);
    let address = app.services.cluster.address(kind, owner, name);
    address.ok_or_else(|| ApiError::not_found(format!("there are no agents of kind {kind:?}")))
}

fn told(error: AdminError) -> ApiError {
    match error {
        AdminError::UnknownKind(_) | AdminError::NotFound => ApiError::not_found(error.to_string()),
        AdminError::Redacted => ApiError::conflict(error.to_string()),
        AdminError::Unavailable(_) => ApiError::later(error),
    }
}
