//! DID documents by did:web (did:web 3.2): at the method's own place, and where some clients look for them.

use super::prefixes::ROOT;
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Reply, Request, Route, Verb},
};
use cellspace_actors::{CredentialService, credential_service::questions::PublishedAt, name};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::Owner;
use http::StatusCode;

/// Path parameters in order; as many as [`name::MAX_SEGMENTS`].
const SEGMENTS: [&str; name::MAX_SEGMENTS] = ["a", "b", "c", "d"];
/// `did:web:host` lies below `.well-known`. A client that looks there for a DID with a path finds that one too, and one that looks at the path itself.
const PATHS: [&str; 1 + 3 * name::MAX_SEGMENTS] = [
    "/.well-known/did.json",
    "/{a}",
    "/{a}/did.json",
    "/{a}/.well-known/did.json",
    "/{a}/{b}",
    "/{a}/{b}/did.json",
    "/{a}/{b}/.well-known/did.json",
    "/{a}/{b}/{c}",
    "/{a}/{b}/{c}/did.json",
    "/{a}/{b}/{c}/.well-known/did.json",
    "/{a}/{b}/{c}/{d}",
    "/{a}/{b}/{c}/{d}/did.json",
    "/{a}/{b}/{c}/{d}/.well-known/did.json",
];

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |path| Route {
        listener: Listener::Public,
        api: Api::Native,
        method: Verb::Get,
        path,
        prefixes: ROOT,
        access: Access::Open,
        handler: |app, request| Box::pin(document(app, request)),
    };
    PATHS.into_iter().map(route).collect()
}

async fn document(app: App, request: Request) -> Result<Reply, ApiError> {
    let missing = || ApiError::not_found("no DID document is published here");
    let segments: Vec<&str> = SEGMENTS.iter().map_while(|name| request.params.get(name)).collect();
    let path = if segments.is_empty() { ".well-known".to_owned() } else { segments.join("/") };
    let path = Owner::new(path).ok().filter(name::is_servable).ok_or_else(missing)?;
    let participant = name::owner_of(&app.services, &path).await.map_err(ApiError::not_now)?.ok_or_else(missing)?;
    let address = Address::of::<CredentialService>(&participant);
    let document = match app.services.cluster.query::<CredentialService, _>(&address, &PublishedAt(path)).await {
        Ok(document) => document.ok_or_else(missing)?,
        Err(AskError::NotRegistered) => return Err(missing()),
        Err(other) => return Err(ApiError::not_now(other)),
    };
    Ok(Reply::bytes(StatusCode::OK, "application/did+json", Box::<str>::from(document).into_string()))
}
