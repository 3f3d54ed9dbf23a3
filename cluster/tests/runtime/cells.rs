//! Several nodes in one process, over one store and a link in memory: hand-over with the real host and turn loop, in paused time.

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
        async move { self.peer(to)?.cell.asked(&to.member, slots, version).ok_or_else(|| PeerError::NotDone("another life".into())) }
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

    async fn start_as(&self, name: &str, of: fn(CellOptions) -> Arc<Cell>) -> Node {
        let cut = Arc::new(AtomicBool::new(false));
        let reads_only = Arc::new(AtomicBool::new(false));
        let way = Arc::new(Way { place: self.clone(), cut: cut.clone(), reads_only: reads_only.clone() });
        let cell = of(CellOptions {
            node: NodeName(name.to_owned()),
            level: 1,
            endpoint: name.to_owned(),
            terms: Terms { step: 512, ..Terms::default() },
            membership: way.clone(),
            peers: way,
            uptime: Arc::new(Time(Instant::now())),
        });
        let store = Arc::new(self.store.clone());
        let cluster = Cluster::in_cell(store.clone(), store, TestClock::new(), Options::default(), cell.clone());
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

#[tokio::test(start_paused = true)]
async fn nodes_share_the_agents_and_hand_them_over_under_load() {
    let place = Place::default();
    place.start("a").await;
    assert!(place.add_to_all(1).await < Duration::from_secs(1), "a cell's first node has nobody to wait for");
    place.start("b").await;
    let mut rounds = 1;
    let loading = async {
        let mut longest = Duration::ZERO;
        while rounds < 40 {
            rounds += 1;
            longest = longest.max(place.add_to_all(rounds).await);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        longest
    };
    let (longest, ()) = tokio::join!(loading, async {
        place.settled(&["a", "b"]).await;
        place.start("c").await;
        place.settled(&["a", "b", "c"]).await;
    });
    assert!(longest <= Duration::from_millis(500), "{longest:?} for an agent that is handed over");
    place.add_to_all(41).await;
    let resident = place.resident();
    assert_eq!(resident.values().sum::<usize>(), OWNERS, "each is in memory once: {resident:?}");
    assert!(resident.values().all(|count| (8..=26).contains(count)), "{resident:?}");
    // Whoever leaves hands over what it has.
    let leaving = place.nodes.lock().get("b").cloned().unwrap();
    let (longest, ()) = tokio::join!(place.add_to_all(42), async {
        leaving.cluster.drain(Duration::from_secs(60)).await;
        place.nodes.lock().remove("b");
    });
    assert!(longest <= Duration::from_millis(500), "{longest:?} for an agent of a node that leaves");
    place.settled(&["a", "c"]).await;
    place.add_to_all(43).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_serves_nothing_and_the_others_go_on() {
    let place = Place::default();
    for name in ["a", "b", "c"] {
        place.start(name).await;
    }
    place.settled(&["a", "b", "c"]).await;
    place.add_to_all(1).await;
    let lost = place.nodes.lock().get("b").cloned().unwrap();
    let its: Vec<String> = (0..OWNERS).map(|n| format!("o{n}")).collect();
    let reads = |name: &String| {
        let (cluster, address) = (lost.cluster.clone(), counter(name));
        async move { cluster.read::<Counter, _>(&address, |s| s.value).await.ok().map(|_| address) }
    };
    let its: Vec<Address> = futures::future::join_all(its.iter().map(reads)).await.into_iter().flatten().collect();
    assert!(its.len() > 5);
    // Rows that it does not come to deliver.
    lost.agent.gate.as_ref().unwrap().forget_permits(DELIVERIES);
    let first = its[0].clone();
    lost.cluster.ask::<Counter>(&first, Send { lane: "x".into(), effect: "x1".into() }, call()).await.unwrap();
    lost.cut.store(true, Ordering::SeqCst);
    let longest = place.add_to_all(2).await;
    assert!(longest <= Duration::from_secs(5), "{longest:?} until the agents of a lost node answered");
    for address in &its {
        let read = lost.cluster.read::<Counter, _>(address, |s| s.value).await;
        assert!(matches!(read, Err(AskError::Unavailable { .. })), "it must not answer from what it has: {read:?}");
        assert!(lost.cluster.ask::<Counter>(address, Add(100), call()).await.is_err());
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sent: usize = ["a", "c"].iter().map(|name| place.nodes.lock()[*name].agent.sent.lock().len()).sum();
    assert_eq!(sent, 1, "its rows are delivered by whoever has the slot now");
    // It comes to know that it was given up, and its process ends.
    lost.cut.store(false, Ordering::SeqCst);
    lost.cell.over().await;
    place.nodes.lock().remove("b");
    place.add_to_all(3).await;
}

/// That the rows can be read is no reason to go on: who cannot renew serves nothing, and the others go on; when nobody can, nobody serves.
#[tokio::test(start_paused = true)]
async fn rows_that_can_be_read_alone_keep_nobody_serving() {
    let place = Place::default();
    for name in ["a", "b", "c"] {
        place.start(name).await;
    }
    place.settled(&["a", "b", "c"]).await;
    place.add_to_all(1).await;
    let lost = place.nodes.lock().remove("b").unwrap();
    lost.reads_only.store(true, Ordering::SeqCst);
    let longest = place.add_to_all(2).await;
    assert!(longest <= Duration::from_secs(5), "{longest:?} until the agents of a lost node answered");
    lost.cell.over().await;
    assert_eq!(lost.cell.why_over().map(ToString::to_string).as_deref(), Some("the other nodes have taken this node's lease away"));
    for n in 0..OWNERS {
        let (read, name) = (|s: &CounterState| s.value, format!("o{n}"));
        assert!(lost.cluster.read::<Counter, _>(&counter(&name), read).await.is_err(), "{name}");
    }

    let nodes = place.nodes.lock().clone();
    let all = |reads_only| nodes.values().for_each(|node| node.reads_only.store(reads_only, Ordering::SeqCst));
    all(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    for node in nodes.values() {
        for n in 0..OWNERS {
            let refused = node.cluster.ask::<Counter>(&counter(&format!("o{n}")), Add(100), call()).await;
            assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
        }
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    all(false);
    place.add_to_all(3).await;
}

/// Nobody else can have served its agents: what is in memory is still true.
#[tokio::test(start_paused = true)]
async fn without_the_rows_nobody_serves_and_all_go_on_when_they_are_back() {
    let place = Place::default();
    for name in ["a", "b"] {
        place.start(name).await;
    }
    place.settled(&["a", "b"]).await;
    place.add_to_all(1).await;
    let resident = place.resident();
    place.rows.set_out(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let nodes = place.nodes.lock().clone();
    for node in nodes.values() {
        let refused = node.cluster.ask::<Counter>(&counter("o1"), Add(1), call()).await;
        assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    place.rows.set_out(false);
    let longest = place.add_to_all(2).await;
    assert!(longest <= Duration::from_secs(1), "{longest:?}");
    assert_eq!(place.resident(), resident, "what was in memory was kept");
    assert_eq!(place.rows.view().await.unwrap().unwrap().deal.to.len(), 2, "nobody was taken for dead");
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

#[tokio::test(start_paused = true)]
async fn one_outside_finds_agents_wherever_they_are_and_is_no_member() {
    let place = Place::default();
    // It waits for a cell to be there.
    let gateway = place.start_as("gateway", Cell::outside).await;
    let a = place.start("a").await;
    gateway.cell.joined().await;
    add_by_way_of(&gateway, 1).await;
    place.start("b").await;
    for round in 2..10 {
        add_by_way_of(&gateway, round).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    place.settled(&["a", "b"]).await;
    add_by_way_of(&gateway, 10).await;
    assert!(!gateway.cell.is_member() && place.resident()["gateway"] == 0);
    assert_eq!(place.rows.leases().await.unwrap().into_iter().map(|lease| lease.node.0).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(gateway.cell.shares().values().sum::<usize>(), 4_096);
    assert!(matches!(gateway.cluster.prove().await, Err(Unproven::NoSlot)));
    a.cluster.prove().await.unwrap();
    // Its end is nobody's business.
    gateway.cluster.drain(Duration::from_secs(1)).await;
    // Without its lease a node shows nothing.
    a.cut.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(a.cluster.prove().await, Err(Unproven::NoSlot)));
}

#[tokio::test(start_paused = true)]
async fn agents_are_asked_by_way_of_any_node_also_while_they_are_handed_over() {
    let place = Place::default();
    let a = place.start("a").await;
    add_by_way_of(&a, 1).await;
    let (b, c) = (place.start("b").await, place.start("c").await);
    let mut round = 1;
    let asking = async {
        while round < 60 {
            round += 1;
            add_by_way_of([&a, &b, &c][usize::try_from(round).unwrap() % 3], round).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    tokio::join!(asking, place.settled(&["a", "b", "c"]));
    add_by_way_of(&b, 61).await;
    let resident = place.resident();
    assert!(resident.values().all(|count| *count > 5) && resident.values().sum::<usize>() == OWNERS, "{resident:?}");
    assert!((1..=2).contains(&place.most_hops.load(Ordering::SeqCst)));
    // What is said of a command travels as it is: by way of every node the same.
    for node in [&a, &b, &c] {
        let key = || Call { idempotency: IdempotencyKey::parse("once"), ..call() };
        assert_eq!(node.cluster.ask_anywhere::<Counter>(&counter("o1"), Add(7), key()).await.unwrap(), 68, "a repeat");
        assert!(matches!(node.cluster.ask_anywhere::<Counter>(&counter("o1"), Add(8), key()).await, Err(AskError::KeyReused)));
        let refused = node.cluster.ask_anywhere::<Counter>(&counter("o1"), Refuse, call()).await;
        assert!(matches!(refused, Err(AskError::Refused(Refused))), "{refused:?}");
        let nobody = node.cluster.ask_anywhere::<Counter>(&counter("nobody"), Refuse, call()).await;
        assert!(matches!(nobody, Err(AskError::NotRegistered)), "{nobody:?}");
        assert!(matches!(node.cluster.query::<Counter, _>(&counter("nobody"), &ValueAnd(1)).await, Err(AskError::NotRegistered)));
    }
}

/// A command that may have been executed is unknown, whoever asks; a question is not, and goes on where the agent is then.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_unknown() {
    let place = Place::default();
    let a = place.start("a").await;
    place.start("b").await;
    place.settled(&["a", "b"]).await;
    add_by_way_of(&a, 1).await;
    let b = place.nodes.lock().get("b").cloned().unwrap();
    let its = (0..OWNERS).map(|n| counter(&format!("o{n}")));
    let its: Vec<Address> = its.filter(|address| b.cluster.serves(address)).collect();
    let (executed, given_up) = (its[0].clone(), its[1].clone());
    // It is cut off while it prepares: the command is executed, the answer does not come.
    let asking = tokio::spawn({
        let (a, executed) = (a.clone(), executed.clone());
        async move {
            a.cluster.ask_anywhere::<Counter>(&executed, Slow("x".into()), Call { idempotency: IdempotencyKey::parse("k"), ..call() }).await
        }
    });
    while b.agent.prepared.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    b.cut.store(true, Ordering::SeqCst);
    b.agent.prepares.as_ref().unwrap().add_permits(1);
    let lost = asking.await.unwrap();
    assert!(matches!(lost, Err(AskError::Unknown { .. })), "{lost:?}");
    let unsaid = a.cluster.ask_anywhere::<Counter>(&given_up, Add(1), call()).await;
    assert!(matches!(unsaid, Err(AskError::Unknown { .. })), "a link that lost what it was given does not know: {unsaid:?}");
    let (mut value, began) = (None, Instant::now());
    while value.is_none() && began.elapsed() < Duration::from_secs(10) {
        value = a.cluster.query::<Counter, _>(&executed, &ValueAnd(0)).await.ok();
    }
    let again =
        a.cluster.ask_anywhere::<Counter>(&executed, Slow("x".into()), Call { idempotency: IdempotencyKey::parse("k"), ..call() }).await;
    assert_eq!((value, again.unwrap()), (Some(2), 2), "it was executed once");
}

/// However many wait for a newer view, the rows are read at their own pace, and nothing is written for it.
#[tokio::test(start_paused = true)]
async fn who_looks_for_news_neither_renews_nor_reads_for_itself() {
    let place = Place::default();
    let a = place.start("a").await;
    place.settled(&["a"]).await;
    let renew = Terms::default().renew;
    let renewals = || async { place.rows.leases().await.unwrap()[0].counter };
    let (version, began) = (a.cell.version(), Instant::now());
    let (renewed, read) = (renewals().await, place.looks.load(Ordering::SeqCst));
    let until = began + renew * 20;
    let waiting = (0..100).map(|_| async {
        while Instant::now() < until {
            let asked = Instant::now();
            a.cell.news(version, until).await;
            assert!(asked.elapsed() == Duration::from_millis(500) || Instant::now() == until, "there is none: {:?}", asked.elapsed());
            a.cluster.ask::<Counter>(&counter("o1"), Add(1), call()).await.unwrap();
        }
    });
    futures::future::join_all(waiting).await;
    let (renewed, read) = (renewals().await - renewed, place.looks.load(Ordering::SeqCst) - read);
    assert!((19..=21).contains(&renewed), "{renewed} renewals");
    assert!((30..=84).contains(&read), "the view was read {read} times for {renewed} renewals");
    // One that comes is heard of at once.
    let mut next = a.cell.view().unwrap();
    next.version += 1;
    let asked = Instant::now();
    let shown = next.clone();
    let (a, change) = (&a, place.rows.change_view(next));
    tokio::join!(a.cell.news(version, asked + renew), async {
        assert_eq!(change.await, Swap::Applied);
        a.cell.shown(shown).unwrap();
    });
    assert_eq!((a.cell.version(), asked.elapsed()), (version + 1, Duration::ZERO));
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

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_tried_again_for_as_long_as_a_node_may_take_to_be_found_dead() {
    let place = Place::default();
    let (a, _b, its) = one_of_the_others(&place).await;
    place.refusing.store(true, Ordering::SeqCst);
    let (value, ()) = tokio::join!(a.cluster.ask_anywhere::<Counter>(&its, Add(1), call()), async {
        tokio::time::sleep(Terms::default().patience() + Terms::default().renew).await;
        place.refusing.store(false, Ordering::SeqCst);
    });
    assert_eq!(value.unwrap(), 2);
    // Not for ever, and not longer than is waited for it.
    place.refusing.store(true, Ordering::SeqCst);
    for (timeout, longest) in [(Duration::from_secs(60), Terms::default().patience() * 2), (Duration::from_secs(1), Duration::from_secs(1))]
    {
        let began = Instant::now();
        let refused = a.cluster.ask_anywhere::<Counter>(&its, Add(1), Call { timeout, ..call() }).await;
        assert!(matches!(refused, Err(AskError::Unavailable { .. })) && began.elapsed() <= longest, "{refused:?} {:?}", began.elapsed());
    }
}

/// What the other node knows at the end of the time is not made unknown by its way back.
#[tokio::test(start_paused = true)]
async fn a_definite_answer_at_the_end_of_the_time_arrives() {
    let place = Place::default();
    let (a, b, its) = one_of_the_others(&place).await;
    place.far.store(200, Ordering::SeqCst);
    for timeout in [Duration::from_secs(20), Duration::from_secs(1)] {
        let began = Instant::now();
        // Its preparation does not end: nothing is executed.
        let answer = a.cluster.ask_anywhere::<Counter>(&its, Slow("x".into()), Call { timeout, ..call() }).await;
        assert!(matches!(answer, Err(AskError::Unavailable { .. })), "{answer:?}");
        assert!(began.elapsed() <= timeout);
    }
    b.agent.prepares.as_ref().unwrap().add_permits(1);
    assert_eq!(a.cluster.ask_anywhere::<Counter>(&its, Slow("x".into()), call()).await.unwrap(), 2);
}

/// Whatever slots open, only what is in them is woken; the others' entries are not even read.
#[tokio::test(start_paused = true)]
async fn what_a_slot_left_undone_is_taken_up_with_it_and_nothing_else_is_read() {
    let place = Place::default();
    let a = place.start("a").await;
    place.settled(&["a"]).await;
    a.agent.gate.as_ref().unwrap().forget_permits(DELIVERIES);
    let all: Vec<Address> = (0..OWNERS).map(|n| counter(&format!("o{n}"))).collect();
    for address in &all {
        a.cluster.ask::<Counter>(address, Send { lane: "x".into(), effect: "x".into() }, call()).await.unwrap();
    }
    place.store.0.lock().woken.clear();
    let b = place.start("b").await;
    place.settled(&["a", "b"]).await;
    let its: Vec<_> = all.iter().filter(|address| b.cluster.serves(address)).map(Address::partition).collect();
    let began = Instant::now();
    while b.agent.sent.lock().len() < its.len() {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?} of {}", b.agent.sent.lock().len(), its.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut woken = std::mem::take(&mut place.store.0.lock().woken);
    woken.sort();
    let mut expected = its.clone();
    expected.sort();
    assert!(its.len() > 5 && woken == expected, "{woken:?}");
}

/// A deadline that passes while the node has lost its lease fires when it has it again.
#[tokio::test(start_paused = true)]
async fn a_deadline_outlives_a_lost_lease() {
    let place = Place::default();
    let a = place.start("a").await;
    let clock = TestClock::new();
    let at = clock.now().plus(Duration::from_secs(10));
    place.ask("o1", Alarm { at }).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    place.rows.set_out(true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(a.cluster.read::<Counter, _>(&counter("o1"), |s| s.alarms).await.is_err());
    place.rows.set_out(false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(a.cluster.read::<Counter, _>(&counter("o1"), |s| s.alarms).await.unwrap(), 1);
}

/// Nobody reads the index again within the half hour: what it said while the lease was gone counts.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_read_without_the_lease_is_kept() {
    let place = Place::default();
    let a = place.start("a").await;
    let began = Instant::now();
    // Too far to be held in memory when it is set and when its agent goes; and the two readings until then are without the lease.
    let at = a.cluster.now().plus(Duration::from_secs(4_600));
    place.ask("o1", Alarm { at }).await;
    tokio::time::sleep_until(began + Duration::from_secs(900)).await;
    assert_eq!(a.cluster.resident::<Counter>(), 0);
    for reading in [1_800, 3_600] {
        tokio::time::sleep_until(began + Duration::from_secs(reading - 10)).await;
        place.rows.set_out(true);
        tokio::time::sleep_until(began + Duration::from_secs(reading + 20)).await;
        assert!(!a.cluster.serves(&counter("o1")));
        place.rows.set_out(false);
    }
    assert_eq!((place.due(), a.cluster.resident::<Counter>()), (1, 0));
    tokio::time::sleep_until(began + Duration::from_secs(4_610)).await;
    assert_eq!(place.due(), 0, "it rang");
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

#[tokio::test(start_paused = true)]
async fn who_waits_to_be_woken_outlives_a_lost_lease() {
    let place = Place::default();
    let a = place.start("a").await;
    place.settled(&["a"]).await;
    let at = a.cluster.now().plus(Duration::from_secs(1_000));
    let (all, gate) = sleepers(&place, &a, 100, Alarm { at }).await;
    while a.cluster.now() < at.plus(Duration::from_secs(1)) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let waking = a.cluster.resident::<Counter>();
    assert!((1..all.len()).contains(&waking), "{waking} load, and the others wait for them");
    place.rows.set_out(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    gate.add_permits(10 * all.len());
    tokio::time::sleep(Duration::from_secs(5)).await;
    place.rows.set_out(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(place.due(), 0, "all rang");
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_handed_over_although_its_agents_wait_to_be_loaded() {
    let place = Place::default();
    let a = place.start("a").await;
    place.settled(&["a"]).await;
    let (all, gate) = sleepers(&place, &a, 400, Add(1)).await;
    let before = place.store.0.lock().scanned;
    let asking = all.iter().map(|address| {
        let (cluster, address) = (a.cluster.clone(), address.clone());
        tokio::spawn(async move { cluster.ask::<Counter>(&address, Add(1), call()).await })
    });
    let asking: Vec<_> = asking.collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let loading = place.store.0.lock().scanned - before;
    assert!(loading < all.len() && a.cluster.resident::<Counter>() == all.len(), "{loading} load, and the others wait for them");
    place.start("b").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let waiting = a.cluster.resident::<Counter>() - loading;
    assert!(waiting < (all.len() - loading) * 3 / 4, "{waiting} wait, of whom half are not this node's any more");
    gate.add_permits(10 * all.len());
    for answer in futures::future::join_all(asking).await {
        let answer = answer.unwrap();
        assert!(matches!(answer, Ok(2) | Err(AskError::Unavailable { .. })), "{answer:?}");
    }
}

/// Tells its node's name of every slot, and notes what it hears.
#[derive(Default)]
struct Note {
    name: String,
    heard: Mutex<BTreeMap<u16, Option<String>>>,
}

impl SlotMemory for Note {
    fn tell(&self, slot: Slot, _: Duration) -> Option<Box<RawValue>> {
        RawValue::from_string(format!("\"{} of {}\"", self.name, slot.number())).ok()
    }

    fn hear(&self, slot: Slot, told: Option<&RawValue>) {
        self.heard.lock().insert(slot.number(), told.map(|told| told.get().trim_matches('"').to_owned()));
    }
}

/// What a node knows of a slot goes with it, from the one that had it last; of the dead nobody knows anything.
#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_slot_goes_where_it_goes() {
    let place = Place::default();
    let start = async |name: &str| {
        let node = place.start(name).await;
        let note = Arc::new(Note { name: name.to_owned(), ..Note::default() });
        node.cell.remember(note.clone());
        (node, note)
    };
    let (_, of_a) = start("a").await;
    place.settled(&["a"]).await;
    let (b, of_b) = start("b").await;
    place.settled(&["a", "b"]).await;
    let heard = of_b.heard.lock().clone();
    assert!(heard.len() > 1_000, "{}", heard.len());
    assert!(heard.iter().all(|(slot, told)| *told == Some(format!("a of {slot}"))), "{heard:?}");
    let (c, of_c) = start("c").await;
    place.settled(&["a", "b", "c"]).await;
    let of_others = of_c.heard.lock().clone();
    assert!(of_others.len() > 1_000 && of_others.values().all(Option::is_some), "{of_others:?}");
    c.cluster.leave(Duration::from_secs(60)).await;
    place.settled(&["a", "b"]).await;
    for (name, note) in [("a", &of_a), ("b", &of_b)] {
        let back = note.heard.lock().clone();
        let of_c = back.iter().filter(|(_, told)| told.as_ref().is_some_and(|told| told.starts_with('c'))).count();
        assert!(of_c > 300, "{name}: {of_c}");
    }
    let heard = of_b.heard.lock().clone();
    assert!(heard.values().all(Option::is_some));
    of_a.heard.lock().clear();
    b.cut.store(true, Ordering::SeqCst);
    place.settled(&["a"]).await;
    let back = of_a.heard.lock().clone();
    assert!(back.len() > 1_000 && back.keys().all(|slot| heard.contains_key(slot)) && back.values().all(Option::is_none), "{back:?}");
}
