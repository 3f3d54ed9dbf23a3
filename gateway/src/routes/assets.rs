//! Assets of a participant (Management API).

use super::{
    control_plane::{ask, body, created, found, route, snapshot},
    resources::list,
};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::resources::Command;
use cellspace_schemas::{
    AssetId,
    management::{Asset, AssetDraft},
};

const READ: Access = Access::Scope("management-api:assets:read", Provisioner::Denied);
const WRITE: Access = Access::Scope("management-api:assets:write", Provisioner::Denied);

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![
        route(Verb::Post, "/participants/{participant}/assets", WRITE, |app, request| Box::pin(create(app, request))),
        route(Verb::Query, "/participants/{participant}/assets/request", READ, |app, request| {
            Box::pin(list::<Asset>(app, request, &Asset::PATHS))
        }),
        route(Verb::Put, "/participants/{participant}/assets", WRITE, |app, request| Box::pin(update(app, request))),
        route(Verb::Get, "/participants/{participant}/assets/{id}", READ, |app, request| Box::pin(get(app, request))),
        route(Verb::Delete, "/participants/{participant}/assets/{id}", WRITE, |app, request| Box::pin(delete(app, request))),
    ]
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let draft = body(&request, AssetDraft::from_json)?;
    created(ask(&app, &request, Command::CreateAsset(draft)).await?)
}

async fn update(app: App, request: Request) -> Result<Reply, ApiError> {
    let draft = body(&request, AssetDraft::from_json)?;
    let id = draft.id.clone().ok_or_else(|| ApiError::invalid("@id is required: it says which one is replaced"))?;
    ask(&app, &request, Command::UpdateAsset(id, draft)).await?;
    Ok(Reply::no_content())
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::DeleteAsset(request.id("id")?)).await?;
    Ok(Reply::no_content())
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: AssetId = request.id("id")?;
    let state = snapshot(&app, &request).await?;
    found(state.resources.asset(&id).map(|found| found.to_json()), "asset", id)
}
