//! Policy definitions of a participant (Management API).

use super::{
    control_plane::{ask, body, created, found, route, snapshot},
    resources::list,
};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::{policy::flaws, resources::Command};
use cellspace_schemas::{
    PolicyDefinitionId,
    management::{PolicyDefinition, PolicyDefinitionDraft},
};
use serde_json::json;

const READ: Access = Access::Scope("management-api:policies:read", Provisioner::Denied);
const WRITE: Access = Access::Scope("management-api:policies:write", Provisioner::Denied);

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![
        route(Verb::Post, "/participants/{participant}/policydefinitions", WRITE, |app, request| Box::pin(create(app, request))),
        route(Verb::Query, "/participants/{participant}/policydefinitions/request", READ, |app, request| {
            Box::pin(list::<PolicyDefinition>(app, request, &PolicyDefinition::PATHS))
        }),
        route(Verb::Put, "/participants/{participant}/policydefinitions/{id}", WRITE, |app, request| Box::pin(update(app, request))),
        route(Verb::Get, "/participants/{participant}/policydefinitions/{id}", READ, |app, request| Box::pin(get(app, request))),
        route(Verb::Delete, "/participants/{participant}/policydefinitions/{id}", WRITE, |app, request| Box::pin(delete(app, request))),
        route(Verb::Query, "/participants/{participant}/policydefinitions/{id}/validate", READ, |app, request| {
            Box::pin(validate(app, request))
        }),
    ]
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let draft = body(&request, PolicyDefinitionDraft::from_json)?;
    created(ask(&app, &request, Command::CreatePolicy(draft)).await?)
}

async fn update(app: App, request: Request) -> Result<Reply, ApiError> {
    let draft = body(&request, PolicyDefinitionDraft::from_json)?;
    ask(&app, &request, Command::UpdatePolicy(request.id("id")?, draft)).await?;
    Ok(Reply::no_content())
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::DeletePolicy(request.id("id")?)).await?;
    Ok(Reply::no_content())
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: PolicyDefinitionId = request.id("id")?;
    let state = snapshot(&app, &request).await?;
    found(state.resources.policy(&id).map(|found| found.to_json()), "policy definition", id)
}

async fn validate(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: PolicyDefinitionId = request.id("id")?;
    let (state, settings) = (snapshot(&app, &request).await?, app.services.settings.load());
    let errors = state.resources.policy(&id).map(|definition| flaws(&definition.policy, &settings));
    let result = |errors: Vec<String>| json!({"@type": "PolicyValidationResult", "isValid": errors.is_empty(), "errors": errors});
    found(errors.map(result), "policy definition", id)
}
