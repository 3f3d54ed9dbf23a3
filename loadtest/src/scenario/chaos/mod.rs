//! A cell of three nodes on a real Cassandra and Kafka that is disturbed while participants work with each other: what was acknowledged is looked at from both
//! sides, all the time and at the end.
//!
//! Cassandra keeps as many replicas as it has nodes, each syncs before it acknowledges (`commitlog_sync: batch`), and its nodes are killed one at a time. Kafka is one
//! process, which is killed too.

mod book;
mod contracts;
mod faults;
pub(super) mod figures;
mod kafka;
mod load;
mod patient;
mod resize;
mod rolling;
mod verify;
mod world;

pub use faults::Fault;
pub use resize::run as resize;
pub use rolling::run as rolling;

use crate::{
    cell::{Cell, Plan},
    measure::disk::{Probe, Syncs},
    report::Report,
};
use anyhow::{Context, Result, ensure};
use book::{Invariant, Kind, Sample};
use cellspace_client::{Caller, Client};
use contracts::PATIENT;
use faults::Faults;
use figures::{Added, Asked, Others, WithoutKafka, ms};
use load::{Load, Place, Rates};
use patient::Honours;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use world::World;

/// Until caches have settled and a fresh Cassandra has compiled what it does; and how long the usual is looked at.
const WARM_UP: Duration = Duration::from_secs(40);
const USUAL: Duration = Duration::from_secs(10);

/// A cell with participants that work.
struct Stage {
    cell: Cell,
    load: Load,
    client: Client,
    operator: Caller,
    /// Looks at the disk that everything is on.
    disk: Probe,
    /// When everything was usual.
    quiet: (Instant, Instant),
    began: Instant,
}

impl Stage {
    async fn open(plan: &Plan, honours: Honours, rates: Rates) -> Result<Self> {
        let mut cell = Cell::start(plan).await?;
        let disk = Probe::start(cell.folder())?;
        match Self::begin(&cell, plan, honours, rates).await {
            Ok((load, client, operator, quiet, began)) => Ok(Self { cell, load, client, operator, disk, quiet, began }),
            Err(error) => Err(error.context(format!("data and logs are kept in {}", cell.keep().display()))),
        }
    }

    async fn begin(
        cell: &Cell,
        plan: &Plan,
        honours: Honours,
        rates: Rates,
    ) -> Result<(Load, Client, Caller, (Instant, Instant), Instant)> {
        let subject = cell.subject()?;
        let world = World::open(cell).await?;
        let place = Place::open(cell, world, honours, plan.tape.clone()).await?;
        let (client, operator) = subject.client().await?;
        let began = Instant::now();
        let load = Load::begin(cell, &place, rates, plan.seed)?;
        eprintln!("working; looking at what is usual");
        sleep(WARM_UP).await;
        let from = Instant::now();
        sleep(USUAL).await;
        Ok((load, client, operator, (from, Instant::now()), began))
    }

    /// Ends the work and looks at everything.
    async fn close(self) -> Result<(Cell, Arc<Place>, Syncs)> {
        let place = self.load.end().await?;
        eprintln!("looking at everything from both sides");
        verify::all(&place, &self.client, &self.operator).await?;
        kafka::caught_up(&self.cell, &place).await?;
        let disk = self.disk.end().await.unwrap_or_else(|error| {
            eprintln!("what the disk did is not known: {error:#}");
            Syncs::default()
        });
        Ok((self.cell, place, disk))
    }
}

/// Puts in how much longer than usually the slowest request took, and what the disk did meanwhile.
fn put_added(report: &mut Report, samples: &[Sample], quiet: (Instant, Instant), world: &World, disk: &Syncs) {
    figures::tell_slowest(samples, world, quiet.1, disk);
    let added = figures::added(samples, quiet, quiet.1, disk);
    let mut put = |name: String, value: Duration| report.more.insert(name, json!(ms(value)));
    let worst = |of: fn(&Added) -> Duration| added.values().map(of).max().unwrap_or_default();
    put("worst_added_ms".to_owned(), worst(|added| added.most));
    put("worst_added_without_stalls_ms".to_owned(), worst(|added| added.without_stalls));
    for (kind, Added { usual, most, without_stalls }) in &added {
        let name = match kind {
            Kind::Catalog => "catalog",
            Kind::Negotiation => "negotiation",
            Kind::Transfer => "transfer",
            Kind::Write => "write",
            Kind::Read => "read",
        };
        put(format!("{name}_usual_ms"), *usual);
        put(format!("{name}_worst_added_ms"), *most);
        put(format!("{name}_worst_added_without_stalls_ms"), *without_stalls);
    }
    let syncs = disk.since(quiet.1).times();
    put("disk_sync_p50_ms".to_owned(), figures::quantile(syncs.clone(), 0.5));
    put("disk_sync_p99_ms".to_owned(), figures::quantile(syncs.clone(), 0.99));
    put("disk_sync_worst_ms".to_owned(), figures::quantile(syncs, 1.0));
}

/// Disturbs a cell for so long by faults of these kinds.
///
/// # Errors
/// When it cannot be brought to where it begins, or looked at in the end. What goes wrong meanwhile is in the report.
pub async fn run(plan: &Plan, time: Duration, kinds: &[Fault]) -> Result<Report> {
    ensure!(
        plan.cassandra > 2 || !kinds.contains(&Fault::Cassandra),
        "a node of Cassandra can be killed where there are three: --cassandra 3"
    );
    let rates = Rates { negotiations: 1.0, transfers: 0.7, catalogs: 10.0, writes: 1.0, reads: 4.0, looks: 10.0 };
    let mut stage = Stage::open(plan, PATIENT, rates).await?;
    let mut faults = Faults::new(kinds.to_vec(), StdRng::seed_from_u64(plan.seed));
    let mut counts = BTreeMap::<&str, u64>::new();
    let began = Instant::now();
    // Each kind comes once at least.
    while began.elapsed() < time || kinds.iter().any(|kind| !counts.contains_key(kind.name())) {
        let fault = faults.next().context("none of these faults can happen")?;
        eprintln!("{:>4} s  {}", began.elapsed().as_secs(), fault.name());
        let inflicted = faults.inflict(&mut stage.cell, &stage.load.place, fault).await;
        *counts.entry(fault.name()).or_default() += 1;
        if let Err(error) = inflicted {
            // Nothing that comes after it would say more.
            stage.load.place.book.violated(Invariant::Live, format!("after {}: {error:#}", fault.name()));
            break;
        }
    }
    let (quiet, begun) = (stage.quiet, stage.began);
    let (mut cell, place, disk) = stage.close().await?;
    let samples = place.book.samples();
    let mut report = figures::report("chaos", &place.book, &samples, begun);
    let failovers = |asked, alone| figures::failovers(&samples, &place.world, &faults.killed, asked, alone);
    let (by_itself, by_others) = (failovers(Asked::ByItself, true), failovers(Asked::ByOthers, true));
    let all = [&by_itself[..], &by_others[..]].concat();
    let hurried = [failovers(Asked::ByItself, false), failovers(Asked::ByOthers, false)].concat();
    let at = |times: &[Duration], part: f64| json!((!times.is_empty()).then(|| ms(figures::quantile(times.to_vec(), part))));
    put_added(&mut report, &samples, quiet, &place.world, &disk);
    for (name, value) in [
        ("faults", json!(counts)),
        ("failovers", json!(all.len())),
        ("failover_p50_ms", at(&all, 0.5)),
        ("failover_p99_ms", at(&all, 0.99)),
        ("failover_by_itself_p99_ms", at(&by_itself, 0.99)),
        ("failover_by_others_p50_ms", at(&by_others, 0.5)),
        ("failover_by_others_p99_ms", at(&by_others, 0.99)),
        ("failovers_hurried", json!(hurried.len())),
        ("failover_hurried_p99_ms", at(&hurried, 0.99)),
        ("processes", json!(place.book.count())),
        ("found_dead", json!(cell.revived())),
        ("cassandra_nodes", json!(plan.cassandra)),
    ] {
        report.more.insert(name.to_owned(), value);
    }
    let others = Others::of(&samples, &place.world, &faults.killed).told();
    for (name, value) in others.into_iter().chain(WithoutKafka::of(&samples, &faults.aways).told()) {
        report.more.insert(name.to_owned(), value);
    }
    if report.errors > 0 {
        eprintln!("data and logs are kept in {}", cell.keep().display());
    }
    Ok(report)
}
