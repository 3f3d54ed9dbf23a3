//! Contract negotiations of a participant (Management API v5).

use super::{
    control_plane::{self, Keys, address, ask, body, not_found, page, processes, profile, route, snapshot_with},
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
    archive::{Key, list::Listed},
    negotiation::{Act, Command, Negotiation, NewNegotiation, Reply as Negotiated, view},
};
use cellspace_schemas::{
    NegotiationId,
    management::{
        ContractRequest,
        contract_request::reason,
        envelope::{id_response, with_context},
    },
};
use serde_json::json;
use std::sync::Arc;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:negotiations:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("management-api:negotiations:write", Provisioner::Denied);
    vec![
        route(Verb::Post, "/participants/{participant}/contractnegotiations", WRITE, |a, r| Box::pin(create(a, r))),
        route(Verb::Query, "/participants/{participant}/contractnegotiations/request", READ, |a, r| Box::pin(query(a, r))),
        route(Verb::Get, "/participants/{participant}/contractnegotiations/{negotiation}", READ, |a, r| Box::pin(get(a, r))),
        route(Verb::Get, "/participants/{participant}/contractnegotiations/{negotiation}/state", READ, |a, r| Box::pin(state(a, r))),
        route(Verb::Get, "/participants/{participant}/contractnegotiations/{negotiation}/agreement", READ, |a, r| {
            Box::pin(agreement(a, r))
        }),
        route(Verb::Post, "/participants/{participant}/contractnegotiations/{negotiation}/terminate", WRITE, |a, r| {
            Box::pin(terminate(a, r))
        }),
        route(Verb::Delete, "/participants/{participant}/contractnegotiations/{negotiation}", WRITE, |a, r| Box::pin(delete(a, r))),
    ]
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let body = body(&request, ContractRequest::from_json)?;
    let new = NewNegotiation {
        id: body.id,
        profile: profile(&app, &request, body.profile.as_ref()).await?,
        counterparty: body.counter_party_id,
        address: body.counter_party_address,
        offer: body.offer,
        callbacks: body.callback_addresses,
    };
    match ask(&app, &request, Command::Request(Box::new(new))).await? {
        Answer::Negotiation(Negotiated::Begun { id, at }) => Reply::ok(&id_response(id.as_str(), at)),
        _ => Err(ApiError::internal("a negotiation was begun without an id")),
    }
}

async fn query(app: App, request: Request) -> Result<Reply, ApiError> {
    const KEYS: Keys =
        &[("id", |text| text.parse().ok().map(Key::Negotiation)), ("contractAgreementId", |text| text.parse().ok().map(Key::Agreement))];
    let query = paging::query(&request, &view::NEGOTIATION_PATHS)?;
    let participant = request.param("participant")?;
    let fields = |n: &Negotiation| view::negotiation_for_query(n, participant);
    let Listed { found, whole } = processes(&app, &request, &query, KEYS, fields).await?;
    page(&request, &query, (found, whole), |n| n.id.as_str(), |n| fields(n), |n| view::negotiation(n))
}

async fn find(app: &App, request: &Request) -> Result<Arc<Negotiation>, ApiError> {
    let id: NegotiationId = request.id("negotiation")?;
    let state = snapshot_with(app, request, Key::Negotiation(id.clone())).await?;
    state.negotiations.get(&id).cloned().ok_or_else(|| not_found("contract negotiation", id.as_str()))
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let negotiation = find(&app, &request).await?;
    Reply::ok(&with_context(view::negotiation(&negotiation)))
}

async fn state(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: NegotiationId = request.id("negotiation")?;
    let wait = Wait::of(&request)?;
    let found = read_when::<ControlPlane, _>(
        &app.services.cluster,
        &address(&request)?,
        wait.as_ref(),
        |state| state.participant.as_ref().and_then(|_| state.negotiations.get(&id).cloned()),
        |n: &Arc<Negotiation>| Progress { state: n.state.name(), is_final: n.state.is_final() },
    )
    .await
    .map_err(|error| ApiError::from_ask(error, control_plane::refused))?;
    let negotiation = match found {
        Some(negotiation) => negotiation,
        None => find(&app, &request).await?,
    };
    Reply::ok(&with_context(json!({"@type": "NegotiationState", "state": negotiation.state.name()})))
}

async fn agreement(app: App, request: Request) -> Result<Reply, ApiError> {
    let negotiation = find(&app, &request).await?;
    let agreement = negotiation.agreement.as_ref();
    let agreement = agreement.ok_or_else(|| ApiError::not_found(format!("contract negotiation {} has no agreement", negotiation.id)))?;
    Reply::ok(&with_context(view::agreement(agreement)))
}

async fn terminate(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: NegotiationId = request.id("negotiation")?;
    let reason = body(&request, |body| reason(body, "TerminateNegotiation"))?;
    let act = Act::Terminate(reason.unwrap_or_else(|| "terminated by the participant".to_owned()));
    ask(&app, &request, Command::Act { id, act: Box::new(act) }).await?;
    Ok(Reply::no_content())
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: NegotiationId = request.id("negotiation")?;
    ask(&app, &request, Command::Delete(id)).await?;
    Ok(Reply::no_content())
}
