//! Contract agreements of a participant (Management API v5).

use super::{
    control_plane::{FEW, Fields, Keys, ask, body, not_found, page, processes, route, snapshot, snapshot_with, sought},
    paging,
};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::control_plane::{
    archive::{
        AGREED, Field, Key, Sought,
        list::{Asked, Listed},
    },
    negotiation::{Agreement, Command, Negotiation, view},
};
use cellspace_schemas::{
    AgreementId,
    management::{contract_request::reason, envelope::with_context},
};
use serde_json::Value;
use std::sync::Arc;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:agreements:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("management-api:agreements:write", Provisioner::Denied);
    vec![
        route(Verb::Query, "/participants/{participant}/contractagreements/request", READ, |a, r| Box::pin(query(a, r))),
        route(Verb::Get, "/participants/{participant}/contractagreements/{agreement}", READ, |a, r| Box::pin(get(a, r))),
        route(Verb::Get, "/participants/{participant}/contractagreements/{agreement}/negotiation", READ, |a, r| {
            Box::pin(negotiation(a, r))
        }),
        route(Verb::Post, "/participants/{participant}/contractagreements/{agreement}/retire", WRITE, |a, r| Box::pin(retire(a, r))),
    ]
}

async fn query(app: App, request: Request) -> Result<Reply, ApiError> {
    const KEY: fn(&str) -> Option<Key> = |text| text.parse().ok().map(Key::Agreement);
    const KEYS: Keys = &[("id", KEY), ("agreementId", KEY)];
    const FIELDS: Fields = &[("assetId", Field::Asset)];
    const PARTIES: Fields = &[("providerId", Field::Counterparty), ("consumerId", Field::Counterparty)];
    let query = paging::query(&request, &view::AGREEMENT_PATHS)?;
    let mut wanted = sought::<Negotiation>(&query, FIELDS);
    wanted.push(Sought { field: Field::Agreed, values: vec![AGREED.to_owned()] });
    // A party that is not the participant is its counterparty.
    let state = snapshot(&app, &request).await?;
    let own = state.participant.as_ref().map(|participant| participant.identity.as_str());
    wanted.extend(
        sought::<Negotiation>(&query, PARTIES).into_iter().filter(|party| party.values.iter().all(|did| Some(did.as_str()) != own)),
    );
    let participant = request.param("participant")?.to_owned();
    let fields = move |a: &Agreement| view::agreement_for_query(a, &participant);
    let compared = fields.clone();
    // What led to no agreement meets no criterion.
    let of_negotiation = Box::new(move |n: &Negotiation| n.agreement.as_deref().map_or(Value::Null, &compared));
    let asked = Arc::new(Asked { query, sought: wanted, judged: false, fields: of_negotiation });
    let Listed { found, whole } = processes(&app, &request, KEYS, &asked).await?;
    let long = found.len() > FEW;
    let told = move || {
        // They stand in the order of their negotiations.
        let agreements = found.iter().filter_map(|n| Some((n.id.as_str(), n.agreement.as_deref()?)));
        page(&request, &asked.query, (agreements, whole, false), |(id, _)| id, |(_, a)| fields(a), |(_, a)| view::agreement(a))
    };
    paging::beside(long, told).await
}

async fn find(app: &App, request: &Request) -> Result<Arc<Negotiation>, ApiError> {
    let id: AgreementId = request.id("agreement")?;
    let state = snapshot_with(app, request, Key::Agreement(id.clone())).await?;
    state.negotiations.of_agreement(&id).cloned().ok_or_else(|| not_found("contract agreement", id.as_str()))
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let negotiation = find(&app, &request).await?;
    let agreement = negotiation.agreement.as_ref().ok_or_else(|| ApiError::internal("an agreement is indexed that is not there"))?;
    Reply::ok(&with_context(view::agreement(agreement)))
}

async fn negotiation(app: App, request: Request) -> Result<Reply, ApiError> {
    let negotiation = find(&app, &request).await?;
    Reply::ok(&with_context(view::negotiation(&negotiation)))
}

/// Nothing is transferred under the agreement any more; what is under way is ended.
async fn retire(app: App, request: Request) -> Result<Reply, ApiError> {
    let reason = body(&request, |body| reason(body, "RetireAgreement"))?;
    let reason = reason.unwrap_or_else(|| "the agreement was retired".to_owned());
    ask(&app, &request, Command::Retire { agreement: request.id("agreement")?, reason }).await?;
    Ok(Reply::no_content())
}
