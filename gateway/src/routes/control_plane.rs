//! What the routes of a participant's control plane share: asking its agent, reading its state, queries, refusals.

use super::{
    paging,
    prefixes::{MANAGEMENT, MANAGEMENT_PARTICIPANT},
};
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::{
    ControlPlane,
    control_plane::{
        ControlPlaneState,
        agent::{self, Created, Refusal},
        archive::{
            self, Field, Filed, Key, Sought,
            list::{self, Asked, ListError, Listed},
        },
        data_planes, dsp, negotiation, participant, resources, secrets, transfer,
    },
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    ParticipantContextId, Pid, ProfileId, QuerySpec,
    management::{
        CallbackAddress,
        envelope::{id_response, parse_json, with_context},
    },
    query_spec::{Criterion, Operator, PathRules},
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

/// The control plane that the path names.
pub(super) fn address(request: &Request) -> Result<Address, ApiError> {
    Ok(Address::of::<ControlPlane>(&request.id::<ParticipantContextId>("participant")?))
}

/// Asks the participant's control plane.
pub(super) async fn ask(app: &App, request: &Request, command: impl Into<agent::Command>) -> Result<agent::Reply, ApiError> {
    ask_of(app, request, &address(request)?, command).await
}

/// As [`ask`], for a command that has an id of its own to be known again by.
pub(super) async fn ask_once(app: &App, request: &Request, command: impl Into<agent::Command>) -> Result<agent::Reply, ApiError> {
    app.services.cluster.ask::<ControlPlane>(&address(request)?, command.into(), request.call_without_key()).await.map_err(told)
}

/// As [`ask`], of a control plane that the path does not name.
pub(super) async fn ask_of(
    app: &App,
    request: &Request,
    address: &Address,
    command: impl Into<agent::Command>,
) -> Result<agent::Reply, ApiError> {
    app.services.cluster.ask::<ControlPlane>(address, command.into(), request.call()?).await.map_err(told)
}

/// The participant's state as last committed; not found when there is no such participant.
pub(super) async fn snapshot(app: &App, request: &Request) -> Result<Arc<ControlPlaneState>, ApiError> {
    let state = app.services.cluster.snapshot::<ControlPlane>(&address(request)?).await.map_err(told)?;
    if state.participant.is_some() { Ok(state) } else { Err(refused(participant::Refusal::NotFound.into())) }
}

/// A runtime error of a control plane; one that was never made has no participant.
pub(super) fn told(error: AskError<Refusal>) -> ApiError {
    match error {
        AskError::NotRegistered => refused(participant::Refusal::NotFound.into()),
        other => ApiError::from_ask(other, refused),
    }
}

/// Callback addresses of a body, when each may be called from here.
///
/// # Errors
/// Every one that may not.
pub(super) fn callbacks(app: &App, asked: Vec<CallbackAddress>) -> Result<Vec<CallbackAddress>, ApiError> {
    let wrong = asked.iter().enumerate().filter_map(|(n, callback)| {
        let forbidden = app.services.http.check_target(&callback.uri).err()?;
        Some(Violation::new(format!("$.callbackAddresses[{n}].uri"), forbidden.to_string()))
    });
    let wrong: Vec<Violation> = wrong.collect();
    if wrong.is_empty() { Ok(asked) } else { Err(wrong.into()) }
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

/// Answers a query over `items`, which come in the order of their ids; compared in the form that they are shown in, and by whose they are.
pub(super) fn query<T>(
    request: &Request,
    rules: &PathRules,
    items: impl IntoIterator<Item = T>,
    id: impl Fn(&T) -> &str,
    view: impl Fn(&T) -> Value,
) -> Result<Reply, ApiError> {
    answered(request, &paging::query(request, rules)?, items, id, view)
}

/// As [`query`], once it was read.
pub(super) fn answered<T>(
    request: &Request,
    query: &QuerySpec,
    items: impl IntoIterator<Item = T>,
    id: impl Fn(&T) -> &str,
    view: impl Fn(&T) -> Value,
) -> Result<Reply, ApiError> {
    let participant = request.params.get("participant");
    let fields = |item: &T| {
        let mut fields = view(item);
        if let (Some(participant), Value::Object(fields)) = (participant, &mut fields) {
            fields.insert("participantContextId".to_owned(), participant.into());
        }
        fields
    };
    page(request, query, (items, true, false), id, fields, &view)
}

/// One found thing, or 404.
pub(super) fn found(value: Option<Value>, what: &str, id: impl std::fmt::Display) -> Result<Reply, ApiError> {
    value.map_or_else(|| Err(ApiError::not_found(format!("{what} {id} does not exist"))), |value| Reply::ok(&with_context(value)))
}

/// The profile that a request means.
///
/// # Errors
/// Invalid request when the participant is not associated with it, or there is more than one to choose from.
pub(super) async fn profile(app: &App, request: &Request, asked: Option<&ProfileId>) -> Result<ProfileId, ApiError> {
    let state = snapshot(app, request).await?;
    let participant = state.active().map_err(|refusal| refused(refusal.into()))?;
    participant.profile_for(asked, &app.services.settings.load()).map_err(ApiError::invalid)
}

/// 404 for something under one's own path.
pub(super) fn not_found(what: &str, id: &str) -> ApiError {
    ApiError::not_found(format!("{what} {id} does not exist"))
}

/// The participant's state with the process that `key` leads to, wherever it is kept.
///
/// # Errors
/// Not found when there is no such participant; unavailable when the archive cannot be read.
pub(super) async fn snapshot_with(app: &App, request: &Request, key: Key) -> Result<Arc<ControlPlaneState>, ApiError> {
    let state = snapshot(app, request).await?;
    archive::with(&app.services.cluster, &address(request)?, state, key).await.map_err(ApiError::later)
}

/// Processes that are compared and written on the spot; each costs a little more than other things do.
pub(super) const FEW: usize = 32;

/// Fields whose value leads to one process, and the key that it leads to it by.
pub(super) type Keys = &'static [(&'static str, fn(&str) -> Option<Key>)];

/// Fields of a list that processes are found by, as queries name them.
pub(super) type Fields = &'static [(&'static str, Field)];

/// What the query asks of these fields.
pub(super) fn sought<T: Filed>(query: &QuerySpec, fields: Fields) -> Vec<Sought> {
    let of = |criterion: &Criterion| {
        let (_, field) = fields.iter().find(|(name, _)| criterion.left.names(name))?;
        Sought::of::<T>(*field, criterion)
    };
    query.filter.iter().filter_map(of).collect()
}

/// The processes among which the query looks, wherever they are kept. One that names a process by one of the `keys` looks at that alone, one for a
/// `correlationId` only at what has it, and any other one only at what has all that is sought.
///
/// # Errors
/// Unavailable when the archive cannot be read; invalid when more would have to be sorted than can be.
pub(super) async fn processes<T: Filed>(app: &App, request: &Request, keys: Keys, asked: &Arc<Asked<T>>) -> Result<Listed<T>, ApiError> {
    let (cluster, address, state) = (&app.services.cluster, address(request)?, snapshot(app, request).await?);
    let named = |name: &str| {
        asked.query.filter.iter().find_map(|criterion| {
            let named = criterion.operator == Operator::Equal && criterion.left.names(name);
            criterion.right.as_str().filter(|_| named)
        })
    };
    // Text that can be no id is the id of none.
    if let Some((text, key)) = keys.iter().find_map(|(name, key)| Some((named(name)?, key))) {
        let Some(key) = key(text) else { return Ok(Listed::whole(Vec::new())) };
        let state = archive::with(cluster, &address, state, key.clone()).await.map_err(ApiError::later)?;
        return Ok(Listed::whole(T::at(&state, &key).cloned().into_iter().collect()));
    }
    if let Some(text) = named("correlationId") {
        let Ok(pid) = Pid::new(text) else { return Ok(Listed::whole(Vec::new())) };
        return Ok(Listed::whole(list::correlated(cluster, &address, &state, &pid).await.map_err(ApiError::later)?));
    }
    list::all(cluster, &address, &state, asked).await.map_err(|error| match error {
        ListError::Store(error) => ApiError::later(error),
        ListError::TooMany => ApiError::invalid(error.to_string()),
    })
}

/// The page of `items` that the query asks for. `whole` says whether these are all that there are, `judged` whether each is known to meet the query.
///
/// # Errors
/// Internal error when it cannot be written.
pub(super) fn page<T>(
    request: &Request,
    query: &QuerySpec,
    (items, whole, judged): (impl IntoIterator<Item = T>, bool, bool),
    id: impl Fn(&T) -> &str,
    fields: impl Fn(&T) -> Value,
    view: impl Fn(&T) -> Value,
) -> Result<Reply, ApiError> {
    let mut page = if judged { query.unfiltered().page(items, fields, id) } else { query.page(items, fields, id) };
    page.total = page.total.filter(|_| whole);
    paging::listed(request, query, page, |item| with_context(view(&item)))
}

/// What a refusal of the control plane is for its clients.
pub(super) fn refused(refusal: Refusal) -> ApiError {
    let kind = match &refusal {
        Refusal::Participant(refusal) => match refusal {
            participant::Refusal::NotFound => ErrorKind::NotFound,
            participant::Refusal::NotActive => ErrorKind::NotAuthorized,
            participant::Refusal::Exists(_) | participant::Refusal::Deleted(_) => ErrorKind::Conflict,
            participant::Refusal::InUse => ErrorKind::Conflict,
            participant::Refusal::Limit { .. } | participant::Refusal::NotServed { .. } | participant::Refusal::OtherIdentity => {
                ErrorKind::Invalid
            }
        },
        Refusal::Message(refusal) => match refusal {
            dsp::Refusal::NotFound => ErrorKind::NotFound,
            dsp::Refusal::Unauthenticated(_) => ErrorKind::Unauthenticated,
            dsp::Refusal::Invalid(_) => ErrorKind::Invalid,
            dsp::Refusal::Changed | dsp::Refusal::NotNow(_) | dsp::Refusal::TooEarly(_) => ErrorKind::Unavailable,
            dsp::Refusal::TooMany => ErrorKind::TooMany,
        },
        Refusal::Negotiation(refusal) => match refusal {
            negotiation::Refusal::NotFound(_) | negotiation::Refusal::NoAgreement(_) => ErrorKind::NotFound,
            negotiation::Refusal::Table(_)
            | negotiation::Refusal::Exists(_)
            | negotiation::Refusal::OtherTerms
            | negotiation::Refusal::PidUsed
            | negotiation::Refusal::AgreementUsed
            | negotiation::Refusal::NotInForce { .. }
            | negotiation::Refusal::NotRemovable { .. } => ErrorKind::Conflict,
            negotiation::Refusal::NoProfile(_)
            | negotiation::Refusal::NoAsset(_)
            | negotiation::Refusal::UnknownOffer
            | negotiation::Refusal::OtherRules
            | negotiation::Refusal::OtherProcess(_)
            | negotiation::Refusal::Malformed(_) => ErrorKind::Invalid,
        },
        Refusal::Transfer(refusal) => match refusal {
            transfer::Refusal::NotFound(_) => ErrorKind::NotFound,
            transfer::Refusal::Table(_) | transfer::Refusal::Exists(_) | transfer::Refusal::PidUsed => ErrorKind::Conflict,
            transfer::Refusal::OtherProfile(_)
            | transfer::Refusal::NoAgreement(_)
            | transfer::Refusal::Unsupported(_)
            | transfer::Refusal::Unmet(_)
            | transfer::Refusal::OtherProcess(_)
            | transfer::Refusal::Malformed(_) => ErrorKind::Invalid,
        },
        Refusal::DataPlanes(refusal) => match refusal {
            data_planes::Refusal::NotFound(_) => ErrorKind::NotFound,
            data_planes::Refusal::InUse(_) | data_planes::Refusal::TooManyInUse => ErrorKind::Conflict,
            data_planes::Refusal::NoAuthorization(_) | data_planes::Refusal::TooMany => ErrorKind::Invalid,
        },
        Refusal::Secrets(refusal) => match refusal {
            secrets::Refusal::NoParticipant | secrets::Refusal::NotFound(_) => ErrorKind::NotFound,
            secrets::Refusal::Exists(_) => ErrorKind::Conflict,
            secrets::Refusal::TooMany => ErrorKind::Invalid,
        },
        Refusal::Resources(refusal) => match refusal {
            resources::Refusal::NotFound(..) => ErrorKind::NotFound,
            resources::Refusal::Exists(..) | resources::Refusal::Referenced { .. } => ErrorKind::Conflict,
            resources::Refusal::Dangling { .. } | resources::Refusal::Limit { .. } => ErrorKind::Invalid,
        },
        Refusal::Mismatch => ErrorKind::Internal,
    };
    ApiError::new(kind, refusal.to_string())
}
