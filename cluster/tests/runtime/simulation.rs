//! Random commands, deliveries that fail, commits that are lost, kills and restarts, from a seed. What must hold whatever happens:
//! ACK (what was acknowledged is there once), truth (what was not executed is not there), OUTBOX (each row ends, once and in the order of its lane),
//! TIMER (each deadline fires once), and one reply under one key.

use crate::support::*;
use cellspace_cluster::*;
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::{AgentKind, RowKey, testkit};
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Lives of the node; the last one is without faults.
const LIVES: usize = 6;
/// Commands of one life.
const COMMANDS: usize = 120;
const AGENTS: usize = 5;

/// How often each command was applied, what became of each effect, which alarms rang.
struct Ledger {
    random: Mutex<StdRng>,
    calm: AtomicBool,
}

#[derive(Clone, Default)]
struct Book {
    applied: BTreeMap<u32, u32>,
    ended: BTreeMap<String, Vec<(u32, bool)>>,
    alarms: BTreeMap<u32, u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Order {
    Note(u32),
    Send { id: u32, lane: String },
    Alarm { id: u32, at: Timestamp },
    Panic,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Entry {
    Applied { id: u32, times: u32 },
    Ended { lane: String, all: Vec<(u32, bool)> },
    Alarm { id: u32, at: Option<Timestamp>, rung: u32 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Parcel {
    id: u32,
    lane: String,
}

impl Ledger {
    fn chance(&self, p: f64) -> bool {
        !self.calm.load(Ordering::SeqCst) && self.random.lock().random_bool(p)
    }
}

fn applied(book: &Book, id: u32) -> Entry {
    Entry::Applied { id, times: book.applied.get(&id).copied().unwrap_or(0) + 1 }
}

fn ended(book: &Book, parcel: &Parcel, delivered: bool) -> Decision<Ledger> {
    let mut all = book.ended.get(&parcel.lane).cloned().unwrap_or_default();
    all.push((parcel.id, delivered));
    Decision::action("ledger.ended").event(Entry::Ended { lane: parcel.lane.clone(), all })
}

impl Agent for Ledger {
    const KIND: AgentKind = AgentKind("ledger");
    type State = Book;
    type Command = Order;
    type Prepared = Order;
    type Event = Entry;
    type Effect = Parcel;
    type Outcome = ();
    type Reply = u32;
    type Refusal = Refused;

    fn creates(_: &Order) -> bool {
        true
    }

    fn prepare<'a>(
        &'a self,
        _: &'a Address,
        _: Arc<Book>,
        order: Order,
        _: &'a Call,
    ) -> BoxFuture<'a, Result<Order, PrepareError<Refused>>> {
        async move { Ok(order) }.boxed()
    }

    fn decide(book: &Book, input: &Input<Self>, _: Timestamp) -> Result<Decision<Self>, Rejection<Refused>> {
        Ok(match input {
            Input::Command(Order::Note(id)) => Decision::action("ledger.noted").event(applied(book, *id)).replying(*id),
            Input::Command(Order::Send { id, lane }) => Decision::action("ledger.sent")
                .event(applied(book, *id))
                .effect(lane.clone(), Parcel { id: *id, lane: lane.clone() })
                .replying(*id),
            Input::Command(Order::Alarm { id, at }) => Decision::action("ledger.set")
                .event(applied(book, *id))
                .event(Entry::Alarm { id: *id, at: Some(*at), rung: 0 })
                .replying(*id),
            Input::Command(Order::Panic) => panic!("as told"),
            Input::Delivered(parcel, ()) => ended(book, parcel, true),
            Input::Undeliverable(parcel, _) => ended(book, parcel, false),
            // A bell that is sent by whatever turn the deadline falls into.
            Input::Due(key) => {
                let id: u32 = key.parse().unwrap();
                let rung = book.alarms.get(&id).copied().unwrap_or(0) + 1;
                let bell = Parcel { id: 1_000_000 + id, lane: "bells".into() };
                Decision::action("ledger.rung").event(Entry::Alarm { id, at: None, rung }).effect("bells", bell)
            }
        })
    }

    fn apply(book: &mut Book, entry: &Entry) {
        match entry {
            Entry::Applied { id, times } => drop(book.applied.insert(*id, *times)),
            Entry::Ended { lane, all } => drop(book.ended.insert(lane.clone(), all.clone())),
            Entry::Alarm { id, rung, .. } => drop(book.alarms.insert(*id, *rung)),
        }
    }

    fn row(entry: &Entry) -> RowOf {
        RowOf::Put(match entry {
            Entry::Applied { id, .. } => RowKey::new("applied", &id.to_string()),
            Entry::Ended { lane, .. } => RowKey::new("ended", lane),
            Entry::Alarm { id, .. } => RowKey::new("alarm", &id.to_string()),
        })
    }

    fn deadline(entry: &Entry) -> Option<(String, Option<Timestamp>)> {
        match entry {
            Entry::Alarm { id, at, .. } => Some((id.to_string(), *at)),
            Entry::Applied { .. } | Entry::Ended { .. } => None,
        }
    }

    fn destination(parcel: &Parcel, _: &Book) -> Option<String> {
        Some(format!("host-{}", parcel.id % 3))
    }

    fn deliver<'a>(&'a self, _: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        async move {
            let pause = self.random.lock().random_range(0..200);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.chance(0.1) {
                Err(DeliveryError::Unreachable("silent".into()))
            } else if self.chance(0.1) {
                Err(DeliveryError::Retry("later".into()))
            } else if self.chance(0.05) {
                Err(DeliveryError::Refused("never".into()))
            } else if self.chance(0.02) {
                panic!("as told")
            } else {
                Ok(())
            }
        }
        .boxed()
    }

    fn retry_policy(_: &Parcel) -> RetryPolicy {
        RetryPolicy { attempts: 4, ..RetryPolicy::default() }
    }
}

/// What the clients know.
#[derive(Default)]
struct Known {
    /// Answered: applied once.
    done: BTreeSet<(usize, u32)>,
    /// Without an answer for good: applied once at most.
    unknown: BTreeSet<(usize, u32)>,
    /// Not executed: never applied.
    not: BTreeSet<(usize, u32)>,
    /// Sent to a lane in this order, when answered one after the other.
    lanes: BTreeMap<(usize, String), Vec<u32>>,
    alarms: BTreeSet<(usize, u32)>,
}

/// Time that goes on over the lives.
#[derive(Debug)]
struct Wall {
    from: i64,
    since: tokio::time::Instant,
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(self.from).plus(self.since.elapsed())
    }
}

fn address(agent: usize) -> Address {
    Address::of::<Ledger>(Owner::new(format!("ledger-{agent}")).unwrap())
}

async fn one(cluster: &Cluster, known: &Mutex<Known>, agent: usize, id: u32, order: Order, keyed_call: bool) {
    let call = if keyed_call { keyed(&format!("key-{id}")) } else { call() };
    let mut answer = cluster.ask::<Ledger>(&address(agent), order.clone(), call.clone()).await;
    if keyed_call {
        // A client repeats under its key until it has an answer.
        for _ in 0..20 {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            answer = cluster.ask::<Ledger>(&address(agent), order.clone(), call.clone()).await;
        }
    }
    let mut known = known.lock();
    match answer {
        Ok(reply) => {
            assert_eq!(reply, id);
            known.done.insert((agent, id));
            match order {
                Order::Send { lane, .. } => known.lanes.entry((agent, lane)).or_default().push(id),
                Order::Alarm { .. } => drop(known.alarms.insert((agent, id))),
                Order::Note(_) | Order::Panic => {}
            }
        }
        Err(AskError::Unavailable { .. } | AskError::TooMany { .. }) if !keyed_call => drop(known.not.insert((agent, id))),
        Err(_) => drop(known.unknown.insert((agent, id))),
    }
}

/// One life: commands in several streams, faults, and then an end in the middle of it.
async fn life(seed: u64, number: usize, store: MemoryStore, known: Arc<Mutex<Known>>, from: i64) -> i64 {
    let mut random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
    let wall = Arc::new(Wall { from, since: tokio::time::Instant::now() });
    let options = Options { idle_after: Duration::from_secs(2), ..Options::default() };
    let cluster = Cluster::new(Arc::new(store.clone()), Arc::new(store.clone()), wall.clone(), options);
    let calm = number + 1 == LIVES;
    let ledger = Ledger { random: Mutex::new(StdRng::seed_from_u64(random.random())), calm: AtomicBool::new(calm) };
    cluster.register(Arc::new(ledger));
    cluster.start().await.unwrap();
    if calm {
        // Nobody asks for anything: whatever is left is done all the same, and then everybody leaves.
        tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
        let known = std::mem::take(&mut *known.lock());
        check(&cluster, &store, &known).await;
        return wall.now().0;
    }
    // One stream per agent and lane, so that the order within a lane is known.
    let mut streams = Vec::new();
    for agent in 0..AGENTS {
        for lane in 0..3_u32 {
            let (cluster, known, wall, store) = (cluster.clone(), known.clone(), wall.clone(), store.clone());
            let mut random = StdRng::seed_from_u64(random.random());
            let first = u32::try_from(number * 100_000 + agent * 1_000).unwrap() + lane * 300;
            streams.push(tokio::spawn(async move {
                for n in 0..u32::try_from(COMMANDS / 3).unwrap() {
                    let id = first + n;
                    let order = match random.random_range(0..10) {
                        0..4 => Order::Note(id),
                        4..7 => Order::Send { id, lane: format!("lane-{lane}") },
                        7..9 => Order::Alarm { id, at: wall.now().plus(Duration::from_millis(random.random_range(0..8_000))) },
                        _ => Order::Note(id),
                    };
                    if random.random_bool(0.12) {
                        let fault = match random.random_range(0..4) {
                            0 => Fault::LandedUnknown,
                            1 => Fault::LostUnknown,
                            2 => Fault::NotSent,
                            _ => Fault::Fenced,
                        };
                        store.0.lock().faults.push_back(fault);
                    }
                    if random.random_bool(0.01) {
                        let _ = cluster.ask::<Ledger>(&address(agent), Order::Panic, call()).await;
                    }
                    one(&cluster, &known, agent, id, order, random.random_bool(0.5)).await;
                    // Now and then long enough for the agent to leave.
                    let pause = if random.random_bool(0.05) { random.random_range(2_000..5_000) } else { random.random_range(0..100) };
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }));
        }
    }
    // Killed with commands under way: their clients know nothing.
    let enough = Duration::from_millis(random.random_range(5_000..40_000));
    let _ = tokio::time::timeout(enough, futures::future::join_all(streams)).await;
    for (address, _) in cluster.parked() {
        assert!(cluster.unpark(&address));
    }
    wall.now().0
}

async fn check(cluster: &Cluster, store: &MemoryStore, known: &Known) {
    for (partition, stored) in &store.0.lock().partitions {
        assert!(!stored.wake.awake && stored.wake.due.is_none(), "{partition} has work left: {:?}", stored.wake);
    }
    assert!(known.done.len() > 300 && known.alarms.len() > 30, "too little was done: {}", known.done.len());
    for agent in 0..AGENTS {
        let book = cluster.read::<Ledger, _>(&address(agent), Clone::clone).await.unwrap();
        for (id, times) in &book.applied {
            assert_eq!(*times, 1, "command {id} of agent {agent}");
            assert!(!known.not.contains(&(agent, *id)), "command {id} of agent {agent} was said not to be executed");
        }
        for (_, id) in known.done.iter().filter(|(at, _)| *at == agent) {
            assert!(book.applied.contains_key(id), "command {id} of agent {agent} was acknowledged and is lost");
        }
        for (lane, ended) in &book.ended {
            let ids: Vec<u32> = ended.iter().map(|(id, _)| *id).collect();
            let distinct: BTreeSet<u32> = ids.iter().copied().collect();
            assert_eq!(distinct.len(), ids.len(), "a row of {lane} ended twice: {ids:?}");
            let sent = known.lanes.get(&(agent, lane.clone())).cloned().unwrap_or_default();
            let in_order: Vec<u32> = ids.iter().copied().filter(|id| sent.contains(id)).collect();
            assert_eq!(in_order, sent, "{lane} of agent {agent}");
        }
        for (_, id) in known.alarms.iter().filter(|(at, _)| *at == agent) {
            assert_eq!(book.alarms.get(id), Some(&1), "alarm {id} of agent {agent}");
        }
        let bells = book.ended.get("bells").map_or(0, Vec::len);
        assert_eq!(bells, book.alarms.len(), "each alarm rang one bell");
    }
}

#[test]
fn whatever_happens_the_promises_hold() {
    let seed = testkit::random::seed();
    let store = MemoryStore::default();
    let known = Arc::new(Mutex::new(Known::default()));
    let mut wall = 1_800_000_000_000;
    for number in 0..LIVES {
        // A runtime of its own: with its end every task of the life ends.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        wall = runtime.block_on(life(seed, number, store.clone(), known.clone(), wall));
        drop(runtime);
        store.restart();
        store.0.lock().faults.clear();
    }
}
