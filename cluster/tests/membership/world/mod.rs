//! The world of the simulation: time, network, faults, clients, and the invariants that hold at every step.

mod faults;
mod invariants;

use super::{
    bug::Bug,
    process::{Asked, Out, Process},
    store::{Answer, CommandId, Drift, Request, Store},
};
use cellspace_cluster::membership::{Rings, Terms};
use cellspace_storage::{Member, NodeName, View};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

/// Slots of the simulated cell.
pub const SLOTS: u16 = 6;
/// Nodes at most.
const NODES: usize = 5;
/// Processes that are started beside an earlier one of their node, at most.
const BESIDE: usize = 4;
/// A millisecond.
const MS: u64 = 1_000;
/// How long faults happen.
const STORM: u64 = 20_000 * MS;
/// By so long after the last fault everything is served again (invariant LIVE).
const CALM: u64 = 30_000 * MS;
/// After so long a node hears no answer of the store any more.
const TIMEOUT: u64 = 1_000 * MS;

#[derive(Clone)]
pub enum Message {
    View(View),
    Ask { slot: u16, version: u64, to: Member, from: Member },
    Released { slot: u16, version: u64, by: Member, to: Member },
    LookAgain,
    Command(Asked),
}

#[derive(Clone, Copy)]
pub struct Reply {
    pub id: CommandId,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done(u16, u64),
    Read(u16, u64),
    NotExecuted,
    Unknown,
}

/// What a process did.
pub enum Happening {
    Store(u64, Request),
    Send(NodeName, Message),
    Reply(Reply),
    /// The effect of a commit was sent to others.
    Effect(u16, u64),
    Deliver(u16, u64),
    Tick(u64),
    Pulse(u64),
    Broken(String),
}

enum Event {
    Tick(usize, u64),
    Pulse(usize, u64),
    Deliver(usize, u64, u16, u64),
    Execute(usize, u64, u64, Request),
    Answer(usize, u64, u64, Answer),
    Message(usize, Message),
    Client,
    Fault,
    Resume(usize, u64),
}

struct Seat {
    /// Number of its node.
    node: usize,
    /// Another process was started for the node, beside this one: this one is started no more.
    retired: bool,
    process: Option<Process>,
    life: u64,
    level: u16,
    paused: Option<u64>,
    /// What came while it was paused.
    missed: Vec<Event>,
    cut_from_store: bool,
    /// Its messages do not arrive there.
    cut_to: BTreeSet<usize>,
}

impl Seat {
    fn new(node: usize) -> Self {
        Self {
            node,
            retired: false,
            process: None,
            life: 0,
            level: 1,
            paused: None,
            missed: Vec::new(),
            cut_from_store: false,
            cut_to: BTreeSet::new(),
        }
    }
}

pub struct World {
    random: StdRng,
    time: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    queued: BTreeMap<u64, Event>,
    store: Store,
    seats: Vec<Seat>,
    terms: Terms,
    rings: Rings,
    bug: Option<Bug>,
    calm: bool,
    /// A node that never comes back.
    gone: Option<usize>,
    commands: CommandId,
    /// Which slot each command is for.
    slots: BTreeMap<CommandId, u16>,
    answered: BTreeMap<CommandId, Outcome>,
    acknowledged: Vec<u64>,
    sent: Vec<u64>,
    pub steps: u64,
    pub acks: u64,
    pub views: u64,
}

pub type Broken = String;

pub fn terms() -> Terms {
    Terms { slots: SLOTS, step: 1, ..Terms::default() }
}

impl World {
    pub fn new(seed: u64, rings: Rings, bug: Option<Bug>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let nodes = random.random_range(2..=NODES);
        let mut store = Store::new(SLOTS);
        store.unconditional = bug == Some(Bug::UnconditionalClaims);
        Self {
            seats: (0..nodes).map(Seat::new).collect(),
            random,
            time: 0,
            order: 0,
            events: BinaryHeap::new(),
            queued: BTreeMap::new(),
            store,
            terms: terms(),
            rings,
            bug,
            calm: false,
            gone: None,
            commands: 0,
            slots: BTreeMap::new(),
            answered: BTreeMap::new(),
            acknowledged: vec![0; usize::from(SLOTS)],
            sent: vec![0; usize::from(SLOTS)],
            steps: 0,
            acks: 0,
            views: 0,
        }
    }

    /// One history: faults, then calm; the first invariant that did not hold is the error.
    pub fn run(&mut self) -> Result<(), Broken> {
        for seat in 0..self.seats.len() {
            if seat == 0 || self.random.random_bool(0.7) {
                self.start(seat);
            }
        }
        self.at(0, Event::Client);
        self.at(2_000 * MS, Event::Fault);
        self.until(STORM)?;
        self.heal();
        // What comes back sooner need not be watched longer.
        let mut end = STORM + 6_000 * MS;
        loop {
            self.until(end)?;
            match self.live() {
                Ok(()) => break,
                Err(_) if end < STORM + CALM => end += 1_000 * MS,
                Err(broken) => return Err(broken),
            }
        }
        self.views = self.store.view.as_ref().map_or(0, |view| view.version);
        Ok(())
    }

    fn at(&mut self, after: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.time + after, self.order)));
        self.queued.insert(self.order, event);
    }

    fn until(&mut self, end: u64) -> Result<(), Broken> {
        while let Some(Reverse((time, _))) = self.events.peek()
            && *time <= end
            && let Some(Reverse((time, order))) = self.events.pop()
        {
            self.time = time;
            self.steps += 1;
            if let Some(event) = self.queued.remove(&order) {
                self.happen(event).map_err(|broken| format!("at {} ms: {broken}", self.time / MS))?;
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        let to = match &event {
            Event::Tick(seat, life) | Event::Pulse(seat, life) | Event::Deliver(seat, life, ..) | Event::Answer(seat, life, ..) => {
                if self.seats[*seat].life != *life {
                    return Ok(());
                }
                Some(*seat)
            }
            Event::Message(seat, _) => Some(*seat),
            Event::Execute(..) | Event::Client | Event::Fault | Event::Resume(..) => None,
        };
        if let Some(to) = to.filter(|to| self.seats[*to].paused.is_some()) {
            self.seats[to].missed.push(event);
            return Ok(());
        }
        match event {
            Event::Execute(seat, life, number, request) => {
                let answer = self.store.execute(request)?;
                let late = self.delay();
                self.at(late, Event::Answer(seat, life, number, answer));
                return Ok(());
            }
            Event::Client => return self.client(),
            Event::Fault => {
                self.fault();
                return Ok(());
            }
            Event::Resume(seat, life) => {
                if self.seats[seat].life == life {
                    self.resume(seat);
                }
                return Ok(());
            }
            _ => {}
        }
        let Some(seat) = to else { return Ok(()) };
        let time = self.time;
        let mut out = Out::new();
        let Some(process) = &mut self.seats[seat].process else { return Ok(()) };
        let ended = match event {
            Event::Tick(..) => {
                process.tick(time, &mut out);
                Ok(())
            }
            Event::Pulse(..) => {
                process.pulsed(time, &mut out);
                Ok(())
            }
            Event::Deliver(_, _, slot, number) => {
                process.deliver(slot, number, time, &mut out);
                Ok(())
            }
            Event::Answer(_, _, number, answer) => process.answered(number, answer, time, &mut out),
            Event::Message(_, message) => process.received(message, time, &mut out),
            Event::Execute(..) | Event::Client | Event::Fault | Event::Resume(..) => Ok(()),
        };
        self.take(seat, out)?;
        if ended.is_err() || self.seats[seat].process.as_ref().is_some_and(|process| process.left) {
            self.end(seat);
        } else {
            self.alone(seat)?;
        }
        Ok(())
    }

    fn take(&mut self, seat: usize, out: Out) -> Result<(), Broken> {
        let life = self.seats[seat].life;
        for happening in out {
            match happening {
                Happening::Store(number, request) => {
                    if self.bug == Some(Bug::NeverBuries) && matches!(&request, Request::PutLease(_, next) if next.revoked) {
                        self.at(MS, Event::Answer(seat, life, number, Answer::Silence));
                        continue;
                    }
                    self.at(TIMEOUT, Event::Answer(seat, life, number, Answer::Silence));
                    if self.seats[seat].cut_from_store || self.chance(0.01) {
                        continue;
                    }
                    let late = self.delay();
                    // Executed, and nobody hears of it.
                    let life = if self.chance(0.01) { u64::MAX } else { life };
                    self.at(late, Event::Execute(seat, life, number, request));
                }
                Happening::Send(node, message) => {
                    let of = |seat: &Seat| !seat.retired && node.0 == format!("n{}", seat.node);
                    let Some(to) = self.seats.iter().position(of) else { continue };
                    if self.seats[seat].cut_to.contains(&to) || self.chance(0.02) {
                        continue;
                    }
                    if !matches!(message, Message::Command(_)) && self.chance(0.05) {
                        let late = self.delay() * 3;
                        self.at(late, Event::Message(to, message.clone()));
                    }
                    let late = self.delay();
                    self.at(late, Event::Message(to, message));
                }
                Happening::Reply(reply) => self.reply(reply)?,
                Happening::Effect(slot, seq) => self.effect(slot, seq)?,
                Happening::Deliver(slot, number) => {
                    let late = self.random.random_range(MS..50 * MS);
                    self.at(late, Event::Deliver(seat, life, slot, number));
                }
                Happening::Tick(after) => self.at(after, Event::Tick(seat, life)),
                Happening::Pulse(after) => self.at(after, Event::Pulse(seat, life)),
                Happening::Broken(what) => return Err(what),
            }
        }
        Ok(())
    }

    fn only_fenced(&self) -> bool {
        self.bug.is_some_and(Bug::only_fences)
    }

    fn chance(&mut self, p: f64) -> bool {
        !self.calm && self.random.random_bool(p)
    }

    /// Of a message or a request on its way; some are so late that others overtake them, or nobody waits for them any more.
    fn delay(&mut self) -> u64 {
        match self.random.random_range(0..1_000) {
            0..4 if !self.calm => self.random.random_range(500 * MS..4_000 * MS),
            4..50 if !self.calm => self.random.random_range(20 * MS..500 * MS),
            _ => self.random.random_range(100..4 * MS),
        }
    }
}
