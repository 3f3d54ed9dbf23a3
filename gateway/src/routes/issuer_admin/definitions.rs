//! Credential definitions.

use super::{ask, created, fields, issuer, missing, page, snapshot};
use crate::{
    App,
    http::{ApiError, Reply, Request},
};
use cellspace_actors::issuer::admin::Command as Admin;
use cellspace_schemas::{
    issuer::{CredentialDefinitionId, admin::DefinitionBody},
    query_spec::PathRules,
};
use http::StatusCode;

const DEFINITION: PathRules = PathRules {
    fields: &[
        "id",
        "credentialType",
        "format",
        "validity",
        "jsonSchema.*",
        "jsonSchemaUrl",
        "additionalContext",
        "attestations",
        "rules.*",
        "mappings.*",
        "approval.*",
        "anonymousAllowed",
        "participantContextId",
        "createdAt",
    ],
    free_properties: false,
};

pub(super) async fn create_definition(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: DefinitionBody = request.json()?;
    let reply = created(&request, "credentialdefinitions", body.id.as_str())?;
    ask(&app, &request, Admin::CreateDefinition(body)).await.map(|()| reply)
}

pub(super) async fn update_definition(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: DefinitionBody = request.json()?;
    ask(&app, &request, Admin::UpdateDefinition(body)).await.map(|()| Reply::empty(StatusCode::OK))
}

pub(super) async fn get_definition(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    let id: CredentialDefinitionId = request.id("definition")?;
    let definition = state.definitions.get(&id).ok_or_else(|| missing("credential definition", id.as_str()))?;
    Reply::ok(&definition.view(&issuer))
}

pub(super) async fn delete_definition(app: App, request: Request) -> Result<Reply, ApiError> {
    let id = request.id("definition")?;
    ask(&app, &request, Admin::DeleteDefinition(id)).await.map(|()| Reply::no_content())
}

pub(super) async fn query_definitions(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    page(
        &request,
        &DEFINITION,
        state.definitions.values(),
        |item| item.id.as_str(),
        |item| fields(&item.view(&issuer)),
        |item| item.view(&issuer),
    )
}
