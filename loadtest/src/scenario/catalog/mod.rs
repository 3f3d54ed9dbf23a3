//! Counterparties ask providers for their catalogs.
//!
//! Every request has a token of its own; every offer its own access policy; one request of a hundred follows a change that its answer must show.

pub mod answer;
mod cast;
mod change;
mod cold;
mod model;
pub mod probes;
mod setup;

pub use cast::{Asker, Cast, REQUEST, Request};
pub use cold::run as run_cold;
pub use setup::{Dataspace, Provider, must};

use super::play;
use crate::{
    drive::{Pace, Verdict, Worker, drive},
    http::Connection,
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::{Result, ensure};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const PROVIDERS: usize = 100;
const PARTIES: usize = 200;
/// Connections, when nothing else is asked for.
const CONNECTIONS: usize = 64;
/// Tokens signed ahead, for each second of the window. Beyond that they are signed when they are needed.
const AHEAD_PER_SECOND: f64 = 12_000.0;

/// Asks once for every pair, so that all presentations are verified.
struct Toucher {
    cast: Arc<Cast>,
    connection: Connection,
    next: Arc<AtomicUsize>,
}

impl Worker for Toucher {
    async fn operate(&mut self) -> Verdict {
        let (n, parties) = (self.next.fetch_add(1, Ordering::Relaxed), self.cast.parties.len());
        match (self.cast.providers.get(n / parties), self.cast.parties.get(n % parties)) {
            (Some(provider), Some(party)) => Request::new(provider, party).ask(&mut self.connection).await,
            _ => Verdict::Done,
        }
    }
}

/// Lets every counterparty ask every provider once.
pub async fn touch(cast: &Arc<Cast>, subject: &Subject) -> Result<()> {
    let all = cast.providers.len() * cast.parties.len();
    eprintln!("asking for {all} catalogs for the first time");
    let next = Arc::new(AtomicUsize::new(0));
    let toucher = |_| Ok(Toucher { cast: cast.clone(), connection: Connection::new(&subject.public, None)?, next: next.clone() });
    let touchers = (0..CONNECTIONS).map(toucher).collect::<Result<Vec<_>>>()?;
    let (_, outcome) = drive(touchers, Pace { rate: None, time: Duration::from_secs(3_600) }).await?;
    ensure!(outcome.good == all as u64, "only {} of {all} were answered: {:?}", outcome.good, outcome.told);
    let (asked, _) = cast.world.asked();
    ensure!(asked >= all as u64, "only {asked} presentations were asked for");
    Ok(())
}

/// How many requests are made ahead of a window in which so many a second are expected.
pub fn ahead(window: Duration, per_second: f64) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count of requests
    let count = (window.min(cast::AHEAD).as_secs_f64() * per_second) as usize;
    count
}

/// Plays the scenario.
pub async fn run(offers: usize, common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let cast = Cast::open(&subject, seed, PROVIDERS, PARTIES, offers).await?;
    touch(&cast, &subject).await?;

    let workers = common.workers(CONNECTIONS);
    let asker = |n: usize| Asker::new(&cast, &subject, seed.wrapping_add(n as u64), subject.tape.clone());
    let askers = (0..workers).map(asker).collect::<Result<Vec<_>>>()?;
    let ready = async {
        cast.sign_ahead(ahead(common.pace().time, AHEAD_PER_SECOND), seed).await?;
        cast.changes();
        Ok(())
    };
    let (askers, mut outcome, mut report) = play::window("catalog", &subject, common, askers, ready).await?;
    drop(askers);
    play::changes(&mut report, &mut outcome, cast.changes(), cast::CHANGES);
    for wrong in probes::all(&cast, &subject, probes::Message::Catalog).await? {
        outcome.wrong(wrong);
    }
    play::conclude(report, outcome, &subject, common, cast.sizes(&subject, workers).await?).await
}
