//! Counterparties ask providers for their catalogs.
//!
//! Every request has a token of its own; every offer its own access policy; one request of a hundred follows a change that its answer must show.

mod change;
mod model;
mod probes;
mod setup;

use super::play;
use crate::{
    drive::{Outcome, Verdict, Worker, drive},
    http::{Answer, Call, Connection},
    measure::calibration::Sizes,
    options::Common,
    report::Report,
    subject::Subject,
    transcript::Tape,
    world::{Party, World},
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use model::Seen;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use setup::{Dataspace, Provider};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const PROVIDERS: usize = 100;
const PARTIES: usize = 200;
/// Connections, when nothing else is asked for.
const CONNECTIONS: usize = 64;
/// Which part of the requests follows a change.
const CHANGES: f64 = 0.01;
/// Tokens signed ahead, for each second of the window. Beyond that they are signed when they are needed.
const AHEAD_PER_SECOND: usize = 12_000;
/// Longest time that tokens are signed ahead for: they live for a minute.
const AHEAD: Duration = Duration::from_secs(30);

/// A catalog request without a filter.
pub const REQUEST: &str = r#"{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"@type":"CatalogRequestMessage"}"#;

/// Who asks whom.
struct Cast {
    world: Arc<World>,
    space: Dataspace,
    providers: Vec<Arc<Provider>>,
    parties: Vec<Arc<Party>>,
    signed: Mutex<Vec<Request>>,
}

/// A request that is ready to be sent.
struct Request {
    provider: usize,
    party: usize,
    token: String,
}

impl Cast {
    fn request(&self, provider: usize, party: usize) -> Result<Request> {
        let (to, from) = (self.provider(provider)?, self.parties.get(party).context("a party")?);
        Ok(Request { provider, party, token: from.token(&to.did) })
    }

    fn provider(&self, number: usize) -> Result<&Arc<Provider>> {
        self.providers.get(number).context("a provider")
    }

    fn random(&self, random: &mut StdRng) -> Result<Request> {
        self.request(random.random_range(0..self.providers.len()), random.random_range(0..self.parties.len()))
    }

    /// Signs requests for a window, on all cores.
    async fn sign_ahead(self: &Arc<Self>, seconds: Duration, seed: u64) -> Result<()> {
        let each = AHEAD_PER_SECOND * usize::try_from(seconds.min(AHEAD).as_millis()).unwrap_or(0) / 2_000;
        let signers = [1, 2].map(|n: u64| {
            let cast = self.clone();
            tokio::task::spawn_blocking(move || -> Result<()> {
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(n));
                let signed = (0..each).map(|_| cast.random(&mut random)).collect::<Result<Vec<_>>>()?;
                cast.signed.lock().extend(signed);
                Ok(())
            })
        });
        for signer in signers {
            signer.await??;
        }
        Ok(())
    }
}

/// One who asks.
struct Asker {
    cast: Arc<Cast>,
    public: Connection,
    admin: Connection,
    random: StdRng,
    /// A request that must follow a change.
    due: Option<Request>,
    /// Makes the changes.
    changes: bool,
}

impl Asker {
    fn new(cast: &Arc<Cast>, subject: &Subject, seed: u64, tape: Option<Arc<Tape>>) -> Result<Self> {
        let (public, admin) = (Connection::new(&subject.public, tape)?, Connection::new(&subject.admin, None)?);
        Ok(Self { cast: cast.clone(), public, admin, random: StdRng::seed_from_u64(seed), due: None, changes: true })
    }

    fn next(&mut self) -> Result<Request> {
        if let Some(due) = self.due.take() {
            return Ok(due);
        }
        let signed = self.cast.signed.lock().pop();
        signed.map_or_else(|| self.cast.random(&mut self.random), Ok)
    }

    async fn ask(&mut self, request: Request) -> Result<Verdict> {
        let (began, call) = (Instant::now(), self.cast.call(&request)?);
        let answer = self.public.send(call).await?;
        Ok(self.cast.judge(&request, began, &answer))
    }
}

impl Cast {
    fn call(&self, request: &Request) -> Result<Call> {
        let path = self.provider(request.provider)?.catalog.clone();
        Ok(Call {
            method: Method::POST,
            path,
            bearer: Some(request.token.clone()),
            body: Bytes::from_static(REQUEST.as_bytes()),
            key: None,
        })
    }

    fn judge(&self, request: &Request, began: Instant, answer: &Answer) -> Verdict {
        if answer.is_shed() {
            return Verdict::Shed;
        }
        let (Some(provider), Some(party)) = (self.providers.get(request.provider), self.parties.get(request.party)) else {
            return Verdict::Wrong("no such pair".to_owned());
        };
        if answer.status != StatusCode::OK {
            return Verdict::Wrong(answer.told());
        }
        let Some(catalog) = serde_json::from_slice::<Catalog<'_>>(&answer.body).ok() else {
            return Verdict::Wrong(format!("no catalog: {}", answer.told()));
        };
        let seen: Vec<Seen<'_>> = catalog.dataset.iter().filter_map(Dataset::seen).collect();
        if seen.len() == catalog.dataset.len() && provider.model.allows(party, began, &seen) {
            Verdict::Good
        } else {
            let assets: Vec<_> = seen.iter().map(|seen| (seen.asset, seen.revision)).collect();
            Verdict::Wrong(format!("party {} sees {assets:?} of {}", request.party, provider.context))
        }
    }
}

#[derive(Deserialize)]
struct Catalog<'a> {
    #[serde(borrow, default)]
    dataset: Vec<Dataset<'a>>,
}

#[derive(Deserialize)]
struct Dataset<'a> {
    #[serde(rename = "@id")]
    id: &'a str,
    revision: u64,
    #[serde(borrow, rename = "hasPolicy")]
    policies: Vec<Policy<'a>>,
}

#[derive(Deserialize)]
struct Policy<'a> {
    #[serde(rename = "@id")]
    id: &'a str,
}

impl<'a> Dataset<'a> {
    /// With its one offer.
    fn seen(&self) -> Option<Seen<'a>> {
        match self.policies.as_slice() {
            [policy] => Some(Seen { asset: self.id, revision: self.revision, offer: policy.id }),
            _ => None,
        }
    }
}

impl Worker for Asker {
    async fn prepare(&mut self) {
        if self.changes && self.random.random_bool(CHANGES) {
            // A provider that is being changed by another worker is left to it.
            self.due = change::make(self).await.ok().flatten();
        }
    }

    async fn operate(&mut self) -> Verdict {
        let asked = match self.next() {
            Ok(request) => self.ask(request).await,
            Err(error) => Err(error),
        };
        asked.unwrap_or_else(|error| Verdict::Wrong(format!("{error:#}")))
    }
}

/// Asks once for every pair, so that all presentations are verified.
struct Toucher {
    asker: Asker,
    next: Arc<AtomicUsize>,
}

impl Worker for Toucher {
    async fn operate(&mut self) -> Verdict {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let (providers, parties) = (self.asker.cast.providers.len(), self.asker.cast.parties.len());
        if n >= providers * parties {
            // All pairs are taken: nothing is left to be done until the time is over.
            return Verdict::Shed;
        }
        let asked = match self.asker.cast.request(n / parties, n % parties) {
            Ok(request) => self.asker.ask(request).await,
            Err(error) => Err(error),
        };
        asked.unwrap_or_else(|error| Verdict::Wrong(format!("{error:#}")))
    }
}

/// Plays the scenario.
pub async fn run(offers: usize, common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let world = World::open(seed, PARTIES).await?;
    let space = Dataspace::open(&subject, &world).await?;
    eprintln!("making {PROVIDERS} providers");
    // Of twenty-four offers, a party sees ten.
    let providers = space.providers(&subject, PROVIDERS, offers * 24 / 10).await?;
    let parties = (0..PARTIES).map(|number| world.party(number)).collect::<Result<_>>()?;
    let cast = Arc::new(Cast { world, space, providers, parties, signed: Mutex::default() });

    let workers = common.workers(CONNECTIONS);
    eprintln!("asking for {} catalogs for the first time", PROVIDERS * PARTIES);
    touch(&cast, &subject, workers.min(CONNECTIONS), seed).await?;
    let (asked, _) = cast.world.asked();
    ensure!(asked >= (PROVIDERS * PARTIES) as u64, "only {asked} presentations were asked for");

    let asker = |n: usize| Asker::new(&cast, &subject, seed.wrapping_add(n as u64), subject.tape.clone());
    let askers = (0..workers).map(asker).collect::<Result<Vec<_>>>()?;
    let (askers, mut outcome, report) =
        play::window("catalog", &subject, common, askers, cast.sign_ahead(common.pace().time, seed)).await?;
    drop(askers);
    for wrong in probes::all(&cast, &subject).await? {
        outcome.wrong(wrong);
    }
    play::conclude(report, outcome, &subject, common, sizes(&cast, &subject, workers).await?).await
}

async fn touch(cast: &Arc<Cast>, subject: &Subject, workers: usize, seed: u64) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let all = cast.providers.len() * cast.parties.len();
    let toucher = |n: usize| {
        let mut asker = Asker::new(cast, subject, seed.wrapping_add(n as u64), None)?;
        asker.changes = false;
        Ok(Toucher { asker, next: next.clone() })
    };
    let mut touchers = (0..workers).map(toucher).collect::<Result<Vec<_>>>()?;
    while next.load(Ordering::Relaxed) < all {
        let outcome: Outcome;
        (touchers, outcome) = drive(touchers, crate::drive::Pace { rate: None, time: Duration::from_secs(1) }).await;
        ensure!(outcome.errors == 0, "{:?}", outcome.told);
    }
    Ok(())
}

/// Those of one exchange.
async fn sizes(cast: &Cast, subject: &Subject, connections: usize) -> Result<Sizes> {
    let request = cast.request(0, 0)?;
    let token = request.token.len();
    let answer = Connection::new(&subject.public, None)?.send(cast.call(&request)?).await?;
    Ok(Sizes { request: REQUEST.len(), token, answer: answer.body.len(), connections })
}
