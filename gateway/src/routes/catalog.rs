//! Other participants' catalogs, and how they are reached (Management API).

use super::control_plane::{body, route};
use crate::{
    App,
    http::{Access, ApiError, ErrorKind, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::catalog::{RequestError, discover, request_catalog, request_dataset};
use cellspace_schemas::management::{CatalogRequest, DatasetRequest, DiscoveryRequest, envelope::with_context};

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:catalog:read", Provisioner::Denied);
    const DISCOVER: Access = Access::Scope("management-api:discovery:read", Provisioner::Denied);
    vec![
        route(Verb::Query, "/participants/{participant}/catalog/request", READ, |app, request| Box::pin(catalog(app, request))),
        route(Verb::Query, "/participants/{participant}/catalog/dataset/request", READ, |app, request| Box::pin(dataset(app, request))),
        route(Verb::Query, "/participants/{participant}/discover/request", DISCOVER, |app, request| Box::pin(versions(app, request))),
    ]
}

async fn catalog(app: App, request: Request) -> Result<Reply, ApiError> {
    let wanted = body(&request, CatalogRequest::from_json)?;
    let answer = request_catalog(&app.services, &request.id("participant")?, &wanted, request.trace.clone()).await.map_err(told)?;
    Reply::ok(&answer)
}

async fn dataset(app: App, request: Request) -> Result<Reply, ApiError> {
    let wanted = body(&request, DatasetRequest::from_json)?;
    let answer = request_dataset(&app.services, &request.id("participant")?, &wanted, request.trace.clone()).await.map_err(told)?;
    Reply::ok(&answer)
}

async fn versions(app: App, request: Request) -> Result<Reply, ApiError> {
    let wanted = body(&request, DiscoveryRequest::from_json)?;
    let found = discover(&app.services, &request.id("participant")?, &wanted, request.trace.clone()).await.map_err(told)?;
    Reply::ok(&found.iter().map(|found| with_context(found.to_json())).collect::<Vec<_>>())
}

pub(super) fn told(error: RequestError) -> ApiError {
    let message = error.to_string();
    match error {
        RequestError::NotFound => ApiError::not_found(message),
        RequestError::Invalid(_) => ApiError::invalid(message),
        RequestError::NotActive(_) => ApiError::new(ErrorKind::NotAuthorized, message),
        RequestError::BadGateway(_) | RequestError::TooLong(_) => ApiError::new(ErrorKind::BadGateway, message),
        RequestError::Busy(_, after) => ApiError::unavailable(message, after),
        // Nothing is changed by these requests.
        RequestError::Unavailable(_) => ApiError::not_executed(message),
    }
}
