//! Who asks whom, and what must be answered.

use super::{
    answer::{Catalog, Dataset},
    change::{self, Change},
    model::Seen,
    setup::{Dataspace, Provider},
};
use crate::{
    drive::{Verdict, Worker},
    http::{Answer, Call, Connection},
    measure::calibration::Sizes,
    subject::Subject,
    transcript::Tape,
    world::{Party, World},
};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Which part of the requests follows a change.
pub const CHANGES: f64 = 0.01;
/// Longest time that requests are made ahead for: their tokens live for a minute.
pub const AHEAD: Duration = Duration::from_secs(30);

/// A catalog request without a filter.
pub const REQUEST: &str = r#"{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"@type":"CatalogRequestMessage"}"#;

/// Who asks whom.
pub struct Cast {
    pub world: Arc<World>,
    pub space: Dataspace,
    pub providers: Vec<Arc<Provider>>,
    /// Counterparties that ask again and again.
    pub parties: Vec<Arc<Party>>,
    signed: Mutex<Vec<Request>>,
    /// Requests that followed a change.
    changes: AtomicU64,
}

/// A request that is ready to be sent.
pub struct Request {
    pub provider: Arc<Provider>,
    pub party: Arc<Party>,
    token: String,
}

impl Request {
    /// With a token of its own.
    pub fn new(provider: &Arc<Provider>, party: &Arc<Party>) -> Self {
        Self { provider: provider.clone(), party: party.clone(), token: party.token(&provider.did) }
    }

    pub fn call(&self) -> Call {
        Call {
            method: Method::POST,
            path: self.provider.catalog.clone(),
            bearer: Some(self.token.clone()),
            body: Bytes::from_static(REQUEST.as_bytes()),
            key: None,
        }
    }

    /// Whether the answer is what the model says.
    pub fn judge(&self, began: Instant, answer: &Answer) -> Verdict {
        if answer.is_shed() {
            return Verdict::Shed;
        }
        if answer.status != StatusCode::OK {
            return Verdict::Wrong(answer.told());
        }
        let Some(catalog) = serde_json::from_slice::<Catalog<'_>>(&answer.body).ok() else {
            return Verdict::Wrong(format!("no catalog: {}", answer.told()));
        };
        let seen: Vec<Seen<'_>> = catalog.dataset.iter().filter_map(seen).collect();
        if seen.len() == catalog.dataset.len() && self.provider.model.allows(&self.party, began, &seen) {
            Verdict::Good
        } else {
            let assets: Vec<_> = seen.iter().map(|seen| (seen.asset, seen.revision)).collect();
            Verdict::Wrong(format!("party {} sees {assets:?} of {}", self.party.number, self.provider.context))
        }
    }

    /// Asks, and judges the answer.
    pub async fn ask(&self, connection: &mut Connection) -> Verdict {
        let began = Instant::now();
        match connection.send(self.call()).await {
            Ok(answer) => self.judge(began, &answer),
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

impl Cast {
    /// Opens a world with so many counterparties, and so many providers of which each counterparty sees so many offers.
    pub async fn open(subject: &Subject, seed: u64, providers: usize, parties: usize, offers: usize) -> Result<Arc<Self>> {
        let world = World::open(seed, parties).await?;
        let space = Dataspace::open(subject, &world).await?;
        eprintln!("making {providers} providers");
        // Of twenty-four offers, a party sees ten.
        let providers = space.providers(subject, providers, offers * 24 / 10).await?;
        let parties = (0..parties).map(|number| world.party(number)).collect::<Result<_>>()?;
        Ok(Arc::new(Self { world, space, providers, parties, signed: Mutex::default(), changes: AtomicU64::new(0) }))
    }

    pub fn provider(&self, random: &mut StdRng) -> Result<&Arc<Provider>> {
        self.providers.get(random.random_range(0..self.providers.len())).context("a provider")
    }

    pub fn party(&self, random: &mut StdRng) -> Result<&Arc<Party>> {
        self.parties.get(random.random_range(0..self.parties.len())).context("a party")
    }

    /// Some party that must now see something else of what was changed.
    fn who_sees(&self, change: &Change, random: &mut StdRng) -> Result<&Arc<Party>> {
        let first = random.random_range(0..self.parties.len());
        let mut from_there = self.parties.iter().cycle().skip(first).take(self.parties.len());
        from_there.find(|party| change.shows(party)).context("nobody sees the change")
    }

    /// How many requests followed a change, since it was asked last.
    pub fn changes(&self) -> u64 {
        self.changes.swap(0, Ordering::Relaxed)
    }

    /// A request of a random pair.
    pub fn random(&self, random: &mut StdRng) -> Result<Request> {
        Ok(Request::new(self.provider(random)?, self.party(random)?))
    }

    /// A request that was signed ahead, or one that is signed now.
    pub fn next(&self, random: &mut StdRng) -> Result<Request> {
        let signed = self.signed.lock().pop();
        signed.map_or_else(|| self.random(random), Ok)
    }

    /// Signs so many requests, on all cores.
    pub async fn sign_ahead(self: &Arc<Self>, count: usize, seed: u64) -> Result<()> {
        let signers = [1, 2].map(|n: u64| {
            let cast = self.clone();
            tokio::task::spawn_blocking(move || -> Result<()> {
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(n));
                let signed = (0..count / 2).map(|_| cast.random(&mut random)).collect::<Result<Vec<_>>>()?;
                cast.signed.lock().extend(signed);
                Ok(())
            })
        });
        for signer in signers {
            signer.await??;
        }
        Ok(())
    }

    /// Those of one exchange.
    pub async fn sizes(&self, subject: &Subject, connections: usize) -> Result<Sizes> {
        let request = self.random(&mut StdRng::seed_from_u64(0))?;
        let answer = Connection::new(&subject.public, None)?.send(request.call()).await?;
        Ok(Sizes { request: REQUEST.len(), token: request.token.len(), answer: answer.body.len(), connections })
    }
}

/// One who asks.
pub struct Asker {
    pub cast: Arc<Cast>,
    pub public: Connection,
    pub admin: Connection,
    pub random: StdRng,
    /// A change that the next request must see, or why there is none.
    due: Option<Result<Change>>,
    /// Makes the changes.
    changes: bool,
}

impl Asker {
    pub fn new(cast: &Arc<Cast>, subject: &Subject, seed: u64, tape: Option<Arc<Tape>>) -> Result<Self> {
        let (public, admin) = (Connection::new(&subject.public, tape.clone())?, Connection::new(&subject.admin, tape)?);
        Ok(Self { cast: cast.clone(), public, admin, random: StdRng::seed_from_u64(seed), due: None, changes: true })
    }

    /// Changes nothing.
    pub fn reader(cast: &Arc<Cast>, subject: &Subject, seed: u64, tape: Option<Arc<Tape>>) -> Result<Self> {
        Ok(Self { changes: false, ..Self::new(cast, subject, seed, tape)? })
    }

    /// Makes a change, once in a while.
    pub async fn change(&mut self) {
        if self.changes && self.random.random_bool(CHANGES) {
            // A provider that is being changed by another worker is left to it.
            self.due = change::make(self).await.context("a change").transpose();
        }
    }

    /// The change that a request must follow now.
    ///
    /// # Errors
    /// When it failed.
    pub fn changed(&mut self) -> Result<Option<Change>> {
        let change = self.due.take().transpose()?;
        if change.is_some() {
            self.cast.changes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(change)
    }

    fn next(&mut self) -> Result<Request> {
        match self.changed()? {
            Some(change) => Ok(Request::new(&change.provider, self.cast.who_sees(&change, &mut self.random)?)),
            None => self.cast.next(&mut self.random),
        }
    }
}

impl Worker for Asker {
    async fn prepare(&mut self) {
        self.change().await;
    }

    async fn operate(&mut self) -> Verdict {
        match self.next() {
            Ok(request) => request.ask(&mut self.public).await,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

/// A dataset with its one offer.
fn seen<'a>(dataset: &Dataset<'a>) -> Option<Seen<'a>> {
    match dataset.offers.as_slice() {
        [offer] => Some(Seen { asset: dataset.id, revision: dataset.revision, offer: offer.id }),
        _ => None,
    }
}
