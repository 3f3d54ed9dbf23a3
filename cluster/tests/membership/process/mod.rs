//! One process of a node in the simulation: the product's membership core, beside activations as the runtime has them.

mod agents;

use super::{
    bug::Bug,
    store::{Answer, CommandId, Drift, Partition, Request, Turn},
    world::{Happening, Message, Outcome, Reply},
};
use cellspace_cluster::membership::{Answer as Release, Ended, Moment, Node, Rings, Terms, finalized, next_life};
use cellspace_schemas::Timestamp;
use cellspace_storage::{Epoch, Lease, NodeName, Swap, View};
use std::collections::BTreeMap;

/// How long a request waits for a slot to open, in milliseconds.
const HELD: u64 = 500;
/// Pauses between questions for slots, in milliseconds.
const PULSE: u64 = 50;

/// What an answer of the store is for.
enum Purpose {
    LifeRead,
    LifePut(Option<Lease>, Lease),
    Renewal,
    ViewRead,
    LeasesRead(Option<View>),
    Revocation,
    Change(View),
    /// Slot, number of the activation, view of the claim.
    ClaimRead(u16, u64, u64),
    ClaimPut(u16, u64, Epoch, Partition),
    Commit(u16, u64, Turn),
    Settled(u16, u64, Vec<Asked>),
}

/// A request of a client that is here.
#[derive(Clone, Copy)]
pub struct Asked {
    pub id: CommandId,
    pub write: bool,
    pub hops: u8,
    pub version: u64,
    pub slot: u16,
}

struct Activation {
    number: u64,
    epoch: Epoch,
    /// As of the last commit.
    state: Option<Partition>,
    waiting: Vec<Asked>,
    committing: Vec<Asked>,
    /// The first row of its lane is on its way.
    sending: bool,
    /// Rows delivered, whose removal is not committed.
    delivered: bool,
    closing: bool,
}

pub struct Process {
    pub level: u16,
    pub clock: Drift,
    pub node: Option<Node>,
    name: NodeName,
    terms: Terms,
    rings: Rings,
    bug: Option<Bug>,
    pending: BTreeMap<u64, Purpose>,
    numbers: u64,
    in_round: bool,
    acting: usize,
    looks: u8,
    activations: BTreeMap<u16, Activation>,
    held: Vec<(Asked, u64)>,
    /// Commands whose commit had no answer, by slot and commit.
    doubts: Vec<(u16, u64, Vec<Asked>)>,
    finalizes: bool,
    pulsing: bool,
    is_member: bool,
    /// It was a member, and is none any more.
    pub left: bool,
    pub leaving: bool,
}

/// What a process does with the world around it.
pub type Out = Vec<Happening>;

impl Process {
    pub fn new(index: usize, level: u16, clock: Drift, terms: Terms, rings: Rings, bug: Option<Bug>) -> Self {
        Self {
            level,
            clock,
            node: None,
            name: NodeName(format!("n{index}")),
            terms,
            rings,
            bug,
            pending: BTreeMap::new(),
            numbers: 0,
            in_round: false,
            acting: 0,
            looks: 0,
            activations: BTreeMap::new(),
            held: Vec::new(),
            doubts: Vec::new(),
            finalizes: false,
            pulsing: false,
            is_member: false,
            left: false,
            leaving: false,
        }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn is_lawless(&self) -> bool {
        self.bug.is_some_and(|bug| bug == Bug::NoLeaseCheck || bug.only_fences())
    }

    pub fn now(&self, time: u64) -> Moment {
        self.clock.read(time)
    }

    /// Whether it would serve the slot now.
    pub fn serves(&self, slot: u16, time: u64) -> bool {
        self.node.as_ref().is_some_and(
            |node| {
                if self.is_lawless() { node.open_since(slot).is_some() } else { node.serves(slot, self.now(time)) }
            },
        )
    }

    pub fn leave(&mut self) {
        if let Some(node) = &mut self.node {
            node.leave();
            self.leaving = true;
        }
    }

    pub const fn finalize(&mut self) {
        self.finalizes = true;
    }

    fn request(&mut self, request: Request, purpose: Purpose, out: &mut Out) {
        self.numbers += 1;
        self.pending.insert(self.numbers, purpose);
        out.push(Happening::Store(self.numbers, request));
    }

    /// The time has come for another round.
    pub fn tick(&mut self, time: u64, out: &mut Out) {
        out.push(Happening::Tick(self.clock.wait(500)));
        if self.in_round {
            return;
        }
        self.in_round = true;
        self.looks = 0;
        let now = self.now(time);
        let Some(node) = &mut self.node else {
            self.request(Request::Leases, Purpose::LifeRead, out);
            return;
        };
        let begun = if self.bug == Some(Bug::LateStart) { now + std::time::Duration::from_millis(800) } else { now };
        let (before, next) = node.renewal(begun, Timestamp::from_seconds(0));
        self.request(Request::PutLease(Some(before), next), Purpose::Renewal, out);
    }

    fn look(&mut self, out: &mut Out) {
        self.in_round = true;
        self.request(Request::View, Purpose::ViewRead, out);
    }

    /// Looks for a newer view beside the rounds.
    fn refresh(&mut self, out: &mut Out) {
        if !self.in_round && self.node.is_some() {
            self.looks = 2;
            self.look(out);
        }
    }

    pub fn answered(&mut self, number: u64, answer: Answer, time: u64, out: &mut Out) -> Result<(), Ended> {
        let Some(purpose) = self.pending.remove(&number) else { return Ok(()) };
        match (purpose, answer) {
            (Purpose::LifeRead, Answer::Leases(leases)) => {
                let (before, next) = next_life(&self.name, self.level, "", Timestamp::from_seconds(0), &leases);
                self.request(Request::PutLease(before.clone(), next.clone()), Purpose::LifePut(before, next), out);
            }
            (Purpose::LifePut(before, row), Answer::Swap(Swap::Applied)) => {
                let now = self.now(time);
                let begun = if self.is(Bug::FollowsAtOnce) { Moment(now.0.saturating_sub(self.terms.patience())) } else { now };
                self.node = Some(Node::new(before, row, self.terms.clone(), self.rings.clone(), begun));
                self.in_round = false;
            }
            (Purpose::LifeRead | Purpose::LifePut(..), _) => self.in_round = false,
            (Purpose::Renewal, answer) => {
                if let (Some(node), Answer::Swap(outcome)) = (&mut self.node, answer) {
                    node.renewed(&outcome);
                }
                self.look(out);
            }
            (Purpose::ViewRead, Answer::View(view)) => self.request(Request::Leases, Purpose::LeasesRead(view), out),
            (Purpose::LeasesRead(view), Answer::Leases(leases)) => self.observed(view, leases, time, out)?,
            (Purpose::ViewRead | Purpose::LeasesRead(_), _) => self.in_round = false,
            (Purpose::Revocation, _) => self.acted(out),
            (Purpose::Change(view), answer) => {
                if matches!(answer, Answer::Swap(Swap::Applied)) {
                    for peer in view.deal.members() {
                        out.push(Happening::Send(peer.node.clone(), Message::View(view.clone())));
                    }
                    self.learn(view, time, out)?;
                }
                self.acted(out);
            }
            (Purpose::ClaimRead(slot, number, view), answer) => self.claim_read(slot, number, view, answer, out),
            (Purpose::ClaimPut(slot, number, epoch, partition), answer) => {
                let Some(activation) = self.activations.get_mut(&slot).filter(|a| a.number == number) else { return Ok(()) };
                if matches!(answer, Answer::Swap(Swap::Applied)) {
                    if partition.level > self.level {
                        out.push(Happening::Broken(format!("FORMAT: {:?} reads level {}", self.name, partition.level)));
                    }
                    activation.epoch = epoch;
                    activation.state = Some(partition);
                    self.settle(slot, out);
                    self.go_on(slot, time, out);
                } else {
                    self.drop_activation(slot, out);
                }
            }
            (Purpose::Commit(slot, number, turn), answer) => self.committed(slot, number, turn, &answer, time, out),
            (Purpose::Settled(slot, seq, asked), Answer::Witness(found)) => {
                for one in asked {
                    let done = found.as_ref().is_some_and(|commands| commands.contains(&one.id));
                    let outcome = if done { Outcome::Done(slot, seq) } else { Outcome::NotExecuted };
                    out.push(Happening::Reply(Reply { id: one.id, outcome }));
                }
            }
            (Purpose::Settled(_, _, asked), _) => {
                out.extend(asked.into_iter().map(|one| Happening::Reply(Reply { id: one.id, outcome: Outcome::Unknown })));
            }
        }
        Ok(())
    }

    fn observed(&mut self, view: Option<View>, leases: Vec<Lease>, time: u64, out: &mut Out) -> Result<(), Ended> {
        let now = self.now(time);
        let Some(node) = &mut self.node else { return Ok(()) };
        let view = if self.bug == Some(Bug::LeaseWithoutView) && node.version() > 0 { None } else { view };
        let step = node.observed(view, &leases, now)?;
        let mut change = step.change;
        if std::mem::take(&mut self.finalizes) && change.is_none() {
            change = node.view().and_then(|view| finalized(view, &leases));
        }
        self.left = std::mem::replace(&mut self.is_member, node.is_member()) && !self.is_member;
        self.close(&step.closes, out);
        self.acting = step.revokes.len() + usize::from(change.is_some());
        for (before, next) in step.revokes {
            self.request(Request::PutLease(Some(before), next), Purpose::Revocation, out);
        }
        if let Some(view) = change {
            self.request(Request::ChangeView(view.clone()), Purpose::Change(view), out);
        }
        if self.acting == 0 {
            self.in_round = false;
        }
        self.pulse(time, out);
        Ok(())
    }

    fn acted(&mut self, out: &mut Out) {
        self.acting -= 1;
        if self.acting == 0 {
            self.looks += 1;
            if self.looks < 3 { self.look(out) } else { self.in_round = false }
        }
    }

    fn learn(&mut self, view: View, time: u64, out: &mut Out) -> Result<(), Ended> {
        let now = self.now(time);
        if let Some(node) = &mut self.node {
            let closes = node.learn(view, now)?;
            self.close(&closes, out);
            self.pulse(time, out);
        }
        Ok(())
    }

    fn close(&mut self, slots: &[u16], out: &mut Out) {
        for slot in slots {
            if self.is(Bug::KeepsActivations) {
                self.ended(*slot);
                continue;
            }
            match self.activations.get_mut(slot) {
                // The running turn ends first.
                Some(activation) if !activation.committing.is_empty() => activation.closing = true,
                _ => self.drop_activation(*slot, out),
            }
        }
    }

    fn ended(&mut self, slot: u16) {
        if let Some(node) = &mut self.node {
            node.ended(slot);
        }
    }

    /// Who waits is told that nothing was executed.
    fn drop_activation(&mut self, slot: u16, out: &mut Out) {
        if let Some(activation) = self.activations.remove(&slot) {
            out.extend(activation.waiting.into_iter().map(|one| Happening::Reply(Reply { id: one.id, outcome: Outcome::NotExecuted })));
        }
        self.ended(slot);
    }

    /// Opens what is free, asks for the rest, and lets in who waited.
    pub fn pulse(&mut self, time: u64, out: &mut Out) {
        let now = self.now(time);
        let Some(node) = &mut self.node else { return };
        if self.bug == Some(Bug::OpensAtOnce) {
            for (member, slot) in node.asks() {
                node.released(slot, &member, u64::MAX);
            }
        }
        let opened = node.open_free(now);
        let version = node.version();
        for (member, slot) in node.asks() {
            out.push(Happening::Send(member.node.clone(), Message::Ask { slot, version, to: member, from: node.me().clone() }));
        }
        let waits = node.opens_by().is_some();
        for slot in opened {
            // Whoever left undelivered rows comes back.
            self.activate(slot, time, out);
        }
        for (asked, until) in std::mem::take(&mut self.held) {
            if time < until { self.asked(asked, until, time, out) } else { self.refuse(asked, out) }
        }
        if (waits || !self.held.is_empty()) && !std::mem::replace(&mut self.pulsing, true) {
            out.push(Happening::Pulse(self.clock.wait(PULSE)));
        }
    }

    pub fn pulsed(&mut self, time: u64, out: &mut Out) {
        self.pulsing = false;
        self.pulse(time, out);
    }

    fn refuse(&self, asked: Asked, out: &mut Out) {
        out.push(Happening::Reply(Reply { id: asked.id, outcome: Outcome::NotExecuted }));
    }

    pub fn received(&mut self, message: Message, time: u64, out: &mut Out) -> Result<(), Ended> {
        match message {
            Message::View(view) => self.learn(view, time, out)?,
            Message::Ask { slot, version, to, from } => {
                let Some(node) = self.node.as_ref().filter(|node| *node.me() == to) else { return Ok(()) };
                let answer = if self.is(Bug::ReleasesWhatItServes) { Release::Released } else { node.asked(slot, version) };
                match answer {
                    Release::Released => {
                        out.push(Happening::Send(from.node.clone(), Message::Released { slot, version, by: to, to: from }));
                    }
                    Release::NotYet => {}
                    Release::Behind => self.refresh(out),
                    Release::Newer(_) => out.push(Happening::Send(from.node, Message::LookAgain)),
                }
            }
            Message::Released { slot, version, by, to } => {
                if let Some(node) = self.node.as_mut().filter(|node| *node.me() == to) {
                    node.released(slot, &by, version);
                    self.pulse(time, out);
                }
            }
            Message::LookAgain => self.refresh(out),
            Message::Command(asked) => self.asked(asked, time + self.clock.wait(HELD), time, out),
        }
        Ok(())
    }
}
