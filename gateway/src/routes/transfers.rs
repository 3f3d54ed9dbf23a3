//! Transfer processes of a participant (Management API v5).

use super::{
    control_plane::{
        self, FEW, Fields, Keys, address, ask, body, callbacks, not_found, page, processes, profile, route, snapshot_with, sought,
    },
    paging,
};
use crate::{
    App,
    http::{
        Access, ApiError, Provisioner, Reply, Request, Route, Verb,
        wait::{Progress, Wait, read_when},
    },
};
use cellspace_actors::control_plane::{
    ControlPlane,
    agent::Reply as Answer,
    archive::{
        Field, Key,
        list::{Asked, Listed},
    },
    transfer::{Act, Command, NewTransfer, Reply as Transferred, Transfer, view},
};
use cellspace_schemas::{
    TransferId,
    management::{
        TransferRequest,
        contract_request::reason,
        envelope::{id_response, with_context},
    },
};
use serde_json::json;
use std::sync::Arc;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:transfers:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("management-api:transfers:write", Provisioner::Denied);
    vec![
        route(Verb::Post, "/participants/{participant}/transferprocesses", WRITE, |a, r| Box::pin(create(a, r))),
        route(Verb::Query, "/participants/{participant}/transferprocesses/request", READ, |a, r| Box::pin(query(a, r))),
        route(Verb::Get, "/participants/{participant}/transferprocesses/{transfer}", READ, |a, r| Box::pin(get(a, r))),
        route(Verb::Get, "/participants/{participant}/transferprocesses/{transfer}/state", READ, |a, r| Box::pin(state(a, r))),
        route(Verb::Post, "/participants/{participant}/transferprocesses/{transfer}/terminate", WRITE, |a, r| Box::pin(terminate(a, r))),
        route(Verb::Post, "/participants/{participant}/transferprocesses/{transfer}/suspend", WRITE, |a, r| Box::pin(suspend(a, r))),
        route(Verb::Post, "/participants/{participant}/transferprocesses/{transfer}/resume", WRITE, |a, r| Box::pin(resume(a, r))),
    ]
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let body = body(&request, TransferRequest::from_json)?;
    let new = NewTransfer {
        id: body.id,
        profile: profile(&app, &request, body.profile.as_ref()).await?,
        address: body.counter_party_address,
        agreement: body.contract_id,
        transfer_type: body.transfer_type,
        metadata: body.dataplane_metadata,
        private_properties: body.private_properties,
        callbacks: callbacks(&app, body.callback_addresses)?,
    };
    match ask(&app, &request, Command::Request(Box::new(new))).await? {
        Answer::Transfer(Transferred::Begun { id, at }) => Reply::ok(&id_response(id.as_str(), at)),
        _ => Err(ApiError::internal("a transfer was begun without an id")),
    }
}

async fn query(app: App, request: Request) -> Result<Reply, ApiError> {
    const KEYS: Keys = &[("id", |text| text.parse().ok().map(Key::Transfer))];
    const FIELDS: Fields = &[
        ("state", Field::State),
        ("type", Field::Role),
        ("counterPartyId", Field::Counterparty),
        ("assetId", Field::Asset),
        ("contractId", Field::Contract),
    ];
    let query = paging::query(&request, &view::TRANSFER_PATHS)?;
    let participant = request.param("participant")?.to_owned();
    let sought = sought::<Transfer>(&query, FIELDS);
    // What is sought in every criterion is compared when it is found.
    let judged = sought.len() == query.filter.len();
    let fields = Box::new(move |t: &Transfer| view::transfer_for_query(t, &participant));
    let asked = Arc::new(Asked { query, sought, judged, fields });
    let Listed { found, whole } = processes(&app, &request, KEYS, &asked).await?;
    let long = found.len() > FEW;
    let told =
        move || page(&request, &asked.query, (found, whole, judged), |t| t.id.as_str(), |t| (asked.fields)(t), |t| view::transfer(t));
    paging::beside(long, told).await
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: TransferId = request.id("transfer")?;
    let transfer = find(&app, &request, id).await?;
    Reply::ok(&with_context(view::transfer(&transfer)))
}

async fn find(app: &App, request: &Request, id: TransferId) -> Result<Arc<Transfer>, ApiError> {
    let state = snapshot_with(app, request, Key::Transfer(id.clone())).await?;
    state.transfers.get(&id).cloned().ok_or_else(|| not_found("transfer process", id.as_str()))
}

async fn state(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: TransferId = request.id("transfer")?;
    let wait = Wait::of(&request)?;
    let found = read_when::<ControlPlane, _>(
        &app.services.cluster,
        &address(&request)?,
        wait.as_ref(),
        |state| state.participant.as_ref().and_then(|_| state.transfers.get(&id).cloned()),
        |t: &Arc<Transfer>| Progress { state: t.state.name(), is_final: t.state.is_final() },
    )
    .await
    .map_err(|error| ApiError::from_ask(error, control_plane::refused))?;
    let transfer = match found {
        Some(transfer) => transfer,
        None => find(&app, &request, id).await?,
    };
    Reply::ok(&with_context(json!({"@type": "TransferState", "state": transfer.state.name()})))
}

async fn act(app: &App, request: &Request, act: Act) -> Result<Reply, ApiError> {
    let id: TransferId = request.id("transfer")?;
    ask(app, request, Command::Act { id, act }).await?;
    Ok(Reply::no_content())
}

async fn terminate(app: App, request: Request) -> Result<Reply, ApiError> {
    let reason = body(&request, |body| reason(body, "TerminateTransfer"))?;
    act(&app, &request, Act::Terminate(reason)).await
}

async fn suspend(app: App, request: Request) -> Result<Reply, ApiError> {
    let reason = body(&request, |body| reason(body, "SuspendTransfer"))?;
    act(&app, &request, Act::Suspend(reason)).await
}

async fn resume(app: App, request: Request) -> Result<Reply, ApiError> {
    act(&app, &request, Act::Resume).await
}
