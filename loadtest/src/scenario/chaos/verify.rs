//! At the end, when nothing is disturbed any more: nothing acknowledged is lost, nothing is there that nobody asked for, both sides agree, everything ends.

use super::{
    book::{Invariant, Process, is_last},
    contracts::{NEGOTIATIONS, TRANSFERS},
    load::{PAUSE, Place},
    patient::Patient,
};
use anyhow::{Context, Result, ensure};
use cellspace_client::{Caller, Client};
use http::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Rows of a page.
const PAGE: usize = 500;
/// Longest time until all that was begun has ended and is delivered, once nothing is disturbed any more.
pub const QUIET: Duration = Duration::from_secs(120);

/// All rows of a resource at a party, by id.
type Rows = HashMap<String, Value>;

/// Looks at everything.
///
/// # Errors
/// When the platform cannot be asked. What is wrong is noted in the book.
pub async fn all(place: &Place, client: &Client, operator: &Caller) -> Result<()> {
    super::load::registers(place).await?;
    let mut asks = place.client()?;
    for resource in [NEGOTIATIONS, TRANSFERS] {
        let rows = settled(place, &mut asks, resource).await?;
        let noted: Vec<Process> = place.book.processes().into_iter().filter(|process| process.resource == resource).collect();
        compare(place, resource, &rows, &noted);
        for process in noted.iter().step_by(noted.len() / 20 + 1) {
            isolated(place, &mut asks, process).await?;
        }
    }
    delivered(place, client, operator).await
}

/// The rows of all parties, once every one of them is where nothing more happens by itself.
async fn settled(place: &Place, client: &mut Patient, resource: &str) -> Result<Vec<Rows>> {
    let began = Instant::now();
    loop {
        let mut rows = Vec::new();
        for party in 0..place.world.parties.len() {
            rows.push(listed(place, client, party, resource).await?);
        }
        let open: Vec<&Value> = rows.iter().flat_map(HashMap::values).filter(|row| !rests(resource, row)).collect();
        let Some(first) = open.first() else { return Ok(rows) };
        if began.elapsed() > QUIET {
            place.book.violated(Invariant::Live, format!("{} of {resource} have not ended after {QUIET:?}, one is {first}", open.len()));
            return Ok(rows);
        }
        sleep(PAUSE).await;
    }
}

/// Whether nothing happens by itself any more: a transfer goes on until somebody ends it.
fn rests(resource: &str, row: &Value) -> bool {
    let state = row["state"].as_str().unwrap_or_default();
    is_last(state) || (resource == TRANSFERS && state == "STARTED")
}

async fn listed(place: &Place, client: &mut Patient, party: usize, resource: &str) -> Result<Rows> {
    let (who, mut rows) = (place.world.party(party).context("a party")?, Rows::new());
    loop {
        let query = Client::typed("QuerySpec", json!({ "limit": PAGE, "offset": rows.len(), "sortField": "id", "sortOrder": "ASC" }));
        let answer = client.send(who.call(Method::POST, &format!("{resource}/request"), query.to_string())).await?;
        ensure!(answer.status == 200, "{resource} is answered {}", answer.told());
        let page: Vec<Value> = serde_json::from_slice(&answer.body)?;
        let (count, before) = (page.len(), rows.len());
        rows.extend(page.into_iter().filter_map(|row| Some((row["@id"].as_str()?.to_owned(), row))));
        ensure!(rows.len() == before + count, "a page of {resource} has rows of the one before");
        if count < PAGE {
            return Ok(rows);
        }
    }
}

fn compare(place: &Place, resource: &str, rows: &[Rows], noted: &[Process]) {
    let violated = |invariant, why: String| place.book.violated(invariant, why);
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    for process in noted {
        let (Some(ours), Some(theirs)) = (rows.get(process.consumer), rows.get(process.provider)) else { continue };
        let Some(ours) = ours.get(&process.ours) else {
            violated(Invariant::Ack, format!("{resource} {} was begun and is not there", process.ours));
            continue;
        };
        let theirs: Vec<&Value> = theirs.values().filter(|row| row["correlationId"] == *process.ours).collect();
        let [theirs] = theirs.as_slice() else {
            // One that was refused at once has none.
            if ours["state"] != "TERMINATED" || !theirs.is_empty() {
                violated(Invariant::Effect, format!("{resource} {} has {} counterparts, it is {ours}", process.ours, theirs.len()));
            }
            continue;
        };
        let (here, there) = (text(ours, "state"), text(theirs, "state"));
        if here != there {
            violated(Invariant::State, format!("{resource} {} is {here} at the consumer and {there} at the provider", process.ours));
        }
        for (seen, now) in process.seen.iter().zip([&here, &there]) {
            if is_last(seen) && seen != now {
                violated(Invariant::Ack, format!("{resource} {} was {seen} and is {now}", process.ours));
            }
        }
        if process.theirs.as_ref().is_some_and(|id| theirs["@id"] != *id.as_str()) {
            violated(Invariant::Effect, format!("{resource} {} has another counterpart than before", process.ours));
        }
        if resource == NEGOTIATIONS && here == "FINALIZED" {
            let agreed = [text(ours, "contractAgreementId"), text(theirs, "contractAgreementId")];
            if agreed[0] != agreed[1] || process.agreement.as_ref().is_some_and(|agreement| *agreement != agreed[0]) {
                violated(Invariant::Ack, format!("{} is about {agreed:?}, agreed was {:?}", process.ours, process.agreement));
            }
        }
    }
    strangers(place, resource, rows, noted);
}

/// What is there that nobody has heard of: a request whose answer was lost may have begun something, but nothing may be there at a provider alone.
fn strangers(place: &Place, resource: &str, rows: &[Rows], noted: &[Process]) {
    let consumers: BTreeMap<&str, usize> = (place.world.providers..)
        .zip(rows.iter().skip(place.world.providers))
        .flat_map(|(n, rows)| rows.keys().map(move |id| (id.as_str(), n)))
        .collect();
    for row in rows.iter().take(place.world.providers).flat_map(HashMap::values) {
        let correlated = row["correlationId"].as_str().unwrap_or_default();
        if !consumers.contains_key(correlated) {
            place.book.violated(Invariant::Effect, format!("{resource} of nobody: {row}"));
        }
    }
    let mut agreements = BTreeMap::new();
    for id in rows.iter().skip(place.world.providers).flat_map(HashMap::values).filter_map(|row| row["contractAgreementId"].as_str()) {
        *agreements.entry(id).or_insert(0) += 1;
    }
    if resource == NEGOTIATIONS
        && let Some((id, count)) = agreements.into_iter().find(|(_, count)| *count > 1)
    {
        place.book.violated(Invariant::Effect, format!("the agreement {id} was made {count} times"));
    }
    // Each that was asked for has one key, whatever became of the answers: more than were asked for are doubles.
    let asked = place.book.asked(resource);
    let found = consumers.len() as u64;
    if found > asked || found < noted.len() as u64 {
        place
            .book
            .violated(Invariant::Effect, format!("{asked} of {resource} were asked for, {} acknowledged, {found} are there", noted.len()));
    }
}

/// A process is not found by others.
async fn isolated(place: &Place, client: &mut Patient, process: &Process) -> Result<()> {
    let others = (0..place.world.parties.len()).filter(|party| ![process.consumer, process.provider].contains(party));
    for party in others.take(2) {
        let who = place.world.party(party).context("a party")?;
        let answer = client.send(who.get(&format!("{}/{}", process.resource, process.ours))).await?;
        if answer.status != 404 {
            place.book.violated(Invariant::Isolation, format!("{} of others is answered {}", process.resource, answer.told()));
        }
    }
    Ok(())
}

/// Nothing waits for ever, nothing was given up, nobody is parked.
async fn delivered(place: &Place, client: &Client, operator: &Caller) -> Result<()> {
    let began = Instant::now();
    for party in &place.world.parties {
        for kind in ["control-plane", "credential-service", "data-plane"] {
            let path = format!("/api/runtime/agents/{kind}/{}/outbox", party.participant().context);
            loop {
                let found = client.exchange(Some(operator), http::Method::GET, &path, None).await?;
                let (rows, letters) = (&found.body["rows"], &found.body["deadLetters"]);
                if found.status == 200 && *rows == json!([]) && *letters == json!([]) {
                    break;
                }
                if found.status == 200 && *letters != json!([]) {
                    place.book.violated(Invariant::Outbox, format!("{kind} of {} gave up {letters}", party.participant().did));
                    break;
                }
                if began.elapsed() > QUIET {
                    place
                        .book
                        .violated(Invariant::Outbox, format!("{kind} of {} is answered {}: {rows}", party.participant().did, found.status));
                    break;
                }
                sleep(PAUSE).await;
            }
        }
    }
    let parked = client.exchange(Some(operator), Method::GET, "/api/runtime/parked", None).await?;
    if parked.status != 200 || parked.body != json!([]) {
        place.book.violated(Invariant::Live, format!("what is parked at the end is answered {}: {}", parked.status, parked.body));
    }
    Ok(())
}
