//! Cold activation of a participant with very many negotiations that have ended, and of one with few: both are asked for the same, in turn.

mod ended;

use super::{
    activation::{ACTIVATED, ASSETS, RESIDENT, ask},
    catalog::{Dataspace, Provider},
    negotiations_many::pages,
    play::{self, exchange},
};
use crate::{
    drive::{Outcome, Verdict, Worker, quantile_ms},
    http::{Call, Connection},
    measure::{calibration::Sizes, counters::Metrics},
    options::Common,
    platform,
    report::Report,
    subject::Subject,
    world::World,
};
use anyhow::{Context, Result, anyhow, ensure};
use ended::Question;
use hdrhistogram::Histogram;
use http::Method;
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{cell::Cell, path::Path, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Ended negotiations of the one that is compared with.
const FEW: usize = 1_000;
/// How long the platform keeps what is not used.
const IDLE_AFTER: &str = "20ms";
/// Longest time until nobody is in memory, and between two looks.
const LEAVING: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
/// Activations of each that say something of the slowest hundredth.
const ENOUGH: u64 = 1_000;
/// Queries of the one with many.
const QUERIES: usize = 500;
/// How much longer an activation may take.
const RATIO: f64 = 1.1;
/// Bytes of an answer, about.
const ANSWER: usize = 400;

fn told(verdict: Verdict) -> anyhow::Error {
    anyhow!("{verdict:?}")
}

/// Times in microseconds.
type Times = Arc<Mutex<Histogram<u64>>>;

/// Asks both in turn, each time when nobody is in memory; the one with few negotiations is before or behind the other one in turn.
struct Waker {
    http: reqwest::Client,
    ops: String,
    connection: Connection,
    token: String,
    few: Arc<Provider>,
    many: Arc<Provider>,
    round: usize,
    /// Activations of the one with few.
    times: Times,
    /// What went wrong with it.
    wrong: Vec<String>,
}

impl Waker {
    async fn few(&mut self) {
        let (few, begun) = (self.few.clone(), Instant::now());
        let verdict = ask(&mut self.connection, &self.token, &few).await;
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        match verdict {
            Verdict::Good => self.times.lock().saturating_record(took),
            other => self.wrong.push(format!("the one with few negotiations: {other:?}")),
        }
    }

    /// Waits until nobody is in memory.
    async fn all_cold(&self) -> Result<()> {
        let until = Instant::now() + LEAVING;
        while Metrics::at(&self.http, &self.ops).await?.value(RESIDENT) > 0.5 {
            ensure!(Instant::now() < until, "participants do not leave memory");
            sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Worker for Waker {
    async fn prepare(&mut self) {
        if let Err(error) = self.all_cold().await {
            self.wrong.push(format!("{error:#}"));
        }
        self.round += 1;
        if self.round.is_multiple_of(2) {
            self.few().await;
        }
    }

    async fn operate(&mut self) -> Verdict {
        let many = self.many.clone();
        ask(&mut self.connection, &self.token, &many).await
    }

    async fn check(&mut self) -> Verdict {
        if !self.round.is_multiple_of(2) {
            self.few().await;
        }
        Verdict::Good
    }
}

/// Gives a participant so many negotiations that have ended.
async fn fill(data: &Path, participant: &Provider, profile: &str, count: usize) -> Result<()> {
    eprintln!("giving {} {count} ended negotiations", participant.context);
    let binary = platform::built("loadtest-fill").await?;
    let mut filler = tokio::process::Command::new(&binary);
    let status = filler.arg(data).args([&participant.context, profile, &count.to_string()]).kill_on_drop(true).status().await;
    let status = status.with_context(|| format!("{} cannot be started", binary.display()))?;
    ensure!(status.success(), "{} ended with {status}", binary.display());
    Ok(())
}

/// Page by page all negotiations are there, each as it was made, and no others.
async fn all_are_there(subject: &Subject, participant: &Provider, token: &str, count: usize) -> Result<()> {
    let mut connection = Connection::new(&subject.admin, None)?;
    let (path, mut next) = (Dataspace::path(&participant.context, "contractnegotiations/request"), 0);
    pages(&mut connection, &path, token, |page| {
        for negotiation in page {
            ended::compare(next, negotiation).map_err(told)?;
            next += 1;
        }
        Ok(())
    })
    .await?;
    ensure!(next == count, "{next} negotiations are there, expected {count}");
    Ok(())
}

/// Queries by each field; the 95th percentile of their times.
async fn query(subject: &Subject, participant: &Provider, token: &str, count: usize, random: &mut StdRng) -> Result<f64> {
    let mut connection = Connection::new(&subject.admin, None)?;
    let mut times = Histogram::<u64>::new_with_bounds(1, 120_000_000, 3)?;
    let path = Dataspace::path(&participant.context, "contractnegotiations/request");
    for _ in 0..QUERIES {
        let question = Question::random(count, random);
        let begun = Instant::now();
        let answer = exchange(&mut connection, Call::json(Method::POST, &path, token, question.body())).await.map_err(told)?;
        times.saturating_record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        question.judge(&answer).map_err(told)?;
    }
    Ok(quantile_ms(&times, 0.95))
}

/// Plays the scenario.
pub async fn run(finished: usize, common: &Common) -> Result<Report> {
    common.own("its store is filled while it does not run")?;
    common.no_rate("the next one is asked when nobody is in memory")?;
    common.no_concurrency("the next one is asked when nobody is in memory")?;
    ensure!((FEW..=9_999_999).contains(&finished), "--finished must be {FEW} to 9,999,999");
    let mut subject = Subject::open(common, &["--idle-after", IDLE_AFTER]).await?;
    let seed = common.seed.unwrap_or_default();
    let world = World::open(seed, 0).await?;
    let space = Dataspace::open(&subject, &world).await?;
    let providers = space.providers(&subject, 2, ASSETS).await?;
    let [few, many]: [Arc<Provider>; 2] = providers.try_into().map_err(|_| anyhow!("two participants"))?;
    let sizes = [(&few, FEW), (&many, finished)];
    let begun = Instant::now();
    let filling = async |data: &Path| {
        for (participant, count) in sizes {
            fill(data, participant, &space.name, count).await?;
        }
        Ok(())
    };
    subject.restart_after(filling).await?;
    let filled = begun.elapsed();
    let (_, admin) = subject.client().await?;
    eprintln!("filled and started after {:.0} s; looking at all of it", filled.as_secs_f64());
    for (participant, count) in sizes {
        all_are_there(&subject, participant, &admin.token, count).await?;
    }
    let query_p95 = query(&subject, &many, &admin.token, finished, &mut StdRng::seed_from_u64(seed)).await?;

    let times: Times = Arc::new(Mutex::new(Histogram::new_with_bounds(1, 120_000_000, 3)?));
    let waker = Waker {
        http: subject.http.clone(),
        ops: subject.ops.clone(),
        connection: Connection::new(&subject.admin, subject.tape.clone())?,
        token: admin.token.clone(),
        few: few.clone(),
        many: many.clone(),
        round: 0,
        times: times.clone(),
        wrong: Vec::new(),
    };
    let activated_before = Cell::new(0.0);
    let ready = async {
        times.lock().reset();
        activated_before.set(Metrics::read(&subject).await?.value(ACTIVATED));
        Ok(())
    };
    let (wakers, mut outcome, mut report) = play::window("activation-finished", &subject, common, vec![waker], ready).await?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // totals are whole and not negative
    let activations = (Metrics::read(&subject).await?.value(ACTIVATED) - activated_before.get()) as u64;
    let waker = wakers.into_iter().next().context("the one who asks")?;
    judge(&mut report, &mut outcome, &waker, activations);
    for (name, value) in
        [("finished_negotiations", json!(finished)), ("filled_s", json!(filled.as_secs())), ("query_p95_ms", json!(query_p95))]
    {
        report.more.insert(name.to_owned(), value);
    }
    let sizes = Sizes { request: 0, token: admin.token.len(), answer: ANSWER, connections: 1 };
    play::conclude(report, outcome, &subject, common, sizes).await
}

/// Compares the two.
fn judge(report: &mut Report, outcome: &mut Outcome, waker: &Waker, activations: u64) {
    waker.wrong.iter().for_each(|wrong| outcome.wrong(wrong.clone()));
    let times = waker.times.lock();
    for (name, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        let (few, many) = (quantile_ms(&times, quantile), outcome.quantile_ms(quantile));
        report.more.insert(format!("{name}_ms_at_{FEW}"), json!(few));
        report.more.insert(format!("{name}_ratio"), json!((many / few * 1_000.0).round() / 1_000.0));
    }
    let (least, ratio) = (times.len().min(outcome.good), outcome.quantile_ms(0.99) / quantile_ms(&times, 0.99));
    report.more.insert("activations_of_each".to_owned(), json!(least));
    if least < ENOUGH {
        outcome.wrong(format!("{least} activations of each say nothing of the slowest hundredth, {ENOUGH} do: give it more --seconds"));
    } else if ratio > RATIO {
        outcome.wrong(format!("the 99th percentile is {ratio:.2} times that at {FEW}"));
    }
    // Both were asked as often.
    let asked = 2 * (outcome.good + outcome.errors + outcome.shed);
    if activations.abs_diff(asked) > 2 {
        outcome.wrong(format!("{activations} activations for {asked} requests"));
    }
    report.more.insert("activations".to_owned(), json!(activations));
}
