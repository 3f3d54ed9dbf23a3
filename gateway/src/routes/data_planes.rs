//! Registration of a participant's data planes (Management API v5; data plane signaling, "Data Plane Registration").

use super::control_plane::{ask, ask_once, refused, route, snapshot};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::{
    agent::Reply as Answer,
    data_planes::{self, Command, DataPlane},
};
use cellspace_schemas::{DataPlaneId, dps::DataPlaneRegistrationMessage, management::envelope::with_context};
use http::StatusCode;
use serde_json::{Value, json};

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:dataplanes:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("management-api:dataplanes:write", Provisioner::Denied);
    vec![
        route(Verb::Get, "/participants/{participant}/dataplanes", READ, |a, r| Box::pin(list(a, r))),
        route(Verb::Put, "/participants/{participant}/dataplanes", WRITE, |a, r| Box::pin(register(a, r))),
        route(Verb::Delete, "/participants/{participant}/dataplanes/{dataplane}", WRITE, |a, r| Box::pin(unregister(a, r))),
    ]
}

async fn register(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataPlaneRegistrationMessage = request.json()?;
    // Without the key, of which a hash of the request with its secret would be kept: a repeat that names its data plane replaces it by the same one.
    match ask_once(&app, &request, Command::Register(message)).await? {
        Answer::DataPlanes(data_planes::Reply::Refused(refusal)) => Err(refused(refusal.into())),
        _ => Ok(Reply::empty(StatusCode::OK)),
    }
}

/// Those that new transfers may run on.
async fn list(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    Reply::ok(&state.data_planes.current().map(|plane| with_context(instance(plane))).collect::<Vec<_>>())
}

/// `DataPlaneInstance`
fn instance(plane: &DataPlane) -> Value {
    json!({
        "@type": "DataPlaneInstance",
        "@id": plane.id.as_str(),
        "state": "REGISTERED",
        "url": plane.endpoint.as_str(),
        "allowedTransferTypes": plane.transfer_types,
        "labels": plane.labels,
        "stateTimestamp": plane.registered_at.millis(),
    })
}

async fn unregister(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: DataPlaneId = request.id("dataplane")?;
    ask(&app, &request, Command::Unregister(id)).await?;
    Ok(Reply::empty(StatusCode::OK))
}
