//! Key pairs.

use super::{Listed, ask, read, refused, route, things};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::credential_service::{
    Command, State,
    key::{self, KeySpec},
};
use cellspace_schemas::identity::{KeyDescriptor, KeyPairId, KeyPairResource};

pub(super) fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("identity-api:keypairs:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("identity-api:keypairs:write", Provisioner::Denied);
    const ALL: Access = Access::Scope("identity-api:admin", Provisioner::Denied);
    vec![
        route(Verb::Get, "/keypairs", ALL, |app, request| Box::pin(list_all(app, request))),
        route(Verb::Get, "/participants/{participant}/keypairs", READ, |app, request| Box::pin(list(app, request))),
        route(Verb::Get, "/participants/{participant}/keypairs/{key}", READ, |app, request| Box::pin(get(app, request))),
        route(Verb::Put, "/participants/{participant}/keypairs", WRITE, |app, request| Box::pin(add(app, request))),
        route(Verb::Post, "/participants/{participant}/keypairs/{key}/activate", WRITE, |app, request| Box::pin(activate(app, request))),
        route(Verb::Post, "/participants/{participant}/keypairs/{key}/rotate", WRITE, |app, request| Box::pin(rotate(app, request))),
        route(Verb::Post, "/participants/{participant}/keypairs/{key}/revoke", WRITE, |app, request| Box::pin(revoke(app, request))),
    ]
}

fn all_of(state: &State) -> Option<Vec<KeyPairResource>> {
    let context = state.context.as_ref()?;
    Some(state.keys.values().map(|key| key.resource(&context.id)).collect())
}

async fn list(app: App, request: Request) -> Result<Reply, ApiError> {
    Reply::ok(&read(&app, &request, all_of).await?)
}

async fn list_all(app: App, request: Request) -> Result<Reply, ApiError> {
    things(&app, &request, Listed::Keys).await
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: KeyPairId = request.id("key")?;
    let found = read(&app, &request, |state| Some(state.keys.get(&id)?.resource(&state.context.as_ref()?.id)));
    Reply::ok(&found.await?)
}

async fn add(app: App, request: Request) -> Result<Reply, ApiError> {
    let make_default = request.query.get("makeDefault").is_some_and(|value| value == "true");
    let spec = KeySpec::read(&request.json::<KeyDescriptor>()?).map_err(refused)?;
    change(&app, &request, key::Command::Add { spec, make_default }).await
}

async fn activate(app: App, request: Request) -> Result<Reply, ApiError> {
    change(&app, &request, key::Command::Activate(request.id("key")?)).await
}

async fn rotate(app: App, request: Request) -> Result<Reply, ApiError> {
    let duration = match request.query.get("duration").map(|text| text.parse()) {
        None => 0,
        Some(Ok(millis)) => millis,
        Some(Err(_)) => return Err(ApiError::invalid("duration must be a number of milliseconds")),
    };
    // A participant must stay able to sign: without a descriptor the successor has default values.
    let successor = descriptor(&request)?.unwrap_or_else(KeySpec::fresh);
    change(&app, &request, key::Command::Rotate { id: request.id("key")?, successor, duration }).await
}

async fn revoke(app: App, request: Request) -> Result<Reply, ApiError> {
    let successor = descriptor(&request)?;
    change(&app, &request, key::Command::Revoke { id: request.id("key")?, successor }).await
}

/// The descriptor of the body; an empty body or `null` has none.
fn descriptor(request: &Request) -> Result<Option<KeySpec>, ApiError> {
    if request.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let descriptor: Option<KeyDescriptor> = request.json()?;
    descriptor.map(|descriptor| KeySpec::read(&descriptor)).transpose().map_err(refused)
}

async fn change(app: &App, request: &Request, command: key::Command) -> Result<Reply, ApiError> {
    ask(app, request, Command::Key(command)).await?;
    Ok(Reply::no_content())
}
