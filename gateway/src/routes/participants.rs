//! Participant contexts, their configuration and their profiles (Management API).

use super::{
    control_plane::{address, ask, ask_of, body, created, found, installation_route, snapshot},
    paging::TOTAL,
};
use crate::{
    App,
    http::{Access, ApiError, Provisioner::Listed, Reply, Request, Route, Verb},
};
use cellspace_actors::{
    control_plane::{
        ControlPlane, ControlPlaneState, Participant, listing,
        participant::{Command, NewParticipant},
    },
    derived_id::id_of,
};
use cellspace_cluster::Address;
use cellspace_schemas::{
    ParticipantContextId, QuerySpec,
    fabric::Page,
    management::{AssociateDataspaceProfile, DataspaceProfile, ParticipantContextBody, ParticipantContextConfig, envelope::with_context},
};
use http::header;
use serde_json::{Value, json};
use std::time::Duration;

const ADMIN: Access = Access::Scope("management-api:admin", Listed);
/// Participant contexts of one page at most: the control plane of each is asked.
const MAX_LISTED: usize = 1_000;
/// Ids drawn until one is served by this node: about as many as there are nodes are needed.
const DRAWN: usize = 1_000;
/// How long a deletion waits for open processes to end; they do so without it too.
const LEAVE: Duration = Duration::from_secs(10);
const READ_PROFILES: Access = Access::Scope("management-api:profiles:read", Listed);

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const ONE: &str = "/participants/{participant}";
    const CONFIG: &str = "/participants/{participant}/config";
    const PROFILES: &str = "/participants/{participant}/profiles";
    vec![
        installation_route(Verb::Post, "/participants", ADMIN, |app, request| Box::pin(create(app, request))),
        installation_route(Verb::Get, "/participants", ADMIN, |app, request| Box::pin(list(app, request))),
        installation_route(Verb::Get, ONE, ADMIN, |app, request| Box::pin(get(app, request))),
        installation_route(Verb::Put, ONE, ADMIN, |app, request| Box::pin(update(app, request))),
        installation_route(Verb::Delete, ONE, ADMIN, |app, request| Box::pin(delete(app, request))),
        installation_route(Verb::Put, CONFIG, ADMIN, |app, request| Box::pin(replace_config(app, request))),
        installation_route(Verb::Patch, CONFIG, ADMIN, |app, request| Box::pin(merge_config(app, request))),
        installation_route(Verb::Get, CONFIG, ADMIN, |app, request| Box::pin(get_config(app, request))),
        installation_route(Verb::Get, PROFILES, READ_PROFILES, |app, request| Box::pin(get_profiles(app, request))),
        installation_route(Verb::Put, PROFILES, ADMIN, |app, request| Box::pin(associate_profiles(app, request))),
    ]
}

fn new_participant(body: ParticipantContextBody, id: ParticipantContextId) -> NewParticipant {
    let ParticipantContextBody { id: _, identity, state, properties } = body;
    NewParticipant { id, identity, state, properties }
}

fn to_json(participant: &Participant) -> Value {
    json!({
        "@type": "ParticipantContext",
        "@id": participant.id.as_str(),
        "identity": participant.identity.as_str(),
        "state": participant.state.as_str(),
        "properties": participant.properties,
        "createdAt": participant.created_at.millis(),
    })
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let new = body(&request, ParticipantContextBody::from_json)?;
    let principal = request.principal.as_ref().ok_or_else(|| ApiError::internal("a route without a caller"))?;
    // A repeat under the same key must reach the participant context that the first call made.
    let call = request.call()?;
    let drawn = || ParticipantContextId::from_uuid(id_of("participant-context", &call));
    let served = |id: &ParticipantContextId| !app.services.cluster.is_elsewhere(&id.into());
    // Without a key another node would draw another one: it is one that this node serves.
    let fresh = || match &call.idempotency {
        None => (0..DRAWN).map(|_| drawn()).find(served).unwrap_or_else(drawn),
        Some(_) => drawn(),
    };
    let id = new.id.clone().or_else(|| principal.participant.clone()).unwrap_or_else(fresh);
    principal.may_create(&id)?;
    request.is_of(&app, &id).await?;
    let command = Command::Create(new_participant(new, id.clone()));
    created(ask_of(&app, &request, &Address::of::<ControlPlane>(&id), command).await?)
}

async fn list(app: App, request: Request) -> Result<Reply, ApiError> {
    let QuerySpec { offset, limit, .. } = QuerySpec::from_query(&request.query)?;
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let page = Page::new(number(offset), number(limit.min(MAX_LISTED))).map_err(|error| ApiError::invalid(error.to_string()))?;
    let (found, total) = listing::participants(&app.services, page).await.map_err(ApiError::later)?;
    let reply = Reply::ok(&found.iter().map(|participant| with_context(to_json(participant))).collect::<Vec<_>>())?;
    Ok(reply.header(header::LINK, &page.links(&request.path, total)).header(TOTAL, &total.to_string()))
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    found(state.participant.as_deref().map(to_json), "participant context", request.param("participant")?)
}

/// Which one is changed is what the body says, as with the peers; without an id there it is that of the path.
async fn update(app: App, request: Request) -> Result<Reply, ApiError> {
    let new = body(&request, ParticipantContextBody::from_json)?;
    let principal = request.principal.as_ref().ok_or_else(|| ApiError::internal("a route without a caller"))?;
    let id = new.id.clone().map_or_else(|| request.id("participant"), Ok)?;
    principal.may_change(&id)?;
    request.is_of(&app, &id).await?;
    let command = Command::Update(new_participant(new, id.clone()));
    ask_of(&app, &request, &Address::of::<ControlPlane>(&id), command).await?;
    Ok(Reply::no_content())
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::Delete).await?;
    // Whoever removes its keys next takes the means to tell its counterparties.
    let at_rest = |state: &ControlPlaneState| state.is_at_rest().then_some(());
    if let Ok(None) | Err(_) = app.services.cluster.wait::<ControlPlane, _>(&address(&request)?, LEAVE, at_rest).await {
        tracing::warn!(
            category = "app",
            vpa = request.param("participant")?,
            action = "participant.leaving",
            "processes are still being ended"
        );
    }
    Ok(Reply::no_content())
}

async fn replace_config(app: App, request: Request) -> Result<Reply, ApiError> {
    let config = body(&request, ParticipantContextConfig::from_json)?;
    ask(&app, &request, Command::ReplaceConfig(config)).await?;
    Ok(Reply::no_content())
}

async fn merge_config(app: App, request: Request) -> Result<Reply, ApiError> {
    let config = body(&request, ParticipantContextConfig::from_json)?;
    ask(&app, &request, Command::MergeConfig(config)).await?;
    Ok(Reply::no_content())
}

async fn get_config(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    found(state.participant.as_ref().map(|p| p.config.to_json()), "participant context", request.param("participant")?)
}

async fn get_profiles(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    let settings = app.services.settings.load();
    let own = state.participant.as_ref().map(|participant| participant.profiles(&settings)).unwrap_or_default();
    let known: Vec<Value> =
        own.iter().filter_map(|name| settings.profiles.get(name)).map(DataspaceProfile::to_json).map(with_context).collect();
    Reply::ok(&known)
}

async fn associate_profiles(app: App, request: Request) -> Result<Reply, ApiError> {
    let AssociateDataspaceProfile { profiles } = body(&request, AssociateDataspaceProfile::from_json)?;
    let settings = app.services.settings.load();
    if let Some(unknown) = profiles.iter().find(|name| !settings.profiles.contains_key(*name)) {
        return Err(ApiError::invalid(format!("the dataspace profile {unknown} does not exist: create it first")));
    }
    ask(&app, &request, Command::AssociateProfiles(profiles)).await?;
    Ok(Reply::no_content())
}
