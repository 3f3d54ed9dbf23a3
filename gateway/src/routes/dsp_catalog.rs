//! The catalog protocol and version discovery (DSP 2025-1, HTTPS binding), open to counterparties.

use super::{dsp::is_party, dsp_classic::PATH, prefixes::DSP};
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::{
    control_plane::{
        catalog::{CatalogCall, NotServed, serve_catalog, serve_dataset, served_profiles},
        dsp::Refusal,
    },
    settings::DEFAULT_PROFILE,
};
use cellspace_cluster::PrepareError;
use cellspace_schemas::{AssetId, ParticipantContextId, ProfileId, management::DataspaceProfile};
use http::{StatusCode, header};
use serde_json::{Value, json};

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |api, method, path, handler: Handler| Route {
        listener: Listener::Public,
        api,
        method,
        path,
        prefixes: DSP,
        access: Access::Open,
        handler,
    };
    vec![
        route(Api::DspCatalog, Verb::Query, "/{participant}/{profile}/catalog/request", |app, request| Box::pin(catalog(app, request))),
        route(Api::DspCatalog, Verb::Get, "/{participant}/{profile}/catalog/datasets/{id}", |app, request| Box::pin(dataset(app, request))),
        route(Api::DspVersion, Verb::Get, "/{participant}/.well-known/dspace-version", |app, request| Box::pin(versions(app, request))),
        route(Api::DspVersion, Verb::Get, "/.well-known/dspace-version", |app, _| Box::pin(versions_of_the_only_one(app))),
    ]
}

/// The same answer to everyone who asks for what is not there, not here, or not for them.
fn nothing() -> ApiError {
    ApiError::not_found("not found")
}

async fn party(app: &App, request: &Request) -> Result<ParticipantContextId, ApiError> {
    let participant = request.param("participant")?.parse().map_err(|_| nothing())?;
    if is_party(app, &participant).await? { Ok(participant) } else { Err(nothing()) }
}

async fn target(app: &App, request: &Request) -> Result<(ParticipantContextId, ProfileId), ApiError> {
    let profile = app.services.settings.load().profile_at(request.param("profile")?).cloned().ok_or_else(nothing)?;
    Ok((party(app, request).await?, profile))
}

async fn catalog(app: App, request: Request) -> Result<Reply, ApiError> {
    let (participant, profile) = target(&app, &request).await?;
    let call = CatalogCall { participant: &participant, profile: &profile, token: request.bearer() };
    let continuation = request.query.get("continuationToken").map(String::as_str);
    let answer = serve_catalog(&app.services, call, &request.body, continuation).await.map_err(told)?;
    let mut reply = Reply::bytes(StatusCode::OK, "application/json", answer.body);
    // `previous` is the protocol's word, `prev` that of the registry of link relations.
    let links = [(answer.next.as_ref(), &["next"][..]), (answer.previous.as_ref(), &["previous", "prev"])];
    let links: Vec<String> = links
        .iter()
        .filter_map(|(url, rels)| Some((*url)?).map(|url| rels.iter().map(move |rel| format!("<{url}>; rel=\"{rel}\""))))
        .flatten()
        .collect();
    if !links.is_empty() {
        reply = reply.header(header::LINK, &links.join(", "));
    }
    Ok(reply)
}

async fn dataset(app: App, request: Request) -> Result<Reply, ApiError> {
    let (participant, profile) = target(&app, &request).await?;
    let id: AssetId = request.param("id")?.parse().map_err(|_| nothing())?;
    let call = CatalogCall { participant: &participant, profile: &profile, token: request.bearer() };
    let body = serve_dataset(&app.services, call, &id).await.map_err(told)?;
    Ok(Reply::bytes(StatusCode::OK, "application/json", body))
}

async fn versions(app: App, request: Request) -> Result<Reply, ApiError> {
    let participant = party(&app, &request).await?;
    told_versions(&app, &participant, |profile| profile.path.clone()).await
}

/// What is served at the place that names no participant, by an installation that is there for one.
async fn versions_of_the_only_one(app: App) -> Result<Reply, ApiError> {
    let participant = app.single_participant.clone().ok_or_else(nothing)?;
    if !is_party(&app, &participant).await? {
        return Err(nothing());
    }
    let path = |profile: &DataspaceProfile| match profile.name.as_str() {
        DEFAULT_PROFILE => PATH.to_owned(),
        _ => format!("/{participant}{}", profile.path),
    };
    told_versions(&app, &participant, path).await
}

/// The versions of a participant, with paths below the place where they are told (DSP 2025-1, "Exposure of Versions").
async fn told_versions(
    app: &App,
    participant: &ParticipantContextId,
    path: impl Fn(&DataspaceProfile) -> String,
) -> Result<Reply, ApiError> {
    let served = served_profiles(&app.services, participant).await.map_err(told)?;
    let version = |profile: &DataspaceProfile| {
        json!({"version": profile.version, "path": path(profile), "binding": profile.binding,
            "profile": profile.name.as_str(), "identifierType": "did:web",
            "auth": {"protocol": "DCP", "version": "1.0", "profile": ["vc11-sl2021/jwt", "vc20-bssl/jwt"]}})
    };
    Reply::ok(&json!({"protocolVersions": served.iter().map(version).collect::<Value>()}))
}

fn told(error: NotServed) -> ApiError {
    match error {
        PrepareError::Refused(Refusal::NotFound) => nothing(),
        PrepareError::Refused(Refusal::Unauthenticated(why)) => ApiError::new(ErrorKind::Unauthenticated, why),
        PrepareError::Refused(Refusal::Invalid(why)) => ApiError::invalid(why),
        PrepareError::Refused(refusal @ Refusal::TooMany) => ApiError::new(ErrorKind::TooMany, refusal.to_string()),
        PrepareError::Refused(refusal @ Refusal::TooEarly(_)) => ApiError::not_executed(refusal),
        PrepareError::Refused(refusal @ (Refusal::Changed | Refusal::NotNow(_))) => ApiError::later(refusal),
        // Agents are asked before the token is used up.
        PrepareError::Unavailable(cause) => ApiError { not_executed: true, ..ApiError::not_now(cause) },
    }
}
