//! Data plane signaling towards the platform's data plane (signaling 1.0, "Data Plane Endpoint"), the same for our control plane and foreign ones.

use super::prefixes::DATAFLOWS;
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::data_plane::{
    Command, DataPlane, Flow, FlowSignal, Refusal, Reply as Answer,
    address::{self, AddressError},
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    MessageId, ParticipantContextId, TransferId,
    dps::{
        DataFlowPrepareMessage, DataFlowResumeMessage, DataFlowStartMessage, DataFlowStartedNotificationMessage, DataFlowStatusMessage,
        DataFlowStatusResponseMessage, DataFlowSuspendMessage, DataFlowTerminateMessage,
    },
};
use serde::Deserialize;
use std::sync::Arc;
use uuid::Uuid;

const SCOPE: &str = "data-plane-api:write";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method, path, handler| Route {
        listener: Listener::Admin,
        api: Api::Dps,
        method,
        path,
        prefixes: DATAFLOWS,
        access: Access::Scope(SCOPE, Provisioner::Denied),
        handler,
    };
    vec![
        route(Verb::Post, "/{participant}/dataflows/prepare", |app, request| Box::pin(prepare(app, request))),
        route(Verb::Post, "/{participant}/dataflows/start", |app, request| Box::pin(start(app, request))),
        route(Verb::Post, "/{participant}/dataflows/{flow}/started", |app, request| Box::pin(started(app, request))),
        route(Verb::Post, "/{participant}/dataflows/{flow}/suspend", |app, request| Box::pin(suspend(app, request))),
        route(Verb::Post, "/{participant}/dataflows/{flow}/resume", |app, request| Box::pin(resume(app, request))),
        route(Verb::Post, "/{participant}/dataflows/{flow}/terminate", |app, request| Box::pin(terminate(app, request))),
        route(Verb::Post, "/{participant}/dataflows/{flow}/completed", |app, request| Box::pin(completed(app, request))),
        route(Verb::Get, "/{participant}/dataflows/{flow}/status", |app, request| Box::pin(status(app, request))),
    ]
}

async fn prepare(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataFlowPrepareMessage = request.json()?;
    ask(&app, &request, Command::Prepare(Box::new(message))).await
}

async fn start(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataFlowStartMessage = request.json()?;
    ask(&app, &request, Command::Start(Box::new(message))).await
}

async fn started(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataFlowStartedNotificationMessage = request.json()?;
    signal(&app, &request, Some(message.message_id), FlowSignal::Started(message.data_address)).await
}

async fn suspend(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataFlowSuspendMessage = request.json()?;
    signal(&app, &request, Some(message.message_id), FlowSignal::Suspend(message.reason)).await
}

async fn resume(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataFlowResumeMessage = request.json()?;
    signal(&app, &request, Some(message.message_id), FlowSignal::Resume(message.data_address)).await
}

async fn terminate(app: App, request: Request) -> Result<Reply, ApiError> {
    let message: DataFlowTerminateMessage = request.json()?;
    signal(&app, &request, Some(message.message_id), FlowSignal::Terminate(message.reason)).await
}

/// The body is empty by the specification; connectors send `{}`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Completed {
    message_id: Option<MessageId>,
}

async fn completed(app: App, request: Request) -> Result<Reply, ApiError> {
    let message = if request.body.is_empty() { Completed::default() } else { request.json()? };
    signal(&app, &request, message.message_id, FlowSignal::Completed).await
}

async fn status(app: App, request: Request) -> Result<Reply, ApiError> {
    let participant: ParticipantContextId = request.id("participant")?;
    let id: TransferId = request.id("flow")?;
    let address = Address::of::<DataPlane>(&participant);
    let state = app.services.cluster.read::<DataPlane, _>(&address, |plane| plane.flows.get(&id).map(|flow| flow.state)).await;
    match state {
        Ok(Some(state)) => Reply::ok(&DataFlowStatusResponseMessage { data_flow_id: id, state }),
        Ok(None) | Err(AskError::NotRegistered) => Err(refused(Refusal::UnknownFlow(id))),
        Err(error) => Err(ApiError::from_ask(error, refused)),
    }
}

async fn signal(app: &App, request: &Request, message: Option<MessageId>, signal: FlowSignal) -> Result<Reply, ApiError> {
    let flow: TransferId = request.id("flow")?;
    ask(app, request, Command::Signal { flow, message, signal }).await
}

async fn ask(app: &App, request: &Request, command: Command) -> Result<Reply, ApiError> {
    let participant: ParticipantContextId = request.id("participant")?;
    let flow = match app.services.cluster.ask::<DataPlane>(&Address::of::<DataPlane>(&participant), command, request.call()?).await {
        Ok(Answer::Flow(flow)) => flow,
        Ok(Answer::Done | Answer::More) => return Err(ApiError::internal("a signal was answered without a flow")),
        Err(error) => return Err(ApiError::from_ask(error, refused)),
    };
    tracing::info!(
        category = "app",
        vpa = %Address::of::<DataPlane>(&participant),
        action = "dataflow.signal",
        counterparty = %flow.terms.counter_party,
        contract = %flow.terms.agreement,
        flow = %flow.id,
        state = flow.state.name(),
    );
    answer(app, &participant, &flow).await
}

async fn answer(app: &App, participant: &ParticipantContextId, flow: &Arc<Flow>) -> Result<Reply, ApiError> {
    let data_address = address::offered(&app.services, participant, flow).await.map_err(no_address)?;
    Reply::ok(&DataFlowStatusMessage {
        message_id: Some(MessageId::from_uuid(Uuid::new_v4())),
        data_flow_id: Some(flow.id.clone()),
        state: flow.state,
        data_address,
        error: None,
    })
}

/// What a refusal of the data plane is for its clients.
pub(super) fn refused(refusal: Refusal) -> ApiError {
    let kind = match refusal {
        Refusal::UnknownParticipant | Refusal::UnknownFlow(_) => ErrorKind::NotFound,
        Refusal::NotActive => ErrorKind::NotAuthorized,
        Refusal::FlowExists(_) | Refusal::NotAllowed(_) | Refusal::Limit { .. } => ErrorKind::Conflict,
        Refusal::WrongParticipant
        | Refusal::BadId(_)
        | Refusal::TransferType(_)
        | Refusal::NoSource
        | Refusal::UnknownSource(_)
        | Refusal::AddressInPull
        | Refusal::BadAddress
        | Refusal::OtherName
        | Refusal::Source(_)
        | Refusal::Target
        | Refusal::UnknownSecret(_) => ErrorKind::Invalid,
    };
    ApiError::new(kind, refusal.to_string())
}

/// What a missing address or token is for clients.
pub(super) fn no_address(error: AddressError) -> ApiError {
    match error {
        AddressError::NotFound(_) => ApiError::not_found(error.to_string()),
        AddressError::NotStarted { .. } => ApiError::conflict(error.to_string()),
        AddressError::Unavailable(reason) => ApiError::later(reason),
    }
}
