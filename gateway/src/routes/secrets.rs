//! Secrets of a participant, for the headers of its callbacks (Management API v4 `/secrets`; v5 has none, so that the same lies below the participant).
//!
//! As with the peers, a GET answers the secret with its value: what keeps secrets by this API reads them back. It asks for the scope that writes them, for
//! who may replace a secret learns nothing that would help against it, and tokens that only read (`management-api:read`, as dashboards have) see which
//! secrets there are and never one of them. The value is told to nobody else, and no answer with it is kept on the way.
//!
//! Secrets are known again by their ids, and an `Idempotency-Key` changes nothing: what would be kept of a request to know it by would let who reads the
//! store try what its value may be. Who may have to repeat a POST gives an `@id`.

use super::control_plane::{ask_once, created, not_found, query, refused, route, snapshot};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::{
    agent::Reply as Answer,
    secrets::{self, Command, Secret},
};
use cellspace_schemas::{
    ParticipantContextId, SecretId,
    management::{
        SecretDraft,
        envelope::{parse_json, with_context},
    },
};
use cellspace_storage::{VaultError, VaultPath};
use http::header::CACHE_CONTROL;
use secrecy::ExposeSecret;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:secrets:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("management-api:secrets:write", Provisioner::Denied);
    vec![
        route(Verb::Post, "/participants/{participant}/secrets", WRITE, |app, request| Box::pin(create(app, request))),
        route(Verb::Put, "/participants/{participant}/secrets", WRITE, |app, request| Box::pin(update(app, request))),
        route(Verb::Query, "/participants/{participant}/secrets/request", READ, |app, request| Box::pin(list(app, request))),
        route(Verb::Get, "/participants/{participant}/secrets/{id}", WRITE, |app, request| Box::pin(get(app, request))),
        route(Verb::Delete, "/participants/{participant}/secrets/{id}", WRITE, |app, request| Box::pin(delete(app, request))),
    ]
}

fn draft(request: &Request) -> Result<SecretDraft, ApiError> {
    parse_json(&request.body).and_then(SecretDraft::from_json).map_err(ApiError::from)
}

async fn change(app: &App, request: &Request, command: Command) -> Result<Answer, ApiError> {
    match ask_once(app, request, command).await? {
        Answer::Secrets(secrets::Reply::Refused(refusal)) => Err(refused(refusal.into())),
        done => Ok(done),
    }
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let draft = draft(&request)?;
    created(change(&app, &request, Command::Create(draft)).await?)
}

async fn update(app: App, request: Request) -> Result<Reply, ApiError> {
    let draft = draft(&request)?;
    let id = draft.id.ok_or_else(|| ApiError::invalid("@id is required: it says which one is replaced"))?;
    change(&app, &request, Command::Replace(id, draft.value)).await?;
    Ok(Reply::no_content())
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    change(&app, &request, Command::Delete(request.id("id")?)).await?;
    Ok(Reply::no_content())
}

/// Which there are, without their values.
async fn list(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    query(&request, &SecretDraft::PATHS, state.secrets.iter(), |secret| secret.id.as_str(), |secret| secret.to_json())
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: SecretId = request.id("id")?;
    let owner = (&request.id::<ParticipantContextId>("participant")?).into();
    let state = snapshot(&app, &request).await?;
    let secret = state.secrets.get(&id).ok_or_else(|| not_found("secret", id.as_str()))?;
    let path = VaultPath { owner, alias: secret.record.clone() };
    match app.services.vault.secret(&path).await {
        Ok(value) => Ok(shown(secret, value.expose_secret())?.header(CACHE_CONTROL, "no-store")),
        // It was replaced or deleted since.
        Err(VaultError::NotFound(_)) => Err(ApiError::later("the secret is being changed")),
        Err(error) => Err(ApiError::later(error)),
    }
}

/// The answer with the value, which is written once, into the answer.
fn shown(secret: &Secret, value: &str) -> Result<Reply, ApiError> {
    #[derive(serde::Serialize)]
    struct Shown<'a> {
        #[serde(flatten)]
        secret: serde_json::Value,
        value: &'a str,
    }
    Reply::ok(&Shown { secret: with_context(secret.to_json()), value })
}
