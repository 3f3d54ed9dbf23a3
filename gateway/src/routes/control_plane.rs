//! What the routes of a participant's control plane share: asking its agent, reading its state, queries, refusals.

use super::prefixes::{MANAGEMENT, MANAGEMENT_PARTICIPANT};
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::{
    ControlPlane,
    control_plane::{
        ControlPlaneState,
        agent::{self, Created, Refusal},
        participant, resources,
    },
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    ParticipantContextId, QuerySpec,
    management::envelope::{id_response, parse_json, with_context},
    query_spec::PathRules,
    violation::Violation,
};
use serde_json::Value;
use std::sync::Arc;

/// A route of the Management API below one participant.
pub(super) const fn route(method: Verb, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { listener: Listener::Admin, api: Api::Management, method, path, prefixes: MANAGEMENT_PARTICIPANT, access, handler }
}

/// A route of the Management API about the installation, or about participant contexts themselves.
pub(super) const fn installation_route(method: Verb, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { prefixes: MANAGEMENT, ..route(method, path, access, handler) }
}

fn address(request: &Request) -> Result<Address, ApiError> {
    Ok(Address::of::<ControlPlane>(&request.id::<ParticipantContextId>("participant")?))
}

/// Asks the participant's control plane.
pub(super) async fn ask(app: &App, request: &Request, command: impl Into<agent::Command>) -> Result<agent::Reply, ApiError> {
    ask_of(app, request, &address(request)?, command).await
}

/// As [`ask`], of a control plane that the path does not name.
pub(super) async fn ask_of(
    app: &App,
    request: &Request,
    address: &Address,
    command: impl Into<agent::Command>,
) -> Result<agent::Reply, ApiError> {
    let call = request.call()?;
    let actor = call.actor.clone();
    let reply = app.services.cluster.ask::<ControlPlane>(address, command.into(), call).await.map_err(told)?;
    tracing::info!(category = "audit", vpa = %address.owner, action = "management.changed", method = %request.method, path = %request.path, actor);
    Ok(reply)
}

/// The participant's state as last committed; not found when there is no such participant.
pub(super) async fn snapshot(app: &App, request: &Request) -> Result<Arc<ControlPlaneState>, ApiError> {
    let state = app.services.cluster.snapshot::<ControlPlane>(&address(request)?).await.map_err(told)?;
    if state.participant.is_some() { Ok(state) } else { Err(refused(participant::Refusal::NotFound.into())) }
}

/// A runtime error of a control plane; one that was never made has no participant.
fn told(error: AskError<Refusal>) -> ApiError {
    match error {
        AskError::NotRegistered => refused(participant::Refusal::NotFound.into()),
        other => ApiError::from_ask(other, refused),
    }
}

/// The answer to a create.
pub(super) fn created(reply: agent::Reply) -> Result<Reply, ApiError> {
    match reply {
        agent::Reply::Created(Created { id, created_at }) => Reply::ok(&id_response(&id, created_at)),
        other => Err(ApiError::internal(format!("unexpected reply {other:?}"))),
    }
}

/// The body as JSON within the bounds of management bodies, read by a draft's own rules.
pub(super) fn body<T>(request: &Request, read: impl FnOnce(&Value) -> Result<T, Vec<Violation>>) -> Result<T, ApiError> {
    parse_json(&request.body).and_then(|value| read(&value)).map_err(ApiError::from)
}

/// Answers a query over `items`.
pub(super) fn query<'a, T: 'a>(
    request: &Request,
    rules: &PathRules,
    items: impl IntoIterator<Item = &'a T>,
    view: impl Fn(&T) -> Value,
) -> Result<Reply, ApiError> {
    let spec = QuerySpec::from_body(&request.body, rules).map_err(ApiError::from)?;
    let page = spec.page(items, |item| view(item));
    Reply::ok(&page.into_iter().map(|item| with_context(view(item))).collect::<Vec<_>>())
}

/// One found thing, or 404.
pub(super) fn found(value: Option<Value>, what: &str, id: impl std::fmt::Display) -> Result<Reply, ApiError> {
    value.map_or_else(|| Err(ApiError::not_found(format!("{what} {id} does not exist"))), |value| Reply::ok(&with_context(value)))
}

/// What a refusal of the control plane is for the Management API.
pub(super) fn refused(refusal: Refusal) -> ApiError {
    let kind = match &refusal {
        Refusal::Participant(participant::Refusal::NotFound) => ErrorKind::NotFound,
        Refusal::Participant(participant::Refusal::NotActive) => ErrorKind::NotAuthorized,
        Refusal::Participant(participant::Refusal::Exists(_) | participant::Refusal::Deleted(_)) => ErrorKind::Conflict,
        Refusal::Participant(participant::Refusal::Limit { .. }) => ErrorKind::Invalid,
        Refusal::Resources(resources::Refusal::NotFound(..)) => ErrorKind::NotFound,
        Refusal::Resources(resources::Refusal::Exists(..) | resources::Refusal::Referenced { .. }) => ErrorKind::Conflict,
        Refusal::Resources(resources::Refusal::Limit { .. } | resources::Refusal::Dangling { .. }) => ErrorKind::Invalid,
        Refusal::Negotiation(never) => match *never {},
        Refusal::Transfer(never) => match *never {},
        Refusal::DataPlanes(never) => match *never {},
        Refusal::Mismatch => ErrorKind::Internal,
    };
    ApiError::new(kind, refusal.to_string())
}
