//! What was acknowledged, what was seen of it since, and what went wrong.

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What is told of failures and of each violation's kind.
const TOLD: usize = 8;

const SIDES: [&str; 2] = ["at the consumer", "at the provider"];

/// What a request was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A catalog, by way of both participants.
    Catalog,
    /// A negotiation from its request until it was FINALIZED on both sides.
    Negotiation,
    /// A transfer from its request until it was STARTED on both sides, or until it was ended on both.
    Transfer,
    /// A change of a participant.
    Write,
    /// A question about a participant.
    Read,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Catalog, Self::Negotiation, Self::Transfer, Self::Write, Self::Read];
}

/// A request that was answered as it must be.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub kind: Kind,
    /// Place of the participant that it was for.
    pub party: usize,
    /// Of the other one that a message went to, and whose answer it has.
    pub other: Option<usize>,
    /// When it was due.
    pub due: Instant,
    pub took: Duration,
}

/// Promises, named as the design does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// What was acknowledged is there.
    Ack,
    /// Nothing was done that nobody has committed, or twice.
    Effect,
    /// Everything is delivered.
    Outbox,
    /// No state goes back.
    State,
    /// Nothing crosses participants.
    Isolation,
    /// Nothing is read that was older when the question was asked.
    Lease,
    /// When faults have ended, all is served.
    Live,
}

impl Invariant {
    pub const ALL: [Self; 7] = [Self::Ack, Self::Effect, Self::Outbox, Self::State, Self::Isolation, Self::Lease, Self::Live];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ack => "ACK",
            Self::Effect => "EFFECT",
            Self::Outbox => "OUTBOX",
            Self::State => "STATE",
            Self::Isolation => "ISOLATION",
            Self::Lease => "LEASE",
            Self::Live => "LIVE",
        }
    }
}

/// A negotiation or a transfer.
#[derive(Debug, Clone)]
pub struct Process {
    pub resource: &'static str,
    pub consumer: usize,
    pub provider: usize,
    /// Its id at the consumer, and at the provider once that is known.
    pub ours: String,
    pub theirs: Option<String>,
    /// What was agreed.
    pub agreement: Option<String>,
    /// The last state that was seen at the consumer and at the provider.
    pub seen: [String; 2],
}

/// States of negotiations and transfers, by how far they are; those of one line come in any order.
const STATES: [&[&str]; 12] = [
    &["REQUESTING", "PREPARATION_REQUESTED"],
    &["REQUESTED"],
    &["OFFERING", "STARTUP_REQUESTED", "STARTING"],
    &["OFFERED"],
    &["ACCEPTING"],
    &["ACCEPTED"],
    &["AGREEING", "STARTED"],
    &["AGREED"],
    &["VERIFYING"],
    &["VERIFIED"],
    &["FINALIZING", "TERMINATING", "TERMINATING_REQUESTED", "COMPLETING", "COMPLETING_REQUESTED"],
    &["FINALIZED", "TERMINATED", "COMPLETED"],
];

fn rank(state: &str) -> Option<usize> {
    STATES.iter().position(|states| states.contains(&state))
}

/// Whether nothing comes after a state.
pub fn is_last(state: &str) -> bool {
    rank(state) == Some(STATES.len() - 1)
}

/// Whether a process that was in one state may be found in another.
fn follows(before: &str, after: &str) -> bool {
    before == after || (rank(before) <= rank(after) && !is_last(before))
}

/// Everything that is noted in a run.
#[derive(Default)]
pub struct Book {
    samples: Mutex<Vec<Sample>>,
    failed: Mutex<(u64, Vec<String>)>,
    violated: Mutex<BTreeMap<Invariant, (u64, Vec<String>)>>,
    processes: Mutex<Vec<Process>>,
    asked: Mutex<BTreeMap<&'static str, u64>>,
}

impl Book {
    pub fn sample(&self, sample: Sample) {
        self.samples.lock().push(sample);
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().clone()
    }

    /// A request that had no good answer.
    pub fn failed(&self, why: String) {
        let (count, told) = &mut *self.failed.lock();
        *count += 1;
        if told.len() < TOLD {
            told.push(why);
        }
    }

    /// A promise that was not kept.
    pub fn violated(&self, invariant: Invariant, why: String) {
        let mut violated = self.violated.lock();
        let (count, told) = violated.entry(invariant).or_default();
        *count += 1;
        if told.len() < TOLD {
            told.push(format!("{}: {why}", invariant.name()));
        }
    }

    /// Notes that a process is asked for; with the same key, however often.
    pub fn asks(&self, resource: &'static str) {
        *self.asked.lock().entry(resource).or_default() += 1;
    }

    /// How many were asked for.
    pub fn asked(&self, resource: &str) -> u64 {
        self.asked.lock().get(resource).copied().unwrap_or_default()
    }

    /// Notes a new process, and gives its place.
    pub fn begun(&self, process: Process) -> usize {
        let mut processes = self.processes.lock();
        processes.push(process);
        processes.len() - 1
    }

    /// A process as it is noted.
    pub fn process(&self, place: usize) -> Option<Process> {
        self.processes.lock().get(place).cloned()
    }

    pub fn count(&self) -> usize {
        self.processes.lock().len()
    }

    pub fn processes(&self) -> Vec<Process> {
        self.processes.lock().clone()
    }

    /// Notes something of a process.
    pub fn note(&self, place: usize, note: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.lock().get_mut(place) {
            note(process);
        }
    }

    /// Notes the state that was answered to a question which was asked when the state was known to be `floor`. `side`: 0 at the consumer, 1 at the provider.
    pub fn saw(&self, place: usize, side: usize, floor: &str, state: &str) {
        let mut processes = self.processes.lock();
        let Some(process) = processes.get_mut(place) else { return };
        if !follows(floor, state) {
            let why = format!("{} {} was {floor:?} and is {state:?} {}", process.resource, process.ours, SIDES[side.min(1)]);
            drop(processes);
            self.violated(Invariant::State, why);
        } else if let Some(seen) = process.seen.get_mut(side).filter(|seen| follows(seen, state)) {
            // Of two questions at once the earlier one may be answered later.
            state.clone_into(seen);
        }
    }

    pub fn failures(&self) -> (u64, Vec<String>) {
        self.failed.lock().clone()
    }

    pub fn violations(&self) -> BTreeMap<Invariant, (u64, Vec<String>)> {
        self.violated.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_go_forward_and_end_once() {
        assert!(
            follows("REQUESTED", "AGREED")
                && follows("AGREED", "TERMINATED")
                && follows("FINALIZED", "FINALIZED")
                && follows("", "REQUESTED")
        );
        assert!(
            !follows("VERIFIED", "AGREED")
                && !follows("FINALIZED", "TERMINATED")
                && !follows("TERMINATED", "FINALIZED")
                && !follows("STARTED", "REQUESTED")
        );
    }
}
