//! What data planes tell their control plane (data plane signaling 1.0, "Control Plane Endpoint").

use super::{
    control_plane::{ask, not_found, snapshot},
    prefixes::SIGNALING,
};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::control_plane::transfer::{Command, Signal};
use cellspace_schemas::{
    TransferId,
    dps::{DataFlowState, DataFlowStatusMessage},
    dsp::message::CONTEXT,
    odrl::Policy,
};
use http::StatusCode;
use serde_json::json;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const WRITE: Access = Access::Scope("signaling-api:write", Provisioner::Denied);
    let route = |method, path, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::Dps,
        method,
        path,
        prefixes: SIGNALING,
        access: WRITE,
        handler,
    };
    vec![
        route(Verb::Post, "/{participant}/transfers/{transfer}/dataflow/prepared", |a, r| Box::pin(prepared(a, r))),
        route(Verb::Post, "/{participant}/transfers/{transfer}/dataflow/started", |a, r| Box::pin(started(a, r))),
        route(Verb::Post, "/{participant}/transfers/{transfer}/dataflow/completed", |a, r| Box::pin(completed(a, r))),
        route(Verb::Post, "/{participant}/transfers/{transfer}/dataflow/errored", |a, r| Box::pin(errored(a, r))),
        route(Verb::Get, "/{participant}/transfers/{transfer}/agreement", |a, r| Box::pin(agreement(a, r))),
    ]
}

async fn prepared(app: App, request: Request) -> Result<Reply, ApiError> {
    let message = status(&request, Some(DataFlowState::Prepared))?;
    signal(&app, &request, Signal::Prepared(message.data_address)).await
}

async fn started(app: App, request: Request) -> Result<Reply, ApiError> {
    let message = status(&request, Some(DataFlowState::Started))?;
    signal(&app, &request, Signal::Started(message.data_address)).await
}

async fn completed(app: App, request: Request) -> Result<Reply, ApiError> {
    status(&request, Some(DataFlowState::Completed))?;
    signal(&app, &request, Signal::Completed).await
}

/// An error of the wire protocol comes in any state of the flow.
async fn errored(app: App, request: Request) -> Result<Reply, ApiError> {
    let message = status(&request, None)?;
    let transfer = request.param("transfer")?;
    tracing::warn!(category = "app", vpa = request.param("participant")?, action = "dataflow.errored", transfer, error = message.error);
    signal(&app, &request, Signal::Errored(message.error)).await
}

/// The message, when it is about the flow in the path and in the state that the path names.
fn status(request: &Request, expected: Option<DataFlowState>) -> Result<DataFlowStatusMessage, ApiError> {
    let message: DataFlowStatusMessage = request.json()?;
    let transfer: TransferId = request.id("transfer")?;
    if message.data_flow_id.as_ref().is_some_and(|flow| *flow != transfer) {
        return Err(ApiError::invalid("dataFlowId must be the transfer process in the path"));
    }
    match expected {
        Some(state) if message.state != state => Err(ApiError::invalid(format!("state must be {}", state.name()))),
        Some(_) | None => Ok(message),
    }
}

async fn signal(app: &App, request: &Request, signal: Signal) -> Result<Reply, ApiError> {
    let id: TransferId = request.id("transfer")?;
    ask(app, request, Command::Signal { id, signal }).await?;
    Ok(Reply::empty(StatusCode::OK))
}

/// The agreement under which data flows, as it stands in protocol messages.
async fn agreement(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: TransferId = request.id("transfer")?;
    let state = snapshot(&app, &request).await?;
    let transfer = state.transfers.get(&id).ok_or_else(|| not_found("transfer process", id.as_str()))?;
    let agreement = state.negotiations.agreement(&transfer.agreement);
    let agreement = agreement.ok_or_else(|| not_found("contract agreement", transfer.agreement.as_str()))?;
    let mut body = Policy::from(agreement.to_message()).to_json();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("@context".to_owned(), json!([CONTEXT]));
    }
    Reply::ok(&body)
}
