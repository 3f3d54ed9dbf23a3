//! The runtime as operators see it: parked agents, outboxes, dead letters. No peer has these routes.

use super::{paging::TOTAL, prefixes::RUNTIME};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb, route::Handler},
    node::{LevelReport, MoveError, TellError},
};
use cellspace_actors::control_plane::{ControlPlane, listing};
use cellspace_cluster::{Address, AdminError, Agent, LEVEL, NodeName, OutboxId, Parked};
use cellspace_schemas::{Owner, QuerySpec, fabric::Page};
use cellspace_storage::CellName;
use http::{StatusCode, header};
use serde_json::json;

/// Most participants in one page.
const MAX_HOMES: usize = 1_000;
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
        route(Verb::Post, "/finalize", |app, request| Box::pin(finalize(app, request))),
        route(Verb::Get, "/cells", |app, _| Box::pin(cells(app))),
        route(Verb::Get, "/homes", |app, request| Box::pin(homes(app, request))),
        route(Verb::Post, "/homes/{moved}/move", |app, request| Box::pin(move_to(app, request))),
        route(Verb::Get, "/parked", |app, _| Box::pin(parked(app))),
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
    let nodes = app.nodes.as_ref().ok_or_else(no_cell)?;
    nodes.drain(&node).await.map_err(|error| match error {
        TellError::Unknown(_) => ApiError::not_found(error.to_string()),
        TellError::NotReached(..) => ApiError::later(error),
    })?;
    tracing::info!(category = "audit", %node, action = "node.told_to_drain", actor = actor(&request));
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// May be repeated; who holds it back is told. A node that is no part of a cell writes what it reads.
async fn finalize(app: App, request: Request) -> Result<Reply, ApiError> {
    if !request.body.is_empty() {
        return Err(ApiError::invalid("nothing is to be sent with it"));
    }
    let report = match &app.nodes {
        Some(nodes) => nodes.finalize().await.map_err(ApiError::later)?,
        None => LevelReport { level: LEVEL, raised: false, held_back_by: Vec::new() },
    };
    tracing::info!(category = "audit", level = report.level, raised = report.raised, action = "cell.finalized", actor = actor(&request));
    Reply::ok(&report)
}

/// The cells of the installation; none where it has one, or this node is no part of it.
async fn cells(app: App) -> Result<Reply, ApiError> {
    Reply::ok(&app.nodes.as_ref().map(|nodes| nodes.all_cells()).unwrap_or_default())
}

/// Participants, each with its cell; none where the installation has one cell.
async fn homes(app: App, request: Request) -> Result<Reply, ApiError> {
    let QuerySpec { offset, limit, .. } = QuerySpec::from_query(&request.query)?;
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let page = Page::new(number(offset), number(limit.min(MAX_HOMES))).map_err(|error| ApiError::invalid(error.to_string()))?;
    let (homes, total) = match app.nodes.as_ref().filter(|nodes| nodes.is_among_cells()) {
        Some(nodes) => {
            let (ids, total) = listing::ids(&app.services, page).await.map_err(ApiError::later)?;
            (nodes.homes(ids.iter().map(Owner::from).collect()).await.map_err(ApiError::later)?, total)
        }
        None => (Vec::new(), 0),
    };
    Ok(Reply::ok(&homes)?.header(header::LINK, &page.links(&request.path, total)).header(TOTAL, &total.to_string()))
}

/// On any node of any cell; it goes on for a while, and says how far it has come.
async fn move_to(app: App, request: Request) -> Result<Reply, ApiError> {
    let (owner, to) = (request.id::<Owner>("moved")?, CellName(request.query.get("to").cloned().unwrap_or_default()));
    let nodes = app.nodes.as_ref().ok_or_else(no_cell)?;
    tracing::info!(category = "audit", %owner, %to, action = "owner.told_to_move", actor = actor(&request));
    let report = nodes.move_to(&app.services.cluster, &owner, ControlPlane::KIND.0, &to).await;
    Reply::ok(&report.map_err(|error| match error {
        MoveError::OneCell | MoveError::UnknownCell(_) | MoveError::Unknown(_) => ApiError::not_found(error.to_string()),
        MoveError::Store(error) => ApiError::later(error),
    })?)
}

fn no_cell() -> ApiError {
    ApiError::not_found("this node is no part of a cell")
}

/// Those of all nodes of the cell, and which of them does not say; of a node that is no part of one its own.
async fn parked(app: App) -> Result<Reply, ApiError> {
    let here: Vec<Parked> = app.services.cluster.parked().into_iter().map(Parked::from).collect();
    let Some(nodes) = &app.nodes else { return Reply::ok(&here) };
    let mut all = Vec::new();
    for (node, said) in [(nodes.me().clone(), Ok(here))].into_iter().chain(nodes.parked_elsewhere().await) {
        match said {
            Ok(parked) => all.extend(parked.iter().map(|one| json!({ "node": node, "address": one.address, "reason": one.reason }))),
            Err(error) => all.push(json!({ "node": node, "reason": format!("the node does not say what is parked there: {error}") })),
        }
    }
    Reply::ok(&all)
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
