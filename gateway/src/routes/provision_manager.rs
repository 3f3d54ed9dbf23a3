//! Provision manager: activity definitions, orchestration definitions, orchestrations.

use super::{
    prefixes::PROVISION_MANAGER,
    tenant_manager::{from_agent, from_operation, mismatch, query},
};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Role, Route, Verb, route::Handler},
};
use cellspace_actors::{
    directory::Kind,
    fabric::{
        OrchestrationAgent,
        operations::{self, Asker},
        registry,
    },
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::fabric::{
    ActivityDefinition, ActivityType, OrchestrationId, OrchestrationManifest, OrchestrationTemplate, TemplateRef,
};
use http::StatusCode;
use serde_json::{Map, Value, json};

const READ: &str = "provision-manager-api:read";
const WRITE: &str = "provision-manager-api:write";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method, path, scope, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::Fabric,
        method,
        path,
        prefixes: PROVISION_MANAGER,
        access: Access::Scope(scope, Provisioner::Listed),
        handler,
    };
    vec![
        route(Verb::Get, "/activity-definitions", READ, |app, request| Box::pin(list_activities(app, request))),
        route(Verb::Post, "/activity-definitions", WRITE, |app, request| Box::pin(define_activity(app, request))),
        route(Verb::Delete, "/activity-definitions/{type}", WRITE, |app, request| Box::pin(remove_activity(app, request))),
        route(Verb::Get, "/orchestration-definitions", READ, |app, request| Box::pin(list_definitions(app, request))),
        route(Verb::Post, "/orchestration-definitions", WRITE, |app, request| Box::pin(define(app, request))),
        route(Verb::Get, "/orchestration-definitions/{template}", READ, |app, request| Box::pin(get_definitions(app, request))),
        route(Verb::Delete, "/orchestration-definitions/{template}", WRITE, |app, request| Box::pin(remove_template(app, request))),
        route(Verb::Post, "/orchestrations", WRITE, |app, request| Box::pin(start(app, request))),
        route(Verb::Query, "/orchestrations/query", READ, |app, request| Box::pin(query_orchestrations(app, request))),
        route(Verb::Get, "/orchestrations/{orchestration}", READ, |app, request| Box::pin(get_orchestration(app, request))),
    ]
}

async fn ask(app: &App, request: &Request, command: registry::Command) -> Result<registry::Reply, ApiError> {
    registry::ask(&app.services, command, request.call()?).await.map_err(from_agent)
}

async fn list_activities(app: App, _request: Request) -> Result<Reply, ApiError> {
    let state = registry::snapshot(&app.services).await.map_err(from_agent)?;
    Reply::ok(&state.activities.values().collect::<Vec<_>>())
}

async fn define_activity(app: App, request: Request) -> Result<Reply, ApiError> {
    let definition: ActivityDefinition = request.json()?;
    ask(&app, &request, registry::Command::DefineActivity(definition)).await?;
    Ok(Reply::empty(StatusCode::CREATED))
}

async fn remove_activity(app: App, request: Request) -> Result<Reply, ApiError> {
    let name: ActivityType = request.id("type")?;
    ask(&app, &request, registry::Command::RemoveActivity(name)).await?;
    Ok(Reply::empty(StatusCode::OK))
}

async fn list_definitions(app: App, _request: Request) -> Result<Reply, ApiError> {
    let state = registry::snapshot(&app.services).await.map_err(from_agent)?;
    Reply::ok(&state.definitions(None))
}

async fn get_definitions(app: App, request: Request) -> Result<Reply, ApiError> {
    let template: TemplateRef = request.id("template")?;
    let state = registry::snapshot(&app.services).await.map_err(from_agent)?;
    if !state.templates.contains_key(&template) {
        return Err(ApiError::not_found(format!("the orchestration template {template} does not exist")));
    }
    Reply::ok(&state.definitions(Some(&template)))
}

async fn define(app: App, request: Request) -> Result<Reply, ApiError> {
    let template: OrchestrationTemplate = request.json()?;
    let description = template.description.clone();
    match ask(&app, &request, registry::Command::Define(template)).await? {
        registry::Reply::Template(id) => Reply::json(StatusCode::CREATED, &json!({"id": id, "description": description})),
        registry::Reply::Done | registry::Reply::Cell(_) | registry::Reply::Profile(_) => Err(mismatch()),
    }
}

async fn remove_template(app: App, request: Request) -> Result<Reply, ApiError> {
    let template: TemplateRef = request.id("template")?;
    ask(&app, &request, registry::Command::RemoveTemplate(template)).await?;
    Ok(Reply::empty(StatusCode::OK))
}

async fn start(app: App, request: Request) -> Result<Reply, ApiError> {
    let call = request.call()?;
    let mut body: Map<String, Value> = request.json()?;
    if body.get("id").is_none_or(|id| id.is_null() || id == "") {
        body.insert("id".to_owned(), json!(operations::orchestration_id(&call)));
    }
    let manifest: OrchestrationManifest =
        serde_json::from_value(Value::Object(body)).map_err(|e| ApiError::invalid(format!("malformed body: {e}")))?;
    let asker = match request.principal.as_ref().map(|principal| principal.role) {
        Some(Role::Admin) => Asker::Admin,
        Some(Role::Provisioner | Role::Participant) | None => Asker::Provisioner,
    };
    let started = operations::start_orchestration(&app.services, manifest, asker, call).await.map_err(from_operation)?;
    Reply::json(StatusCode::ACCEPTED, &started)
}

async fn query_orchestrations(app: App, request: Request) -> Result<Reply, ApiError> {
    query(&app, &request, Kind::Orchestration).await
}

async fn get_orchestration(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: OrchestrationId = request.id("orchestration")?;
    let missing = || ApiError::not_found(format!("the orchestration {id} does not exist"));
    match app.services.cluster.read::<OrchestrationAgent, _>(&Address::of::<OrchestrationAgent>(&id), |state| state.view()).await {
        Ok(found) => Reply::ok(&found.ok_or_else(missing)?),
        Err(AskError::NotRegistered) => Err(missing()),
        Err(error) => Err(from_agent(error)),
    }
}
