//! What it adds to a request that it comes to another node than its participant's: the same request to both, one right after the other, in a cell of three nodes.
//!
//! Requests are light ones of the Management API, and catalog requests of counterparties whose presentations were verified before. Nodes reach each other directly.

use super::{
    activation::ask,
    catalog::{Cast, Provider, Request, touch},
    play::WARM_UP,
};
use crate::{
    cell::{Cell, NODES, Plan},
    drive::{Pace, Verdict, Worker, drive, quantile_ms},
    http::Connection,
    measure::calibration,
    report::Report,
};
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

const PROVIDERS: usize = 24;
const PARTIES: usize = 8;
/// Offers that a counterparty sees.
const OFFERS: usize = 10;
/// Longest request that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// For an asset, by the Management API.
    Get,
    /// For a catalog, by DSP.
    Catalog,
}

const KINDS: [(Kind, &str); 2] = [(Kind::Get, "get"), (Kind::Catalog, "catalog")];

/// Which node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// The participant's.
    Own,
    /// One of the others.
    Other,
}

/// Connections to both listeners of a node.
struct Node {
    name: &'static str,
    admin: Connection,
    public: Connection,
}

/// Asks both nodes, in turns the one and the other first.
struct Asker {
    cast: Arc<Cast>,
    homes: BTreeMap<String, &'static str>,
    nodes: Vec<Node>,
    random: StdRng,
    turn: usize,
    /// What requests took, in microseconds.
    times: BTreeMap<(Kind, Side), Histogram<u64>>,
}

impl Asker {
    fn forget(&mut self) {
        self.times.values_mut().for_each(Histogram::reset);
    }

    async fn send(&mut self, kind: Kind, side: Side, provider: &Arc<Provider>, party: usize) -> Result<Verdict> {
        let home = *self.homes.get(&provider.context).context("a home")?;
        let mut nodes = self.nodes.iter_mut().filter(|node| (node.name == home) == (side == Side::Own));
        // Each of the others as often.
        let other = if side == Side::Own { 0 } else { self.random.random_range(0..NODES.len() - 1) };
        let node = nodes.nth(other).context("a node")?;
        let request = Request::new(provider, self.cast.parties.get(party).context("a party")?);
        let begun = Instant::now();
        let verdict = match kind {
            Kind::Get => ask(&mut node.admin, &self.cast.space.admin, provider).await,
            Kind::Catalog => request.ask(&mut node.public).await,
        };
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(LONGEST);
        if verdict == Verdict::Good {
            self.times.get_mut(&(kind, side)).context("times")?.saturating_record(took);
        }
        Ok(verdict)
    }

    /// One of each.
    async fn round(&mut self) -> Result<Verdict> {
        self.turn += 1;
        let provider = self.cast.provider(&mut self.random)?.clone();
        let party = self.random.random_range(0..self.cast.parties.len());
        let sides = if self.turn.is_multiple_of(2) { [Side::Own, Side::Other] } else { [Side::Other, Side::Own] };
        for (kind, _) in KINDS {
            for side in sides {
                let verdict = self.send(kind, side, &provider, party).await?;
                if verdict != Verdict::Good {
                    return Ok(verdict);
                }
            }
        }
        Ok(Verdict::Good)
    }
}

impl Worker for Asker {
    async fn operate(&mut self) -> Verdict {
        self.round().await.unwrap_or_else(|error| Verdict::Wrong(format!("{error:#}")))
    }
}

/// Plays the scenario for so long.
///
/// # Errors
/// When the cell cannot be brought to where it begins.
pub async fn run(plan: &Plan, time: Duration) -> Result<Report> {
    let cell = Cell::start(plan).await?;
    let subject = cell.subject()?;
    let cast = Cast::open(&subject, plan.seed, PROVIDERS, PARTIES, OFFERS).await?;
    touch(&cast, &subject).await?;
    let mut homes = BTreeMap::new();
    for provider in &cast.providers {
        homes.insert(provider.context.clone(), cell.home(&provider.context).await?);
    }
    let served: BTreeSet<&str> = homes.values().copied().collect();
    ensure!(served.len() == NODES.len(), "of {PROVIDERS} providers none is on some of the nodes: {served:?}");
    let node = |name: &'static str| {
        let connection = |base: String| Connection::new(&base, plan.tape.clone());
        Ok(Node { name, admin: connection(cell.admin(name))?, public: connection(cell.public(name))? })
    };
    let nodes = NODES.into_iter().map(node).collect::<Result<_>>()?;
    let mut times = BTreeMap::new();
    for (kind, _) in KINDS {
        for side in [Side::Own, Side::Other] {
            times.insert((kind, side), Histogram::new_with_bounds(1, LONGEST, 3)?);
        }
    }
    let sizes = cast.sizes(&subject, 1).await?;
    let asker = Asker { cast, homes, nodes, random: StdRng::seed_from_u64(plan.seed), turn: 0, times };
    let (mut askers, warm) = drive(vec![asker], Pace { rate: None, time: WARM_UP }).await?;
    askers.iter_mut().for_each(Asker::forget);
    eprintln!("measuring for {} s", time.as_secs_f64());
    let (askers, mut outcome) = drive(askers, Pace { rate: None, time }).await?;
    outcome.blame(warm);
    let outcome = outcome.strict();
    let times = askers.into_iter().next().context("the one who asks")?.times;
    let others = KINDS.iter().filter_map(|(kind, _)| times.get(&(*kind, Side::Other)));
    let others = others.fold(Histogram::new_with_bounds(1, LONGEST, 3)?, |all, times| all + times);
    #[allow(clippy::cast_precision_loss)] // four
    let each_round = times.len() as f64;
    let mut report = Report {
        scenario: "hop".to_owned(),
        ops_per_s: outcome.per_second() * each_round,
        p50_ms: quantile_ms(&others, 0.5),
        p95_ms: quantile_ms(&others, 0.95),
        p99_ms: quantile_ms(&others, 0.99),
        ..Report::default()
    };
    (report.errors, report.shed, report.told) = (outcome.errors, outcome.shed, outcome.told);
    for (kind, name) in KINDS {
        let (Some(own), Some(other)) = (times.get(&(kind, Side::Own)), times.get(&(kind, Side::Other))) else { continue };
        for (part, quantile) in [("p50", 0.5), ("p95", 0.95)] {
            let (own, other) = (quantile_ms(own, quantile), quantile_ms(other, quantile));
            report.more.insert(format!("{name}_own_{part}_ms"), json!(own));
            report.more.insert(format!("{name}_other_{part}_ms"), json!(other));
            report.more.insert(format!("{name}_added_{part}_ms"), json!(((other - own) * 1_000.0).round() / 1_000.0));
        }
        report.more.insert(format!("{name}_measured"), json!(own.len().min(other.len())));
    }
    report.compare(calibration::measure(sizes, &subject.disk()).await?);
    Ok(report)
}
