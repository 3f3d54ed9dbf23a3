//! Negotiations and transfers, from their beginning to where both sides are, each step as often as it takes.

use super::{
    book::{Book, Invariant, Kind, Process, is_last},
    load::{PAUSE, Place},
    patient::{Honours, Patient},
    world::Party,
};
use crate::http::Answer;
use anyhow::{Context, Result, bail, ensure};
use cellspace_client::{Client, sharing};
use http::Method;
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

pub const NEGOTIATIONS: &str = "contractnegotiations";
pub const TRANSFERS: &str = "transferprocesses";
/// Longest time until a process is where it is to be, faults included.
const REACHED: Duration = Duration::from_secs(120);
/// Which part of the transfers is ended by the consumer.
const ENDED: f64 = 0.3;

/// One who makes contracts.
pub struct Contracts {
    place: Arc<Place>,
    client: Patient,
    name: String,
    made: u64,
}

/// Two sides, and where their process is noted.
struct Case<'a> {
    sides: [&'a Party; 2],
    noted: usize,
}

impl Contracts {
    /// With keys of its own.
    pub fn new(place: &Arc<Place>, number: usize) -> Result<Self> {
        Ok(Self { place: place.clone(), client: place.client()?, name: format!("{}-{number}", uuid::Uuid::new_v4().simple()), made: 0 })
    }

    /// A negotiation, and of a part of them a transfer under what was agreed.
    pub async fn one(&mut self, due: Instant, transfers: f64, random: &mut StdRng) {
        let place = self.place.clone();
        let world = &place.world;
        let (consumer, provider) = (random.random_range(world.providers..world.parties.len()), random.random_range(0..world.providers));
        let (Some(ours), Some(theirs)) = (world.party(consumer), world.party(provider)) else { return };
        let offers = theirs.offers();
        let Some(wanted) = offers.get(random.random_range(0..offers.len().max(1))) else { return };
        let process = |resource| Process {
            resource,
            consumer,
            provider,
            ours: String::new(),
            theirs: None,
            agreement: None,
            seen: [String::new(), String::new()],
        };
        let sides = [ours, theirs];
        let Some(agreement) = noted(&place.book, self.contract(sides, process(NEGOTIATIONS), wanted.request.clone(), due).await) else {
            return;
        };
        if random.random_bool(transfers) {
            let ends = random.random_bool(ENDED);
            noted(&place.book, self.transfer(sides, process(TRANSFERS), &agreement, ends).await);
        }
    }

    async fn contract(&mut self, sides: [&Party; 2], process: Process, request: bytes::Bytes, due: Instant) -> Result<String> {
        let consumer = process.consumer;
        let case = self.begin(sides, process, request).await?;
        self.reached(&case, "FINALIZED").await?;
        self.place.book.sample(sample(Kind::Negotiation, consumer, due));
        let place = self.place.clone();
        let process = place.book.process(case.noted).context("a process")?;
        let mut agreements = Vec::new();
        for (side, id) in case.sides.iter().zip([Some(process.ours), process.theirs]) {
            let path = format!("{NEGOTIATIONS}/{}/agreement", id.unwrap_or_default());
            agreements.push(json_of(self.client.send(side.get(&path)).await?, "an agreement")?);
        }
        let [ours, theirs] = agreements.as_slice() else { bail!("two sides") };
        let id = ours["@id"].as_str().unwrap_or_default().to_owned();
        let [consumer, provider] = sides.map(|side| side.participant().did.clone());
        if ours != theirs || id.is_empty() || ours["providerId"] != *provider || ours["consumerId"] != *consumer {
            place.book.violated(Invariant::Effect, format!("the sides agreed on {ours} and {theirs}"));
        }
        place.book.note(case.noted, |process| process.agreement = Some(id.clone()));
        Ok(id)
    }

    async fn transfer(&mut self, sides: [&Party; 2], process: Process, agreement: &str, ends: bool) -> Result<()> {
        let (consumer, due) = (process.consumer, Instant::now());
        let request = sharing::transfer_request(sides[1].participant(), agreement).to_string();
        let process = Process { agreement: Some(agreement.to_owned()), ..process };
        let case = self.begin(sides, process, request.into()).await?;
        self.reached(&case, "STARTED").await?;
        self.place.book.sample(sample(Kind::Transfer, consumer, due));
        if !ends {
            return Ok(());
        }
        let due = Instant::now();
        let id = self.place.book.process(case.noted).context("a process")?.ours;
        let body = Client::typed("TerminateTransfer", json!({ "reason": "no longer needed" })).to_string();
        let call = self.keyed(sides[0].call(Method::POST, &format!("{TRANSFERS}/{id}/terminate"), body));
        let answer = self.client.send(call).await?;
        ensure!(answer.status == 204, "the end of a transfer is answered {}", answer.told());
        self.reached(&case, "TERMINATED").await?;
        self.place.book.sample(sample(Kind::Transfer, consumer, due));
        Ok(())
    }

    fn keyed(&mut self, mut call: crate::http::Call) -> crate::http::Call {
        self.made += 1;
        call.key = Some(format!("{}-{}", self.name, self.made));
        call
    }

    /// Begins a process at the consumer. What is acknowledged is noted.
    async fn begin<'a>(&mut self, sides: [&'a Party; 2], process: Process, request: bytes::Bytes) -> Result<Case<'a>> {
        let call = self.keyed(sides[0].call(Method::POST, process.resource, request));
        self.place.book.asks(process.resource);
        let begun = json_of(self.client.send(call).await?, "a request for a process")?;
        let ours = begun["@id"].as_str().with_context(|| format!("no id in {begun}"))?.to_owned();
        Ok(Case { sides, noted: self.place.book.begun(Process { ours, ..process }) })
    }

    /// Waits until both sides are in a state.
    async fn reached(&mut self, case: &Case<'_>, wanted: &str) -> Result<()> {
        let place = self.place.clone();
        let process = place.book.process(case.noted).context("a process")?;
        self.side_reached(case, 0, &process.ours, wanted).await?;
        let theirs = match process.theirs {
            Some(theirs) => theirs,
            None => {
                let query = sharing::counterpart(&process.ours).to_string();
                let [_, provider] = case.sides;
                let call = provider.call(Method::POST, &format!("{}/request", process.resource), query);
                let found = json_of(self.client.send(call).await?, "a query")?;
                let theirs: Vec<&str> = found.as_array().into_iter().flatten().filter_map(|row| row["@id"].as_str()).collect();
                let [theirs] = theirs.as_slice() else {
                    place.book.violated(Invariant::Effect, format!("{} {} has {theirs:?} at the provider", process.resource, process.ours));
                    bail!("not one counterpart");
                };
                let theirs = (*theirs).to_owned();
                place.book.note(case.noted, |process| process.theirs = Some(theirs.clone()));
                theirs
            }
        };
        self.side_reached(case, 1, &theirs, wanted).await
    }

    async fn side_reached(&mut self, case: &Case<'_>, side: usize, id: &str, wanted: &str) -> Result<()> {
        let (place, began) = (self.place.clone(), Instant::now());
        let who = case.sides.get(side).context("a side")?;
        loop {
            let process = place.book.process(case.noted).context("a process")?;
            let floor = process.seen.get(side).context("a side")?;
            let path = format!("{}/{id}/state?wait={wanted}&timeout=10s", process.resource);
            let answer = json_of(self.client.send(who.get(&path)).await?, "a wait")?;
            let state = answer["state"].as_str().with_context(|| format!("no state in {answer}"))?;
            place.book.saw(case.noted, side, floor, state);
            if state == wanted {
                return Ok(());
            }
            ensure!(!is_last(state), "{} {id} ended {state}, and not {wanted}", process.resource);
            ensure!(began.elapsed() < REACHED, "{} {id} is {state} after {REACHED:?}, and not {wanted}", process.resource);
            // Who waits is answered before the time when its node ends.
            sleep(PAUSE / 4).await;
        }
    }
}

fn sample(kind: Kind, party: usize, due: Instant) -> super::book::Sample {
    super::book::Sample { kind, party, other: None, due, took: due.elapsed() }
}

/// What went wrong is a request that failed.
fn noted<T>(book: &Book, outcome: Result<T>) -> Option<T> {
    outcome.map_err(|error| book.failed(format!("{error:#}"))).ok()
}

/// What must be answered well.
pub fn json_of(answer: Answer, what: &str) -> Result<Value> {
    ensure!(answer.status.is_success(), "{what} is answered {}", answer.told());
    Ok(serde_json::from_slice(&answer.body)?)
}

/// As long as a fault may keep somebody waiting.
pub const PATIENT: Honours = Honours::For(Duration::from_secs(60));
