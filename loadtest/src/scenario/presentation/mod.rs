//! Verifiers ask participants of the platform for presentations.
//!
//! Every query has a token of its own with an access token of its own; one of a hundred follows a credential that was replaced, which its answer must show.

mod answer;
mod cast;
mod held;
mod probes;

use super::{catalog::ahead, play};
use crate::{
    drive::{Pace, Verdict, Worker, drive},
    http::Connection,
    measure::calibration::Sizes,
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::{Context, Result, ensure};
use cast::{Cast, Granted, Holder, Query};
use held::Kinds;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Connections, when nothing else is asked for.
const CONNECTIONS: usize = 32;
/// Queries made ready ahead, for each second of the window. Beyond that they are made when they are needed.
const AHEAD_PER_SECOND: f64 = 8_000.0;
/// Which part of the queries follows a change.
const CHANGES: f64 = 0.01;
/// Which part of the signatures is verified, when the window has ended: verified within it they would take a tenth of the machine. Which ones is
/// chosen when the answer has come.
const VERIFIED: f64 = 0.125;

/// Queries that are ready, and what became of them.
struct Queue {
    cast: Arc<Cast>,
    ready: Mutex<Vec<Query>>,
    /// How many were made when they were needed.
    late: AtomicU64,
    changes: AtomicU64,
}

impl Queue {
    async fn next(&self, random: &mut StdRng) -> Result<Query> {
        let ready = self.ready.lock().pop();
        match ready {
            Some(query) => Ok(query),
            None => {
                self.late.fetch_add(1, Ordering::Relaxed);
                Ok(self.cast.grant(random).await?.sign())
            }
        }
    }

    /// Lets so many verifiers be granted access, and signs their tokens last, which live for a minute.
    async fn make_ahead(&self, count: usize, seed: u64) -> Result<()> {
        let (left, granted) = (Arc::new(AtomicUsize::new(count)), Arc::default());
        let client = |n: usize| {
            let random = StdRng::seed_from_u64(seed.wrapping_add(1_000 + n as u64));
            Client { cast: self.cast.clone(), random, left: left.clone(), granted: Arc::clone(&granted) }
        };
        let (_, outcome) = drive((0..CONNECTIONS).map(client).collect(), Pace { rate: None, time: Duration::from_secs(3_600) }).await?;
        ensure!(outcome.good == count as u64, "only {} of {count} tokens were given: {:?}", outcome.good, outcome.told);
        let all = std::mem::take(&mut *granted.lock());
        let signed = tokio::task::spawn_blocking(move || sign(all)).await?;
        self.ready.lock().extend(signed);
        Ok(())
    }
}

/// On both cores.
fn sign(mut granted: Vec<Granted>) -> Vec<Query> {
    let rest = granted.split_off(granted.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(move || rest.into_iter().map(Granted::sign).collect::<Vec<_>>());
        let mut signed: Vec<Query> = granted.into_iter().map(Granted::sign).collect();
        signed.extend(other.join().unwrap_or_default());
        signed
    })
}

/// A participant's own client, which gets tokens for verifiers.
struct Client {
    cast: Arc<Cast>,
    random: StdRng,
    left: Arc<AtomicUsize>,
    granted: Arc<Mutex<Vec<Granted>>>,
}

impl Worker for Client {
    async fn operate(&mut self) -> Verdict {
        let take = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Verdict::Done;
        }
        match self.cast.grant(&mut self.random).await {
            Ok(granted) => {
                self.granted.lock().push(granted);
                Verdict::Good
            }
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

/// One connection, over which a verifier after the other asks.
struct Door {
    queue: Arc<Queue>,
    public: Connection,
    admin: Connection,
    random: StdRng,
    next: Option<Query>,
    /// Presentations whose signatures are to be verified.
    kept: Vec<(Arc<Holder>, String)>,
}

impl Door {
    async fn query(&mut self) -> Result<Query> {
        let cast = self.queue.cast.clone();
        if self.random.random_bool(CHANGES)
            && let Some(changed) = cast.change(&mut self.admin, &mut self.random).await?
        {
            self.queue.changes.fetch_add(1, Ordering::Relaxed);
            return Ok(cast.grant_of(&changed, &mut self.random, Kinds::BOTH, Kinds::ALL).await?.sign());
        }
        self.queue.next(&mut self.random).await
    }

    async fn ask(&mut self) -> Result<(), Verdict> {
        let query = self.next.take().ok_or_else(|| Verdict::Wrong("no query".to_owned()))?;
        if let Some(jwt) = query.ask(&self.queue.cast.seen, &mut self.public).await?
            && self.random.random_bool(VERIFIED)
        {
            self.kept.push((query.granted.holder, jwt));
        }
        Ok(())
    }
}

impl Worker for Door {
    async fn prepare(&mut self) {
        self.next = self.query().await.inspect_err(|error| eprintln!("no query: {error:#}")).ok();
    }

    async fn operate(&mut self) -> Verdict {
        self.ask().await.err().unwrap_or(Verdict::Good)
    }
}

/// Those whose signature is not that of their holder.
fn forged(kept: &[(Arc<Holder>, String)]) -> Vec<String> {
    let is_forged = |(holder, jwt): &&(Arc<Holder>, String)| !holder.hosted.key.signed(jwt);
    kept.iter().filter(is_forged).map(|(holder, _)| format!("a presentation that {} did not sign", holder.hosted.did)).collect()
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let cast = Cast::open(&subject, seed).await?;
    let queue = Arc::new(Queue { cast: cast.clone(), ready: Mutex::default(), late: AtomicU64::new(0), changes: AtomicU64::new(0) });
    let workers = common.workers(CONNECTIONS);
    let door = |n: usize| {
        let connection = |base: &str| Connection::new(base, subject.tape.clone());
        let (public, admin) = (connection(&subject.public)?, connection(&subject.admin)?);
        let random = StdRng::seed_from_u64(seed.wrapping_add(n as u64));
        Ok(Door { queue: queue.clone(), public, admin, random, next: None, kept: Vec::new() })
    };
    let doors = (0..workers).map(door).collect::<Result<Vec<_>>>()?;
    let ready = async {
        let count = ahead(common.pace().time, AHEAD_PER_SECOND);
        eprintln!("getting {count} tokens ahead");
        queue.make_ahead(count, seed).await?;
        queue.late.store(0, Ordering::Relaxed);
        queue.changes.store(0, Ordering::Relaxed);
        Ok(())
    };
    let (doors, mut outcome, mut report) = play::window("presentation", &subject, common, doors, ready).await?;
    let kept: Vec<_> = doors.into_iter().flat_map(|door| door.kept).collect();
    let mut random = StdRng::seed_from_u64(seed);
    forged(&kept).into_iter().chain(probes::all(&cast, &subject, &mut random).await?).for_each(|wrong| outcome.wrong(wrong));
    play::changes(&mut report, &mut outcome, queue.changes.load(Ordering::Relaxed), CHANGES);
    for (name, value) in [("queries_made_late", queue.late.load(Ordering::Relaxed)), ("signatures_verified", kept.len() as u64)] {
        report.more.insert(name.to_owned(), json!(value));
    }
    let query = cast.grant_of(cast.holders.first().context("a participant")?, &mut random, Kinds::BOTH, Kinds::BOTH).await?.sign();
    let call = query.call();
    let (request, token) = (call.body.len(), call.bearer.as_ref().map_or(0, String::len));
    let answer = Connection::new(&subject.public, None)?.send(call).await?.body.len();
    play::conclude(report, outcome, &subject, common, Sizes { request, token, answer, connections: workers }).await
}
