//! Target nodes of the federated catalog: a participant's own, and those of the installation (additions to the Management API).

use super::control_plane::{body, found, installation_route, query, route, snapshot};
use crate::{
    App,
    http::{Access, ApiError, ErrorKind, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::federated_catalog::{self, Command, FederatedCatalog, Refusal, Reply as Done, State};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    Did, ParticipantContextId,
    management::{TargetNode, envelope::id_response},
    violation::Violation,
};
use std::sync::Arc;

/// The routes, of both kinds.
#[must_use]
pub fn routes() -> Vec<Route> {
    const ADMIN: Access = Access::Scope("management-api:admin", Provisioner::Denied);
    const READ: Access = Access::Scope("management-api:catalog:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("management-api:catalog:write", Provisioner::Denied);
    const OWN: &str = "/participants/{participant}/targetnodes";
    const OWN_ONE: &str = "/participants/{participant}/targetnodes/{id}";
    vec![
        route(Verb::Post, OWN, WRITE, |app, request| Box::pin(create(app, request))),
        route(Verb::Put, OWN, WRITE, |app, request| Box::pin(replace(app, request))),
        route(Verb::Query, "/participants/{participant}/targetnodes/request", READ, |app, request| Box::pin(list(app, request))),
        route(Verb::Get, OWN_ONE, READ, |app, request| Box::pin(get(app, request))),
        route(Verb::Delete, OWN_ONE, WRITE, |app, request| Box::pin(delete(app, request))),
        installation_route(Verb::Post, "/targetnodes", ADMIN, |app, request| Box::pin(create(app, request))),
        installation_route(Verb::Put, "/targetnodes", ADMIN, |app, request| Box::pin(replace(app, request))),
        installation_route(Verb::Query, "/targetnodes/request", ADMIN, |app, request| Box::pin(list(app, request))),
        installation_route(Verb::Get, "/targetnodes/{id}", ADMIN, |app, request| Box::pin(get(app, request))),
        installation_route(Verb::Delete, "/targetnodes/{id}", ADMIN, |app, request| Box::pin(delete(app, request))),
    ]
}

/// Whose target nodes: of the participant in the path, which must be there, or of the installation.
async fn address(app: &App, request: &Request) -> Result<Address, ApiError> {
    if request.params.get("participant").is_none() {
        return Ok(federated_catalog::installation());
    }
    snapshot(app, request).await?;
    Ok(federated_catalog::address(&request.id::<ParticipantContextId>("participant")?))
}

async fn ask(app: &App, request: &Request, command: Command) -> Result<Done, ApiError> {
    let missing = match &command {
        Command::ReplaceTarget(TargetNode { id, .. }) | Command::RemoveTarget(id) => Some(id.clone()),
        Command::AddTarget(_) | Command::Want(_) | Command::Leave => None,
    };
    let answer = app.services.cluster.ask::<FederatedCatalog>(&address(app, request).await?, command, request.call()?).await;
    answer.map_err(|error| match (error, missing) {
        // Nothing was named to it yet.
        (AskError::NotRegistered, Some(id)) => told(&Refusal::NotFound(id)),
        (other, _) => ApiError::from_ask(other, |refusal| told(&refusal)),
    })
}

fn told(refusal: &Refusal) -> ApiError {
    let kind = match refusal {
        Refusal::Exists(_) => ErrorKind::Conflict,
        Refusal::NotFound(_) => ErrorKind::NotFound,
        Refusal::Full => ErrorKind::Invalid,
    };
    ApiError::new(kind, refusal.to_string())
}

async fn state(app: &App, request: &Request) -> Result<Arc<State>, ApiError> {
    match app.services.cluster.snapshot::<FederatedCatalog>(&address(app, request).await?).await {
        Ok(state) => Ok(state),
        Err(AskError::NotRegistered) => Ok(Arc::default()),
        Err(other) => Err(ApiError::from_ask(other, |refusal| told(&refusal))),
    }
}

/// The target node of a body, when its address may be called from here.
fn node(app: &App, request: &Request) -> Result<TargetNode, ApiError> {
    let node = body(request, TargetNode::from_json)?;
    if let Some(Err(forbidden)) = node.url.as_ref().map(|url| app.services.http.check_target(url.url())) {
        return Err(vec![Violation::new("$.url", forbidden.to_string())].into());
    }
    Ok(node)
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let node = node(&app, &request)?;
    let id = node.id.clone();
    let done = ask(&app, &request, Command::AddTarget(node)).await?;
    Reply::ok(&id_response(id.as_str(), done.at))
}

async fn replace(app: App, request: Request) -> Result<Reply, ApiError> {
    let node = node(&app, &request)?;
    ask(&app, &request, Command::ReplaceTarget(node)).await?;
    Ok(Reply::no_content())
}

async fn list(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = state(&app, &request).await?;
    query(&request, &TargetNode::PATHS, state.targets.values(), |node| node.id.as_str(), |node| node.to_json())
}

/// The target node that the path names.
fn named(request: &Request) -> Result<Did, ApiError> {
    let id = request.param("id")?;
    id.parse().map_err(|_| ApiError::not_found(format!("target node {id} does not exist")))
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = state(&app, &request).await?;
    let id = named(&request)?;
    found(state.targets.get(&id).map(|node| node.to_json()), "target node", id)
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::RemoveTarget(named(&request)?)).await?;
    Ok(Reply::no_content())
}
