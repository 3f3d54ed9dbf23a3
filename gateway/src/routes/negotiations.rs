//! Contract negotiations of a participant (Management API v5).

use super::{
    control_plane::{
        self, FEW, Fields, Keys, address, ask, body, callbacks, not_found, page, processes, profile, route, snapshot, snapshot_with, sought,
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
    dsp::Role,
    negotiation::{Act, Command, Negotiation, NewNegotiation, Reply as Negotiated, view},
};
use cellspace_schemas::{
    Did, NegotiationId,
    dsp::negotiation::MessageOffer,
    management::{
        ContractRequest,
        contract_request::{counter_offer, reason, seen_offer},
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
        route(Verb::Post, "/participants/{participant}/contractnegotiations/offer", WRITE, |a, r| Box::pin(offer_first(a, r))),
        route(Verb::Query, "/participants/{participant}/contractnegotiations/request", READ, |a, r| Box::pin(query(a, r))),
        route(Verb::Get, "/participants/{participant}/contractnegotiations/{negotiation}", READ, |a, r| Box::pin(get(a, r))),
        route(Verb::Get, "/participants/{participant}/contractnegotiations/{negotiation}/state", READ, |a, r| Box::pin(state(a, r))),
        route(Verb::Get, "/participants/{participant}/contractnegotiations/{negotiation}/agreement", READ, |a, r| {
            Box::pin(agreement(a, r))
        }),
        route(Verb::Post, "/participants/{participant}/contractnegotiations/{negotiation}/agree", WRITE, |a, r| Box::pin(agree(a, r))),
        route(Verb::Post, "/participants/{participant}/contractnegotiations/{negotiation}/offer", WRITE, |a, r| {
            Box::pin(propose(a, r, Act::Offer))
        }),
        route(Verb::Post, "/participants/{participant}/contractnegotiations/{negotiation}/accept", WRITE, |a, r| Box::pin(accept(a, r))),
        route(Verb::Post, "/participants/{participant}/contractnegotiations/{negotiation}/request", WRITE, |a, r| {
            Box::pin(propose(a, r, Act::CounterOffer))
        }),
        route(Verb::Post, "/participants/{participant}/contractnegotiations/{negotiation}/terminate", WRITE, |a, r| {
            Box::pin(terminate(a, r))
        }),
        route(Verb::Delete, "/participants/{participant}/contractnegotiations/{negotiation}", WRITE, |a, r| Box::pin(delete(a, r))),
    ]
}

async fn create(app: App, request: Request) -> Result<Reply, ApiError> {
    let wanted = body(&request, ContractRequest::from_json)?;
    begin(&app, &request, wanted, Command::Request).await
}

/// A first offer, as provider.
async fn offer_first(app: App, request: Request) -> Result<Reply, ApiError> {
    let own = own(&app, &request).await?;
    let wanted = body(&request, |body| ContractRequest::offer_from_json(body, &own))?;
    begin(&app, &request, wanted, Command::Offer).await
}

async fn begin(
    app: &App,
    request: &Request,
    wanted: ContractRequest,
    command: fn(Box<NewNegotiation>) -> Command,
) -> Result<Reply, ApiError> {
    let new = NewNegotiation {
        id: wanted.id,
        profile: profile(app, request, wanted.profile.as_ref()).await?,
        counterparty: wanted.counter_party_id,
        address: wanted.counter_party_address,
        offer: wanted.offer,
        callbacks: callbacks(app, wanted.callback_addresses)?,
    };
    match ask(app, request, command(Box::new(new))).await? {
        Answer::Negotiation(Negotiated::Begun { id, at }) => Reply::ok(&id_response(id.as_str(), at)),
        _ => Err(ApiError::internal("a negotiation was begun without an id")),
    }
}

async fn query(app: App, request: Request) -> Result<Reply, ApiError> {
    const KEYS: Keys =
        &[("id", |text| text.parse().ok().map(Key::Negotiation)), ("contractAgreementId", |text| text.parse().ok().map(Key::Agreement))];
    const FIELDS: Fields =
        &[("state", Field::State), ("type", Field::Role), ("counterPartyId", Field::Counterparty), ("assetId", Field::Asset)];
    let query = paging::query(&request, &view::NEGOTIATION_PATHS)?;
    let participant = request.param("participant")?.to_owned();
    let sought = sought::<Negotiation>(&query, FIELDS);
    // What is sought in every criterion is compared when it is found.
    let judged = sought.len() == query.filter.len();
    let fields = Box::new(move |n: &Negotiation| view::negotiation_for_query(n, &participant));
    let asked = Arc::new(Asked { query, sought, judged, fields });
    let Listed { found, whole } = processes(&app, &request, KEYS, &asked).await?;
    let long = found.len() > FEW;
    let told =
        move || page(&request, &asked.query, (found, whole, judged), |n| n.id.as_str(), |n| (asked.fields)(n), |n| view::negotiation(n));
    paging::beside(long, told).await
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

/// The participant's DID.
async fn own(app: &App, request: &Request) -> Result<Did, ApiError> {
    let state = snapshot(app, request).await?;
    Ok(state.active().map_err(|refusal| control_plane::refused(refusal.into()))?.identity.clone())
}

async fn act(app: &App, request: &Request, act: Act) -> Result<Reply, ApiError> {
    let id: NegotiationId = request.id("negotiation")?;
    ask(app, request, Command::Act { id, act: Box::new(act) }).await?;
    Ok(Reply::no_content())
}

/// The provider agrees to the terms that the consumer has requested.
async fn agree(app: App, request: Request) -> Result<Reply, ApiError> {
    let command = Command::Agree { id: request.id("negotiation")?, seen: seen(&request)? };
    ask(&app, &request, command).await?;
    Ok(Reply::no_content())
}

/// The consumer accepts the offer.
async fn accept(app: App, request: Request) -> Result<Reply, ApiError> {
    let command = Command::Accept { id: request.id("negotiation")?, seen: seen(&request)? };
    ask(&app, &request, command).await?;
    Ok(Reply::no_content())
}

/// The terms that the client has seen, when it sends them along: the `offer` of the negotiation, as it was shown. An empty object is as no body.
fn seen(request: &Request) -> Result<Option<Box<MessageOffer>>, ApiError> {
    if matches!(request.body.trim_ascii(), b"" | b"{}" | b"null") {
        return Ok(None);
    }
    Ok(Some(Box::new(body(request, seen_offer)?)))
}

/// Either side answers terms with others.
async fn propose(app: App, request: Request, by: fn(MessageOffer) -> Act) -> Result<Reply, ApiError> {
    let negotiation = find(&app, &request).await?;
    let provider = match negotiation.role {
        Role::Provider => own(&app, &request).await?,
        Role::Consumer => negotiation.counterparty.clone(),
    };
    let offer = body(&request, |body| counter_offer(body, &provider, &negotiation.offer.target))?;
    act(&app, &request, by(offer)).await
}

async fn terminate(app: App, request: Request) -> Result<Reply, ApiError> {
    let reason = body(&request, |body| reason(body, "TerminateNegotiation"))?;
    act(&app, &request, Act::Terminate(reason.unwrap_or_else(|| "terminated by the participant".to_owned()))).await
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: NegotiationId = request.id("negotiation")?;
    ask(&app, &request, Command::Delete(id)).await?;
    Ok(Reply::no_content())
}
