//! A provider's catalog beside neighbours under attack: how much slower its answers are while hostile counterparties keep others busy.

mod hostile;
mod intruder;
mod trick;

use super::{
    catalog::{self, Cast, Request, probes::Message},
    play,
};
use crate::{
    drive::{Outcome, Pace, Verdict, Worker, drive},
    http::Connection,
    measure::Meter,
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::{Context, Result};
use hostile::Hostile;
use intruder::{Flood, Guest, Refused};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

/// The victim, and three who are attacked.
const PROVIDERS: usize = 4;
const PARTIES: usize = 50;
/// Requests to the victim a second, when nothing else is asked for.
const RATE: f64 = 400.0;
const CONNECTIONS: usize = 32;
/// Hostile counterparties that appear each second, twenty of each kind, and how many of them are held up at once.
const GUESTS_PER_SECOND: f64 = 320.0;
const GUESTS: usize = 1_024;
/// Requests that prove nothing a second, and their connections.
const FLOOD_PER_SECOND: f64 = 1_000.0;
const FLOODERS: usize = 64;
/// Until the attack is in full swing.
const LEAD: Duration = Duration::from_secs(3);
/// How much later than planned the last bad request may be answered.
const LATE: Duration = Duration::from_secs(2);
/// How much slower the victim may become.
const RATIO: f64 = 1.5;

/// A counterparty of the victim.
struct Regular {
    cast: Arc<Cast>,
    connection: Connection,
    random: StdRng,
}

impl Worker for Regular {
    async fn operate(&mut self) -> Verdict {
        match (self.cast.providers.first(), self.cast.party(&mut self.random)) {
            (Some(victim), Ok(party)) => Request::new(victim, party).ask(&mut self.connection).await,
            _ => Verdict::Wrong("nobody to ask".to_owned()),
        }
    }
}

/// Where the attackers run: on threads of their own, since the victim's clients would not wait for their turn among them either.
struct Apart(Option<Runtime>);

impl Apart {
    fn new() -> Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().worker_threads(2).thread_name("attackers").enable_all().build()?)))
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.0.as_ref().context("threads for the attackers")?.spawn(work).await?
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The attack, for so long.
async fn attack(
    cast: Arc<Cast>,
    public: String,
    hostile: Arc<Hostile>,
    refused: Arc<Refused>,
    time: Duration,
) -> Result<(Outcome, Outcome)> {
    let attacked = cast.providers.get(1..).context("providers to attack")?;
    let at = |n: usize| attacked.get(n % attacked.len()).cloned().context("a provider");
    let guests = (0..GUESTS).map(|n| Guest::new(&hostile, at(n)?, &public)).collect::<Result<Vec<_>>>()?;
    let floods = (0..FLOODERS).map(|n| Flood::new(&cast, at(n)?, &public, n, &refused)).collect::<Result<Vec<_>>>()?;
    let pace = |rate| Pace { rate: Some(rate), time };
    let ((_, guests), (_, floods)) = tokio::try_join!(drive(guests, pace(GUESTS_PER_SECOND)), drive(floods, pace(FLOOD_PER_SECOND)))?;
    Ok((guests, floods))
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let cast = Cast::open(&subject, seed, PROVIDERS, PARTIES, 10).await?;
    let apart = Apart::new()?;
    let hostile = apart.run(Hostile::open(seed)).await?;
    catalog::touch(&cast, &subject).await?;

    let regular = |n: usize| {
        let connection = Connection::new(&subject.public, subject.tape.clone())?;
        Ok(Regular { cast: cast.clone(), connection, random: StdRng::seed_from_u64(seed.wrapping_add(n as u64)) })
    };
    let workers = common.workers(CONNECTIONS);
    let regulars = (0..workers).map(regular).collect::<Result<Vec<_>>>()?;
    let pace = Pace { rate: Some(common.rate.unwrap_or(RATE)), ..common.pace() };
    let (regulars, warm) = drive(regulars, Pace { time: play::WARM_UP, ..pace }).await?;
    let (regulars, mut alone) = drive(regulars, pace).await?;
    alone.blame(warm);
    let alone = alone.strict();
    eprintln!("alone: p95 {:.2} ms; now the attack", alone.quantile_ms(0.95));

    let beside = async {
        sleep(LEAD).await;
        let meter = Meter::start(&subject).await?;
        let (_, outcome) = drive(regulars, pace).await?;
        anyhow::Ok((meter.stop(&subject, "noisy-neighbour", &outcome).await?, outcome))
    };
    let refused = Arc::<Refused>::default();
    let attack = apart.run(attack(cast.clone(), subject.public.clone(), hostile.clone(), refused.clone(), LEAD + pace.time));
    let (beside, attack) = tokio::join!(beside, attack);
    let ((mut report, mut outcome), (guests, floods)) = (beside?, attack?);
    let ratio = report.p95_ms / alone.quantile_ms(0.95);
    if ratio > RATIO {
        outcome.wrong(format!("the 95th percentile is {ratio:.2} times that of the provider alone"));
    }
    // Attackers may be shed.
    for (who, other) in [("alone", &alone), ("hostile counterparties", &guests), ("bad requests", &floods)] {
        other.told.iter().for_each(|wrong| outcome.told.push(format!("{who}: {wrong}")));
        outcome.errors += other.errors;
    }
    // Otherwise the attack was another one while the victim was measured.
    if floods.elapsed > LEAD + pace.time + LATE {
        outcome.wrong(format!("bad requests took {:?} to send", floods.elapsed));
    }
    let calls =
        hostile.called().filter(|(_, calls)| *calls == 0).map(|(kind, _)| format!("nobody called the counterparties of the kind {kind}"));
    let refusals = refused.counts().filter(|(_, count)| *count == 0).map(|(trick, _)| format!("no request was refused for {trick:?}"));
    let followed = Some(hostile.trapped())
        .filter(|trapped| *trapped > 0)
        .map(|trapped| format!("{trapped} redirects to a private address were followed"));
    let passed = catalog::probes::all(&cast, &subject, Message::Catalog).await?;
    calls.chain(refusals).chain(followed).chain(passed).for_each(|wrong| outcome.wrong(wrong));
    for (name, value) in [
        ("p95_alone_ms", json!(alone.quantile_ms(0.95))),
        ("p95_ratio", json!((ratio * 1_000.0).round() / 1_000.0)),
        ("hostile_requests", json!(guests.good + guests.shed + guests.errors)),
        ("hostile_shed", json!(guests.shed)),
        ("bad_requests", json!(floods.good + floods.shed + floods.errors)),
        ("bad_requests_shed", json!(floods.shed)),
        ("hostile_calls_received", json!(hostile.called().collect::<BTreeMap<_, _>>())),
        ("bad_requests_refused", json!(refused.counts().map(|(trick, count)| (format!("{trick:?}"), count)).collect::<BTreeMap<_, _>>())),
        ("redirects_followed", json!(hostile.trapped())),
    ] {
        report.more.insert(name.to_owned(), value);
    }
    play::conclude(report, outcome, &subject, common, cast.sizes(&subject, CONNECTIONS).await?).await
}
