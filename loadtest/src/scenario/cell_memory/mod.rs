//! What processes of a cell take for participants that nobody uses: the same, however many there are. After a start, and after each of them was asked for by way of
//! some process; and what ids that nobody has leave behind.

mod ids;

use super::{
    catalog::Dataspace,
    idle_memory::{
        settle::{Stillness, at_rest},
        slope,
    },
};
use crate::{
    cell::{Cell, GATEWAY, NODES, Plan},
    drive::{Outcome, Pace, Verdict, Worker, drive},
    http::Connection,
    report::Report,
    world::World,
};
use anyhow::{Result, ensure};
use serde_json::json;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// All processes.
const PROCESSES: [&str; 4] = [GATEWAY, "a", "b", "c"];
/// How many times as many there are at last as before.
const TIMES: usize = 10;
/// How long the platform keeps in memory what is not used.
const IDLE_AFTER: &str = "5s";
/// Participants registered at once.
const CONNECTIONS: usize = 32;
/// Longest time of that.
const LONGEST: Duration = Duration::from_secs(6 * 3_600);
/// Processes renew leases, and look whether they are ready.
const STILL: Stillness = Stillness { settled: Duration::from_secs(30), cpu: Duration::from_secs(2) };
/// Ids that nobody has of which a node remembers so many at most.
const REMEMBERED: usize = 16_384;
/// Ids that nobody has: as many as all nodes remember, and half as many more, since no node gets just its share of them; then others.
const FIRST: Range<usize> = 0..NODES.len() * REMEMBERED * 3 / 2;
const MORE: Range<usize> = FIRST.end..FIRST.end + 100_000;

/// Resident memory of each process, in bytes.
type Resident = BTreeMap<&'static str, u64>;

/// Registers one participant after the other, in the Management API: each has a partition of its own.
struct Registrar {
    space: Arc<Dataspace>,
    connection: Connection,
    host: String,
    next: Arc<AtomicUsize>,
    end: usize,
}

impl Worker for Registrar {
    async fn operate(&mut self) -> Verdict {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.end {
            return Verdict::Done;
        }
        let context = self.space.context(number);
        match self.space.managed(&mut self.connection, &Dataspace::did(&self.host, &context), &context).await {
            Ok(()) => Verdict::Good,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

struct Scene {
    cell: Cell,
    space: Arc<Dataspace>,
    /// How many participants there are.
    participants: usize,
    /// Bytes at rest, by what was before.
    looks: BTreeMap<String, Resident>,
    restless: Vec<String>,
}

impl Scene {
    /// Registers participants until there are so many.
    async fn grow(&mut self, to: usize) -> Result<Outcome> {
        eprintln!("registering participants, up to {to}");
        let subject = self.cell.subject()?;
        let next = Arc::new(AtomicUsize::new(self.participants));
        let registrar = |_| {
            let connection = Connection::new(&subject.admin, None)?;
            Ok(Registrar { space: self.space.clone(), connection, host: subject.did_host(), next: next.clone(), end: to })
        };
        let registrars = (0..CONNECTIONS).map(registrar).collect::<Result<Vec<_>>>()?;
        let (_, outcome) = drive(registrars, Pace { rate: None, time: LONGEST }).await?;
        ensure!(outcome.errors == 0, "not all were registered: {:?}", outcome.told);
        eprintln!("registered {:.0} a second", outcome.per_second());
        self.participants = to;
        Ok(outcome)
    }

    /// Kills all processes and starts them again.
    async fn restart(&mut self) -> Result<()> {
        for process in PROCESSES {
            self.cell.kill(process).await?;
        }
        for process in NODES.into_iter().chain([GATEWAY]) {
            self.cell.up(process).await?;
        }
        self.cell.settled(&NODES).await.map(drop)
    }

    /// Waits until all are at rest, and notes what they take.
    async fn look(&mut self, what: String) -> Result<Resident> {
        let rest = at_rest(STILL, || PROCESSES.into_iter().map(|process| self.cell.usage(process)).collect()).await?;
        let found: Resident = PROCESSES.into_iter().zip(rest.resident).collect();
        eprintln!("{what}: {found:?}");
        self.restless.extend(rest.restless);
        self.looks.insert(what, found.clone());
        Ok(found)
    }

    async fn ask(&self, name: &str, numbers: Range<usize>) -> Result<()> {
        eprintln!("asking for {} ids", numbers.len());
        ids::ask(&self.cell, &self.space.admin, name, numbers).await
    }

    /// What so many participants take after a start, and when each was asked for.
    async fn with(&mut self, participants: usize) -> Result<(Outcome, [Resident; 2])> {
        let outcome = self.grow(participants).await?;
        self.restart().await?;
        let idle = self.look(format!("idle_at_{participants}")).await?;
        self.ask(&self.space.name, 0..participants).await?;
        let used = self.look(format!("used_at_{participants}")).await?;
        Ok((outcome, [idle, used]))
    }
}

/// Bytes that each more of something takes in the process where that is most.
fn most(few: (usize, &Resident), many: (usize, &Resident)) -> f64 {
    let of = |process: &&str| Some(slope((few.0, *few.1.get(process)?), (many.0, *many.1.get(process)?)));
    PROCESSES.iter().filter_map(of).fold(f64::NEG_INFINITY, f64::max).round()
}

/// Plays the scenario.
///
/// # Errors
/// When the cell cannot be brought to where it begins, or somebody is not answered.
pub async fn run(plan: &Plan, participants: usize) -> Result<Report> {
    ensure!(participants >= 2 * TIMES, "--participants must be at least {}", 2 * TIMES);
    let cell = Cell::start(&Plan { idle_after: Some(IDLE_AFTER), ..plan.clone() }).await?;
    let world = World::open(plan.seed, 0).await?;
    let space = Dataspace::open(&cell.subject()?, &world).await?;
    let mut scene = Scene { cell, space: Arc::new(space), participants: 0, looks: BTreeMap::new(), restless: Vec::new() };
    let few = participants / TIMES;
    let (_, [few_idle, few_used]) = scene.with(few).await?;
    let (outcome, [many_idle, many_used]) = scene.with(participants).await?;
    scene.ask("nobody", FIRST).await?;
    let before = scene.look(format!("used_at_{}_ids", FIRST.end)).await?;
    scene.ask("nobody", MORE).await?;
    let after = scene.look(format!("used_at_{}_ids", MORE.end)).await?;
    let mut report = Report {
        scenario: "cell-memory".to_owned(),
        ops_per_s: outcome.per_second(),
        p50_ms: outcome.quantile_ms(0.5),
        p95_ms: outcome.quantile_ms(0.95),
        p99_ms: outcome.quantile_ms(0.99),
        errors: scene.restless.len() as u64,
        told: scene.restless,
        ..Report::default()
    };
    report.more.insert("idle_bytes_per_participant".to_owned(), json!(most((few, &few_idle), (participants, &many_idle))));
    report.more.insert("used_bytes_per_participant".to_owned(), json!(most((few, &few_used), (participants, &many_used))));
    report.more.insert("bytes_per_id".to_owned(), json!(most((FIRST.end, &before), (MORE.end, &after))));
    for (what, found) in scene.looks {
        report.more.insert(what, json!(found));
    }
    Ok(report)
}
