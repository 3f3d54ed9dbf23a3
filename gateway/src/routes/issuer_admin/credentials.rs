//! Issued credentials, their status, and offers.

use super::{ask, issuer, missing, page, reason, snapshot};
use crate::{
    App,
    http::{ApiError, Reply, Request},
};
use cellspace_actors::issuer::{admin::Command as Admin, status_list::StatusCommand};
use cellspace_schemas::{
    issuer::{
        CredentialId,
        admin::{CredentialStatusView, OfferBody},
    },
    query_spec::PathRules,
};
use std::sync::Arc;

const CREDENTIAL: PathRules = PathRules {
    fields: &[
        "id",
        "participantContextId",
        "issuerId",
        "holderId",
        "state",
        "status",
        "format",
        "credential.*",
        "verifiableCredential.*",
        "metadata.*",
        "timestamp",
    ],
    free_properties: false,
};

/// The credential that the path names: its id, or the URN that is its own `id`.
fn credential_id(request: &Request) -> Result<CredentialId, ApiError> {
    let text = request.param("credential")?;
    CredentialId::new(text.strip_prefix("urn:uuid:").unwrap_or(text)).map_err(|_| missing("credential", text))
}

pub(super) async fn query_credentials(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    let (urls, now) = (&app.services.urls, app.services.cluster.now());
    let view = |credential: &Arc<cellspace_actors::issuer::IssuedCredential>| credential.view(&issuer, urls);
    page(&request, &CREDENTIAL, state.credentials.values(), |item| item.id.as_str(), |item| item.query_view(&issuer, urls, now), view)
}

pub(super) async fn offer(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: OfferBody = request.json()?;
    ask(&app, &request, Admin::Offer(body)).await.map(|()| Reply::no_content())
}

pub(super) async fn change_status(app: App, request: Request, command: StatusCommand) -> Result<Reply, ApiError> {
    let (credential, reason) = (credential_id(&request)?, reason(&request)?);
    ask(&app, &request, Admin::ChangeStatus { credential, command, reason }).await.map(|()| Reply::no_content())
}

pub(super) async fn credential_status(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    let id = credential_id(&request)?;
    let credential = state.credentials.get(&id).ok_or_else(|| missing("credential", id.as_str()))?;
    Reply::ok(&CredentialStatusView { credential_id: id, status: credential.status.status().name(), reason: credential.reason.clone() })
}
