//! A dataset in one call, whatever that takes: an agreement that is there already or a negotiation, then a transfer (an addition to the Management
//! API).
//!
//! Nothing is done here that a client could not do itself, command by command. What the call has begun goes on when its time is over or its client
//! has left; who repeats it with the same `Idempotency-Key` finds it again. It asks for a scope that changes all of the API, since it negotiates and
//! transfers alike, and hands out the token.

use super::{
    catalog,
    control_plane::{self, address, ask_for, body, profile, route, snapshot},
    dataflows::no_address,
};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::{
    ControlPlane,
    control_plane::{
        ControlPlaneState, access,
        agent::Reply as Answer,
        catalog::request_dataset,
        negotiation::{self, Negotiation, NewNegotiation},
        transfer::{self, NewTransfer, Transfer},
    },
    data_plane::address::received,
};
use cellspace_schemas::{
    AgreementId, ParticipantContextId, ProfileId, TransferId,
    management::{DatasetAccessRequest, DatasetRequest, envelope::with_context},
};
use http::header;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long both processes together are waited for.
const PATIENCE: Duration = Duration::from_secs(25);

/// The route.
#[must_use]
pub fn routes() -> Vec<Route> {
    const WRITE: Access = Access::Scope("management-api:write", Provisioner::Denied);
    vec![route(Verb::Await, "/participants/{participant}/datasets/access", WRITE, |a, r| Box::pin(get_at(a, r)))]
}

async fn get_at(app: App, request: Request) -> Result<Reply, ApiError> {
    let until = Instant::now() + PATIENCE;
    let participant: ParticipantContextId = request.id("participant")?;
    let wanted = body(&request, DatasetAccessRequest::from_json)?;
    let profile = profile(&app, &request, wanted.dataset.profile.as_ref()).await?;
    let agreement = match usable(&app, &request, &wanted, &profile).await? {
        Some(agreement) => agreement,
        None => negotiated(&app, &request, &wanted, &profile, until).await?,
    };
    let transfer = started(&app, &request, &wanted, profile, agreement.clone(), until).await?;
    let token = received(&app.services, &participant, &transfer).await.map_err(no_address)?;
    tracing::info!(category = "audit", vpa = %address(&request)?, action = "token.read", flow = %transfer);
    let answer = json!({
        "@type": "DatasetAccess",
        "contractAgreementId": agreement.as_str(),
        "transferProcessId": transfer.as_str(),
        "endpoint": token.endpoint,
        "endpointType": token.endpoint_type,
        "authType": token.auth_type,
        "token": token.token,
    });
    Ok(Reply::ok(&with_context(answer))?.header(header::CACHE_CONTROL, "no-store"))
}

/// The agreement that is there already; one that was begun with a wish for a certain offer is made for it.
async fn usable(app: &App, request: &Request, wanted: &DatasetAccessRequest, profile: &ProfileId) -> Result<Option<AgreementId>, ApiError> {
    if wanted.offer.is_some() {
        return Ok(None);
    }
    let state = snapshot(app, request).await?;
    let DatasetRequest { id, counter_party_id, .. } = &wanted.dataset;
    Ok(access::usable_agreement(&state, counter_party_id, profile, id, app.services.cluster.now()))
}

/// An agreement on the dataset's offer.
async fn negotiated(
    app: &App,
    request: &Request,
    wanted: &DatasetAccessRequest,
    profile: &ProfileId,
    until: Instant,
) -> Result<AgreementId, ApiError> {
    let DatasetRequest { id, counter_party_address, counter_party_id, .. } = &wanted.dataset;
    let participant = request.id("participant")?;
    let dataset = request_dataset(&app.services, &participant, &wanted.dataset, request.trace.clone()).await.map_err(catalog::told)?;
    let offer = access::offer_of(&dataset, id, counter_party_id, wanted.offer.as_ref()).map_err(ApiError::not_found)?;
    let new = NewNegotiation {
        id: None,
        profile: profile.clone(),
        counterparty: counter_party_id.clone(),
        address: counter_party_address.clone(),
        offer,
        callbacks: Vec::new(),
    };
    let begun = ask_for(app, request, "negotiation", negotiation::Command::Request(Box::new(new))).await?;
    let Answer::Negotiation(negotiation::Reply::Begun { id, .. }) = begun else {
        return Err(ApiError::internal("a negotiation was begun without an id"));
    };
    let ended = |state: &ControlPlaneState| state.negotiations.get(&id).filter(|n| n.state.is_final()).cloned();
    let negotiation: Arc<Negotiation> =
        wait(app, request, until, ended).await?.ok_or_else(|| unfinished(&format!("contract negotiation {id}")))?;
    let why = || negotiation.finding.as_deref().or(negotiation.error_detail.as_deref()).unwrap_or("no reason was given");
    negotiation
        .agreement_in_force()
        .map(|agreement| agreement.id.clone())
        .ok_or_else(|| ApiError::conflict(format!("contract negotiation {id} ended without an agreement: {}", why())))
}

/// A transfer under the agreement, once data may flow.
async fn started(
    app: &App,
    request: &Request,
    wanted: &DatasetAccessRequest,
    profile: ProfileId,
    agreement: AgreementId,
    until: Instant,
) -> Result<TransferId, ApiError> {
    let new = NewTransfer {
        id: None,
        profile,
        address: wanted.dataset.counter_party_address.clone(),
        agreement,
        transfer_type: wanted.transfer_type.clone(),
        metadata: wanted.dataplane_metadata.clone(),
        private_properties: serde_json::Map::new(),
        callbacks: Vec::new(),
    };
    let begun = ask_for(app, request, "transfer", transfer::Command::Request(Box::new(new))).await?;
    let Answer::Transfer(transfer::Reply::Begun { id, .. }) = begun else {
        return Err(ApiError::internal("a transfer was begun without an id"));
    };
    let far = |t: &&Arc<Transfer>| t.state == transfer::State::Started || t.state.is_ending();
    let transfer = wait(app, request, until, |state| state.transfers.get(&id).filter(far).cloned()).await?;
    let transfer = transfer.ok_or_else(|| unfinished(&format!("transfer process {id}")))?;
    if transfer.state == transfer::State::Started {
        return Ok(id);
    }
    let why = transfer.error_detail.as_deref().unwrap_or("no reason was given");
    Err(ApiError::conflict(format!("transfer process {id} under agreement {} was not started: {why}", transfer.agreement)))
}

/// What `query` finds in the state, as soon as it does; `None` when the time is over.
async fn wait<T>(
    app: &App,
    request: &Request,
    until: Instant,
    query: impl FnMut(&ControlPlaneState) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let left = until.saturating_duration_since(Instant::now());
    app.services.cluster.wait::<ControlPlane, T>(&address(request)?, left, query).await.map_err(control_plane::told)
}

fn unfinished(what: &str) -> ApiError {
    ApiError::later(format!("{what} is still under way: ask again, with the same Idempotency-Key to go on with it"))
}
