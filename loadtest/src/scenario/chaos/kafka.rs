//! Kafka is away for a while: what participants do goes on as before, who comes in waits for it, and when it is there again everything goes on that waited.

use super::{
    book::Invariant,
    contracts::json_of,
    faults::CALM,
    load::{PAUSE, Place},
    patient::Patient,
    verify::QUIET,
};
use crate::{cell::Cell, http::Call, measure::counters::Metrics, scenario::members::suffix};
use anyhow::{Context, Result, ensure};
use cellspace_client::{
    client::text,
    tenants::{self, AGENTS},
};
use http::Method;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::time::{sleep, sleep_until};

/// Events that a node has for Kafka and has not brought there, by topic, among its metrics.
const WAITING: &str = "cellspace_store_topic_events";

/// A time when Kafka was away.
#[derive(Debug, Clone, Copy)]
pub struct Away {
    /// Since when everything was as usual before.
    pub usual: Instant,
    /// When it was killed.
    pub at: Instant,
    /// When it was started again.
    pub again: Instant,
}

/// Kills Kafka, and starts it again after so long. Somebody asks to come in meanwhile, and is waited for when Kafka is back.
///
/// # Errors
/// When Kafka does not come back, or when who asks is refused, or not there long after Kafka is.
pub async fn taken_away(cell: &Cell, place: &Place, time: Duration) -> Result<Away> {
    let mut newcomer = Newcomer::of(cell, place).await?;
    sleep(CALM).await;
    let at = Instant::now();
    cell.services().kill_kafka().await?;
    let away = async {
        sleep_until((at + time).into()).await;
        let again = Instant::now();
        cell.services().mend_kafka().await?;
        anyhow::Ok((again, Instant::now()))
    };
    // Beside each other: who is told to come again goes on asking while Kafka comes back, and Kafka comes back whatever that one is told.
    let (asked, away) = tokio::join!(newcomer.asks(), away);
    let (again, back) = away?;
    newcomer.comes_in(&asked?, back).await?;
    Ok(Away { usual: at - CALM / 2, at, again })
}

/// One participant more.
struct Newcomer {
    client: Patient,
    token: String,
    name: String,
    /// What it is asked for by.
    request: Value,
}

impl Newcomer {
    async fn of(cell: &Cell, place: &Place) -> Result<Self> {
        let subject = cell.subject()?;
        // A token of its own: the one that everything began with may have ended.
        let (_, operator) = subject.client().await?;
        let name = format!("late{}", suffix());
        let request = place.world.members.request(&format!("did:web:{}:{name}", subject.did_host()));
        Ok(Self { client: place.client()?, token: operator.token, name, request })
    }

    /// Asks for it: the path of its profile.
    async fn asks(&mut self) -> Result<String> {
        let tenant = self.made("/api/tm/tenants", tenants::tenant(&self.name).to_string()).await?;
        let profiles = format!("/api/tm/tenants/{}/participant-profiles", text(&tenant, "id")?);
        let profile = self.made(&profiles, self.request.to_string()).await?;
        Ok(format!("{profiles}/{}", text(&profile, "id")?))
    }

    async fn made(&mut self, path: &str, body: String) -> Result<Value> {
        let mut call = Call::json(Method::POST, path, &self.token, body);
        call.key = Some(uuid::Uuid::new_v4().to_string());
        json_of(self.client.send(call).await?, &format!("without Kafka a POST to {path}"))
    }

    /// Waits until all of its agents are there; Kafka is since `back`.
    async fn comes_in(&mut self, profile: &str, back: Instant) -> Result<()> {
        let wait = Call::get(format!("{profile}?wait=active&timeout=10s"), &self.token);
        loop {
            let found = json_of(self.client.send(wait.clone()).await?, "a wait for agents")?;
            if tenants::active_agents(&found) == AGENTS {
                return Ok(());
            }
            ensure!(found["error"] != true && back.elapsed() < QUIET, "{:?} after Kafka came back: {found}", back.elapsed());
            // Who waits is answered before the time when its node ends.
            sleep(PAUSE).await;
        }
    }
}

/// At the end no event waits for Kafka any more.
///
/// # Errors
/// When nobody can be asked. What is wrong is noted in the book.
pub async fn caught_up(cell: &Cell, place: &Place) -> Result<()> {
    let (subject, began) = (cell.subject()?, Instant::now());
    loop {
        let waiting = waiting(cell, &subject.http).await;
        if waiting.as_ref().is_ok_and(|waiting| *waiting <= 0.0) {
            return Ok(());
        }
        if began.elapsed() > QUIET {
            let why = match waiting {
                Ok(waiting) => format!("{waiting} events wait for Kafka after {QUIET:?}"),
                Err(error) => format!("after {QUIET:?} it is not known what waits for Kafka: {error:#}"),
            };
            place.book.violated(Invariant::Outbox, why);
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// Events that wait at all nodes.
async fn waiting(cell: &Cell, http: &reqwest::Client) -> Result<f64> {
    let mut all = None;
    for node in cell.members().await? {
        let of_node = Metrics::at(http, &cell.ops(&node.node)).await?.sum(WAITING);
        all = of_node.map(|waiting| waiting + all.unwrap_or(0.0)).or(all);
    }
    all.context("no node tells it")
}
