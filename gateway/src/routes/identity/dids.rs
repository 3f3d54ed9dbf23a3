//! DID documents.

use super::{super::paging, Listed, ask, contexts, read, route};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::credential_service::{
    Command,
    context::{self, ServiceChange},
};
use cellspace_schemas::{
    Did,
    dcp::{DidDocument, Service},
    identity::DidRequest,
    query_spec::PathRules,
};
use http::StatusCode;

pub(super) fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("identity-api:dids:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("identity-api:dids:write", Provisioner::Denied);
    const ENDPOINTS: &str = "/participants/{participant}/dids/{did}/endpoints";
    const ALL: Access = Access::Scope("identity-api:admin", Provisioner::Denied);
    vec![
        route(Verb::Get, "/dids", ALL, |app, request| Box::pin(list_all(app, request))),
        route(Verb::Query, "/participants/{participant}/dids/query", READ, |app, request| Box::pin(query(app, request))),
        route(Verb::Post, "/participants/{participant}/dids/state", READ, |app, request| Box::pin(state(app, request))),
        route(Verb::Post, "/participants/{participant}/dids/publish", WRITE, |app, request| Box::pin(publish(app, request, true))),
        route(Verb::Post, "/participants/{participant}/dids/unpublish", WRITE, |app, request| Box::pin(publish(app, request, false))),
        route(Verb::Post, ENDPOINTS, WRITE, |app, request| Box::pin(add_endpoint(app, request))),
        route(Verb::Patch, ENDPOINTS, WRITE, |app, request| Box::pin(replace_endpoint(app, request))),
        route(Verb::Delete, ENDPOINTS, WRITE, |app, request| Box::pin(remove_endpoint(app, request))),
    ]
}

/// Fields of a DID document that a query may name.
const FIELDS: PathRules = PathRules { fields: &["id", "service.*", "verificationMethod.*"], free_properties: false };

async fn query(app: App, request: Request) -> Result<Reply, ApiError> {
    let query = paging::plain_query(&request, &FIELDS)?;
    let document = read(&app, &request, |state| state.context.as_ref().map(|_| state.did_document())).await?;
    let view = |document: &DidDocument| serde_json::to_value(document).unwrap_or_default();
    paging::listed(&request, &query, query.page(document, view, |document| document.id.as_str()), |document| document)
}

async fn list_all(app: App, request: Request) -> Result<Reply, ApiError> {
    contexts(&app, &request, Listed::Document).await
}

async fn state(app: App, request: Request) -> Result<Reply, ApiError> {
    let DidRequest { did } = request.json()?;
    let state = read(&app, &request, |state| Some(state.context.as_ref().filter(|c| c.did == did)?.did_state)).await?;
    Ok(Reply::bytes(StatusCode::OK, "text/plain; charset=utf-8", state.name()))
}

async fn publish(app: App, request: Request, wanted: bool) -> Result<Reply, ApiError> {
    let DidRequest { did } = request.json()?;
    change(&app, &request, context::Command::Publish(did, wanted)).await
}

async fn add_endpoint(app: App, request: Request) -> Result<Reply, ApiError> {
    let service = service(&request)?;
    change_service(&app, &request, ServiceChange::Add(service)).await
}

async fn replace_endpoint(app: App, request: Request) -> Result<Reply, ApiError> {
    let service = service(&request)?;
    change_service(&app, &request, ServiceChange::Replace(service)).await
}

async fn remove_endpoint(app: App, request: Request) -> Result<Reply, ApiError> {
    let id = request.query.get("serviceId").cloned().ok_or_else(|| ApiError::invalid("serviceId is required"))?;
    change_service(&app, &request, ServiceChange::Remove(id)).await
}

/// With `autoPublish=true` the document is published, too.
async fn change_service(app: &App, request: &Request, service: ServiceChange) -> Result<Reply, ApiError> {
    let publish = match request.query.get("autoPublish").map(String::as_str) {
        Some("true") => true,
        Some("false") | None => false,
        Some(_) => return Err(ApiError::invalid("autoPublish must be true or false")),
    };
    change(app, request, context::Command::Service { did: did(request)?, change: service, publish }).await
}

fn did(request: &Request) -> Result<Did, ApiError> {
    request.id("did")
}

fn service(request: &Request) -> Result<Service, ApiError> {
    let service: Service = request.json()?;
    check_service(&service)?;
    Ok(service)
}

/// A service needs an id, a type and an endpoint of bounded length.
pub(super) fn check_service(service: &Service) -> Result<(), ApiError> {
    const MAX_BYTES: usize = 2_048;
    let text = |value: &serde_json::Value| value.as_str().is_some_and(|text| (1..=MAX_BYTES).contains(&text.len()));
    if (1..=MAX_BYTES).contains(&service.id.len()) && text(&service.service_type) && text(&service.service_endpoint) {
        Ok(())
    } else {
        Err(ApiError::invalid(format!("a service needs id, type and serviceEndpoint, texts of at most {MAX_BYTES} bytes")))
    }
}

async fn change(app: &App, request: &Request, command: context::Command) -> Result<Reply, ApiError> {
    ask(app, request, Command::Context(command)).await?;
    Ok(Reply::no_content())
}
