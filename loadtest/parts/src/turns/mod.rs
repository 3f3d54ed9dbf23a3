//! What a turn takes on a ScyllaDB or Cassandra, beside a bare lightweight transaction of as many bytes in the same keyspace, by the same driver.
//!
//! A turn is the runtime's whole: a command asked of an agent in memory, decided, committed by the product's store, published, answered. One that `sends`
//! leaves an outbox row, for which its agent is entered in the wake index first; the row is delivered at once, and goes with a turn of its own that is not
//! measured. All take turns, one at a time, so that a machine whose speed changes is as fast for each.

mod agent;
mod bare;

use agent::{Keep, Keeper};
use anyhow::{Result, ensure};
use bare::Bare;
use cellspace_cluster::{Address, Call, Cluster, Options, SystemClock};
use cellspace_schemas::Owner;
use cellspace_storage::scylla::{Replication, ScyllaOptions, ScyllaStore, create_schema};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Agents that take turns: what one has left behind is done long before it is asked again.
const AGENTS: usize = 256;
/// Rounds over all of them before something is measured.
const WARM_UP: usize = 4;
/// Bytes of a row.
const ROW: usize = 1_024;
/// Longest time of the end.
const LIMIT: Duration = Duration::from_secs(30);
const KINDS: [&str; 3] = ["bare", "turn", "sending"];

/// Times of one kind, in milliseconds.
#[derive(Debug, Serialize)]
pub struct Times {
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// A bare lightweight transaction.
    bare: Times,
    /// A turn that stores a row.
    turn: Times,
    /// A turn that leaves an outbox row besides.
    sending: Times,
    /// The median of a turn by that of a bare transaction.
    turn_to_bare: f64,
    /// The same of one that leaves an outbox row.
    sending_to_bare: f64,
    /// Bytes of keys and values of a turn, which the bare transaction writes too.
    bytes: u64,
    /// How many of each were measured.
    measured: usize,
}

impl Times {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |part: usize| all.get(all.len() * part / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        Self { p50_ms: at(50), p95_ms: at(95), p99_ms: at(99) }
    }
}

struct Scene {
    cluster: Cluster,
    store: ScyllaStore,
    bare: Bare,
    agents: Vec<Address>,
    text: String,
    /// As many bytes as a turn writes.
    value: Vec<u8>,
}

impl Scene {
    async fn open(nodes: &[String], keyspace: &str) -> Result<Self> {
        let options = ScyllaOptions::new(nodes.to_vec(), keyspace);
        create_schema(&options, &Replication::Simple(1)).await?;
        let store = ScyllaStore::open(options).await?;
        let shared = Arc::new(store.clone());
        let cluster = Cluster::new(shared.clone(), shared, Arc::new(SystemClock), Options::default());
        cluster.register(Arc::new(Keeper));
        cluster.start().await?;
        let address = |n| Ok(Address::of::<Keeper>(Owner::new(format!("keeper-{n}"))?));
        let agents = (0..AGENTS).map(address).collect::<Result<_>>()?;
        let bare = Bare::open(nodes, keyspace, AGENTS).await?;
        Ok(Self { cluster, store, bare, agents, text: "x".repeat(ROW), value: Vec::new() })
    }

    async fn turn(&self, agent: &Address, sends: bool) -> Result<()> {
        let keep = Keep { text: self.text.clone(), sends };
        let kept = self.cluster.ask::<Keeper>(agent, keep, Call::by("measure")).await?;
        ensure!(kept == ROW, "{kept} bytes were kept");
        Ok(())
    }

    async fn play(&self, kind: &str, place: usize, seq: i64) -> Result<Duration> {
        let agent = self.agents.get(place).ok_or_else(|| anyhow::anyhow!("no agent {place}"))?;
        let begun = Instant::now();
        match kind {
            "bare" => self.bare.update(place, seq, &self.value).await?,
            "turn" => self.turn(agent, false).await?,
            _ => self.turn(agent, true).await?,
        }
        Ok(begun.elapsed())
    }

    /// Bytes of a turn that stores a row.
    async fn bytes(&self) -> Result<u64> {
        let [first, ..] = self.agents.as_slice() else { anyhow::bail!("no agents") };
        self.turn(first, false).await?;
        let before = self.store.counters().read();
        self.turn(first, false).await?;
        let after = self.store.counters().read();
        ensure!(after.0 == before.0 + 1, "a turn took {} commits", after.0 - before.0);
        Ok(after.2 - before.2)
    }
}

/// Measures for so long, in a keyspace of its own that is removed afterwards.
///
/// # Errors
/// When the database cannot be reached, or something is not applied.
pub async fn measure(nodes: &[String], keyspace: &str, time: Duration) -> Result<Figures> {
    let mut scene = Scene::open(nodes, keyspace).await?;
    let measured = round(&mut scene, time).await;
    scene.cluster.drain(LIMIT).await;
    scene.store.close();
    scene.bare.remove().await?;
    measured
}

async fn round(scene: &mut Scene, time: Duration) -> Result<Figures> {
    let bytes = scene.bytes().await?;
    scene.value = vec![b'x'; usize::try_from(bytes)?];
    let mut times: [Vec<Duration>; 3] = Default::default();
    let (mut seq, mut begun) = (0, Instant::now());
    while times.iter().any(Vec::is_empty) || begun.elapsed() < time {
        seq += 1;
        let warm = seq > i64::try_from(WARM_UP)?;
        if !warm {
            begun = Instant::now();
        }
        for place in 0..AGENTS {
            for (kind, times) in KINDS.iter().zip(&mut times) {
                let took = scene.play(kind, place, seq).await?;
                if warm {
                    times.push(took);
                }
            }
        }
    }
    let measured = times.iter().map(Vec::len).min().unwrap_or_default();
    let [bare, turn, sending] = times.map(Times::of);
    let (turn_to_bare, sending_to_bare) = (turn.p50_ms / bare.p50_ms, sending.p50_ms / bare.p50_ms);
    Ok(Figures { bare, turn, sending, turn_to_bare, sending_to_bare, bytes, measured })
}
