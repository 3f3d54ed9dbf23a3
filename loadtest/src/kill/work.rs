//! The work of a round, and what of it was acknowledged.

use crate::subject::did_host;
use anyhow::{Context, Result, bail};
use cellspace_client::{
    Caller, Client, check, operator, provider, sharing,
    sharing::{Offer, Pull},
    source,
    tenants::{self, Participant},
};
use reqwest::Method;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Longest time until something that may fail while the platform is away has worked.
const AT_LAST: Duration = Duration::from_secs(60);

/// Who plays.
pub struct Cast {
    pub admin: Caller,
    pub platform: operator::Platform,
    pub provider: Participant,
    pub consumer: Participant,
    /// Base URL of the provider's backend.
    source: String,
}

/// Everything that was acknowledged.
#[derive(Default)]
pub struct Ledger {
    /// Assets; source, policy and contract definition have the same id.
    pub assets: BTreeSet<String>,
    pub negotiations: BTreeSet<String>,
    pub agreements: BTreeSet<String>,
    /// State by the consumer's transfer id.
    pub transfers: BTreeMap<String, &'static str>,
    pub pulls: usize,
    pub holders: Vec<Participant>,
    pub disposed: Vec<Participant>,
}

/// Onboards the cast.
pub async fn prepare(client: &mut Client, client_id: &str, secret: &str) -> Result<Cast> {
    let admin = client.client_token("admin", client_id, secret).await?;
    let host = did_host(&client.public);
    let platform = operator::prepare(client, admin.clone(), &host).await?;
    let provider = tenants::onboard(client, &platform, "provider", &host, true).await?;
    let consumer = tenants::onboard(client, &platform, "consumer", &host, true).await?;
    let source = format!("http://{}", source::serve().await?);
    provider::offer(client, &provider, &source).await?;
    sharing::catalog(client, &consumer, &provider, 3).await?;
    Ok(Cast { admin, platform, provider, consumer, source })
}

/// A new asset is offered, contracted and pulled; every third transfer is terminated, some rounds bring a participant in and another one out.
pub async fn round(client: &mut Client, cast: &Cast, ledger: &mut Ledger, round: u32, newcomer: bool) -> Result<()> {
    let asset = format!("asset-{round}");
    offer(client, cast, &asset).await?;
    ledger.assets.insert(asset.clone());
    let offer = find(client, cast, &asset).await?;
    let (ours, theirs) = sharing::negotiate(client, &cast.consumer, &cast.provider, &offer, "FINALIZED").await?;
    let theirs = theirs.context("the provider does not know an acknowledged negotiation")?;
    let agreement = ours["contractAgreementId"].as_str().context("no agreement")?.to_owned();
    check(theirs["contractAgreementId"] == agreement.as_str(), || "the sides hold different agreements".to_owned())?;
    check(ledger.negotiations.insert(ours["@id"].to_string()), || "a negotiation id was given twice".to_owned())?;
    check(ledger.agreements.insert(agreement.clone()), || "an agreement was made twice".to_owned())?;
    let pull = sharing::start_pull(client, &cast.consumer, &cast.provider, &agreement).await?;
    check(ledger.transfers.insert(pull.transfer.clone(), "STARTED").is_none(), || "a transfer id was given twice".to_owned())?;
    fetch(client, &pull).await?;
    ledger.pulls += 1;
    if round % 3 == 2 {
        terminate(client, cast, &pull.transfer).await?;
        ledger.transfers.insert(pull.transfer, "TERMINATED");
    }
    if newcomer {
        let name = format!("newcomer-{round}");
        let host = did_host(&client.public);
        ledger.holders.push(tenants::onboard(client, &cast.platform, &name, &host, false).await?);
        if ledger.holders.len() > 1 {
            let leaves = ledger.holders.remove(0);
            tenants::dispose(client, &cast.platform, &leaves).await?;
            ledger.disposed.push(leaves);
        }
    }
    Ok(())
}

async fn offer(client: &mut Client, cast: &Cast, id: &str) -> Result<()> {
    let (provider, who) = (&cast.provider, &cast.provider.caller);
    let named = format!("/participants/{}/sources/{id}", provider.context);
    let body = json!({ "baseUrl": format!("{}/data/footprints.json", cast.source), "methods": ["GET"] });
    client.step(who, "names a source", Method::PUT, &named, Some(body), 200).await?;
    let metadata = json!({ "@type": "DataplaneMetadata", "profiles": ["HttpData-PULL"], "properties": { "source": id } });
    let asset = Client::typed("Asset", json!({ "@id": id, "properties": {}, "dataplaneMetadata": metadata }));
    client.step(who, "creates an asset", Method::POST, &provider.path("assets"), Some(asset), 200).await?;
    let constraint = json!({ "leftOperand": "MembershipCredential", "operator": "eq", "rightOperand": "active" });
    let policy = json!({ "@type": "Set", "permission": [{ "action": "use", "constraint": [constraint] }] });
    let policy = Client::typed("PolicyDefinition", json!({ "@id": id, "policy": policy }));
    client.step(who, "creates a policy", Method::POST, &provider.path("policydefinitions"), Some(policy), 200).await?;
    let selector = json!({ "@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": id });
    let definition = json!({ "@id": id, "accessPolicyId": id, "contractPolicyId": id, "assetsSelector": [selector] });
    let definition = Client::typed("ContractDefinition", definition);
    client.step(who, "creates an offer", Method::POST, &provider.path("contractdefinitions"), Some(definition), 200).await?;
    Ok(())
}

/// The offer of an asset in the catalog, exactly one. The provider may be away although the consumer answers.
async fn find(client: &Client, cast: &Cast, asset: &str) -> Result<Offer> {
    let started = Instant::now();
    loop {
        let answer = sharing::catalog_answer(client, &cast.consumer, &cast.provider).await?;
        if answer.status == 200 {
            let mut offers: Vec<Offer> = sharing::offers(&answer.body).into_iter().filter(|offer| offer.asset == asset).collect();
            check(offers.len() == 1, || format!("{} offers of {asset}, acknowledged was one: {}", offers.len(), answer.body))?;
            return offers.pop().context("one offer");
        }
        check(answer.status == 502 && started.elapsed() < AT_LAST, || format!("the catalog answered {}: {}", answer.status, answer.body))?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Pulls the data set whole, however often the stream breaks.
async fn fetch(client: &Client, pull: &Pull) -> Result<()> {
    let started = Instant::now();
    loop {
        let answer = async {
            let response = sharing::open(client, pull).await?;
            anyhow::Ok((response.status().as_u16(), response.bytes().await?))
        };
        match answer.await {
            Ok((200, bytes)) => return check(bytes == source::data_set(), || "the data set is not that of the source".to_owned()),
            Ok((502 | 503, _)) | Err(_) if started.elapsed() < AT_LAST => tokio::time::sleep(Duration::from_millis(20)).await,
            Ok((status, bytes)) => bail!("the data plane answered {status}: {}", String::from_utf8_lossy(&bytes)),
            Err(error) => return Err(error),
        }
    }
}

async fn terminate(client: &mut Client, cast: &Cast, transfer: &str) -> Result<()> {
    let who = &cast.consumer.caller;
    let path = cast.consumer.path(&format!("transferprocesses/{transfer}/terminate"));
    let body = Client::typed("TerminateTransfer", json!({ "reason": "no longer needed" }));
    client.step(who, "terminates a transfer", Method::POST, &path, Some(body), 204).await?;
    let path = cast.consumer.path(&format!("transferprocesses/{transfer}/state?wait=TERMINATED&timeout=20s"));
    let state = client.step(who, "transfer is TERMINATED", Method::GET, &path, None, 200).await?.body;
    check(state["state"] == "TERMINATED", || format!("the transfer is {}", state["state"]))?;
    sharing::transfer_at_provider(client, &cast.provider, transfer, "TERMINATED").await
}
