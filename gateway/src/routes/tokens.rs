//! Access tokens of running transfers, for a consumer's applications; public keys of the tokens that providers hand out.

use super::{
    dataflows::no_address,
    prefixes::{ROOT, TOKENS},
};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::data_plane::{DataPlane, address};
use cellspace_cluster::Address;
use cellspace_schemas::{ParticipantContextId, TransferId};
use http::header;
use serde_json::json;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![
        Route {
            listener: Listener::Admin,
            api: Api::Dps,
            method: Verb::Get,
            path: "/tokens/{participant}/{transfer}",
            prefixes: TOKENS,
            access: Access::Scope("siglet-api:read", Provisioner::Denied),
            handler: |app, request| Box::pin(token(app, request)),
        },
        Route {
            listener: Listener::Public,
            api: Api::Native,
            method: Verb::Get,
            path: "/keys",
            prefixes: ROOT,
            access: Access::Open,
            handler: |app, _| Box::pin(keys(app)),
        },
    ]
}

async fn token(app: App, request: Request) -> Result<Reply, ApiError> {
    let participant: ParticipantContextId = request.id("participant")?;
    let transfer: TransferId = request.id("transfer")?;
    let token = address::received(&app.services, &participant, &transfer).await.map_err(no_address)?;
    tracing::info!(category = "audit", vpa = %Address::of::<DataPlane>(&participant), action = "token.read", flow = %transfer);
    Ok(Reply::ok(&token)?.header(header::CACHE_CONTROL, "no-store"))
}

async fn keys(app: App) -> Result<Reply, ApiError> {
    let keys = address::keys(&app.services).await.map_err(no_address)?;
    Reply::ok(&json!({ "keys": keys }))
}
