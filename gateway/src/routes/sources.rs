//! Named sources of a participant's data plane.

use super::{dataflows::refused, prefixes::SOURCES};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::data_plane::{Command, DataPlane, Refusal, Source};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{ParticipantContextId, SourceName, source::SourceDocument};
use std::sync::Arc;

const PATH: &str = "/participants/{participant}/sources/{name}";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method, scope, handler| Route {
        listener: Listener::Admin,
        api: Api::Dps,
        method,
        path: PATH,
        prefixes: SOURCES,
        access: Access::Scope(scope, Provisioner::Denied),
        handler,
    };
    vec![
        route(Verb::Put, "siglet-mgmt-api:write", |app, request| Box::pin(put(app, request))),
        route(Verb::Get, "siglet-mgmt-api:read", |app, request| Box::pin(get(app, request))),
        route(Verb::Delete, "siglet-mgmt-api:write", |app, request| Box::pin(delete(app, request))),
    ]
}

async fn put(app: App, request: Request) -> Result<Reply, ApiError> {
    let (address, name) = target(&request)?;
    let document: SourceDocument = request.json()?;
    let command = Command::PutSource { name: name.clone(), document: Box::new(document) };
    // Without the key, of which a hash of the request with its secret would be kept: a repeat puts the same source in its place.
    app.services
        .cluster
        .ask::<DataPlane>(&address, command, request.call_without_key())
        .await
        .map_err(|e| ApiError::from_ask(e, refused))?;
    let source = find(&app, &address, &name).await.map_err(ApiError::of_a_step)?;
    Reply::ok(&source.document(name))
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let (address, name) = target(&request)?;
    let source = find(&app, &address, &name).await?;
    Reply::ok(&source.document(name))
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    let (address, name) = target(&request)?;
    let deleted = app.services.cluster.ask::<DataPlane>(&address, Command::DeleteSource(name.clone()), request.call()?).await;
    match deleted {
        Ok(_) => Ok(Reply::no_content()),
        Err(AskError::NotRegistered | AskError::Refused(Refusal::UnknownSource(_))) => Err(missing(&name)),
        Err(error) => Err(ApiError::from_ask(error, refused)),
    }
}

fn target(request: &Request) -> Result<(Address, SourceName), ApiError> {
    let participant: ParticipantContextId = request.id("participant")?;
    Ok((Address::of::<DataPlane>(&participant), request.id("name")?))
}

async fn find(app: &App, address: &Address, name: &SourceName) -> Result<Arc<Source>, ApiError> {
    match app.services.cluster.read::<DataPlane, _>(address, |state| state.sources.get(name).cloned()).await {
        Ok(Some(source)) => Ok(source),
        Ok(None) | Err(AskError::NotRegistered) => Err(missing(name)),
        Err(error) => Err(ApiError::from_ask(error, refused)),
    }
}

fn missing(name: &SourceName) -> ApiError {
    ApiError::not_found(format!("source {name} does not exist"))
}
