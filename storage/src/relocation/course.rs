//! The course of a relocation: what is to be done next, from what is there. Pure, and nothing is remembered between two steps, so that any process may go on where
//! another one has stopped, and several may try at once.
//!
//! Two rules make that safe. What is seen of the cells is seen *before* the home row is read. And each step is refused unless what it was decided on still holds: a
//! change of the home names its version, whatever writes or removes rows or a seal names the seal that it saw, and a seal counts for the version alone that it was
//! made for.

use super::{CellName, Home, Phase, Seal};
use crate::{PartitionKey, Seq};
use std::collections::BTreeMap;

/// What is wanted of an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// That the cell becomes its home, or stays it.
    To(CellName),
    /// That what is under way ends, either way.
    Settle,
}

/// How a partition stands in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its seal.
    pub seal: Option<Seal>,
    /// Its last commit; `None` while nothing whole is there.
    pub seq: Option<Seq>,
    /// Whether there are rows, be it those of half a copy.
    pub holds: bool,
    /// Whether events of its commits are still on their way to the log.
    pub publishing: bool,
}

/// The owner's partitions in a cell, those included that an owner may have and that were never written.
pub type Side = BTreeMap<PartitionKey, Standing>;

/// What was seen of the cells; one that is not in it does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The cells that answer.
    pub cells: BTreeMap<CellName, Side>,
    /// Whether the owner has been on its way for longer than it may.
    pub overdue: bool,
}

/// One thing to do. Each is done wholly or, when what it was decided on does not hold any more, not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Replace the home of the version before.
    Record(Home),
    /// Put a seal for this version on a partition.
    Seal {
        /// Where.
        cell: CellName,
        /// Which.
        partition: PartitionKey,
        /// The home's version.
        version: u64,
    },
    /// Take the seal off.
    Unseal {
        /// Where.
        cell: CellName,
        /// Which.
        partition: PartitionKey,
        /// The seal that was seen.
        seal: Seal,
    },
    /// Copy a sealed partition.
    Copy {
        /// Where from.
        from: CellName,
        /// Where to.
        to: CellName,
        /// Which.
        partition: PartitionKey,
        /// How it was seen to stand there.
        over: Standing,
    },
    /// Remove what a sealed partition holds.
    Clear {
        /// Where.
        cell: CellName,
        /// Which.
        partition: PartitionKey,
        /// The seal that was seen.
        seal: Seal,
    },
    /// The cell does not answer.
    Await(CellName),
    /// Events of the cell's commits are still on their way to the log. Those of the next cell come after them.
    AwaitEvents(CellName),
    /// The other cell serves partitions of an owner of that name.
    Occupied(CellName),
}

/// What is to be done next, all of it at once; nothing when all is done.
#[must_use]
pub fn decide(home: &Home, want: &Want, seen: &Seen) -> Vec<Step> {
    let here = &home.cell;
    let one = |step| vec![step];
    match &home.phase {
        Phase::Settled => match want {
            // Settled --to another cell--> Moving
            Want::To(to) if to != here => one(begin(home, to, seen)),
            // A seal that somebody has put too late comes off. It is of an earlier version, so that no relocation that begins meanwhile counts it.
            Want::To(_) | Want::Settle => unseal(here, seen),
        },
        // Moving --to stay, or on its way for too long--> Returning
        Phase::Moving { to } if matches!(want, Want::To(wanted) if wanted == here) || seen.overdue => {
            one(Step::Record(home.next(here, Phase::Returning { to: to.clone() })))
        }
        // Moving --all is sealed and copied--> Moved, the one point of decision
        Phase::Moving { to } => carry(home, to, seen),
        // Moved --open here, cleared there--> Settled
        Phase::Moved { from } => or_settled(home, [unseal(here, seen), clear(from, seen)]),
        // Returning --open here, cleared there--> Settled; where that cell does not answer it stays sealed, and is copied over some day
        Phase::Returning { to } => {
            let cleared = if seen.cells.contains_key(to) { clear(to, seen) } else { Vec::new() };
            or_settled(home, [unseal(here, seen), cleared])
        }
    }
}

/// The first that there is to do, one after another; then it is settled.
fn or_settled(home: &Home, steps: [Vec<Step>; 2]) -> Vec<Step> {
    let next = steps.into_iter().find(|steps| !steps.is_empty());
    next.unwrap_or_else(|| vec![Step::Record(home.next(&home.cell, Phase::Settled))])
}

fn begin(home: &Home, to: &CellName, seen: &Seen) -> Step {
    let Some(here) = seen.cells.get(&home.cell) else { return Step::Await(home.cell.clone()) };
    let Some(there) = seen.cells.get(to) else { return Step::Await(to.clone()) };
    if there.values().any(|standing| standing.seal.is_none() && standing.seq.is_some()) {
        return Step::Occupied(to.clone());
    }
    // With a log that is away it would be sealed for nothing.
    if here.values().any(|standing| standing.publishing) {
        return Step::AwaitEvents(home.cell.clone());
    }
    Step::Record(home.next(&home.cell, Phase::Moving { to: to.clone() }))
}

fn carry(home: &Home, to: &CellName, seen: &Seen) -> Vec<Step> {
    let Some(source) = seen.cells.get(&home.cell) else { return vec![Step::Await(home.cell.clone())] };
    // Looked at first, so that nobody is sealed for a cell that is away.
    let Some(target) = seen.cells.get(to) else { return vec![Step::Await(to.clone())] };
    let is_sealed = |standing: &Standing| standing.seal.is_some_and(|seal| seal.version() == home.version);
    let open = source.iter().filter(|(_, standing)| !is_sealed(standing));
    let seals: Vec<_> =
        open.map(|(partition, _)| Step::Seal { cell: home.cell.clone(), partition: partition.clone(), version: home.version }).collect();
    if !seals.is_empty() {
        return seals;
    }
    let copies: Vec<_> = source
        .iter()
        .filter(|(_, standing)| standing.seq.is_some())
        .map(|(partition, standing)| (partition, standing.seq, target.get(partition).copied().unwrap_or_default()))
        // Commits of a partition are one line: of one number they are the same rows.
        .filter(|(_, seq, there)| there.seq != *seq || there.seal.is_none())
        .map(|(partition, _, over)| Step::Copy { from: home.cell.clone(), to: to.clone(), partition: partition.clone(), over })
        .collect();
    if !copies.is_empty() {
        return copies;
    }
    if source.values().any(|standing| standing.publishing) {
        return vec![Step::AwaitEvents(home.cell.clone())];
    }
    vec![Step::Record(home.next(to, Phase::Moved { from: home.cell.clone() }))]
}

fn unseal(cell: &CellName, seen: &Seen) -> Vec<Step> {
    let Some(side) = seen.cells.get(cell) else { return vec![Step::Await(cell.clone())] };
    let sealed = side.iter().filter_map(|(partition, standing)| Some((partition, standing.seal?)));
    sealed.map(|(partition, seal)| Step::Unseal { cell: cell.clone(), partition: partition.clone(), seal }).collect()
}

fn clear(cell: &CellName, seen: &Seen) -> Vec<Step> {
    let Some(side) = seen.cells.get(cell) else { return vec![Step::Await(cell.clone())] };
    let left = side.iter().filter(|(_, standing)| standing.seq.is_some() || standing.holds);
    let left = left.filter_map(|(partition, standing)| Some((partition, standing.seal?)));
    left.map(|(partition, seal)| Step::Clear { cell: cell.clone(), partition: partition.clone(), seal }).collect()
}

#[cfg(test)]
mod tests;
