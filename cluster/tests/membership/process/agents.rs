//! Agents of a process: requests, claims, commits, and what they have to deliver.

use super::{Activation, Answer, Asked, Bug, Happening, Message, Node, Out, Outcome, PULSE, Process, Purpose, Reply, Request, Turn};
use cellspace_cluster::membership::Route;
use cellspace_storage::{Epoch, Member, Swap};

impl Process {
    pub(super) fn asked(&mut self, asked: Asked, until: u64, time: u64, out: &mut Out) {
        let Some(node) = &self.node else { return self.refuse(asked, out) };
        let mut route = node.route(asked.slot, asked.version, asked.hops, self.now(time));
        if self.is_lawless() && node.open_since(asked.slot).is_some() {
            route = Route::Here;
        }
        match route {
            Route::Here if !asked.write => match self.activations.get(&asked.slot).and_then(|a| a.state.as_ref()) {
                Some(state) => {
                    let outcome = Outcome::Read(asked.slot, state.head.seq.0);
                    out.push(Happening::Reply(Reply { id: asked.id, outcome }));
                }
                None => {
                    self.activate(asked.slot, time, out);
                    self.held.push((asked, until));
                }
            },
            Route::Here => {
                self.activate(asked.slot, time, out);
                if let Some(activation) = self.activations.get_mut(&asked.slot).filter(|activation| !activation.closing) {
                    activation.waiting.push(asked);
                    self.go_on(asked.slot, time, out);
                } else {
                    self.held.push((asked, until));
                }
            }
            Route::Hold => self.held.push((asked, until)),
            Route::Refresh => {
                self.refresh(out);
                self.held.push((asked, until));
            }
            Route::Forward(Member { node: name, .. }, hops) => {
                out.push(Happening::Send(name, Message::Command(Asked { hops, version: node.version(), ..asked })));
            }
            Route::Unavailable(_) => self.refuse(asked, out),
        }
        if !self.held.is_empty() && !std::mem::replace(&mut self.pulsing, true) {
            out.push(Happening::Pulse(self.clock.wait(PULSE)));
        }
    }

    pub(super) fn activate(&mut self, slot: u16, time: u64, out: &mut Out) {
        if self.activations.contains_key(&slot) || !self.serves(slot, time) {
            return;
        }
        self.numbers += 1;
        let number = self.numbers;
        let view = self.node.as_ref().map_or(0, Node::version);
        self.activations.insert(
            slot,
            Activation {
                number,
                epoch: Epoch::default(),
                state: None,
                waiting: Vec::new(),
                committing: Vec::new(),
                sending: false,
                delivered: false,
                closing: false,
            },
        );
        self.request(Request::Partition(slot), Purpose::ClaimRead(slot, number, view), out);
    }

    pub(super) fn claim_read(&mut self, slot: u16, number: u64, view: u64, answer: Answer, out: &mut Out) {
        if self.activations.get(&slot).is_none_or(|a| a.number != number) {
            return;
        }
        let Answer::Partition(mut partition) = answer else { return self.drop_activation(slot, out) };
        let held = partition.head.epoch;
        let over = self.is(Bug::ClaimsOverNewer).then_some(Epoch { view, count: number });
        let Some(epoch) = over.or_else(|| held.claimed_under(view)) else {
            self.refresh(out);
            return self.drop_activation(slot, out);
        };
        let head = partition.head;
        partition.head.epoch = epoch;
        self.request(Request::Claim(slot, head, epoch), Purpose::ClaimPut(slot, number, epoch, partition), out);
    }

    /// Runs a turn when there is something to do, and starts what may be delivered.
    pub(super) fn go_on(&mut self, slot: u16, time: u64, out: &mut Out) {
        let serves = self.serves(slot, time);
        let level = self.node.as_ref().and_then(Node::view).map_or(0, |view| view.format);
        let (hasty, early) = (self.is(Bug::AnswersBeforeCommit), self.is(Bug::SendsBeforeCommit));
        let Some(activation) = self.activations.get_mut(&slot) else { return };
        let Some(state) = &activation.state else { return };
        if !activation.committing.is_empty() || activation.closing {
            return;
        }
        if !activation.waiting.is_empty() || activation.delivered {
            if !serves {
                return self.drop_activation(slot, out);
            }
            let seq = state.head.seq.0 + 1;
            let mut turn = Turn {
                slot,
                epoch: activation.epoch,
                seq,
                row: state.row.clone(),
                outbox: state.outbox.clone(),
                commands: activation.waiting.iter().map(|one| one.id).collect(),
                level,
            };
            turn.row.extend(&turn.commands);
            if std::mem::take(&mut activation.delivered) {
                turn.outbox.remove(0);
            }
            if !turn.commands.is_empty() {
                turn.outbox.push(seq);
            }
            activation.committing = std::mem::take(&mut activation.waiting);
            if activation.committing.is_empty() {
                // A flush: nobody waits for it.
                activation.committing.push(Asked { id: 0, write: true, hops: 0, version: 0, slot });
            }
            if hasty {
                out.extend(turn.commands.iter().map(|id| Happening::Reply(Reply { id: *id, outcome: Outcome::Done(slot, seq) })));
            }
            if early {
                out.push(Happening::Effect(slot, seq));
            }
            let number = activation.number;
            self.request(Request::Commit(turn.clone()), Purpose::Commit(slot, number, turn), out);
        } else if !state.outbox.is_empty() && !activation.sending {
            activation.sending = true;
            out.push(Happening::Deliver(slot, activation.number));
        }
    }

    /// An attempt at the first row of the lane: the lease is checked before it leaves.
    pub fn deliver(&mut self, slot: u16, number: u64, time: u64, out: &mut Out) {
        let serves = self.serves(slot, time) || self.is(Bug::SendsWithoutLease);
        let last = self.is(Bug::LaneOutOfOrder);
        let Some(activation) = self.activations.get_mut(&slot).filter(|a| a.number == number && !a.closing) else { return };
        activation.sending = false;
        let Some(state) = &activation.state else { return };
        let row = if last { state.outbox.last() } else { state.outbox.first() };
        if let (true, Some(seq), false) = (serves, row, activation.delivered) {
            out.push(Happening::Effect(slot, *seq));
            activation.delivered = true;
        } else if !serves {
            // Tried again while the activation lives.
            activation.sending = true;
            out.push(Happening::Deliver(slot, number));
            return;
        }
        self.go_on(slot, time, out);
    }

    pub(super) fn committed(&mut self, slot: u16, number: u64, turn: Turn, answer: &Answer, time: u64, out: &mut Out) {
        let unknown = self.is(Bug::UnknownIsNotExecuted);
        let Some(activation) = self.activations.get_mut(&slot).filter(|a| a.number == number) else { return };
        let callers: Vec<Asked> = std::mem::take(&mut activation.committing).into_iter().filter(|one| one.id != 0).collect();
        match answer {
            Answer::Swap(Swap::Applied) => {
                if let Some(state) = &mut activation.state {
                    state.head.seq.0 = turn.seq;
                    state.row = turn.row;
                    state.outbox = turn.outbox;
                }
                let outcome = Outcome::Done(slot, turn.seq);
                out.extend(callers.into_iter().map(|one| Happening::Reply(Reply { id: one.id, outcome })));
                if activation.closing { self.drop_activation(slot, out) } else { self.go_on(slot, time, out) }
            }
            Answer::Swap(Swap::Refused) => {
                callers.into_iter().for_each(|one| self.refuse(one, out));
                self.drop_activation(slot, out);
            }
            _ => {
                if unknown {
                    callers.into_iter().for_each(|one| self.refuse(one, out));
                } else if !callers.is_empty() {
                    self.doubts.push((slot, turn.seq, callers));
                }
                self.drop_activation(slot, out);
                self.activate(slot, time, out);
            }
        }
    }

    /// After a claim nothing older can land: the witness decides.
    pub(super) fn settle(&mut self, slot: u16, out: &mut Out) {
        let (here, rest) = std::mem::take(&mut self.doubts).into_iter().partition(|(of, _, _)| *of == slot);
        self.doubts = rest;
        for (slot, seq, asked) in here as Vec<(u16, u64, Vec<Asked>)> {
            self.request(Request::Witness(slot, seq), Purpose::Settled(slot, seq, asked), out);
        }
    }
}
