//! Participant contexts.

use super::{Listed, address, ask, contexts, read, refused, route};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::credential_service::{Command, CredentialService, State, context, key::KeySpec};
use cellspace_cluster::Address;
use cellspace_schemas::identity::{ParticipantManifest, ParticipantSecrets, participant::MAX_ENTRIES};
use http::header;
use std::time::Duration;

/// How long a delete waits for the end of what it began.
const LEAVING: Duration = Duration::from_secs(10);

pub(super) fn routes() -> Vec<Route> {
    const ADMIN: Access = Access::Scope("identity-api:admin", Provisioner::Listed);
    const READ: Access = Access::Scope("identity-api:participants:read", Provisioner::Listed);
    const WRITE: Access = Access::Scope("identity-api:participants:write", Provisioner::Listed);
    const SCOPES: Access = Access::Scope("identity-api:admin", Provisioner::Denied);
    vec![
        route(Verb::Get, "/participants", ADMIN, |app, request| Box::pin(list(app, request))),
        route(Verb::Post, "/participants", ADMIN, |app, request| Box::pin(create(app, request))),
        route(Verb::Get, "/participants/{participant}", READ, |app, request| Box::pin(get(app, request))),
        route(Verb::Delete, "/participants/{participant}", WRITE, |app, request| Box::pin(delete(app, request))),
        route(Verb::Post, "/participants/{participant}/state", WRITE, |app, request| Box::pin(set_state(app, request))),
        route(Verb::Put, "/participants/{participant}/scopes", SCOPES, |app, request| Box::pin(set_scopes(app, request))),
    ]
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let manifest: ParticipantManifest = request.json()?;
    let id = manifest.participant_context_id.clone();
    if let Some(principal) = &request.principal {
        principal.may_create(&id)?;
    }
    request.is_of(&app, &id).await?;
    let sts_account = manifest.provision_sts_account;
    let command = Command::Context(context::Command::Create(Box::new(checked(manifest)?)));
    let address = Address::of::<CredentialService>(&id);
    let asked = app.services.cluster.ask::<CredentialService>(&address, command, request.call()?).await;
    asked.map_err(|error| ApiError::from_ask(error, refused))?;
    let mut secrets = ParticipantSecrets::default();
    if sts_account {
        secrets.client_secret = Some(app.services.tokens.sts_secret(&id));
        secrets.client_id = Some(id.to_string());
    }
    Ok(Reply::ok(&secrets)?.header(header::CACHE_CONTROL, "no-store"))
}

fn checked(manifest: ParticipantManifest) -> Result<context::Create, ApiError> {
    let too_many = |what: &str| ApiError::invalid(format!("a participant context has at most {MAX_ENTRIES} {what}"));
    let keys = manifest.all_keys().map(KeySpec::read).collect::<Result<Vec<_>, _>>().map_err(refused)?;
    if keys.len() > MAX_ENTRIES {
        return Err(too_many("key pairs"));
    }
    if manifest.service_endpoints.len() > MAX_ENTRIES {
        return Err(too_many("services"));
    }
    if manifest.scopes.len() > MAX_ENTRIES {
        return Err(too_many("scopes"));
    }
    for (n, service) in manifest.service_endpoints.iter().enumerate() {
        super::dids::check_service(service)?;
        if manifest.service_endpoints.iter().take(n).any(|other| other.id == service.id) {
            return Err(ApiError::invalid("the ids of serviceEndpoints must differ"));
        }
    }
    Ok(context::Create {
        did: manifest.did,
        active: manifest.active,
        services: manifest.service_endpoints,
        keys,
        scopes: manifest.scopes,
        properties: manifest.additional_properties,
        sts_account: manifest.provision_sts_account,
    })
}

async fn list(app: App, request: Request) -> Result<Reply, ApiError> {
    contexts(&app, &request, Listed::Context).await
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    Reply::ok(&read(&app, &request, |state| state.context.as_ref().map(|context| context.resource())).await?)
}

/// Answers when the DID is free for others, unless that takes too long: it is on its way then.
async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::Context(context::Command::Delete)).await?;
    let gone = |state: &State| (!state.leaving).then_some(());
    let address = address(&request)?;
    let waited = app.services.cluster.wait::<CredentialService, _>(&address, LEAVING, gone).await;
    if !matches!(waited, Ok(Some(()))) {
        tracing::info!(category = "app", vpa = %address, "a deleted participant context still holds its DID");
    }
    Ok(Reply::no_content())
}

async fn set_state(app: App, request: Request) -> Result<Reply, ApiError> {
    let active = match request.query.get("isActive").map(String::as_str) {
        Some("true") => true,
        Some("false") | None => false,
        Some(_) => return Err(ApiError::invalid("isActive must be true or false")),
    };
    ask(&app, &request, Command::Context(context::Command::SetActive(active))).await?;
    Ok(Reply::no_content())
}

async fn set_scopes(app: App, request: Request) -> Result<Reply, ApiError> {
    let scopes: Vec<String> = request.json()?;
    if scopes.len() > MAX_ENTRIES {
        return Err(ApiError::invalid(format!("a participant context has at most {MAX_ENTRIES} scopes")));
    }
    ask(&app, &request, Command::Context(context::Command::SetScopes(scopes))).await?;
    Ok(Reply::no_content())
}
