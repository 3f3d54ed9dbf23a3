//! Attestations: where claims come from.

use super::{ask, created, fields, issuer, page, snapshot};
use crate::{
    App,
    http::{ApiError, Reply, Request},
};
use cellspace_actors::issuer::admin::Command as Admin;
use cellspace_schemas::{issuer::admin::AttestationBody, query_spec::PathRules};

const ATTESTATION: PathRules =
    PathRules { fields: &["id", "attestationType", "configuration.*", "participantContextId", "createdAt"], free_properties: false };

pub(super) async fn create_attestation(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: AttestationBody = request.json()?;
    let reply = created(&request, "attestations", body.id.as_str())?;
    ask(&app, &request, Admin::CreateAttestation(body)).await.map(|()| reply)
}

pub(super) async fn delete_attestation(app: App, request: Request) -> Result<Reply, ApiError> {
    let id = request.id("attestation")?;
    ask(&app, &request, Admin::DeleteAttestation(id)).await.map(|()| Reply::no_content())
}

pub(super) async fn query_attestations(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    page(
        &request,
        &ATTESTATION,
        state.attestations.values(),
        |item| item.id.as_str(),
        |item| fields(&item.view(&issuer)),
        |item| item.view(&issuer),
    )
}
