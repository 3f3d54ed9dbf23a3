//! A dataset in one call, whatever that takes: an agreement that is there already or a negotiation, then a transfer (an addition to the Management
//! API).
//!
//! Nothing is done here that a client could not do itself, command by command. What the call has begun goes on when its time is over or its client
//! has left; who repeats it with the same `Idempotency-Key` finds it again, since the ids of what it begins follow from that. It asks for a scope that
//! changes all of the API, since it negotiates and transfers alike; the answer has the token, which the data plane's API has a scope of its own for.

use super::{
    catalog,
    control_plane::{self, address, ask_once, body, profile, route, snapshot, snapshot_with},
    dataflows::no_address,
};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::{
    ControlPlane,
    control_plane::{
        ControlPlaneState,
        access::{self, Wanted},
        agent::Reply as Answer,
        archive::Key,
        catalog::request_dataset,
        negotiation::{self, Negotiation, NewNegotiation},
        transfer::{self, NewTransfer, Transfer},
    },
    data_plane::address::received,
};
use cellspace_schemas::{
    AgreementId, NegotiationId, ParticipantContextId, ProfileId, TransferId,
    management::{DatasetAccessRequest, DatasetRequest, envelope::with_context},
};
use http::header;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The step that negotiates.
const NEGOTIATION: &str = "negotiation";
/// How long all processes together are waited for.
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
    let course = Course { app: &app, request: &request, wanted, profile, until };
    // Without a key nobody finds what was begun: another node would begin it once more.
    let is_found_again = request.name_of(NEGOTIATION)?.is_some();
    let transfer = course.run().await.map_err(|error| if is_found_again { error } else { error.of_a_step() })?;
    let token = received(&app.services, &participant, &transfer.id).await.map_err(no_address)?;
    tracing::info!(category = "audit", vpa = %address(&request)?, action = "token.read", flow = %transfer.id);
    let answer = json!({
        "@type": "DatasetAccess",
        "contractAgreementId": transfer.agreement.as_str(),
        "transferProcessId": transfer.id.as_str(),
        "endpoint": token.endpoint,
        "endpointType": token.endpoint_type,
        "authType": token.auth_type,
        "token": token.token,
    });
    Ok(Reply::ok(&with_context(answer))?.header(header::CACHE_CONTROL, "no-store"))
}

/// One call on its way.
struct Course<'a> {
    app: &'a App,
    request: &'a Request,
    wanted: DatasetAccessRequest,
    profile: ProfileId,
    until: Instant,
}

impl Course<'_> {
    /// A transfer whose data may flow: under an agreement that is there already, or, when there is none or the provider does not transfer under it any
    /// more, under a new one.
    async fn run(&self) -> Result<Arc<Transfer>, ApiError> {
        let usable = self.usable().await?;
        if let Some(transfer) = self.transfer("transfer", usable).await? {
            // The provider has not begun: it may have retired the agreement, or want other credentials by now.
            let is_refused =
                transfer.state == transfer::State::Terminated && transfer.counterparty_pid.is_none() && transfer.data_plane.is_some();
            if !is_refused {
                return started(transfer);
            }
        }
        let agreement = self.negotiated().await?;
        let transfer = self.transfer("transfer under a new agreement", Some(agreement)).await?;
        started(transfer.ok_or_else(|| ApiError::internal("a transfer was not begun"))?)
    }

    /// The agreement that is there already. Who wants a certain offer wants one on that; and what an earlier call has begun to negotiate is gone on with.
    async fn usable(&self) -> Result<Option<AgreementId>, ApiError> {
        if self.wanted.offer.is_some() || self.begun_negotiation().await?.is_some() {
            return Ok(None);
        }
        let state = snapshot(self.app, self.request).await?;
        let DatasetRequest { id, counter_party_id, .. } = &self.wanted.dataset;
        let wanted = Wanted { provider: counter_party_id.clone(), profile: self.profile.clone(), dataset: id.clone() };
        let cluster = &self.app.services.cluster;
        access::usable_agreement(cluster, &address(self.request)?, &state, wanted, cluster.now()).await.map_err(ApiError::later)
    }

    /// An agreement on the dataset's offer.
    async fn negotiated(&self) -> Result<AgreementId, ApiError> {
        let id = match self.begun_negotiation().await? {
            Some(id) => id,
            None => self.negotiate(self.named(NEGOTIATION)?).await?,
        };
        let far = |n: &&Arc<Negotiation>| n.state.is_final();
        let negotiation = self.wait(Key::Negotiation(id.clone()), |state| state.negotiations.get(&id).filter(far).cloned()).await?;
        let negotiation = negotiation.ok_or_else(|| unfinished(&format!("contract negotiation {id}")))?;
        let why = || negotiation.finding.as_deref().or(negotiation.error_detail.as_deref()).unwrap_or("no reason was given");
        negotiation
            .agreement_in_force()
            .map(|agreement| agreement.id.clone())
            .ok_or_else(|| ApiError::conflict(format!("contract negotiation {id} led to no agreement in force: {}", why())))
    }

    /// The negotiation that an earlier call with the same key has begun.
    async fn begun_negotiation(&self) -> Result<Option<NegotiationId>, ApiError> {
        let Some(id) = self.named::<NegotiationId>(NEGOTIATION)? else { return Ok(None) };
        self.find(Key::Negotiation(id.clone()), |state| state.negotiations.get(&id).map(|n| n.id.clone())).await
    }

    async fn negotiate(&self, id: Option<NegotiationId>) -> Result<NegotiationId, ApiError> {
        let Course { app, request, wanted, .. } = self;
        let DatasetRequest { id: dataset_id, counter_party_address, counter_party_id, .. } = &wanted.dataset;
        let participant = request.id("participant")?;
        let dataset = request_dataset(&app.services, &participant, &wanted.dataset, request.trace.clone()).await.map_err(catalog::told)?;
        let offer = access::offer_of(&dataset, dataset_id, counter_party_id, wanted.offer.as_ref()).map_err(ApiError::not_found)?;
        let new = NewNegotiation {
            id,
            profile: self.profile.clone(),
            counterparty: counter_party_id.clone(),
            address: counter_party_address.clone(),
            offer,
            callbacks: Vec::new(),
        };
        match ask_once(app, request, negotiation::Command::Request(Box::new(new))).await? {
            Answer::Negotiation(negotiation::Reply::Begun { id, .. }) => Ok(id),
            _ => Err(ApiError::internal("a negotiation was begun without an id")),
        }
    }

    /// The transfer of this step once data may flow or it is clear that none will: the one that was begun before, or a new one under the agreement.
    /// `None` when there is neither.
    async fn transfer(&self, step: &str, agreement: Option<AgreementId>) -> Result<Option<Arc<Transfer>>, ApiError> {
        let id: Option<TransferId> = self.named(step)?;
        let found = |id: &TransferId, state: &ControlPlaneState| state.transfers.get(id).cloned();
        let id = match (id, agreement) {
            (Some(id), _) if self.find(Key::Transfer(id.clone()), |state| found(&id, state)).await?.is_some() => id,
            (id, Some(agreement)) => self.begin(id, agreement).await?,
            (_, None) => return Ok(None),
        };
        let far = |t: &Arc<Transfer>| matches!(t.state, transfer::State::Started | transfer::State::Suspended) || t.state.is_final();
        let transfer = self.wait(Key::Transfer(id.clone()), |state| found(&id, state).filter(far)).await?;
        Ok(Some(transfer.ok_or_else(|| unfinished(&format!("transfer process {id}")))?))
    }

    async fn begin(&self, id: Option<TransferId>, agreement: AgreementId) -> Result<TransferId, ApiError> {
        let new = NewTransfer {
            id,
            profile: self.profile.clone(),
            address: self.wanted.dataset.counter_party_address.clone(),
            agreement,
            transfer_type: self.wanted.transfer_type.clone(),
            metadata: self.wanted.dataplane_metadata.clone(),
            private_properties: serde_json::Map::new(),
            callbacks: Vec::new(),
        };
        match ask_once(self.app, self.request, transfer::Command::Request(Box::new(new))).await? {
            Answer::Transfer(transfer::Reply::Begun { id, .. }) => Ok(id),
            _ => Err(ApiError::internal("a transfer was begun without an id")),
        }
    }

    /// The id of what a step makes, when the client has given a key.
    fn named<T: std::str::FromStr>(&self, step: &str) -> Result<Option<T>, ApiError> {
        Ok(self.request.name_of(step)?.and_then(|name| name.parse().ok()))
    }

    /// What `query` finds, wherever it is kept.
    async fn find<T>(&self, key: Key, query: impl FnOnce(&ControlPlaneState) -> Option<T>) -> Result<Option<T>, ApiError> {
        Ok(query(&*snapshot_with(self.app, self.request, key).await?))
    }

    /// As [`Self::find`], as soon as there is something; `None` when the time is over.
    async fn wait<T>(&self, key: Key, query: impl Fn(&ControlPlaneState) -> Option<T>) -> Result<Option<T>, ApiError> {
        if let Some(found) = self.find(key.clone(), &query).await? {
            return Ok(Some(found));
        }
        let left = self.until.saturating_duration_since(Instant::now());
        let cluster = &self.app.services.cluster;
        match cluster.wait::<ControlPlane, T>(&address(self.request)?, left, &query).await.map_err(control_plane::told)? {
            Some(found) => Ok(Some(found)),
            // It may have ended and moved into the archive between two looks.
            None => self.find(key, &query).await,
        }
    }
}

/// The transfer, when data may flow.
fn started(transfer: Arc<Transfer>) -> Result<Arc<Transfer>, ApiError> {
    if transfer.state == transfer::State::Started {
        return Ok(transfer);
    }
    let why = transfer.error_detail.as_deref().unwrap_or("no reason was given");
    let Transfer { id, agreement, state, .. } = &*transfer;
    Err(ApiError::conflict(format!("transfer process {id} under agreement {agreement} is {}: {why}", state.name())))
}

fn unfinished(what: &str) -> ApiError {
    ApiError::later(format!("{what} is still under way: ask again, with the same Idempotency-Key to go on with it"))
}
