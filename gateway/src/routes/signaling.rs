//! What data planes tell their control plane (data plane signaling 1.0, "Control Plane Endpoint").

use super::{
    control_plane::{address, ask, not_found, snapshot, snapshot_with},
    prefixes::SIGNALING,
};
use crate::{
    App,
    auth::{
        Need, Scope,
        planes::{Audience, Named},
    },
    http::{Access, Api, ApiError, ErrorKind, Listener, Principal, Provisioner, Reply, Request, Role, Route, Verb, route::Handler},
};
use cellspace_actors::control_plane::{
    archive::Key,
    data_planes::DataPlane,
    transfer::{Command, Signal, Transfer},
};
use cellspace_schemas::{
    ParticipantContextId,
    dps::{DataFlowState, DataFlowStatusMessage},
    dsp::message::CONTEXT,
    odrl::Policy,
};
use http::StatusCode;
use serde_json::json;
use std::sync::Arc;

/// What a token of this installation, or of a broker, must hold.
const SCOPE: &str = "signaling-api:write";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method, path, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::Dps,
        method,
        path,
        prefixes: SIGNALING,
        // Foreign data planes have tokens of their own; `caller` asks for them.
        access: Access::Open,
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
    let called = Called::by(&app, request).await?;
    let message = called.status(Some(DataFlowState::Prepared))?;
    called.signal(&app, Signal::Prepared(message.data_address)).await
}

async fn started(app: App, request: Request) -> Result<Reply, ApiError> {
    let called = Called::by(&app, request).await?;
    let message = called.status(Some(DataFlowState::Started))?;
    called.signal(&app, Signal::Started(message.data_address)).await
}

async fn completed(app: App, request: Request) -> Result<Reply, ApiError> {
    let called = Called::by(&app, request).await?;
    called.status(Some(DataFlowState::Completed))?;
    called.signal(&app, Signal::Completed).await
}

/// An error of the wire protocol comes in any state of the flow.
async fn errored(app: App, request: Request) -> Result<Reply, ApiError> {
    let called = Called::by(&app, request).await?;
    let message = called.status(None)?;
    tracing::warn!(
        category = "app", vpa = %address(&called.request)?, action = "dataflow.errored",
        transfer = %called.transfer.id, error = message.error
    );
    called.signal(&app, Signal::Errored(message.error)).await
}

/// The agreement under which data flows, as it stands in protocol messages.
async fn agreement(app: App, request: Request) -> Result<Reply, ApiError> {
    let called = Called::by(&app, request).await?;
    let id = &called.transfer.agreement;
    // A transfer that has ended may outlast its negotiation in the state.
    let state = snapshot_with(&app, &called.request, Key::Agreement(id.clone())).await?;
    let agreement = state.negotiations.agreement(id).ok_or_else(|| not_found("contract agreement", id.as_str()))?;
    let mut body = Policy::from(agreement.to_message()).to_json();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("@context".to_owned(), json!([CONTEXT]));
    }
    Reply::ok(&body)
}

/// A call of the data plane that a transfer runs on, or of the participant itself.
struct Called {
    request: Request,
    transfer: Arc<Transfer>,
}

impl Called {
    /// Finds out who calls. A data plane with keys of its own is known by them alone and reaches its own transfers; the transfer of another
    /// one is for it like one that is not there. For all other data planes tokens of this installation count.
    async fn by(app: &App, mut request: Request) -> Result<Self, ApiError> {
        let token = request.bearer().ok_or_else(|| ApiError::new(ErrorKind::BadToken, "an access token is required"))?.to_owned();
        let participant: ParticipantContextId = request.id("participant")?;
        // Also one that ended long ago: a data plane may say so again.
        let state = match request.id("transfer") {
            Ok(transfer) => snapshot_with(app, &request, Key::Transfer(transfer)).await,
            Err(_) => snapshot(app, &request).await,
        };
        let found = state.as_ref().ok().and_then(|state| state.transfers.get(&request.id("transfer").ok()?).cloned());
        let bound = |transfer: &Arc<Transfer>| state.as_ref().ok()?.data_planes.of(transfer.data_plane.as_ref()?).cloned();
        let bound = found.as_ref().and_then(bound);

        let named = Named::in_token(&token).filter(|named| named.iss != app.services.tokens.issuer());
        let own = named.and_then(|named| {
            let is_named = |plane: &Arc<DataPlane>| plane.id.as_str() == named.sub;
            let current = || state.as_ref().ok()?.data_planes.all().find(|plane| is_named(plane)).cloned();
            bound.clone().filter(is_named).or_else(current).filter(|plane| plane.has_own_keys())
        });
        let (principal, reaches) = match &own {
            Some(plane) => {
                let identity = state.as_ref().ok().and_then(|state| Some(state.participant.as_ref()?.identity.to_string()));
                let names: Vec<String> = identity.into_iter().chain([app.services.urls.signaling(&participant)]).collect();
                let audience = Audience {
                    participant: participant.as_str(),
                    names: &names,
                    scope: SCOPE,
                    slot: app.services.cluster.opened(&participant),
                };
                app.planes.verify(&token, plane, audience, app.services.cluster.now()).await?;
                let subject = plane.id.to_string();
                let principal = Principal { subject, role: Role::Participant, participant: Some(participant) };
                (principal, bound.is_some_and(|bound| bound.id == plane.id))
            }
            None => (participant_itself(app, &token, &participant).await?, !bound.is_some_and(|bound| bound.has_own_keys())),
        };
        request.principal = Some(principal);
        let missing = |request: &Request| Err(not_found("transfer process", request.param("transfer")?));
        match (state?, found) {
            (_, Some(transfer)) if reaches => Ok(Self { request, transfer }),
            _ => missing(&request),
        }
    }

    /// The message, when it is about the flow in the path and in the state that the path names.
    fn status(&self, expected: Option<DataFlowState>) -> Result<DataFlowStatusMessage, ApiError> {
        let message: DataFlowStatusMessage = self.request.json()?;
        if message.data_flow_id.as_ref().is_some_and(|flow| *flow != self.transfer.id) {
            return Err(ApiError::invalid("dataFlowId must be the transfer process in the path"));
        }
        match expected {
            Some(state) if message.state != state => Err(ApiError::invalid(format!("state must be {}", state.name()))),
            Some(_) | None => Ok(message),
        }
    }

    async fn signal(&self, app: &App, signal: Signal) -> Result<Reply, ApiError> {
        ask(app, &self.request, Command::Signal { id: self.transfer.id.clone(), signal }).await?;
        Ok(Reply::empty(StatusCode::OK))
    }
}

/// A caller with a token of this installation, or of an issuer that it accepts, for the participant.
async fn participant_itself(app: &App, token: &str, participant: &ParticipantContextId) -> Result<Principal, ApiError> {
    let caller = app.verifier.verify(token).await?;
    let scope = Scope::parse(SCOPE).ok_or_else(|| ApiError::internal("no scope"))?;
    let owner = Some(participant.as_str());
    let need = Need { api: Api::Dps, scope: &scope, provisioner: Provisioner::Denied, unscoped: false, owner, creates_participant: false };
    app.known.authorize(&caller, &need).await
}
