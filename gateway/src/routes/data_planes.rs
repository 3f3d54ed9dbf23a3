//! Registration of a participant's data planes (Management API v5; data plane signaling, "Data Plane Registration").

use super::control_plane::{ask, refused, route};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::{
    agent::Reply as Answer,
    data_planes::{self, Command},
};
use cellspace_schemas::{DataPlaneId, dps::DataPlaneRegistrationMessage};
use http::StatusCode;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const WRITE: Access = Access::Scope("management-api:dataplanes:write", Provisioner::Denied);
    vec![
        route(Verb::Put, "/participants/{participant}/dataplanes", WRITE, |a, r| Box::pin(register(a, r))),
        route(Verb::Delete, "/participants/{participant}/dataplanes/{dataplane}", WRITE, |a, r| Box::pin(unregister(a, r))),
    ]
}

async fn register(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataPlaneRegistrationMessage = request.json()?;
    match ask(&app, &request, Command::Register(message)).await? {
        Answer::DataPlanes(data_planes::Reply::Refused(refusal)) => Err(refused(refusal.into())),
        _ => Ok(Reply::empty(StatusCode::OK)),
    }
}

async fn unregister(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: DataPlaneId = request.id("dataplane")?;
    ask(&app, &request, Command::Unregister(id)).await?;
    Ok(Reply::empty(StatusCode::OK))
}
