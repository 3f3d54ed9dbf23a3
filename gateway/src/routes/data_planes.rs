//! Registration of a participant's data planes (Management API v5; data plane signaling, "Data Plane Registration").

use super::{control_plane::ask, prefixes::MANAGEMENT_PARTICIPANT};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::control_plane::data_planes::Command;
use cellspace_schemas::{DataPlaneId, dps::DataPlaneRegistrationMessage};
use http::StatusCode;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const WRITE: Access = Access::Scope("management-api:dataplanes:write", Provisioner::Denied);
    let route = |method, path, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::Management,
        method,
        path,
        prefixes: MANAGEMENT_PARTICIPANT,
        access: WRITE,
        handler,
    };
    vec![
        route(Verb::Put, "/participants/{participant}/dataplanes", |a, r| Box::pin(register(a, r))),
        route(Verb::Delete, "/participants/{participant}/dataplanes/{dataplane}", |a, r| Box::pin(unregister(a, r))),
    ]
}

async fn register(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataPlaneRegistrationMessage = request.json()?;
    ask(&app, &request, Command::Register(message)).await?;
    Ok(Reply::empty(StatusCode::OK))
}

async fn unregister(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: DataPlaneId = request.id("dataplane")?;
    ask(&app, &request, Command::Unregister(id)).await?;
    Ok(Reply::empty(StatusCode::OK))
}
