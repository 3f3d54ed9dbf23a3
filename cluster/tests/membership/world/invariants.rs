//! What clients and other parties see, and the invariants that hold for it, and for all nodes at every step.

use super::{Asked, Broken, Bug, CommandId, Event, MS, Message, Outcome, Reply, SLOTS, World};
use rand::{RngExt, seq::IndexedRandom};
use std::collections::BTreeSet;

impl World {
    pub(super) fn client(&mut self) -> Result<(), Broken> {
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

    pub(super) fn reply(&mut self, reply: Reply) -> Result<(), Broken> {
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

    pub(super) fn effect(&mut self, slot: u16, seq: u64) -> Result<(), Broken> {
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

    /// No two nodes serve a slot at once (what invariant LEASE rests on).
    pub(super) fn alone(&self, seat: usize) -> Result<(), Broken> {
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

    pub(super) fn live(&self) -> Result<(), Broken> {
        let view = self.store.view.as_ref().ok_or("LIVE: there is no view")?;
        let nodes = self.seats.iter().filter(|seat| !seat.retired).count();
        if view.deal.from != view.deal.to || view.deal.to.len() + usize::from(self.gone.is_some()) != nodes {
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
