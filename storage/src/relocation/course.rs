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

/// Commits that a copy made ahead is behind, at most, when its owner is sealed: what is left for the time under the seal.
const BEHIND: u64 = 256;
/// The same of one that was looked at so often: each look is behind by what is written while it lasts.
const FAR_BEHIND: u64 = 16 * BEHIND;
const LOOKS: u32 = 3;

/// A copy of a partition that was made ahead, while it was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// The version of the home that it was begun for.
    pub version: u64,
    /// A commit that it has, with all before it.
    pub seq: Seq,
    /// The generation of its rows.
    pub generation: i32,
    /// How often all rows were looked at.
    pub looks: u32,
    /// Rows that were looked at, in all looks.
    pub passed: u64,
}

/// How a partition stands in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its seal.
    pub seal: Option<Seal>,
    /// Its last commit; `None` while nothing whole is there.
    pub seq: Option<Seq>,
    /// The generation of its rows: those of the next one are all written anew.
    pub generation: i32,
    /// Whether there are rows, be it those of half a copy.
    pub holds: bool,
    /// The first commit, of those whose events are still on their way to the log. It may be one that never comes.
    pub publishing: Option<Seq>,
    /// A copy that is not whole yet.
    pub ahead: Option<Ahead>,
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

impl Seen {
    /// How many rows were looked at for a copy that is made ahead, which grows as long as it comes further; `None` while none is made.
    #[must_use]
    pub fn passed(&self, home: &Home) -> Option<u64> {
        let Phase::Copying { to } = &home.phase else { return None };
        let ahead = self.cells.get(to).into_iter().flatten().filter_map(|(_, there)| there.ahead_for(home));
        Some(ahead.map(|ahead| ahead.passed).sum())
    }
}

impl Standing {
    fn ahead_for(&self, home: &Home) -> Option<Ahead> {
        self.ahead.filter(|ahead| ahead.version == home.version)
    }
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
    /// Copy a partition that is served, or what was written since that was done last.
    CopyAhead {
        /// Where from.
        from: CellName,
        /// Where to.
        to: CellName,
        /// Which.
        partition: PartitionKey,
        /// How it was seen to stand there.
        over: Standing,
        /// The home's version.
        version: u64,
    },
    /// Copy what is left of a sealed partition.
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

impl Step {
    /// What it is called in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Record(home) => match home.phase {
                Phase::Settled => "record settled",
                Phase::Copying { .. } => "record copying",
                Phase::Moving { .. } => "record moving",
                Phase::Moved { .. } => "record moved",
                Phase::Returning { .. } => "record returning",
            },
            Self::Seal { .. } => "seal",
            Self::Unseal { .. } => "unseal",
            Self::CopyAhead { .. } => "copy ahead",
            Self::Copy { .. } => "copy",
            Self::Clear { .. } => "clear",
            Self::Await(_) => "await",
            Self::AwaitEvents(_) => "await events",
            Self::Occupied(_) => "occupied",
        }
    }
}

/// What is to be done next, all of it at once; nothing when all is done.
#[must_use]
pub fn decide(home: &Home, want: &Want, seen: &Seen) -> Vec<Step> {
    let here = &home.cell;
    let one = |step| vec![step];
    match &home.phase {
        Phase::Settled => match want {
            // Settled --to another cell--> Copying
            Want::To(to) if to != here => one(begin(home, to, seen)),
            // A seal that somebody has put too late comes off. It is of an earlier version, so that no relocation that begins meanwhile counts it.
            Want::To(_) | Want::Settle => unseal(here, seen),
        },
        // Copying --to stay--> Returning
        Phase::Copying { to } if matches!(want, Want::To(wanted) if wanted == here) => {
            one(Step::Record(home.next(here, Phase::Returning { to: to.clone() })))
        }
        // Copying --little is left--> Moving
        Phase::Copying { to } => ahead(home, to, seen),
        // Moving --to stay, or on its way for too long--> Returning
        Phase::Moving { to, .. } if matches!(want, Want::To(wanted) if wanted == here) || seen.overdue => {
            one(Step::Record(home.next(here, Phase::Returning { to: to.clone() })))
        }
        // Moving --all is sealed and copied--> Moved, the one point of decision
        Phase::Moving { to, .. } => carry(home, to, seen),
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
    if !seen.cells.contains_key(&home.cell) {
        return Step::Await(home.cell.clone());
    }
    let Some(there) = seen.cells.get(to) else { return Step::Await(to.clone()) };
    if there.values().any(|standing| standing.seal.is_none() && standing.seq.is_some()) {
        return Step::Occupied(to.clone());
    }
    Step::Record(home.next(&home.cell, Phase::Copying { to: to.clone() }))
}

/// Nothing is sealed for it, so that it may take its time, and wait.
fn ahead(home: &Home, to: &CellName, seen: &Seen) -> Vec<Step> {
    let Some(source) = seen.cells.get(&home.cell) else { return vec![Step::Await(home.cell.clone())] };
    let Some(target) = seen.cells.get(to) else { return vec![Step::Await(to.clone())] };
    let late = unseal(&home.cell, seen);
    if !late.is_empty() {
        return late;
    }
    let is_near = |seq: Seq, here: &Standing, there: &Standing| {
        there.ahead_for(home).filter(|ahead| ahead.looks > 0 && ahead.generation == here.generation).is_some_and(|ahead| {
            let behind = seq.0.saturating_sub(ahead.seq.0);
            behind <= if ahead.looks < LOOKS { BEHIND } else { FAR_BEHIND }
        })
    };
    let copies = source.iter().filter_map(|(partition, standing)| {
        let over = target.get(partition).copied().unwrap_or_default();
        let (from, to, partition, version) = (home.cell.clone(), to.clone(), partition.clone(), home.version);
        (!is_near(standing.seq?, standing, &over)).then_some(Step::CopyAhead { from, to, partition, over, version })
    });
    let copies: Vec<_> = copies.collect();
    if !copies.is_empty() {
        return copies;
    }
    // With a log that is away it would be sealed for nothing. Those of commits since the copy began to look are not waited for: of who commits without pause some are
    // on their way at each moment.
    let is_left = |(partition, standing): (&PartitionKey, &Standing)| {
        let begun = target.get(partition).and_then(|there| there.ahead_for(home)).map(|ahead| ahead.seq);
        standing.publishing.is_some_and(|first| first <= begun.unwrap_or_default())
    };
    if source.iter().any(is_left) {
        return vec![Step::AwaitEvents(home.cell.clone())];
    }
    vec![Step::Record(home.next(&home.cell, Phase::Moving { to: to.clone(), since: None }))]
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
    if source.values().any(|standing| standing.publishing.is_some()) {
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
