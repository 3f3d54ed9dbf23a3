//! The world of the simulation: time, what is on its way, who runs, who reaches whom, and what is known of it outside.

use super::{agent::Clerk, bug::Bug, dice::Dice, node::Process, store::Disk, tokens::Openings};
use cellspace_cluster::{Address, membership::Terms};
use cellspace_schemas::Owner;
use cellspace_storage::Slot;
use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Slots of the simulated cell.
pub const SLOTS: u16 = 16;
/// Nodes at most.
pub const NODES: usize = 4;
/// Participants.
const OWNERS: usize = 6;

/// Participants whose slots the simulated cell has.
pub static OWNED: LazyLock<Vec<Owner>> = LazyLock::new(|| {
    let all = (0..).map(|n| Owner::new(format!("o{n}")).unwrap());
    all.filter(|owner| Slot::of(owner).number() < SLOTS).take(OWNERS).collect()
});

pub fn terms() -> Terms {
    Terms { slots: SLOTS, step: 4, ..Terms::default() }
}

pub const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

type Act = Box<dyn FnOnce(&Arc<World>) + Send>;

/// Something that is on its way. What comes within one millisecond comes in the order of its key, whoever sent it first.
struct Due(u64, u64, u64, Act);

impl Due {
    const fn place(&self) -> (u64, u64, u64) {
        (self.0, self.1, self.2)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

#[derive(Default)]
pub struct Seat {
    pub process: Option<Arc<Process>>,
    /// Lives so far.
    pub lives: u64,
    /// Level of the rows that its next life reads.
    pub level: u16,
}

/// Who reaches whom.
#[derive(Default)]
pub struct Net {
    /// What the first says does not come to the second.
    pub cut: BTreeSet<(usize, usize)>,
    pub cut_from_store: BTreeSet<usize>,
}

/// What became of a command, as its client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    NotExecuted,
    Unknown,
}

/// What clients know.
#[derive(Default)]
pub struct Known {
    /// By owner and job.
    pub outcomes: BTreeMap<(String, u32), Outcome>,
    /// Alarms that were set and not cancelled for sure, or that may be.
    pub alarms: BTreeSet<(String, u32)>,
    /// Steps of each owner that were acknowledged.
    pub steps: BTreeMap<String, u64>,
    pub acks: u64,
    pub reads: u64,
}

pub struct World {
    pub seed: u64,
    pub bug: Option<Bug>,
    pub nodes: usize,
    /// Views waver more than anything else happens, and tokens are shown more than anything else is asked for.
    pub restless: bool,
    began: Instant,
    pub calm: AtomicBool,
    pub disk: Mutex<Disk>,
    pub seats: Mutex<Vec<Seat>>,
    pub net: Mutex<Net>,
    pub known: Mutex<Known>,
    /// Everybody's way to the store is cut until then.
    pub outage: AtomicU64,
    /// What is on its way is late more often until then.
    pub slow: AtomicU64,
    /// Agents that are claimed or read now, and the most at once.
    pub loading: AtomicUsize,
    pub most_loading: AtomicUsize,
    /// Openings of slots, at whichever node.
    pub openings: Mutex<Openings>,
    /// Used tokens that were refused, and slots that opened with what was told of them.
    pub repeats: AtomicU64,
    pub told: AtomicU64,
    due: Mutex<BinaryHeap<Reverse<Due>>>,
    count: AtomicU64,
    changed: Notify,
    broken: Mutex<Option<String>>,
    pub stop: Notify,
    trace: Option<Mutex<Vec<String>>>,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>, traced: bool) -> Arc<Self> {
        Self::of(seed, 2 + Dice::of(seed, "nodes").index(NODES - 1), bug, traced)
    }

    pub fn of(seed: u64, nodes: usize, bug: Option<Bug>, traced: bool) -> Arc<Self> {
        let seat = || Seat { level: 1, ..Seat::default() };
        Arc::new(Self {
            seed,
            bug,
            nodes,
            restless: Dice::of(seed, "restless").chance(500),
            began: Instant::now(),
            calm: AtomicBool::new(false),
            disk: Mutex::new(Disk::of(bug)),
            seats: Mutex::new((0..nodes).map(|_| seat()).collect()),
            net: Mutex::default(),
            known: Mutex::default(),
            outage: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            loading: AtomicUsize::new(0),
            most_loading: AtomicUsize::new(0),
            openings: Mutex::default(),
            repeats: AtomicU64::new(0),
            told: AtomicU64::new(0),
            due: Mutex::default(),
            count: AtomicU64::new(0),
            changed: Notify::new(),
            broken: Mutex::default(),
            stop: Notify::new(),
            trace: traced.then(Mutex::default),
        })
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    pub fn at_time(&self, time: u64) -> Instant {
        self.began + ms(time)
    }

    pub fn dice(&self, name: &str) -> Dice {
        Dice::of(self.seed, name)
    }

    pub fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// The version of the link that a node of this level speaks: in some histories all the same.
    pub fn wire_of(&self, level: u16) -> u16 {
        if self.dice("wires").chance(250) || self.is(Bug::GuessesAtWires) { level } else { 1 }
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Relaxed)
    }

    /// Of a fault, so many times of a thousand.
    pub fn fault(&self, dice: &mut Dice, per_mille: u64) -> bool {
        dice.chance(per_mille) && !self.is_calm()
    }

    /// Of a message or a request on its way; some are so late that others overtake them, or nobody waits for them any more.
    pub fn delay(&self, dice: &mut Dice) -> u64 {
        let (kind, late) = (dice.within(0..1_000), dice.number());
        let late_ones = if self.now() < self.slow.load(Relaxed) { 300 } else { 50 };
        match kind {
            0..4 if !self.is_calm() => 500 + late % 3_500,
            _ if kind < late_ones && !self.is_calm() => 20 + late % 480,
            _ => 1 + late % 4,
        }
    }

    /// Something happens so many milliseconds from now, at least one.
    pub fn at(&self, after: u64, key: u64, act: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let key = if self.is(Bug::RollsDice) { RandomState::new().hash_one(key) } else { key };
        let due = Due(self.now() + after.max(1), key, self.count.fetch_add(1, Relaxed), Box::new(act));
        self.due.lock().push(Reverse(due));
        self.changed.notify_one();
    }

    /// Lets happen what is on its way, for as long as the history lasts.
    pub async fn run(self: Arc<Self>) {
        loop {
            let next = {
                let mut due = self.due.lock();
                match due.peek() {
                    Some(Reverse(first)) if first.0 <= self.now() => due.pop().map(|Reverse(first)| Ok(first.3)),
                    Some(Reverse(first)) => Some(Err(first.0)),
                    None => None,
                }
            };
            match next {
                Some(Ok(act)) => act(&self),
                Some(Err(time)) => {
                    tokio::select! {
                        biased;
                        () = self.changed.notified() => {}
                        () = sleep_until(self.at_time(time)) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// An invariant does not hold. The first one counts.
    pub fn broke(&self, what: String) {
        self.broken.lock().get_or_insert_with(|| format!("at {} ms: {what}", self.now()));
        self.stop.notify_one();
    }

    pub fn hold(&self, checked: Result<(), String>) {
        if let Err(what) = checked {
            self.broke(what);
        }
    }

    pub fn broken(&self) -> Option<String> {
        self.broken.lock().clone()
    }

    /// What happened, for whoever repeats a history.
    pub fn note(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let what = format!("{} {}", self.now(), masked(&what()));
            trace.lock().push(what);
        }
    }

    /// A name in such notes; nothing is made where nobody notes.
    pub fn named(&self, name: impl FnOnce() -> String) -> String {
        self.trace.as_ref().map(|_| name()).unwrap_or_default()
    }

    /// All that happened, in order.
    pub fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| trace.lock().clone()).unwrap_or_default()
    }

    pub fn process(&self, seat: usize) -> Option<Arc<Process>> {
        self.seats.lock().get(seat)?.process.clone()
    }

    /// Who runs now.
    pub fn up(&self) -> Vec<(usize, Arc<Process>)> {
        self.seats.lock().iter().enumerate().filter_map(|(n, seat)| Some((n, seat.process.clone()?))).collect()
    }

    /// No two nodes serve an agent at once (what invariant LEASE rests on), and who serves knows what it says that it knows.
    pub fn alone(&self) {
        let up = self.up();
        for owner in OWNED.iter() {
            let address = Address::of::<Clerk>(owner.clone());
            let serve: Vec<_> = up.iter().filter(|(_, process)| process.cluster.serves(&address)).collect();
            let opening = |process: &Process| process.cluster.opened(Owner::clone(owner));
            serve.iter().for_each(|(_, process)| opening(process).into_iter().for_each(|opening| process.tokens.serves(opening)));
            if serve.len() > 1 {
                let seats: Vec<usize> = serve.iter().map(|(seat, _)| *seat).collect();
                self.broke(format!("LEASE: {owner} is served by {seats:?}"));
            }
        }
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.net.lock().cut.contains(&(from, to))
    }

    pub fn is_cut_from_store(&self, seat: usize) -> bool {
        self.now() < self.outage.load(Relaxed) || self.net.lock().cut_from_store.contains(&seat)
    }

    /// A life of a node begins.
    pub async fn start(self: &Arc<Self>, seat: usize) {
        let (life, level) = {
            let mut seats = self.seats.lock();
            let at = &mut seats[seat];
            if at.process.is_some() {
                return;
            }
            at.lives += 1;
            (at.lives, at.level)
        };
        let process = Process::start(self, seat, life, level).await;
        self.note(|| format!("n{seat} starts, life {life}, level {level}"));
        self.seats.lock()[seat].process = Some(process.clone());
        let world = self.clone();
        tokio::spawn(async move {
            process.cell.over().await;
            process.gate.pass().await;
            world.end(seat, life);
        });
    }

    /// It ends, by itself or not: nothing more comes from it.
    pub fn end(self: &Arc<Self>, seat: usize, life: u64) {
        let process = {
            let mut seats = self.seats.lock();
            let at = &mut seats[seat];
            if at.lives != life {
                return;
            }
            at.process.take()
        };
        let Some(process) = process else { return };
        self.note(|| format!("n{seat} ends, life {life}"));
        process.gate.die();
        // What it does to end is seen by nobody.
        tokio::spawn(async move { process.cluster.drain(Duration::ZERO).await });
        if self.is_calm() {
            // Whoever watches over processes starts it again, in its newest version.
            let world = self.clone();
            self.at(100, seat as u64, move |_| {
                tokio::spawn(async move {
                    let gone = {
                        let mut seats = world.seats.lock();
                        seats[seat].level = seats[seat].level.max(2);
                        seats[seat].lives > GONE
                    };
                    if !gone {
                        world.start(seat).await;
                    }
                });
            });
        }
    }

    /// It ends at once.
    pub fn crash(self: &Arc<Self>, seat: usize) {
        let life = self.seats.lock()[seat].lives;
        self.end(seat, life);
    }

    /// It ends and never comes back.
    pub fn bury(self: &Arc<Self>, seat: usize) {
        self.crash(seat);
        self.seats.lock()[seat].lives = GONE + 1;
    }

    /// Whoever is in the world has it.
    pub fn clear(&self) {
        self.seats.lock().clear();
        self.due.lock().clear();
    }
}

/// Without what is fresh in every run by itself: ids of calls, messages and traces, of which nothing follows.
fn masked(text: &str) -> String {
    const SHORTEST: usize = 32;
    let of_id = |c: char| matches!(c, '0'..='9' | 'a'..='f' | '-');
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find(of_id) {
        let len = rest[start..].find(|c| !of_id(c)).unwrap_or(rest.len() - start);
        masked.push_str(&rest[..start]);
        masked.push_str(if len < SHORTEST { &rest[start..start + len] } else { "*" });
        rest = &rest[start + len..];
    }
    masked + rest
}

/// More lives than a node has: it is gone for good.
const GONE: u64 = 1_000_000;
