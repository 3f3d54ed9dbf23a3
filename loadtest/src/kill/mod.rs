//! Kill -9 loses and doubles nothing: rounds of work during which the platform is killed, and a check of both sides at the end.
//!
//! The client repeats unanswered calls with the same `Idempotency-Key`. In each round the process ends at a named crash point or at a random
//! moment, and is started again on the same data. Most of a round is waiting (a started platform refuses for a moment tokens that it may have
//! seen before), so rounds are dealt to lanes: platforms of their own, side by side.

mod figures;
mod lane;
mod verify;
mod work;

pub use figures::measured;

use crate::{measure::counters::Counters, platform::Launch, transcript::Tape};
use anyhow::{Result, ensure};
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// Places where the process ends.
pub const POINTS: [&str; 7] = [
    "in-activation",
    "before-commit",
    "after-commit-before-reply",
    "after-reply-before-send",
    "after-send-before-outcome",
    "in-activity",
    "in-passivation",
];
/// Platforms side by side.
pub const LANES: u32 = 3;

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The `cellspace` executable, with crash points.
    pub binary: PathBuf,
    /// Where each lane keeps data and log.
    pub folder: PathBuf,
    /// Rounds in all.
    pub rounds: u32,
    /// What decides about points and moments. The same seed plays the same plan; where it hits depends on the machine too.
    pub seed: u64,
    /// Takes samples of what the client and the admin listeners say.
    pub tape: Option<Arc<Tape>>,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Rounds played.
    pub rounds: u32,
    /// Times that the process was killed at a random moment.
    pub kills: u32,
    /// Times that it ended at each named point that was armed.
    pub points: BTreeMap<&'static str, u32>,
    /// Times that it ended once more while it was starting again.
    pub relapses: u32,
    /// Negotiations acknowledged, all found FINALIZED once on both sides.
    pub negotiations: usize,
    /// Transfers acknowledged, all found once on both sides, STARTED or as they were ended.
    pub transfers: usize,
    /// Data sets pulled whole.
    pub pulls: usize,
    /// Assets, each with its source, policy and offer.
    pub assets: usize,
    /// Participants onboarded under fire, each with exactly its credentials.
    pub participants: usize,
    /// Of these, disposed of under fire.
    pub disposed: usize,
    /// How long each round took.
    #[serde(skip)]
    pub took: Vec<Duration>,
    /// What the last process counted.
    #[serde(skip)]
    pub last: Counters,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.kills += other.kills;
        self.relapses += other.relapses;
        for (point, count) in other.points {
            *self.points.entry(point).or_default() += count;
        }
        self.negotiations += other.negotiations;
        self.transfers += other.transfers;
        self.pulls += other.pulls;
        self.assets += other.assets;
        self.participants += other.participants;
        self.disposed += other.disposed;
        self.took.extend(other.took);
        self.last.commits += other.last.commits;
        self.last.syncs += other.last.syncs;
        self.last.bytes += other.last.bytes;
        self.last.resident += other.last.resident;
    }
}

/// What ends the process in a round: every second time a random moment, the named points in turn between.
const fn point_of(round: u32) -> Option<&'static str> {
    if round % 2 == 1 { None } else { Some(POINTS[(round / 2) as usize % POINTS.len()]) }
}

/// Plays a plan.
///
/// # Errors
/// At the first promise that was not kept; the message names lane, round, point and seed.
pub async fn run(plan: &Plan, tell: impl Fn(String) + Sync) -> Result<Report> {
    let lanes = LANES.min(plan.rounds.max(1));
    let played = (0..lanes).map(|number| {
        let dir = plan.folder.join(format!("lane-{number}"));
        let launch = Launch {
            binary: plan.binary.clone(),
            data: dir.join("data"),
            log: dir.join("log"),
            crash: None,
            arguments: ["--status-list-age", "2s", "--idle-after", "300ms"].map(str::to_owned).into(),
        };
        let rounds = (number..plan.rounds).step_by(lanes as usize).collect();
        let tell = &tell;
        async move {
            std::fs::create_dir_all(&dir)?;
            lane::play(&launch, number, rounds, plan, tell).await
        }
    });
    let mut report = Report::default();
    for lane in futures::future::try_join_all(played).await? {
        report.add(lane);
    }
    let missed: Vec<&str> = report.points.iter().filter(|(_, count)| **count == 0).map(|(point, _)| *point).collect();
    ensure!(missed.is_empty(), "the process never ended at {missed:?} in {} rounds of seed {}", plan.rounds, plan.seed);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_rounds_meet_every_point_twice_and_half_of_them_are_random() {
        let points: Vec<_> = (0..30).filter_map(point_of).collect();
        assert_eq!(points.len(), 15);
        assert!(POINTS.iter().all(|point| points.iter().filter(|other| *other == point).count() >= 2));
    }
}
