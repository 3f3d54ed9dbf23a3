//! How evenly slots, and participants by them, are dealt over the nodes of a cell, and how many slots move when a node comes or goes: the product's ring.

use anyhow::{Context, Result};
use cellspace_cluster::{NodeName, Ring};
use cellspace_schemas::Owner;
use cellspace_storage::Slot;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Nodes of a cell.
const NODES: RangeInclusive<usize> = 3..=12;
/// Cells of each size, each with other names.
const CELLS: usize = 32;
/// Participants of a cell.
const PARTICIPANTS: usize = 100_000;

/// What was found, over cells of all sizes and names.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Slots of the node that has most by those of one on average, in the worst cell.
    pub slots_most_to_mean: f64,
    /// The same of participants.
    pub participants_most_to_mean: f64,
    /// Slots that move when a node comes by the fair share of one, in the median and in the worst cell. As many move when it goes.
    pub moved_to_ideal_p50: f64,
    pub moved_to_ideal_most: f64,
    /// Cells that were looked at.
    pub cells: usize,
}

/// Most of one by the mean over all.
fn most_to_mean(counts: &BTreeMap<NodeName, usize>, nodes: usize) -> f64 {
    let (most, all) = (counts.values().max().copied().unwrap_or_default(), counts.values().sum::<usize>());
    ratio(most * nodes, all)
}

fn ratio(of: usize, to: usize) -> f64 {
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let ratio = of as f64 / to as f64;
    ratio
}

/// How many of these each node has.
fn shares(ring: &Ring, slots: impl Iterator<Item = Slot>) -> Result<BTreeMap<NodeName, usize>> {
    let mut shares = BTreeMap::new();
    for slot in slots {
        *shares.entry(ring.owner(slot).context("a slot without an owner")?.clone()).or_default() += 1;
    }
    Ok(shares)
}

/// Looks at cells of all sizes.
///
/// # Errors
/// When a slot has no owner.
pub fn measure(seed: u64) -> Result<Figures> {
    let mut random = StdRng::seed_from_u64(seed);
    let participants = (0..PARTICIPANTS).map(|n| Ok(Slot::of(&Owner::new(format!("participant-{n}"))?))).collect::<Result<Vec<_>>>()?;
    let (mut of_slots, mut of_participants, mut moved, mut cells) = (0.0_f64, 0.0_f64, Vec::new(), 0);
    for _ in 0..CELLS {
        let prefix: String = (0..random.random_range(1..=12)).map(|_| random.random_range('a'..='z')).collect();
        let names: Vec<NodeName> = (0..=*NODES.end()).map(|n| NodeName(format!("{prefix}{n}"))).collect();
        let ring = |nodes: usize| Ring::of(names.get(..nodes).unwrap_or_default(), cellspace_storage::slot::SLOTS);
        let mut ring_now = ring(*NODES.start());
        for nodes in NODES {
            let next = ring(nodes + 1);
            let shares_now = shares(&ring_now, Slot::all())?;
            of_slots = of_slots.max(most_to_mean(&shares_now, nodes));
            of_participants = of_participants.max(most_to_mean(&shares(&ring_now, participants.iter().copied())?, nodes));
            // Its fair share is what must go to the node that comes.
            let must = usize::from(cellspace_storage::slot::SLOTS) / (nodes + 1);
            moved.push(ratio(Slot::all().filter(|slot| ring_now.owner(*slot) != next.owner(*slot)).count(), must));
            (ring_now, cells) = (next, cells + 1);
        }
    }
    moved.sort_by(f64::total_cmp);
    let (half, most) = (moved.get(moved.len() / 2), moved.last());
    Ok(Figures {
        slots_most_to_mean: of_slots,
        participants_most_to_mean: of_participants,
        moved_to_ideal_p50: half.copied().context("no cells")?,
        moved_to_ideal_most: most.copied().context("no cells")?,
        cells,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_compared_with_the_mean() {
        let counts = |counts: [usize; 3]| counts.into_iter().enumerate().map(|(n, count)| (NodeName(n.to_string()), count)).collect();
        assert!((most_to_mean(&counts([10, 10, 10]), 3) - 1.0).abs() < 1e-9);
        assert!((most_to_mean(&counts([12, 9, 9]), 3) - 1.2).abs() < 1e-9);
    }
}
