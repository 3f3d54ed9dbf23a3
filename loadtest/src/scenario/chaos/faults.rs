//! What is done to the cell, one thing after the other; after each it is whole again.

use super::{
    kafka::{self, Away},
    load::Place,
};
use crate::cell::{Cell, GATEWAY, NEWCOMER, NODES};
use anyhow::{Context, Result};
use clap::ValueEnum;
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::time::{sleep, sleep_until};

/// Longest time until a node that may serve nothing any more has ended.
const ENDS: Duration = Duration::from_secs(60);
/// After a node's death others are watched for so long.
pub const WATCHED: Duration = Duration::from_secs(8);
/// Before it, and before Kafka's, nothing is done for so long, in the second half of which everything is as usual.
pub const CALM: Duration = Duration::from_secs(4);

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// A node is killed (SIGKILL) and started again: at once, when the others have found it dead, or some seconds later.
    Kill,
    /// A node stands still beyond its lease (SIGSTOP), and goes on.
    Pause,
    /// A node is told to drain, and started again.
    Drain,
    /// A node comes.
    Add,
    /// It goes.
    Remove,
    /// A node of Cassandra is killed and started again.
    Cassandra,
    /// Kafka is killed (SIGKILL) and started again some ten seconds later; somebody comes in meanwhile.
    Kafka,
    /// Ways between nodes are cut: all of one node, or one in one direction.
    Cut,
}

impl Fault {
    /// All that can happen with so many nodes of Cassandra.
    #[must_use]
    pub fn possible(cassandra: u8) -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|fault| cassandra > 2 || *fault != Self::Cassandra).collect()
    }

    /// As it is told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Drain => "drain",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Cassandra => "cassandra",
            Self::Kafka => "kafka",
            Self::Cut => "cut",
        }
    }
}

/// A node that was killed.
#[derive(Debug, Clone, Copy)]
pub struct Killed {
    /// Which one.
    pub node: &'static str,
    /// Since when everything was as usual before; `None`: other things were done just before it and just after it.
    pub usual: Option<Instant>,
    /// When.
    pub at: Instant,
    /// When its process was started again.
    pub again: Instant,
    /// Whether it was one of the first three alone, so that it is known whom it served.
    pub known: bool,
}

impl Killed {
    /// Whether its process was not started again meanwhile: on a machine of its own, as in a real cell, it takes nothing from the others.
    pub fn stayed_dead(&self) -> bool {
        self.again >= self.at + WATCHED
    }
}

/// Faults in a random order: each kind once, then each kind once more.
pub struct Faults {
    kinds: Vec<Fault>,
    next: Vec<Fault>,
    random: StdRng,
    grown: bool,
    /// Nodes that were killed.
    pub killed: Vec<Killed>,
    /// Times when Kafka was away.
    pub aways: Vec<Away>,
}

impl Faults {
    /// Of these kinds.
    pub fn new(mut kinds: Vec<Fault>, random: StdRng) -> Self {
        kinds.sort_unstable();
        kinds.dedup();
        Self { kinds, next: Vec::new(), random, grown: false, killed: Vec::new(), aways: Vec::new() }
    }

    /// The next kind, which may happen now.
    pub fn next(&mut self) -> Option<Fault> {
        if self.next.is_empty() {
            self.next.clone_from(&self.kinds);
            self.next.shuffle(&mut self.random);
        }
        let (grown, may) = (self.grown, |fault: &Fault, grown: bool| match fault {
            Fault::Add => !grown,
            Fault::Remove => grown,
            _ => true,
        });
        let place = self.next.iter().rposition(|fault| may(fault, grown))?;
        Some(self.next.remove(place))
    }

    /// Does it, and waits until the cell is whole again.
    ///
    /// # Errors
    /// When it is not.
    pub async fn inflict(&mut self, cell: &mut Cell, place: &Place, fault: Fault) -> Result<()> {
        let members = self.members();
        let node = *members.get(self.random.random_range(0..members.len())).context("a node")?;
        match fault {
            Fault::Kill => {
                let killed = self.kill(cell, node).await?;
                self.killed.push(killed);
            }
            Fault::Pause => self.pause(cell, node).await?,
            Fault::Drain => {
                cell.drain(node).await?;
                let status = cell.ended(node, ENDS * 3).await?;
                anyhow::ensure!(status.success(), "the drained node {node} ended with {status}");
                cell.up(node).await?;
            }
            Fault::Add => {
                cell.up(NEWCOMER).await?;
                self.grown = true;
            }
            Fault::Remove => {
                cell.end(NEWCOMER).await?;
                self.grown = false;
            }
            Fault::Cassandra => {
                let node = self.random.random_range(1..=cell.services().nodes);
                cell.services().kill_cassandra(node).await?;
                sleep(Duration::from_millis(self.random.random_range(2_000..8_000))).await;
                cell.services().mend_cassandra().await?;
            }
            Fault::Kafka => {
                let time = Duration::from_millis(self.random.random_range(8_000..12_000));
                self.aways.push(kafka::taken_away(cell, place, time).await?);
            }
            Fault::Cut => {
                cell.network().cut(self.ways(node, &members));
                sleep(Duration::from_millis(self.random.random_range(1_000..8_000))).await;
                cell.network().cut(BTreeSet::new());
            }
        }
        cell.settled(&self.members()).await?;
        Ok(())
    }

    /// In the order of their names.
    pub fn members(&self) -> Vec<&'static str> {
        NODES.into_iter().chain(self.grown.then_some(NEWCOMER)).collect()
    }

    async fn kill(&mut self, cell: &mut Cell, node: &'static str) -> Result<Killed> {
        // Now and then one thing follows another as fast as it can; what a death alone does to others is seen after the rest.
        let hurried = self.random.random_bool(0.25);
        let usual = if hurried {
            None
        } else {
            sleep(CALM).await;
            Some(Instant::now() - CALM / 2)
        };
        let at = Instant::now();
        cell.kill(node).await?;
        let watched = || sleep_until((at + WATCHED).into());
        match self.random.random_range(0..4) {
            0 => {}
            1 => {
                let others: Vec<_> = self.members().into_iter().filter(|member| *member != node).collect();
                cell.settled(&others).await?;
            }
            _ => watched().await,
        }
        let again = Instant::now();
        cell.up(node).await?;
        if !hurried {
            watched().await;
        }
        Ok(Killed { node, usual, at, again, known: !self.grown })
    }

    async fn pause(&mut self, cell: &mut Cell, node: &'static str) -> Result<()> {
        cell.signal(node, "STOP").await?;
        sleep(Duration::from_millis(self.random.random_range(4_000..8_000))).await;
        cell.signal(node, "CONT").await?;
        // The others have found it dead: it has to end, and whoever runs it starts it again.
        cell.ended(node, ENDS).await?;
        cell.up(node).await
    }

    /// All ways of a node, or one of them.
    fn ways(&mut self, node: &str, members: &[&'static str]) -> BTreeSet<(String, String)> {
        let others: Vec<&str> = members.iter().copied().chain([GATEWAY]).filter(|other| *other != node).collect();
        let both = |other: &&str| [((*other).to_owned(), node.to_owned()), (node.to_owned(), (*other).to_owned())];
        let all: Vec<_> = others.iter().flat_map(both).collect();
        if self.random.random_bool(0.5) {
            return all.into_iter().collect();
        }
        let one = self.random.random_range(0..all.len());
        all.into_iter().skip(one).take(1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn every_kind_comes_once_before_one_comes_again_and_a_node_goes_only_after_it_came() {
        for seed in 0..50 {
            let mut faults = Faults::new(Fault::value_variants().to_vec(), StdRng::seed_from_u64(seed));
            for _ in 0..3 {
                let mut cycle = Vec::new();
                for _ in 0..Fault::value_variants().len() {
                    let fault = faults.next().unwrap();
                    assert_ne!((fault, faults.grown), (Fault::Remove, false));
                    faults.grown = fault == Fault::Add || (faults.grown && fault != Fault::Remove);
                    cycle.push(fault);
                }
                cycle.sort_unstable();
                assert_eq!(cycle, Fault::value_variants());
            }
        }
        let mut only = Faults::new(vec![Fault::Remove], StdRng::seed_from_u64(0));
        assert_eq!(only.next(), None);
    }
}
