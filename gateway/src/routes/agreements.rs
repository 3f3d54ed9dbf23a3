//! Contract agreements of a participant (Management API v5).

use super::control_plane::{not_found, page, route, snapshot};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::negotiation::{Agreement, Negotiation, view};
use cellspace_schemas::{AgreementId, management::envelope::with_context};
use std::sync::Arc;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:agreements:read", Provisioner::Denied);
    vec![
        route(Verb::Post, "/participants/{participant}/contractagreements/request", READ, |a, r| Box::pin(query(a, r))),
        route(Verb::Get, "/participants/{participant}/contractagreements/{agreement}", READ, |a, r| Box::pin(get(a, r))),
        route(Verb::Get, "/participants/{participant}/contractagreements/{agreement}/negotiation", READ, |a, r| {
            Box::pin(negotiation(a, r))
        }),
    ]
}

async fn query(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    let participant = request.param("participant")?;
    let fields = |a: &&Arc<Agreement>| view::agreement_for_query(a, participant);
    let all = || state.negotiations.iter().filter_map(|n| n.agreement.as_ref());
    page(&request, &view::AGREEMENT_PATHS, all, |_| Vec::new(), fields, |a| view::agreement(a))
}

async fn find(app: &App, request: &Request) -> Result<Arc<Negotiation>, ApiError> {
    let id: AgreementId = request.id("agreement")?;
    let state = snapshot(app, request).await?;
    state.negotiations.of_agreement(&id).cloned().ok_or_else(|| not_found("contract agreement", id.as_str()))
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let negotiation = find(&app, &request).await?;
    let agreement = negotiation.agreement.as_ref().ok_or_else(|| ApiError::internal("an agreement is indexed that is not there"))?;
    Reply::ok(&with_context(view::agreement(agreement)))
}

async fn negotiation(app: App, request: Request) -> Result<Reply, ApiError> {
    let negotiation = find(&app, &request).await?;
    Reply::ok(&with_context(view::negotiation(&negotiation)))
}
