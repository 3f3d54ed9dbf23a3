//! Contract definitions of a participant (Management API).

use super::{
    control_plane::{ask, body, created, found, route, snapshot},
    resources::list,
};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::resources::{Command, OfferDefinition};
use cellspace_schemas::{
    ContractDefinitionId,
    management::{ContractDefinition, ContractDefinitionDraft},
};

const READ: Access = Access::Scope("management-api:contractdefinitions:read", Provisioner::Denied);
const WRITE: Access = Access::Scope("management-api:contractdefinitions:write", Provisioner::Denied);

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![
        route(Verb::Post, "/participants/{participant}/contractdefinitions", WRITE, |app, request| Box::pin(create(app, request))),
        route(Verb::Query, "/participants/{participant}/contractdefinitions/request", READ, |app, request| {
            Box::pin(list::<OfferDefinition>(app, request, &ContractDefinition::PATHS))
        }),
        route(Verb::Put, "/participants/{participant}/contractdefinitions", WRITE, |app, request| Box::pin(update(app, request))),
        route(Verb::Get, "/participants/{participant}/contractdefinitions/{id}", READ, |app, request| Box::pin(get(app, request))),
        route(Verb::Delete, "/participants/{participant}/contractdefinitions/{id}", WRITE, |app, request| Box::pin(delete(app, request))),
    ]
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let draft = body(&request, ContractDefinitionDraft::from_json)?;
    created(ask(&app, &request, Command::CreateDefinition(draft)).await?)
}

async fn update(app: App, request: Request) -> Result<Reply, ApiError> {
    let draft = body(&request, ContractDefinitionDraft::from_json)?;
    let id = draft.id.clone().ok_or_else(|| ApiError::invalid("@id is required: it says which one is replaced"))?;
    ask(&app, &request, Command::UpdateDefinition(id, draft)).await?;
    Ok(Reply::no_content())
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::DeleteDefinition(request.id("id")?)).await?;
    Ok(Reply::no_content())
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: ContractDefinitionId = request.id("id")?;
    let state = snapshot(&app, &request).await?;
    found(state.resources.definition(&id).map(|found| found.definition.to_json()), "contract definition", id)
}
