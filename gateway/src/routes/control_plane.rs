//! What the routes of a participant's control plane share: asking its agent, reading its state, queries, refusals.

use super::prefixes::MANAGEMENT_PARTICIPANT;
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::{
    ControlPlane,
    control_plane::{
        ControlPlaneState,
        agent::{self, Refusal},
        participant, resources,
    },
};
use cellspace_cluster::Address;
use cellspace_schemas::{
    ParticipantContextId, QuerySpec,
    management::envelope::{parse_json, with_context},
    query_spec::PathRules,
    violation::Violation,
};
use serde_json::Value;
use std::sync::Arc;

/// A route of the Management API below one participant.
pub(super) const fn route(method: Verb, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { listener: Listener::Admin, api: Api::Management, method, path, prefixes: MANAGEMENT_PARTICIPANT, access, handler }
}

fn address(request: &Request) -> Result<Address, ApiError> {
    Ok(Address::of::<ControlPlane>(&request.id::<ParticipantContextId>("participant")?))
}

/// Asks the participant's control plane.
pub(super) async fn ask(app: &App, request: &Request, command: impl Into<agent::Command>) -> Result<agent::Reply, ApiError> {
    let answer = app.services.cluster.ask::<ControlPlane>(&address(request)?, command.into(), request.call()?).await;
    answer.map_err(|error| ApiError::from_ask(error, refused))
}

/// The participant's state as last committed.
pub(super) async fn snapshot(app: &App, request: &Request) -> Result<Arc<ControlPlaneState>, ApiError> {
    let snapshot = app.services.cluster.snapshot::<ControlPlane>(&address(request)?).await;
    snapshot.map_err(|error| ApiError::from_ask(error, refused))
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
        Refusal::Participant(participant::Refusal::Exists(_) | participant::Refusal::Deleted(_)) => ErrorKind::Conflict,
        Refusal::Resources(resources::Refusal::NotFound(..)) => ErrorKind::NotFound,
        Refusal::Resources(resources::Refusal::Exists(..) | resources::Refusal::Referenced { .. }) => ErrorKind::Conflict,
        _ => ErrorKind::Invalid,
    };
    ApiError::new(kind, refusal.to_string())
}
