//! A participant with very many negotiations: how soon queries find what is asked for, and how much longer its other commands take meanwhile.

mod fill;
pub(super) mod model;

use super::{
    catalog::must,
    members::Members,
    play::{self, exchange},
};
use crate::{
    drive::{Outcome, Pace, Verdict, Worker, drive, quantile_ms},
    http::{Call, Connection},
    measure::{Meter, calibration::Sizes},
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::{Context, Result, anyhow, ensure};
use cellspace_client::{Client, tenants::Participant};
use hdrhistogram::Histogram;
use http::Method;
use model::{KINDS, Known, Model};
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Queries and commands a second, and who makes them. They are due at times of their own, so that commands meet queries in every phase.
const QUERIES_PER_SECOND: f64 = 50.0;
const COMMANDS_PER_SECOND: f64 = 47.0;
const CONNECTIONS: usize = 16;
/// Slowest p95 of a query, in milliseconds, and how much slower commands may become.
const SLOWEST_MS: f64 = 20.0;
const RATIO: f64 = 1.5;
/// Between filling and measuring.
const REST: Duration = Duration::from_secs(5);
/// Largest page.
const PAGE: usize = 10_000;

/// Times of queries of each kind, in microseconds.
type Times = Arc<Mutex<BTreeMap<String, Histogram<u64>>>>;

/// Asks for negotiations.
struct Asker {
    model: Arc<Model>,
    participant: Arc<Participant>,
    admin: Connection,
    random: StdRng,
    next: Arc<AtomicUsize>,
    times: Times,
}

impl Asker {
    async fn ask(&mut self) -> Result<(), Verdict> {
        let kind = KINDS.get(self.next.fetch_add(1, Ordering::Relaxed) % KINDS.len()).copied().unwrap_or_default();
        let question = self.model.ask(kind, &mut self.random);
        let path = self.participant.path("contractnegotiations/request");
        let call = Call::json(Method::POST, path, &self.participant.caller.token, question.body());
        let begun = Instant::now();
        let answer = exchange(&mut self.admin, call).await?;
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        question.judge(&answer)?;
        let mut times = self.times.lock();
        if let Some(times) = times.get_mut(&kind.join("+")) {
            times.saturating_record(took);
        }
        Ok(())
    }
}

impl Worker for Asker {
    async fn operate(&mut self) -> Verdict {
        self.ask().await.err().unwrap_or(Verdict::Good)
    }
}

/// Changes an asset of the participant, each its own.
struct Commander {
    participant: Arc<Participant>,
    admin: Connection,
    asset: String,
    revision: u64,
}

impl Commander {
    fn asset(&self) -> String {
        Client::typed("Asset", json!({ "@id": self.asset, "properties": { "revision": self.revision } })).to_string()
    }

    async fn change(&mut self) -> Result<(), Verdict> {
        self.revision += 1;
        let call = Call::json(Method::PUT, self.participant.path("assets"), &self.participant.caller.token, self.asset());
        let answer = self.admin.send(call).await.map_err(|error| Verdict::Wrong(format!("{error:#}")))?;
        match answer.status.is_success() {
            true => Ok(()),
            false if answer.is_shed() => Err(Verdict::Shed),
            false => Err(Verdict::Wrong(answer.told())),
        }
    }

    async fn shown(&mut self) -> Result<(), Verdict> {
        let call = Call::get(self.participant.path(&format!("assets/{}", self.asset)), &self.participant.caller.token);
        let shown = exchange(&mut self.admin, call).await?;
        let right = shown["properties"]["revision"] == self.revision;
        if right { Ok(()) } else { Err(Verdict::Wrong(format!("revision {} of {shown}", self.revision))) }
    }
}

impl Worker for Commander {
    async fn operate(&mut self) -> Verdict {
        self.change().await.err().unwrap_or(Verdict::Good)
    }

    async fn check(&mut self) -> Verdict {
        self.shown().await.err().unwrap_or(Verdict::Good)
    }
}

async fn commanders(subject: &Subject, participant: &Arc<Participant>) -> Result<Vec<Commander>> {
    let mut all = Vec::new();
    for n in 0..CONNECTIONS {
        let admin = Connection::new(&subject.admin, subject.tape.clone())?;
        let mut commander = Commander { participant: participant.clone(), admin, asset: format!("own-{n}"), revision: 0 };
        let call = Call::json(Method::POST, participant.path("assets"), &participant.caller.token, commander.asset());
        must(&mut commander.admin, call).await?;
        all.push(commander);
    }
    Ok(all)
}

/// Pages through all negotiations of a participant; `take` is given each page.
///
/// # Errors
/// When a page does not come, or `take` finds it wrong.
pub async fn pages(connection: &mut Connection, path: &str, token: &str, mut take: impl FnMut(&[Value]) -> Result<()>) -> Result<usize> {
    let query = Client::typed("QuerySpec", json!({ "limit": PAGE })).to_string();
    let (mut at, mut pages) = (path.to_owned(), 0);
    loop {
        let answer = must(connection, Call::json(Method::POST, at, token, query.clone())).await?;
        let page: Vec<Value> = serde_json::from_slice(&answer.body)?;
        take(&page)?;
        pages += 1;
        let Some(link) = answer.headers.get(http::header::LINK) else { return Ok(pages) };
        at = link.to_str()?.trim_start_matches('<').split('>').next().context("no address in the link")?.to_owned();
    }
}

/// All negotiations are there, each as it was made, and no others.
async fn all_are_there(subject: &Subject, participant: &Participant, model: &Model) -> Result<()> {
    let mut connection = Connection::new(&subject.admin, None)?;
    let mut expected = model.all().iter();
    let path = participant.path("contractnegotiations/request");
    pages(&mut connection, &path, &participant.caller.token, |page| {
        for told in page {
            let told = Known::read(told).map_err(|verdict| anyhow!("{verdict:?}"))?;
            ensure!(expected.next() == Some(&told), "{told:?} is not what comes next");
        }
        Ok(())
    })
    .await?;
    ensure!(expected.next().is_none(), "{} negotiations are missing", expected.count() + 1);
    Ok(())
}

/// Plays the scenario.
pub async fn run(negotiations: usize, common: &Common) -> Result<Report> {
    ensure!((1_000..=1_000_000).contains(&negotiations), "--negotiations must be 1,000 to 1,000,000");
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let members = Arc::new(Members::open(&subject).await?);
    let consumer = members.consumers.first().context("a consumer")?.clone();
    let (made, per_second) = fill::fill(&subject, &members, &consumer, negotiations).await?;
    let model = Arc::new(Model::new(made));
    all_are_there(&subject, &consumer, &model).await?;
    sleep(REST).await;

    let times: Times = Arc::default();
    for kind in KINDS {
        times.lock().insert(kind.join("+"), Histogram::new_with_bounds(1, 120_000_000, 3)?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let asker = |n: usize| {
        let (model, participant, admin) = (model.clone(), consumer.clone(), Connection::new(&subject.admin, subject.tape.clone())?);
        let random = StdRng::seed_from_u64(seed.wrapping_add(n as u64));
        Ok(Asker { model, participant, admin, random, next: next.clone(), times: times.clone() })
    };
    let askers = (0..common.workers(CONNECTIONS)).map(asker).collect::<Result<Vec<_>>>()?;
    let commanders = commanders(&subject, &consumer).await?;
    let queries = Pace { rate: Some(common.rate.unwrap_or(QUERIES_PER_SECOND)), ..common.pace() };
    let commands = Pace { rate: Some(COMMANDS_PER_SECOND), ..common.pace() };
    let warm = |pace: Pace| Pace { time: play::WARM_UP, ..pace };
    let ((askers, asked_warm), (commanders, told_warm)) =
        tokio::try_join!(drive(askers, warm(queries)), drive(commanders, warm(commands)))?;
    let (commanders, mut alone) = drive(commanders, commands).await?;
    alone.blame(told_warm);
    eprintln!("commands alone: p95 {:.2} ms; now with queries", alone.quantile_ms(0.95));
    times.lock().values_mut().for_each(Histogram::reset);
    let meter = Meter::start(&subject).await?;
    let ((askers, mut asked), (commanders, beside)) = tokio::try_join!(drive(askers, queries), drive(commanders, commands))?;
    let mut report = meter.stop(&subject, "negotiations-many", &asked).await?;
    drop((askers, commanders));
    asked.blame(asked_warm);

    let ratio = beside.quantile_ms(0.95) / alone.quantile_ms(0.95);
    judge(&mut asked, ratio);
    for (who, other) in [("commands alone", &alone), ("commands", &beside)] {
        other.told.iter().for_each(|wrong| asked.told.push(format!("{who}: {wrong}")));
        asked.errors += other.errors;
        asked.shed += other.shed;
    }
    let by_kind: BTreeMap<String, f64> = times.lock().iter().map(|(kind, times)| (kind.clone(), quantile_ms(times, 0.95))).collect();
    for (name, value) in [
        ("negotiations", json!(model.all().len())),
        ("negotiations_made_per_s", json!(per_second.round())),
        ("query_p95_ms_by_field", json!(by_kind)),
        ("command_p95_alone_ms", json!(alone.quantile_ms(0.95))),
        ("command_p95_ms", json!(beside.quantile_ms(0.95))),
        ("command_p95_ratio", json!((ratio * 1_000.0).round() / 1_000.0)),
    ] {
        report.more.insert(name.to_owned(), value);
    }
    let question = model.ask(&["state"], &mut StdRng::seed_from_u64(seed));
    let path = consumer.path("contractnegotiations/request");
    let call = Call::json(Method::POST, path, &consumer.caller.token, question.body());
    let (request, token) = (call.body.len(), consumer.caller.token.len());
    let answer = Connection::new(&subject.admin, None)?.send(call).await?.body.len();
    play::conclude(report, asked, &subject, common, Sizes { request, token, answer, connections: CONNECTIONS }).await
}

/// What is too slow is wrong.
fn judge(asked: &mut Outcome, ratio: f64) {
    let p95 = asked.quantile_ms(0.95);
    if p95 >= SLOWEST_MS {
        asked.wrong(format!("the 95th percentile of the queries is {p95:.1} ms"));
    }
    if ratio > RATIO {
        asked.wrong(format!("the 95th percentile of other commands is {ratio:.2} times that alone"));
    }
}
