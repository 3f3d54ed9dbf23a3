//! What goes wrong with processes, the network and the store.

use super::{BESIDE, Bug, Drift, Event, MS, NODES, Process, Seat, World};
use rand::{RngExt, seq::IndexedRandom};

impl World {
    pub(super) fn start(&mut self, seat: usize) {
        let clock = Drift { offset: self.random.random_range(0..10_000_000_000), rate: self.random.random_range(950..=1_050) };
        let process = Process::new(self.seats[seat].node, self.seats[seat].level, clock, self.terms.clone(), self.rings.clone(), self.bug);
        let at = &mut self.seats[seat];
        (at.life, at.paused, at.process) = (at.life + 1, None, Some(process));
        at.missed.clear();
        let life = at.life;
        let after = self.random.random_range(0..500 * MS);
        self.at(after, Event::Tick(seat, life));
    }

    pub(super) fn end(&mut self, seat: usize) {
        let at = &mut self.seats[seat];
        (at.life, at.paused, at.process) = (at.life + 1, None, None);
        at.missed.clear();
        if self.calm && self.gone != Some(seat) && !at.retired {
            // Whoever watches over processes starts it again, in its newest version.
            at.level = 2;
            self.start(seat);
        }
    }

    /// Whoever watches over processes cannot reach one, and starts another for its node.
    fn start_beside(&mut self, seat: usize) {
        let level = self.seats[seat].level;
        self.seats[seat].retired = true;
        self.seats.push(Seat { level, ..Seat::new(self.seats[seat].node) });
        self.start(self.seats.len() - 1);
    }

    fn pause(&mut self, seat: usize, time: u64) {
        self.seats[seat].paused = Some(self.time);
        let life = self.seats[seat].life;
        self.at(time, Event::Resume(seat, life));
    }

    pub(super) fn resume(&mut self, seat: usize) {
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

    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let seat = self.random.random_range(0..self.seats.len());
        let other = self.random.random_range(0..self.seats.len());
        let up = self.seats[seat].process.is_some();
        let may_start = !up && !self.seats[seat].retired;
        match self.random.random_range(0..100) {
            0..15 if up => self.end(seat),
            0..40 if may_start => {
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
                    if self.seats[seat].process.is_none() && !self.seats[seat].retired {
                        self.start(seat);
                    }
                }
            }
            90..95 if up && !self.seats[seat].retired && self.seats.len() < NODES + BESIDE => {
                self.seats[seat].cut_from_store |= self.random.random_bool(0.7);
                self.start_beside(seat);
            }
            _ => {}
        }
        let next = self.random.random_range(50 * MS..1_500 * MS);
        self.at(next, Event::Fault);
    }

    /// No more faults, and everybody is there, but sometimes one.
    pub(super) fn heal(&mut self) {
        self.calm = true;
        let nodes: Vec<usize> = (0..self.seats.len()).filter(|seat| !self.seats[*seat].retired).collect();
        if nodes.len() > 2
            && self.random.random_bool(0.3)
            && let Some(gone) = nodes.choose(&mut self.random).copied()
        {
            self.gone = Some(gone);
            // With an earlier process of its node, if one is left.
            for seat in 0..self.seats.len() {
                if self.seats[seat].node == self.seats[gone].node {
                    self.end(seat);
                }
            }
        }
        for seat in 0..self.seats.len() {
            self.seats[seat].cut_from_store = false;
            self.seats[seat].cut_to.clear();
            self.resume(seat);
            self.seats[seat].level = 2;
            match &self.seats[seat].process {
                _ if self.gone == Some(seat) || self.seats[seat].retired => {}
                None => self.start(seat),
                Some(process) if process.leaving => self.end(seat),
                Some(_) => {}
            }
        }
    }
}
