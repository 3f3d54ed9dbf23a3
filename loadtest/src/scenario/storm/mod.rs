//! A node of three is killed, and all of its many participants are asked at once: they come back to the other two, so many at a time, and no client hears anything but
//! the answer, or when to come again. Then once more, beside one of them of which much is kept and much is asked; which of the two is played first follows from the seed.

mod crowd;
mod watch;

use super::{
    catalog::Dataspace,
    chaos::figures::{ms, quantile},
};
use crate::{
    cell::{Cell, NODES, Plan},
    measure::calibration::{self, Sizes},
    report::Report,
    world::World,
};
use anyhow::{Context, Result};
use crowd::{Asked, Client, Crowd};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::{sync::watch as signal, task::JoinSet, time::sleep};
use watch::Watch;

/// The node that is killed.
const VICTIM: &str = "b";
/// Participants of the other nodes that are asked, and how often each.
const OTHERS: usize = 40;
const EVERY: Duration = Duration::from_secs(1);
/// Connections over which the large one is asked, and how often over each.
const AT_THE_LARGE: usize = 64;
const PUSHED_EVERY: Duration = Duration::from_millis(320);
/// How long is looked at what is usual.
const USUAL: Duration = Duration::from_secs(5);
/// Bytes of an answer, about.
const ANSWER: usize = 400;

/// Those who ask again and again, until they are told to end.
struct Steady {
    stop: signal::Sender<bool>,
    tasks: JoinSet<Result<(Vec<Client>, Vec<Asked>)>>,
}

impl Steady {
    /// Each of them asks so often.
    fn begin(clients: Vec<Client>, every: Duration) -> Self {
        let (stop, mut tasks) = (signal::Sender::new(false), JoinSet::new());
        let count = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        for (n, mut client) in (0..).zip(clients) {
            let mut stopped = stop.subscribe();
            tasks.spawn(async move {
                // Not all of them at the same moment.
                let (mut due, mut all) = (Instant::now() + every * n / count, Vec::new());
                while tokio::time::timeout_at(due.into(), stopped.wait_for(|stop| *stop)).await.is_err() {
                    all.push(client.ask(due).await?);
                    due += every;
                }
                Ok((vec![client], all))
            });
        }
        Self { stop, tasks }
    }

    /// Ends them.
    async fn end(mut self) -> Result<(Vec<Client>, Vec<Asked>)> {
        self.stop.send_replace(true);
        let (mut clients, mut all) = (Vec::new(), Vec::new());
        while let Some(ended) = self.tasks.join_next().await {
            let (client, asked) = ended??;
            clients.extend(client);
            all.extend(asked);
        }
        Ok((clients, all))
    }
}

/// All clients.
struct Clients {
    struck: Vec<Client>,
    others: Vec<Client>,
    large: Vec<Client>,
}

/// How a storm went.
struct Storm {
    struck: Vec<Asked>,
    others: Vec<Asked>,
    large: Vec<Asked>,
    died: Instant,
    seen: BTreeMap<String, Value>,
}

impl Storm {
    fn all(&self) -> impl Iterator<Item = &Asked> {
        self.struck.iter().chain(&self.others).chain(&self.large)
    }
}

/// Everybody is asked at once; how long each took since then.
async fn all_at_once(clients: Vec<Client>, since: Instant) -> Result<(Vec<Client>, Vec<Asked>)> {
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move { client.ask(since).await.map(|asked| (client, asked)) });
    }
    let (mut clients, mut all) = (Vec::new(), Vec::new());
    while let Some(answered) = tasks.join_next().await {
        let (client, asked) = answered??;
        clients.push(client);
        all.push(asked);
    }
    Ok((clients, all))
}

/// Kills the node, and asks all of its participants; it is back when this ends.
async fn storm(cell: &mut Cell, clients: Clients, beside_the_large: bool) -> Result<(Clients, Storm)> {
    let Clients { struck, others, large } = clients;
    cell.settled(&NODES).await?;
    // They are in memory where they are, and so are the connections.
    let (struck, _) = all_at_once(struck, Instant::now()).await?;
    let others = Steady::begin(others, EVERY);
    let watch = Watch::begin(NODES.into_iter().filter(|node| *node != VICTIM).map(|node| cell.ops(node)).collect());
    let died = Instant::now();
    cell.kill(VICTIM).await?;
    let (pushing, idle) = if beside_the_large { (Some(Steady::begin(large, PUSHED_EVERY)), Vec::new()) } else { (None, large) };
    let (clients, asked) = all_at_once(struck, died).await?;
    eprintln!("all {} are answered {:.1} s after the death", asked.len(), died.elapsed().as_secs_f64());
    let seen = watch.end().await?;
    let (others, of_others) = others.end().await?;
    let (large, of_large) = match pushing {
        Some(pushing) => pushing.end().await?,
        None => (idle, Vec::new()),
    };
    cell.up(VICTIM).await?;
    cell.settled(&NODES).await?;
    Ok((Clients { struck: clients, others, large }, Storm { struck: asked, others: of_others, large: of_large, died, seen }))
}

fn times(asked: &[Asked]) -> Vec<Duration> {
    asked.iter().map(|asked| asked.took).collect()
}

/// Plays the scenario with so many participants of the node that dies.
///
/// # Errors
/// When the cell cannot be brought to where it begins, or somebody is not answered at all.
pub async fn run(plan: &Plan, participants: usize) -> Result<Report> {
    let mut cell = Cell::start(plan).await?;
    match play(&mut cell, plan, participants).await {
        Ok(report) if report.errors == 0 => Ok(report),
        played => {
            eprintln!("data and logs are kept in {}", cell.keep().display());
            played
        }
    }
}

async fn play(cell: &mut Cell, plan: &Plan, participants: usize) -> Result<Report> {
    let subject = cell.subject()?;
    let world = World::open(plan.seed, 0).await?;
    let space = Dataspace::open(&subject, &world).await?;
    let crowd = Crowd::open(cell, &subject, &space, VICTIM, participants, OTHERS).await?;
    let of = |asked: &[_]| asked.iter().map(|one| Client::new(cell, &crowd.token, one, plan.tape.clone())).collect::<Result<Vec<_>>>();
    let (struck, others, large) = (of(&crowd.struck)?, of(&crowd.others)?, of(&vec![crowd.large.clone(); AT_THE_LARGE])?);
    eprintln!("looking at what is usual");
    let steady = Steady::begin(others, EVERY);
    sleep(USUAL).await;
    let (others, usual) = steady.end().await?;

    // What is played first finds the processes and the database cold: neither of the two is always that one.
    let large_first = plan.seed % 2 == 1;
    let told = |beside_the_large| if beside_the_large { ", while one of its participants is asked much" } else { "" };
    eprintln!("killing {VICTIM}{}", told(large_first));
    let (clients, first) = storm(cell, Clients { struck, others, large }, large_first).await?;
    eprintln!("killing {VICTIM} once more{}", told(!large_first));
    let (_, second) = storm(cell, clients, !large_first).await?;
    let (alone, beside) = if large_first { (second, first) } else { (first, second) };

    let at = |asked: &[Asked], part: f64| ms(quantile(times(asked), part));
    let all = alone.struck.iter().map(|asked| asked.took).max().context("nobody was asked")?;
    #[allow(clippy::cast_precision_loss)] // a count
    let rate = participants as f64 / all.as_secs_f64();
    let mut report = Report {
        scenario: "storm".to_owned(),
        ops_per_s: rate,
        p50_ms: at(&alone.struck, 0.5),
        p95_ms: at(&alone.struck, 0.95),
        p99_ms: at(&alone.struck, 0.99),
        ..Report::default()
    };
    let wrong: Vec<&String> = usual.iter().chain(alone.all()).chain(beside.all()).flat_map(|asked| &asked.wrong).collect();
    report.errors = wrong.len() as u64;
    report.told = wrong.into_iter().take(8).cloned().collect();
    report.shed = alone.all().chain(beside.all()).map(|asked| u64::from(asked.again)).sum();
    let mut put = |name: String, value: Value| report.more.insert(name, value);
    put("participants".to_owned(), json!(participants));
    put("beside_large_first".to_owned(), json!(large_first));
    for (name, storm) in [("alone", &alone), ("beside_large", &beside)] {
        put(format!("{name}_first_ms"), json!(at(&storm.struck, 0.0)));
        put(format!("{name}_p99_ms"), json!(at(&storm.struck, 0.99)));
        put(format!("{name}_all_ms"), json!(at(&storm.struck, 1.0)));
        put(format!("{name}_others_p95_ms"), json!(at(&storm.others, 0.95)));
        put(format!("{name}_told_to_come_again"), json!(storm.all().map(|asked| asked.again).sum::<u32>()));
        put(format!("{name}_told_at_most"), json!(storm.all().map(|asked| asked.again).max()));
        for (seen, value) in &storm.seen {
            put(format!("{name}_{seen}"), value.clone());
        }
    }
    put("others_usual_p95_ms".to_owned(), json!(at(&usual, 0.95)));
    put("found_dead".to_owned(), json!(cell.revived()));
    put("large_asked".to_owned(), json!(beside.large.len()));
    let first = beside.large.iter().map(|asked| asked.since + asked.took - beside.died).min();
    put("large_first_ms".to_owned(), json!(first.map(ms)));
    put("large_p99_ms".to_owned(), json!(at(&beside.large, 0.99)));
    // What it costs the others that somebody has much.
    put("p99_ratio".to_owned(), json!(at(&beside.struck, 0.99) / at(&alone.struck, 0.99)));
    let sizes = Sizes { request: 0, token: crowd.token.len(), answer: ANSWER, connections: 64 };
    report.compare(calibration::measure(sizes, &subject.disk()).await?);
    Ok(report)
}
