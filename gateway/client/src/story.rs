//! What the three participants do with each other.

use crate::{
    client::{Client, text},
    operator::{ISSUER, Platform},
    provider::{DATA_SET, FILE},
    reporter::check,
    sharing::{self, Offer, Pull},
    source::{self, hex},
    tenants::Participant,
};
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How often a wait says how far it is.
const PROGRESS: Duration = Duration::from_millis(500);

/// The participants.
#[derive(Debug)]
pub struct Cast {
    /// Offers data.
    pub provider: Participant,
    /// Member and manufacturer.
    pub consumer: Participant,
    /// Member only.
    pub third: Participant,
}

/// What later parts need of the consumer's part.
#[derive(Debug)]
pub struct Shared {
    offers: Vec<Offer>,
    /// The pull of the large file.
    pub file: Pull,
}

fn pick<'a>(offers: &'a [Offer], asset: &str, required: &str) -> Result<&'a Offer> {
    let names = |offer: &&Offer| offer.asset == asset && offer.policy.to_string().contains(required);
    offers.iter().find(names).with_context(|| format!("no offer of {asset} that requires {required}"))
}

/// One call shows the border: a provisioner reads no tenant's assets.
///
/// # Errors
/// When it does.
pub async fn border(client: &mut Client, platform: &Platform, cast: &Cast) -> Result<()> {
    client.reporter.chapter("Borders");
    let query = Client::typed("QuerySpec", json!({}));
    let path = cast.provider.path("assets/request");
    client.step(&platform.provisioner, "may not read a tenant's assets", Method::POST, &path, Some(query.clone()), 403).await?;
    client.step(&cast.third.caller, "may not read another tenant's assets", Method::POST, &path, Some(query), 403).await?;
    Ok(())
}

/// Catalog, negotiation and pull of both assets, data compared by SHA-256.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn consumer(client: &mut Client, cast: &Cast) -> Result<Shared> {
    client.reporter.chapter("Consumer: catalog, contract, data");
    let Cast { provider, consumer, .. } = cast;
    let offers = sharing::catalog(client, consumer, provider, 3).await?;
    let open = pick(&offers, DATA_SET, "MembershipCredential")?.clone();
    let pull = contract_and_pull(client, cast, &open).await?;
    fetch(client, consumer, &pull, &hex(&Sha256::digest(source::data_set())), "the data set").await?;
    let restricted = pick(&offers, FILE, "ManufacturerCredential")?.clone();
    let file = contract_and_pull(client, cast, &restricted).await?;
    fetch(client, consumer, &file, &source::file_sha256(), "the 64 MiB file").await?;
    Ok(Shared { offers, file })
}

async fn contract_and_pull(client: &mut Client, cast: &Cast, offer: &Offer) -> Result<Pull> {
    let (ours, theirs) = sharing::negotiate(client, &cast.consumer, &cast.provider, offer, "FINALIZED").await?;
    let agreement = text(&ours, "contractAgreementId")?;
    let theirs = theirs.context("the provider does not know the negotiation")?;
    check(theirs["contractAgreementId"] == agreement, || "the two sides hold different agreements".to_owned())?;
    sharing::start_pull(client, &cast.consumer, &cast.provider, agreement).await
}

async fn fetch(client: &mut Client, who: &Participant, pull: &Pull, expected: &str, what: &str) -> Result<()> {
    let started = Instant::now();
    let mut response = sharing::open(client, pull).await?;
    check(response.status() == 200, || format!("the data plane answered {}", response.status()))?;
    let (mut hash, mut bytes) = (Sha256::new(), 0_usize);
    while let Some(chunk) = response.chunk().await.context("the stream broke")? {
        hash.update(&chunk);
        bytes += chunk.len();
    }
    let found = hex(&hash.finalize());
    check(found == expected, || format!("SHA-256 of {what} is {found}, expected {expected}"))?;
    let digest = found.get(..12).unwrap_or_default();
    let line = format!("pulls {what}: {bytes} bytes, SHA-256 {digest}... as at the source");
    client.reporter.step(&who.caller.name, &line, "GET provider's data plane, token of the transfer -> 200", started.elapsed());
    Ok(())
}

/// The third participant sees less, is refused with the reason, and cannot even tell that the hidden offer exists.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn third(client: &mut Client, cast: &Cast, shared: &Shared) -> Result<()> {
    client.reporter.chapter("Third participant: no Manufacturer credential");
    let Cast { provider, third, .. } = cast;
    let offers = sharing::catalog(client, third, provider, 2).await?;
    let hidden = pick(&shared.offers, DATA_SET, "ManufacturerCredential")?;
    check(offers.iter().all(|offer| offer.id != hidden.id) && pick(&offers, DATA_SET, "ManufacturerCredential").is_err(), || {
        format!("the hidden offer is visible: {offers:?}")
    })?;
    pick(&offers, DATA_SET, "MembershipCredential")?;
    let restricted = pick(&offers, FILE, "ManufacturerCredential")?.clone();
    let (ours, theirs) = sharing::negotiate(client, third, provider, &restricted, "TERMINATED").await?;
    let theirs = theirs.context("the provider does not know the refused negotiation")?;
    let (told, known) = (text(&ours, "errorDetail")?, text(&theirs, "errorDetail")?);
    for detail in [told, known] {
        check(detail.contains("ManufacturerCredential"), || format!("the reason does not name the constraint: {detail}"))?;
        check(!detail.contains("eyJ"), || format!("the reason holds a token: {detail}"))?;
    }
    // What it holds, and who issued that, the provider's own reason alone tells.
    let found = ["MembershipCredential", "did:web:"];
    check(!found.iter().any(|found| told.contains(found)), || format!("the reason tells what was found: {told}"))?;
    check(found.iter().all(|found| known.contains(found)), || format!("the provider's reason does not tell what was found: {known}"))?;
    client.reporter.step(
        &third.caller.name,
        "is told which constraint was required",
        &format!("DSP POST consumer .../termination: {told}"),
        Duration::ZERO,
    );

    let made_up = Offer { id: format!("{}x", hidden.id), ..hidden.clone() };
    let mut details = Vec::new();
    let before = ids(&sharing::all(client, provider, "contractnegotiations/request").await?);
    for (offer, what) in [(hidden, "the hidden offer"), (&made_up, "a made-up offer")] {
        let started = Instant::now();
        let (ours, theirs) = sharing::negotiate(client, third, provider, offer, "TERMINATED").await?;
        let after = ids(&sharing::all(client, provider, "contractnegotiations/request").await?);
        check(theirs.is_none() && after == before, || format!("the provider stored something of {what}: {before:?}, then {after:?}"))?;
        let id = text(&ours, "@id")?.to_owned();
        // What differs by nature are the ids that the consumer itself sent.
        details.push(text(&ours, "errorDetail")?.replace(&offer.id, "<offer>").replace(&id, "<negotiation>"));
        client.reporter.step(
            &third.caller.name,
            &format!("asks for {what}: refused, nothing stored"),
            &format!("DSP POST provider /negotiations/request: {}", details.last().map_or("", String::as_str)),
            started.elapsed(),
        );
    }
    check(details.first() == details.last(), || format!("the two answers differ: {details:?}"))
}

fn ids(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().map(|row| row["@id"].to_string()).collect()
}

/// A terminated transfer ends at once, also for a response that is still streaming.
///
/// # Errors
/// When data still comes.
pub async fn terminate(client: &mut Client, cast: &Cast, shared: &Shared) -> Result<()> {
    client.reporter.chapter("Terminate");
    let who = &cast.consumer.caller;
    let mut stream = sharing::open(client, &shared.file).await?;
    check(stream.status() == 200, || format!("the data plane answered {}", stream.status()))?;
    let mut read = stream.chunk().await.context("the stream broke early")?.map_or(0, |chunk| chunk.len());
    let path = cast.consumer.path(&format!("transferprocesses/{}/terminate", shared.file.transfer));
    let body = Client::typed("TerminateTransfer", json!({ "reason": "no longer needed" }));
    client.over("DSP POST provider .../termination");
    client.step(who, "terminates the transfer while data streams", Method::POST, &path, Some(body), 204).await?;
    let path = cast.consumer.path(&format!("transferprocesses/{}/state?wait=TERMINATED&timeout=20s", shared.file.transfer));
    let state = client.step(who, "transfer is TERMINATED at the consumer", Method::GET, &path, None, 200).await?.body;
    check(state["state"] == "TERMINATED", || format!("the transfer is {} at the consumer", state["state"]))?;
    sharing::transfer_at_provider(client, &cast.provider, &shared.file.transfer, "TERMINATED").await?;
    let started = Instant::now();
    let cut = loop {
        match stream.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    check(cut && read < source::FILE_BYTES, || format!("the stream was not cut: {read} bytes came"))?;
    client.reporter.step(
        &who.name,
        &format!("the open stream was cut after {} KiB of 64 MiB", read / 1024),
        "connection closed",
        started.elapsed(),
    );
    let started = Instant::now();
    let again = sharing::open(client, &shared.file).await?.status().as_u16();
    check(again == 401 || again == 403, || format!("the ended transfer's token was answered with {again}"))?;
    client.reporter.step(&who.name, "the token is refused", &format!("GET data endpoint -> {again}"), started.elapsed());
    Ok(())
}

/// Revoked credentials take their effect within the status list's age.
///
/// # Errors
/// When they do not.
pub async fn revoke(client: &mut Client, platform: &Platform, cast: &Cast, shared: &Shared, status_age: Duration) -> Result<()> {
    client.reporter.chapter(&format!("Revoke (status lists are at most {} s old)", status_age.as_secs()));
    let Cast { provider, consumer, .. } = cast;
    let mut left = offer_ids(&sharing::catalog(client, consumer, provider, 3).await?);
    left.remove(&pick(&shared.offers, DATA_SET, "ManufacturerCredential")?.id);
    check(left.len() == 2, || format!("the hidden offer is none of those in the catalog, {left:?}"))?;
    revoke_credential(client, platform, consumer, "ManufacturerCredential").await?;
    let hidden_gone = |status: u16, body: &Value| status == 200 && offer_ids(&sharing::offers(body)) == left;
    effect(client, consumer, provider, status_age, "the hidden offer alone has left the catalog", hidden_gone).await?;
    revoke_credential(client, platform, consumer, "MembershipCredential").await?;
    // The consumer's connector tells what it was answered.
    let refused = |status: u16, body: &Value| status == 502 && body.to_string().contains("the counterparty answered 401");
    effect(client, consumer, provider, status_age, "the provider refuses the former member with 401", refused).await
}

fn offer_ids(offers: &[Offer]) -> BTreeSet<String> {
    offers.iter().map(|offer| offer.id.clone()).collect()
}

async fn revoke_credential(client: &mut Client, platform: &Platform, holder: &Participant, kind: &str) -> Result<()> {
    let path = format!("/api/identity/v1beta/participants/{}/credentials?type={kind}", holder.context);
    let held = client.exchange(Some(&holder.caller), Method::GET, &path, None).await?.body;
    let credential = &held[0]["verifiableCredential"]["credential"];
    let id = text(credential, "id")?;
    let base = format!("/api/issuer/admin/participants/{ISSUER}/credentials");
    let issued =
        client.exchange(Some(&platform.issuer), Method::POST, &format!("{base}/query"), Some(&json!({ "limit": 1000 }))).await?.body;
    let same = |row: &&Value| row["id"].as_str().is_some_and(|row| row == id || id.ends_with(row));
    let row =
        issued.as_array().and_then(|rows| rows.iter().find(same)).with_context(|| format!("the issuer does not know {id}: {issued}"))?;
    let path = format!("{base}/{}/revoke", text(row, "id")?);
    client.over("bit in the status list");
    client.step(&platform.issuer, &format!("revokes the consumer's {kind}"), Method::POST, &path, None, 204).await?;
    Ok(())
}

/// Asks for the catalog until the change shows; it must within the lists' age and a little.
async fn effect(
    client: &mut Client,
    consumer: &Participant,
    provider: &Participant,
    status_age: Duration,
    what: &str,
    shows: impl Fn(u16, &Value) -> bool,
) -> Result<()> {
    let started = Instant::now();
    client.reporter.waiting(what);
    let mut told = Duration::ZERO;
    loop {
        let answer = sharing::catalog_answer(client, consumer, provider).await?;
        if shows(answer.status, &answer.body) {
            let hop = format!("POST catalog/request -> {} | DSP POST /catalog/request, GET issuer's status list", answer.status);
            let what = format!("{what}, after {:.1} s of at most {} s", started.elapsed().as_secs_f64(), status_age.as_secs());
            client.reporter.step(&consumer.caller.name, &what, &hop, started.elapsed());
            return Ok(());
        }
        if started.elapsed() - told >= PROGRESS {
            told = started.elapsed();
            client.reporter.waiting(&format!("not yet after {:.1} s", told.as_secs_f64()));
        }
        check(started.elapsed() < status_age + Duration::from_secs(1), || {
            format!("{what}: not after {:?}: {}", started.elapsed(), answer.body)
        })?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
