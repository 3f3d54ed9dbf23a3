//! Catalog, negotiation, transfer: how one participant gets at another's data.

use crate::{
    client::{Answer, Client, text},
    reporter::check,
    tenants::Participant,
};
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

/// The profile that is spoken.
pub const PROFILE: &str = "http-dsp-profile-2025-1";

/// An offer as the consumer sees it.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Offer id.
    pub id: String,
    /// Dataset.
    pub asset: String,
    /// Its policy, as received.
    pub policy: Value,
}

/// A request for a provider's catalog.
#[must_use]
pub fn catalog_request(provider: &Participant) -> Value {
    // Whoever wants to see offers for manufacturers lets the provider ask for that credential too.
    let scope = "org.eclipse.dspace.dcp.vc.type:ManufacturerCredential:read";
    Client::typed(
        "CatalogRequest",
        json!({ "profile": PROFILE, "counterPartyAddress": provider.dsp, "counterPartyId": provider.did, "additionalScopes": [scope] }),
    )
}

/// Asks for the provider's catalog: the answer as it came.
///
/// # Errors
/// When the platform does not answer.
pub async fn catalog_answer(client: &Client, consumer: &Participant, provider: &Participant) -> Result<Answer> {
    let body = catalog_request(provider);
    client.exchange(Some(&consumer.caller), Method::POST, &consumer.path("catalog/request"), Some(&body)).await
}

/// The offers of a catalog.
#[must_use]
pub fn offers(catalog: &Value) -> Vec<Offer> {
    let list = |value: &Value| match value {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let mut offers = Vec::new();
    for dataset in list(&catalog["dataset"]) {
        for policy in list(&dataset["hasPolicy"]) {
            let (Some(id), Some(asset)) = (policy["@id"].as_str(), dataset["@id"].as_str()) else { continue };
            offers.push(Offer { id: id.to_owned(), asset: asset.to_owned(), policy: policy.clone() });
        }
    }
    offers
}

/// A catalog step: exactly `expected` offers must be visible.
///
/// # Errors
/// When they are not.
pub async fn catalog(client: &mut Client, consumer: &Participant, provider: &Participant, expected: usize) -> Result<Vec<Offer>> {
    let started = std::time::Instant::now();
    let answer = catalog_answer(client, consumer, provider).await?;
    check(answer.status == 200, || format!("the catalog request answered {}: {}", answer.status, answer.body))?;
    let offers = offers(&answer.body);
    check(offers.len() == expected, || format!("{} offers are visible, expected {expected}: {}", offers.len(), answer.body))?;
    let what = format!("sees {expected} offers in the provider's catalog");
    let hop = "POST catalog/request -> 200 | DSP POST /catalog/request, DCP POST holder /presentations/query";
    client.reporter.step(&consumer.caller.name, &what, hop, started.elapsed());
    Ok(offers)
}

/// A request for a contract about an offer.
#[must_use]
pub fn contract_request(provider: &Participant, offer: &Offer) -> Value {
    let mut policy = offer.policy.clone();
    if let Value::Object(policy) = &mut policy {
        policy.insert("@type".into(), json!("Offer"));
        policy.insert("@id".into(), json!(offer.id));
        policy.insert("assigner".into(), json!(provider.did));
        policy.insert("target".into(), json!(offer.asset));
    }
    Client::typed(
        "ContractRequest",
        json!({ "profile": PROFILE, "counterPartyAddress": provider.dsp, "counterPartyId": provider.did, "policy": policy }),
    )
}

/// A request for the data of an agreement, to be pulled.
#[must_use]
pub fn transfer_request(provider: &Participant, agreement: &str) -> Value {
    Client::typed(
        "TransferRequest",
        json!({ "profile": PROFILE, "counterPartyAddress": provider.dsp, "contractId": agreement, "transferType": "HttpData-PULL" }),
    )
}

/// A query for the counterpart of a counterparty's process.
#[must_use]
pub fn counterpart(process: &str) -> Value {
    Client::typed(
        "QuerySpec",
        json!({ "filterExpression": [{ "@type": "Criterion", "operandLeft": "correlationId", "operator": "=", "operandRight": process }] }),
    )
}

/// Starts a negotiation and waits for its end; answers the consumer's and, when it knows one, the provider's view.
///
/// # Errors
/// When the platform refuses the call.
pub async fn negotiate(
    client: &mut Client,
    consumer: &Participant,
    provider: &Participant,
    offer: &Offer,
    wanted: &str,
) -> Result<(Value, Option<Value>)> {
    let body = contract_request(provider, offer);
    let who = &consumer.caller;
    client.over("DSP POST provider /negotiations/request");
    let started = client.step(who, "asks for a contract", Method::POST, &consumer.path("contractnegotiations"), Some(body), 200).await?;
    let id = text(&started.body, "@id")?.to_owned();
    let path = consumer.path(&format!("contractnegotiations/{id}/state?wait={wanted}&timeout=20s"));
    let what = format!("negotiation is {wanted} at the consumer");
    client.over(if wanted == "FINALIZED" {
        "DCP POST holder /presentations/query, DSP POST consumer .../agreement, POST provider .../agreement/verification, POST consumer .../events"
    } else {
        "DCP POST holder /presentations/query, DSP POST consumer .../termination, or the answer of /negotiations/request"
    });
    let state = client.step(who, &what, Method::GET, &path, None, 200).await?.body;
    check(state["state"] == wanted, || format!("the negotiation is {} at the consumer, expected {wanted}", state["state"]))?;
    let path = consumer.path(&format!("contractnegotiations/{id}"));
    let ours = client.exchange(Some(who), Method::GET, &path, None).await?.body;
    let path = provider.path("contractnegotiations/request");
    let found = client.exchange(Some(&provider.caller), Method::POST, &path, Some(&counterpart(&id))).await?.body;
    let Some(id) = found[0]["@id"].as_str() else { return Ok((ours, None)) };
    let path = provider.path(&format!("contractnegotiations/{id}/state?wait={wanted}&timeout=20s"));
    let what = format!("negotiation is {wanted} at the provider");
    let state = client.step(&provider.caller, &what, Method::GET, &path, None, 200).await?.body;
    check(state["state"] == wanted, || format!("the negotiation is {} at the provider, expected {wanted}", state["state"]))?;
    let theirs = client.exchange(Some(&provider.caller), Method::GET, &provider.path(&format!("contractnegotiations/{id}")), None).await?;
    Ok((ours, Some(theirs.body)))
}

/// A running pull.
#[derive(Debug)]
pub struct Pull {
    /// Transfer id at the consumer.
    pub transfer: String,
    /// Where the data is.
    pub endpoint: String,
    /// Access token.
    pub token: String,
}

/// Starts a pull under an agreement and fetches its token.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn start_pull(client: &mut Client, consumer: &Participant, provider: &Participant, agreement: &str) -> Result<Pull> {
    let who = &consumer.caller;
    let body = transfer_request(provider, agreement);
    client.over("DPS prepare, DSP POST provider /transfers/request");
    let started = client.step(who, "asks for the data", Method::POST, &consumer.path("transferprocesses"), Some(body), 200).await?;
    let transfer = text(&started.body, "@id")?.to_owned();
    let path = consumer.path(&format!("transferprocesses/{transfer}/state?wait=STARTED&timeout=20s"));
    client.over("DPS start, DSP POST consumer .../start, DPS started");
    let state = client.step(who, "transfer is STARTED at the consumer (HttpData-PULL)", Method::GET, &path, None, 200).await?.body;
    check(state["state"] == "STARTED", || format!("the transfer is {}", state["state"]))?;
    transfer_at_provider(client, provider, &transfer, "STARTED").await?;
    let path = format!("/tokens/{}/{transfer}", consumer.context);
    let token = client.step(who, "gets the transfer's access token", Method::GET, &path, None, 200).await?.body;
    Ok(Pull { endpoint: text(&token, "endpoint")?.to_owned(), token: text(&token, "token")?.to_owned(), transfer })
}

/// Waits for the state of a consumer's transfer at the provider.
///
/// # Errors
/// When it is another one.
pub async fn transfer_at_provider(client: &mut Client, provider: &Participant, transfer: &str, wanted: &str) -> Result<()> {
    let path = provider.path("transferprocesses/request");
    let found = client.exchange(Some(&provider.caller), Method::POST, &path, Some(&counterpart(transfer))).await?.body;
    let path = provider.path(&format!("transferprocesses/{}/state?wait={wanted}&timeout=20s", text(&found[0], "@id")?));
    let what = format!("transfer is {wanted} at the provider");
    let state = client.step(&provider.caller, &what, Method::GET, &path, None, 200).await?.body;
    check(state["state"] == wanted, || format!("the transfer is {} at the provider, expected {wanted}", state["state"]))
}

/// All rows of a participant's resource.
///
/// # Errors
/// When the platform answers none.
pub async fn all(client: &Client, who: &Participant, resource: &str) -> Result<Vec<Value>> {
    let query = Client::typed("QuerySpec", json!({ "limit": 1000 }));
    let answer = client.exchange(Some(&who.caller), Method::POST, &who.path(resource), Some(&query)).await?;
    answer.body.as_array().cloned().with_context(|| format!("{resource} answered {}: {}", answer.status, answer.body))
}

/// Opens the data stream of a pull.
///
/// # Errors
/// When the data plane does not answer.
pub async fn open(client: &Client, pull: &Pull) -> Result<reqwest::Response> {
    client.http.get(&pull.endpoint).bearer_auth(&pull.token).send().await.context("the provider's data plane does not answer")
}
