//! Several nodes in one process, over one store and a link in memory: hand-over with the real host and turn loop, in paused time.

mod asking;
mod beside;
mod hand_over;
mod levels;
mod waking;

use crate::support::{CounterCommand::*, *};
use cellspace_cluster::{
    membership::{Moment, Terms},
    *,
};
use cellspace_storage::{Lease, Member, Membership, StoreError, Swap, View, testkit::MemoryMembership};
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

/// Owners whose agents are asked.
const OWNERS: usize = 48;
/// What a node may deliver.
const DELIVERIES: usize = 100;

/// What all nodes of a test share.
#[derive(Clone, Default)]
struct Place {
    store: MemoryStore,
    rows: MemoryMembership,
    nodes: Arc<Mutex<BTreeMap<String, Node>>>,
    /// The most that a call took.
    most_hops: Arc<AtomicU8>,
    /// How often nodes have read the view.
    looks: Arc<AtomicUsize>,
    /// Nobody takes a call.
    refusing: Arc<AtomicBool>,
    /// Milliseconds that answers are on their way.
    far: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Node {
    cell: Arc<Cell>,
    cluster: Cluster,
    agent: Arc<Counter>,
    /// Nothing goes out of it or comes in.
    cut: Arc<AtomicBool>,
    /// It reads the rows of the membership, and cannot write them.
    reads_only: Arc<AtomicBool>,
}

struct Time(Instant);

impl Uptime for Time {
    fn now(&self) -> Moment {
        Moment(self.0.elapsed())
    }
}

/// A node's way to rows and peers, which can be cut.
struct Way {
    place: Place,
    cut: Arc<AtomicBool>,
    reads_only: Arc<AtomicBool>,
}

impl Way {
    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    fn writes(&self) -> bool {
        !self.is_cut() && !self.reads_only.load(Ordering::SeqCst)
    }

    fn peer(&self, to: &Peer) -> Result<Node, PeerError> {
        let node = self.place.nodes.lock().get(&to.endpoint).cloned();
        let reached = node.filter(|node| !self.is_cut() && !node.cut.load(Ordering::SeqCst));
        reached.ok_or_else(|| PeerError::Lost("cut".into()))
    }
}

impl PeerLink for Way {
    fn show<'a>(&'a self, to: &'a Peer, view: &'a View) -> BoxFuture<'a, Result<(), PeerError>> {
        async move { self.peer(to)?.cell.shown(view.clone()).map_err(|ended| PeerError::NotDone(ended.to_string())) }.boxed()
    }

    fn ask<'a>(&'a self, to: &'a Peer, slots: &'a [u16], version: u64) -> BoxFuture<'a, Result<Vec<Told>, PeerError>> {
        async move {
            let answers = self.peer(to)?.cell.asked(&to.member, slots, version).await;
            answers.ok_or_else(|| PeerError::NotDone("another life".into()))
        }
        .boxed()
    }

    fn announce<'a>(&'a self, to: &'a Peer, _: &'a str) -> BoxFuture<'a, Result<(), PeerError>> {
        async move { self.peer(to).map(drop) }.boxed()
    }

    fn call<'a>(&'a self, to: &'a Peer, call: &'a AgentCall) -> BoxFuture<'a, Result<AgentAnswer, PeerError>> {
        async move {
            self.place.most_hops.fetch_max(call.hops, Ordering::SeqCst);
            if self.place.refusing.load(Ordering::SeqCst) {
                return Err(PeerError::NotDone("not now".into()));
            }
            let sent = serde_json::to_vec(call).unwrap();
            let answer = self.peer(to)?.cluster.called(serde_json::from_slice(&sent).unwrap()).await;
            tokio::time::sleep(Duration::from_millis(self.place.far.load(Ordering::SeqCst))).await;
            // Done there, and lost on its way back.
            self.peer(to)?;
            Ok(serde_json::from_slice(&serde_json::to_vec(&answer).unwrap()).unwrap())
        }
        .boxed()
    }
}

impl Membership for Way {
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        self.place.looks.fetch_add(1, Ordering::SeqCst);
        if self.is_cut() { unreachable().boxed() } else { self.place.rows.view() }
    }

    fn change_view(&self, next: View) -> BoxFuture<'_, Swap> {
        if self.writes() { self.place.rows.change_view(next) } else { async { Swap::Unknown("cut".into()) }.boxed() }
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        if self.is_cut() { unreachable().boxed() } else { self.place.rows.leases() }
    }

    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap> {
        if self.writes() { self.place.rows.put_lease(before, next) } else { async { Swap::Unknown("cut".into()) }.boxed() }
    }
}

async fn unreachable<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("cut".into()))
}

impl Place {
    async fn start(&self, name: &str) -> Node {
        self.start_as(name, Cell::new).await
    }

    fn way(&self) -> Arc<Way> {
        Arc::new(Way { place: self.clone(), cut: Arc::default(), reads_only: Arc::default() })
    }

    async fn start_as(&self, name: &str, of: impl FnOnce(CellOptions) -> Arc<Cell>) -> Node {
        self.start_at(name, LEVEL, of).await
    }

    /// One of a build that reads rows up to this level.
    async fn start_at(&self, name: &str, level: u16, of: impl FnOnce(CellOptions) -> Arc<Cell>) -> Node {
        let way = self.way();
        let (cut, reads_only) = (way.cut.clone(), way.reads_only.clone());
        let clock = TestClock::new();
        let cell = of(CellOptions {
            node: NodeName(name.to_owned()),
            level,
            endpoint: name.to_owned(),
            terms: Terms { step: 512, ..Terms::default() },
            membership: way.clone(),
            peers: way,
            uptime: Arc::new(Time(Instant::now())),
            clock: clock.clone(),
        });
        let store = Arc::new(self.store.clone());
        let cluster = Cluster::in_cell(store.clone(), store, clock, Options::default(), cell.clone());
        let agent = Arc::new(Counter {
            gate: Some(Arc::new(Semaphore::new(DELIVERIES))),
            prepares: Some(Arc::new(Semaphore::new(0))),
            ..Counter::default()
        });
        cluster.register(agent.clone());
        let node = Node { cell, cluster, agent, cut, reads_only };
        self.nodes.lock().insert(name.to_owned(), node.clone());
        node.cluster.start().await.unwrap();
        node
    }

    /// Until all named are members and no hand-over is under way.
    async fn settled(&self, names: &[&str]) {
        let expected: Vec<_> = names.iter().map(|name| NodeName((*name).to_owned())).collect();
        let limit = Instant::now() + Duration::from_secs(120);
        loop {
            let view = self.rows.view().await.unwrap();
            let done = view.as_ref().is_some_and(|view| {
                view.deal.from == view.deal.to
                    && view.deal.to.iter().map(|member: &Member| member.node.clone()).eq(expected.iter().cloned())
            });
            if done {
                return;
            }
            assert!(Instant::now() < limit, "not settled: {view:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks as a client does that goes to whichever node is there, and comes again when it is told to: the value, and how long it took.
    async fn ask(&self, name: &str, command: CounterCommand) -> (i64, Duration) {
        let (began, key) = (Instant::now(), uuid::Uuid::new_v4().to_string());
        loop {
            let nodes: Vec<Node> = self.nodes.lock().values().filter(|node| !node.cut.load(Ordering::SeqCst)).cloned().collect();
            for node in nodes {
                match node
                    .cluster
                    .ask::<Counter>(&counter(name), command.clone(), Call { idempotency: IdempotencyKey::parse(&key), ..call() })
                    .await
                {
                    Ok(value) => return (value, began.elapsed()),
                    Err(AskError::Unavailable { .. } | AskError::Unknown { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(began.elapsed() < Duration::from_secs(30), "nobody answers for {name}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Adds one to each counter, and finds nothing lost and nothing doubled; the longest that one took.
    async fn add_to_all(&self, expected: i64) -> Duration {
        let mut longest = Duration::ZERO;
        for n in 0..OWNERS {
            let (value, took) = self.ask(&format!("o{n}"), Add(1)).await;
            assert_eq!(value, expected, "o{n}");
            longest = longest.max(took);
        }
        longest
    }

    /// How many agents have a deadline.
    fn due(&self) -> usize {
        self.store.0.lock().partitions.values().filter(|stored| stored.wake.due.is_some()).count()
    }

    fn resident(&self) -> BTreeMap<String, usize> {
        self.nodes.lock().iter().map(|(name, node)| (name.clone(), node.cluster.resident::<Counter>())).collect()
    }
}

/// Adds one to each counter by way of one node, whichever node it is on: every answer is the next number, or says that nothing was done.
async fn add_by_way_of(node: &Node, round: i64) {
    for n in 0..OWNERS {
        let (address, began) = (counter(&format!("o{n}")), Instant::now());
        loop {
            match node.cluster.ask_anywhere::<Counter>(&address, Add(1), call()).await {
                Ok(value) => {
                    assert_eq!(value, round, "{address}");
                    break;
                }
                Err(AskError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(other) => panic!("{other}"),
            }
            assert!(began.elapsed() < Duration::from_secs(5), "nobody answers for {address}");
        }
        let found = loop {
            match node.cluster.query::<Counter, _>(&address, &ValueAnd(100)).await {
                Err(AskError::Unavailable { .. }) if began.elapsed() < Duration::from_secs(5) => {}
                found => break found.unwrap(),
            }
        };
        assert_eq!(found, 100 + round);
    }
}

/// Two nodes, and an agent that the second one has.
async fn one_of_the_others(place: &Place) -> (Node, Node, Address) {
    let a = place.start("a").await;
    let b = place.start("b").await;
    place.settled(&["a", "b"]).await;
    add_by_way_of(&a, 1).await;
    let its = (0..OWNERS).map(|n| counter(&format!("o{n}"))).find(|address| b.cluster.serves(address)).unwrap();
    (a, b, its)
}

/// So many agents that exist, none of which is in memory; each is then held in loading until the answer has a permit.
async fn sleepers(place: &Place, node: &Node, count: usize, command: CounterCommand) -> (Vec<Address>, Arc<Semaphore>) {
    let all: Vec<Address> = (0..count).map(|n| counter(&format!("s{n}"))).collect();
    for address in &all {
        node.cluster.ask::<Counter>(address, command.clone(), call()).await.unwrap();
    }
    let began = Instant::now();
    while node.cluster.resident::<Counter>() > 0 {
        assert!(began.elapsed() < Duration::from_secs(900), "{} stay in memory", node.cluster.resident::<Counter>());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    place.store.0.lock().scans = Some(gate.clone());
    (all, gate)
}
