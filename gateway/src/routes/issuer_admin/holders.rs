//! Holders: who may ask for credentials.

use super::{ask, created, fields, issuer, missing, page, snapshot};
use crate::{
    App,
    http::{ApiError, Reply, Request},
};
use cellspace_actors::issuer::{IssuerState, admin::Command as Admin};
use cellspace_schemas::{
    issuer::{HolderId, admin::HolderBody},
    query_spec::PathRules,
};
use http::StatusCode;

const HOLDER: PathRules = PathRules {
    fields: &["id", "holderId", "did", "holderName", "anonymous", "properties", "participantContextId", "createdAt", "lastModifiedAt"],
    free_properties: true,
};

pub(super) async fn create_holder(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: HolderBody = request.json()?;
    let reply = created(&request, "holders", body.holder_id.as_str())?;
    ask(&app, &request, Admin::CreateHolder(body)).await.map(|()| reply)
}

pub(super) async fn update_holder(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: HolderBody = request.json()?;
    ask(&app, &request, Admin::UpdateHolder(body)).await.map(|()| Reply::empty(StatusCode::OK))
}

/// The holder that the path names. A DID holds `%3A`, and clients put it into the path with or without encoding that again: both are looked for.
fn holder_id(state: &IssuerState, request: &Request) -> Result<HolderId, ApiError> {
    let decoded = request.param("holder")?;
    let raw = request.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let known = |text: &str| HolderId::new(text).ok().filter(|id| state.holders.contains_key(id));
    known(decoded).or_else(|| known(raw)).ok_or_else(|| missing("holder", decoded))
}

pub(super) async fn get_holder(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    let id = holder_id(&state, &request)?;
    let holder = state.holders.get(&id).ok_or_else(|| missing("holder", id.as_str()))?;
    Reply::ok(&holder.view(&issuer))
}

pub(super) async fn delete_holder(app: App, request: Request) -> Result<Reply, ApiError> {
    // An id that is not there goes to the issuer all the same, which knows a repeat by its idempotency key.
    let id = match holder_id(&*snapshot(&app, &request).await?, &request) {
        Ok(id) => id,
        Err(_) => request.id("holder")?,
    };
    ask(&app, &request, Admin::DeleteHolder(id)).await.map(|()| Reply::no_content())
}

pub(super) async fn query_holders(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    page(
        &request,
        &HOLDER,
        state.holders.values(),
        |holder| holder.id.as_str(),
        |holder| fields(&holder.view(&issuer)),
        |holder| holder.view(&issuer),
    )
}
