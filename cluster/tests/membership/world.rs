//! The world of the simulation: time, network, faults, clients, and the invariants that hold at every step.

use super::{
    process::{Asked, Out, Process},
    store::{Answer, CommandId, Drift, Request, Store},
};
use cellspace_cluster::membership::{Rings, Terms};
use cellspace_storage::{Member, NodeName, View};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

/// Slots of the simulated cell.
pub const SLOTS: u16 = 6;
/// Nodes at most.
const NODES: usize = 5;
/// A millisecond.
const MS: u64 = 1_000;
/// How long faults happen.
const STORM: u64 = 20_000 * MS;
/// By so long after the last fault everything is served again (invariant LIVE).
const CALM: u64 = 30_000 * MS;
/// After so long a node hears no answer of the store any more.
const TIMEOUT: u64 = 1_000 * MS;

/// A rule that is broken, so that the invariants are seen to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Serves without a look at its lease.
    NoLeaseCheck,
    /// Counts a renewal from later than its start.
    LateStart,
    /// Counts a renewal although no view was applied.
    LeaseWithoutView,
    /// Its clock stands while it is paused.
    SleepingClock,
    /// Opens its slots without asking or waiting.
    OpensAtOnce,
    /// Says that it released whatever it is asked for.
    ReleasesWhatItServes,
    /// Keeps in memory what it gave away.
    KeepsActivations,
    /// The store takes claims whatever is stored.
    UnconditionalClaims,
    /// Looks at no lease, and claims over an epoch of a newer view.
    ClaimsOverNewer,
    /// Looks at no lease; what commits promise is kept all the same.
    OnlyFenced,
    /// Says "not executed" of a commit without an answer.
    UnknownIsNotExecuted,
    /// Acknowledges before the commit.
    AnswersBeforeCommit,
    /// Sends effects before the commit.
    SendsBeforeCommit,
    /// Sends effects without a look at its lease.
    SendsWithoutLease,
    /// Sends the last row of a lane first.
    LaneOutOfOrder,
    /// Never takes anybody's lease away.
    NeverBuries,
}

impl Bug {
    /// Only what the store's conditions protect is looked at.
    pub fn only_fences(self) -> bool {
        matches!(self, Self::ClaimsOverNewer | Self::OnlyFenced)
    }
}

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
        let seat =
            || Seat { process: None, life: 0, level: 1, paused: None, missed: Vec::new(), cut_from_store: false, cut_to: BTreeSet::new() };
        let mut store = Store::new(SLOTS);
        store.unconditional = bug == Some(Bug::UnconditionalClaims);
        Self {
            seats: (0..nodes).map(|_| seat()).collect(),
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
                    let Some(to) = (0..self.seats.len()).find(|n| node.0 == format!("n{n}")) else { continue };
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

    // === faults ===

    fn start(&mut self, seat: usize) {
        let clock = Drift { offset: self.random.random_range(0..10_000_000_000), rate: self.random.random_range(950..=1_050) };
        let process = Process::new(seat, self.seats[seat].level, clock, self.terms.clone(), self.rings.clone(), self.bug);
        let at = &mut self.seats[seat];
        (at.life, at.paused, at.process) = (at.life + 1, None, Some(process));
        at.missed.clear();
        let life = at.life;
        let after = self.random.random_range(0..500 * MS);
        self.at(after, Event::Tick(seat, life));
    }

    fn end(&mut self, seat: usize) {
        let at = &mut self.seats[seat];
        (at.life, at.paused, at.process) = (at.life + 1, None, None);
        at.missed.clear();
        if self.calm && self.gone != Some(seat) {
            // Whoever watches over processes starts it again, in its newest version.
            at.level = 2;
            self.start(seat);
        }
    }

    fn pause(&mut self, seat: usize, time: u64) {
        self.seats[seat].paused = Some(self.time);
        let life = self.seats[seat].life;
        self.at(time, Event::Resume(seat, life));
    }

    fn resume(&mut self, seat: usize) {
        let Some(since) = self.seats[seat].paused.take() else { return };
        if self.bug == Some(Bug::SleepingClock)
            && let Some(process) = &mut self.seats[seat].process
        {
            let slept = (self.time - since) * process.clock.rate / 1_000;
            process.clock.offset = process.clock.offset.saturating_sub(slept);
        }
        for event in std::mem::take(&mut self.seats[seat].missed) {
            let late = self.random.random_range(0..MS);
            self.at(late, event);
        }
    }

    fn fault(&mut self) {
        if self.calm {
            return;
        }
        let seat = self.random.random_range(0..self.seats.len());
        let other = self.random.random_range(0..self.seats.len());
        let up = self.seats[seat].process.is_some();
        match self.random.random_range(0..100) {
            0..15 if up => self.end(seat),
            0..40 if !up => {
                if self.random.random_bool(0.3) {
                    self.seats[seat].level = 2;
                }
                self.start(seat);
            }
            15..30 => {
                let time = self.random.random_range(100 * MS..8_000 * MS);
                self.pause(seat, time);
            }
            30..40 => self.seats[seat].cut_from_store ^= true,
            40..55 => {
                // One way; the other way is another fault.
                let cut = &mut self.seats[seat].cut_to;
                if !cut.remove(&other) {
                    cut.insert(other);
                }
            }
            55..65 => {
                for seat in &mut self.seats {
                    seat.cut_from_store = false;
                    seat.cut_to.clear();
                }
            }
            65..75 => {
                if let Some(process) = &mut self.seats[seat].process {
                    process.leave();
                }
            }
            75..80 => {
                if let Some(process) = &mut self.seats[seat].process {
                    process.finalize();
                }
            }
            80..85 => {
                // All at once.
                for seat in 0..self.seats.len() {
                    if self.seats[seat].process.is_some() && self.random.random_bool(0.7) {
                        self.end(seat);
                    }
                }
            }
            85..90 => {
                for seat in 0..self.seats.len() {
                    if self.seats[seat].process.is_none() {
                        self.start(seat);
                    }
                }
            }
            _ => {}
        }
        let next = self.random.random_range(50 * MS..1_500 * MS);
        self.at(next, Event::Fault);
    }

    /// No more faults, and everybody is there, but sometimes one.
    fn heal(&mut self) {
        self.calm = true;
        if self.seats.len() > 2 && self.random.random_bool(0.3) {
            let gone = self.random.random_range(0..self.seats.len());
            self.gone = Some(gone);
            self.end(gone);
        }
        for seat in 0..self.seats.len() {
            self.seats[seat].cut_from_store = false;
            self.seats[seat].cut_to.clear();
            self.resume(seat);
            self.seats[seat].level = 2;
            match &self.seats[seat].process {
                _ if self.gone == Some(seat) => {}
                None => self.start(seat),
                Some(process) if process.leaving => self.end(seat),
                Some(_) => {}
            }
        }
    }

    // === clients ===

    fn client(&mut self) -> Result<(), Broken> {
        let next = self.random.random_range(10 * MS..80 * MS);
        self.at(next, Event::Client);
        let up: Vec<usize> = (0..self.seats.len()).filter(|seat| self.seats[*seat].process.is_some()).collect();
        let Some(seat) = up.choose(&mut self.random).copied() else { return Ok(()) };
        self.commands += 1;
        let slot = self.random.random_range(0..SLOTS);
        let asked = Asked { id: self.commands, write: self.random.random_bool(0.5), hops: 0, version: 0, slot };
        self.slots.insert(asked.id, slot);
        self.at(MS, Event::Message(seat, Message::Command(asked)));
        Ok(())
    }

    fn reply(&mut self, reply: Reply) -> Result<(), Broken> {
        if reply.id == 0 {
            return Ok(());
        }
        match reply.outcome {
            Outcome::Done(slot, seq) => {
                let commit = self.store.partitions[usize::from(slot)].audit.get(usize::try_from(seq).unwrap() - 1);
                if !commit.is_some_and(|commands| commands.contains(&reply.id)) {
                    return Err(format!("ACK: command {} is acknowledged but not stored", reply.id));
                }
                if self.slots.get(&reply.id) != Some(&slot) {
                    return Err(format!("ISOLATION: command {} was executed in slot {slot}", reply.id));
                }
                let acknowledged = &mut self.acknowledged[usize::from(slot)];
                *acknowledged = seq.max(*acknowledged);
                self.acks += 1;
            }
            Outcome::Read(slot, seq) => {
                let acknowledged = self.acknowledged[usize::from(slot)];
                if seq < acknowledged && !self.only_fenced() {
                    return Err(format!("LEASE: a read of slot {slot} sees commit {seq}, {acknowledged} was acknowledged before"));
                }
            }
            Outcome::NotExecuted | Outcome::Unknown => {}
        }
        self.answered.insert(reply.id, reply.outcome);
        Ok(())
    }

    fn effect(&mut self, slot: u16, seq: u64) -> Result<(), Broken> {
        if self.store.partitions[usize::from(slot)].head.seq.0 < seq {
            return Err(format!("EFFECT: commit {seq} of slot {slot} is not stored"));
        }
        let sent = &mut self.sent[usize::from(slot)];
        let skipped = self.store.partitions[usize::from(slot)].audit.iter().zip(1..seq).skip(usize::try_from(*sent).unwrap());
        if self.bug.is_some_and(Bug::only_fences) {
            return Ok(());
        }
        if seq < *sent || skipped.into_iter().any(|(commands, _)| !commands.is_empty()) {
            return Err(format!("OUTBOX: slot {slot} sends {seq} after {sent}"));
        }
        *sent = seq;
        Ok(())
    }

    // === invariants ===

    /// No two nodes serve a slot at once (what invariant LEASE rests on).
    fn alone(&self, seat: usize) -> Result<(), Broken> {
        if self.only_fenced() {
            return Ok(());
        }
        let serves = |seat: usize, slot: u16| self.seats[seat].process.as_ref().is_some_and(|process| process.serves(slot, self.time));
        for slot in (0..SLOTS).filter(|slot| serves(seat, *slot)) {
            if let Some(other) = (0..self.seats.len()).find(|other| *other != seat && serves(*other, slot)) {
                return Err(format!("LEASE: slot {slot} is served by n{seat} and n{other}"));
            }
        }
        Ok(())
    }

    fn live(&self) -> Result<(), Broken> {
        let view = self.store.view.as_ref().ok_or("LIVE: there is no view")?;
        if view.deal.from != view.deal.to || view.deal.to.len() + usize::from(self.gone.is_some()) != self.seats.len() {
            return Err(format!("LIVE: not settled: {:?}", view.deal));
        }
        for slot in 0..SLOTS {
            if !(0..self.seats.len()).any(|seat| self.seats[seat].process.as_ref().is_some_and(|process| process.serves(slot, self.time))) {
                return Err(format!("LIVE: nobody serves slot {slot}"));
            }
            let partition = &self.store.partitions[usize::from(slot)];
            // One may be on its way.
            if partition.outbox.len() > 3 {
                return Err(format!("OUTBOX: slot {slot} has {} rows at the end", partition.outbox.len()));
            }
        }
        let executed: Vec<CommandId> =
            self.store.partitions.iter().flat_map(|partition| partition.audit.iter().flatten().copied()).collect();
        let once: BTreeSet<CommandId> = executed.iter().copied().collect();
        if once.len() != executed.len() {
            return Err("FENCE: a command was executed twice".to_owned());
        }
        for (id, outcome) in &self.answered {
            if *outcome == Outcome::NotExecuted && once.contains(id) {
                return Err(format!("ACK: command {id} was executed, and its client was told that it was not"));
            }
        }
        // The last seconds have no faults: whoever asks is answered.
        let recent = self.commands.saturating_sub(50)..self.commands.saturating_sub(10);
        let refused = recent.clone().filter(|id| !matches!(self.answered.get(id), Some(Outcome::Done(..) | Outcome::Read(..)))).count();
        if refused > 0 {
            return Err(format!("LIVE: {refused} of {} commands were not answered", recent.len()));
        }
        Ok(())
    }
}
