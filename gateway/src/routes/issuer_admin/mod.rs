//! Issuer admin API: holders, attestations, credential definitions, credentials and their status, issuance processes.

mod attestations;
mod credentials;
mod definitions;
mod holders;
mod processes;
#[cfg(test)]
mod tests;

use super::{paging, prefixes::ISSUER_ADMIN};
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Provisioner, Reply, Request, Route, Verb, route::Handler},
};
use attestations::{create_attestation, delete_attestation, query_attestations};
use cellspace_actors::issuer::{
    Command, Issuer, IssuerState, Refusal, admin::Command as Admin, agent::require_context, status_list::StatusCommand,
};
use cellspace_cluster::{Address, AskError, PrepareError};
use cellspace_schemas::{ParticipantContextId, issuer::admin::ReasonBody, query_spec::PathRules};
use credentials::{change_status, credential_status, offer, query_credentials};
use definitions::{create_definition, delete_definition, get_definition, query_definitions, update_definition};
use holders::{create_holder, delete_holder, get_holder, query_holders, update_holder};
use http::{StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use processes::{approve, get_process, query_processes, reject};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    // Agents register holders; everything else is the issuer's own business.
    const HOLDERS_READ: Access = Access::Scope("issuer-admin-api:holders:read", Provisioner::Listed);
    const HOLDERS_WRITE: Access = Access::Scope("issuer-admin-api:holders:write", Provisioner::Listed);
    const ATTESTATIONS_READ: Access = Access::Scope("issuer-admin-api:attestations:read", Provisioner::Denied);
    const ATTESTATIONS_WRITE: Access = Access::Scope("issuer-admin-api:attestations:write", Provisioner::Denied);
    const DEFINITIONS_READ: Access = Access::Scope("issuer-admin-api:credentialdefinitions:read", Provisioner::Denied);
    const DEFINITIONS_WRITE: Access = Access::Scope("issuer-admin-api:credentialdefinitions:write", Provisioner::Denied);
    const CREDENTIALS_READ: Access = Access::Scope("issuer-admin-api:credentials:read", Provisioner::Denied);
    const CREDENTIALS_WRITE: Access = Access::Scope("issuer-admin-api:credentials:write", Provisioner::Denied);
    const PROCESSES_READ: Access = Access::Scope("issuer-admin-api:issuanceprocesses:read", Provisioner::Denied);
    const PROCESSES_WRITE: Access = Access::Scope("issuer-admin-api:issuanceprocesses:write", Provisioner::Denied);
    let route = |method, path, access, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::IssuerAdmin,
        method,
        path,
        prefixes: ISSUER_ADMIN,
        access,
        handler,
    };
    vec![
        route(Verb::Post, "/participants/{participant}/holders", HOLDERS_WRITE, |a, r| Box::pin(create_holder(a, r))),
        route(Verb::Put, "/participants/{participant}/holders", HOLDERS_WRITE, |a, r| Box::pin(update_holder(a, r))),
        route(Verb::Query, "/participants/{participant}/holders/query", HOLDERS_READ, |a, r| Box::pin(query_holders(a, r))),
        route(Verb::Get, "/participants/{participant}/holders/{holder}", HOLDERS_READ, |a, r| Box::pin(get_holder(a, r))),
        route(Verb::Delete, "/participants/{participant}/holders/{holder}", HOLDERS_WRITE, |a, r| Box::pin(delete_holder(a, r))),
        route(Verb::Post, "/participants/{participant}/attestations", ATTESTATIONS_WRITE, |a, r| Box::pin(create_attestation(a, r))),
        route(Verb::Query, "/participants/{participant}/attestations/query", ATTESTATIONS_READ, |a, r| Box::pin(query_attestations(a, r))),
        route(Verb::Delete, "/participants/{participant}/attestations/{attestation}", ATTESTATIONS_WRITE, |a, r| {
            Box::pin(delete_attestation(a, r))
        }),
        route(Verb::Post, "/participants/{participant}/credentialdefinitions", DEFINITIONS_WRITE, |a, r| Box::pin(create_definition(a, r))),
        route(Verb::Put, "/participants/{participant}/credentialdefinitions", DEFINITIONS_WRITE, |a, r| Box::pin(update_definition(a, r))),
        route(Verb::Query, "/participants/{participant}/credentialdefinitions/query", DEFINITIONS_READ, |a, r| {
            Box::pin(query_definitions(a, r))
        }),
        route(Verb::Get, "/participants/{participant}/credentialdefinitions/{definition}", DEFINITIONS_READ, |a, r| {
            Box::pin(get_definition(a, r))
        }),
        route(Verb::Delete, "/participants/{participant}/credentialdefinitions/{definition}", DEFINITIONS_WRITE, |a, r| {
            Box::pin(delete_definition(a, r))
        }),
        route(Verb::Query, "/participants/{participant}/credentials/query", CREDENTIALS_READ, |a, r| Box::pin(query_credentials(a, r))),
        route(Verb::Post, "/participants/{participant}/credentials/offer", CREDENTIALS_WRITE, |a, r| Box::pin(offer(a, r))),
        route(Verb::Post, "/participants/{participant}/credentials/{credential}/revoke", CREDENTIALS_WRITE, |a, r| {
            Box::pin(change_status(a, r, StatusCommand::Revoke))
        }),
        route(Verb::Post, "/participants/{participant}/credentials/{credential}/suspend", CREDENTIALS_WRITE, |a, r| {
            Box::pin(change_status(a, r, StatusCommand::Suspend))
        }),
        route(Verb::Post, "/participants/{participant}/credentials/{credential}/resume", CREDENTIALS_WRITE, |a, r| {
            Box::pin(change_status(a, r, StatusCommand::Resume))
        }),
        route(Verb::Get, "/participants/{participant}/credentials/{credential}/status", CREDENTIALS_READ, |a, r| {
            Box::pin(credential_status(a, r))
        }),
        route(Verb::Query, "/participants/{participant}/issuanceprocesses/query", PROCESSES_READ, |a, r| Box::pin(query_processes(a, r))),
        route(Verb::Get, "/participants/{participant}/issuanceprocesses/{process}", PROCESSES_READ, |a, r| Box::pin(get_process(a, r))),
        route(Verb::Post, "/participants/{participant}/issuanceprocesses/{process}/approve", PROCESSES_WRITE, |a, r| {
            Box::pin(approve(a, r))
        }),
        route(Verb::Post, "/participants/{participant}/issuanceprocesses/{process}/reject", PROCESSES_WRITE, |a, r| Box::pin(reject(a, r))),
    ]
}

/// What a refusal of the issuer is for its APIs.
pub(super) fn refused(refusal: Refusal) -> ApiError {
    let kind = match &refusal {
        Refusal::NoIssuer | Refusal::NotFound(..) => ErrorKind::NotFound,
        Refusal::Invalid(_) => ErrorKind::Invalid,
        Refusal::Exists(..) | Refusal::Conflict(_) => ErrorKind::Conflict,
        Refusal::Unauthorized(_) | Refusal::UnknownHolder => ErrorKind::Unauthenticated,
        Refusal::NotEntitled(_) => ErrorKind::NotAuthorized,
        Refusal::TooMany | Refusal::NoRoom => ErrorKind::TooMany,
        Refusal::NotNow(_) => ErrorKind::Unavailable,
    };
    ApiError::new(kind, refusal.to_string())
}

fn issuer(request: &Request) -> Result<ParticipantContextId, ApiError> {
    request.id("participant")
}

async fn ask(app: &App, request: &Request, command: Admin) -> Result<(), ApiError> {
    tell(app, request, Command::Admin(command)).await
}

async fn tell(app: &App, request: &Request, command: Command) -> Result<(), ApiError> {
    let address = Address::of::<Issuer>(&issuer(request)?);
    let answer = app.services.cluster.ask::<Issuer>(&address, command, request.call()?).await;
    answer.map(drop).map_err(|error| ApiError::from_ask(error, refused))
}

/// The issuer's state, for as long as its participant context is there; one that was told nothing yet is empty.
async fn snapshot(app: &App, request: &Request) -> Result<Arc<IssuerState>, ApiError> {
    require_context(&app.services, &issuer(request)?).await.map_err(|error| match error {
        PrepareError::Refused(refusal) => refused(refusal),
        PrepareError::Unavailable(reason) => ApiError::later(reason),
    })?;
    match app.services.cluster.snapshot::<Issuer>(&Address::of::<Issuer>(&issuer(request)?)).await {
        Ok(state) => Ok(state),
        Err(AskError::NotRegistered) => Ok(Arc::default()),
        Err(other) => Err(ApiError::from_ask(other, refused)),
    }
}

/// 201 with the path of what was made.
fn created(request: &Request, resource: &str, id: &str) -> Result<Reply, ApiError> {
    let prefix = ISSUER_ADMIN.first().copied().unwrap_or_default();
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let location = format!("{prefix}/participants/{}/{resource}/{}", encode(issuer(request)?.as_str()), encode(id));
    Ok(Reply::empty(StatusCode::CREATED).header(header::LOCATION, &location))
}

fn missing(what: &str, id: &str) -> ApiError {
    ApiError::not_found(format!("{what} {id:?} does not exist"))
}

/// A page of views, as the query in the body asks.
fn page<T, V: Serialize>(
    request: &Request,
    rules: &PathRules,
    items: impl Iterator<Item = T>,
    id: impl Fn(&T) -> &str,
    fields: impl Fn(&T) -> Value,
    view: impl Fn(T) -> V,
) -> Result<Reply, ApiError> {
    let query = paging::plain_query(request, rules)?;
    paging::listed(request, &query, query.page(items, fields, id), view)
}

/// The fields of an answer, for queries over it.
fn fields(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

/// The reason in the body, if there is one.
fn reason(request: &Request) -> Result<Option<String>, ApiError> {
    let ReasonBody { reason } = if request.body.is_empty() { ReasonBody::default() } else { request.json()? };
    Ok(reason)
}
