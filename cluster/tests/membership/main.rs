//! Seeded histories of a cell: nodes that crash, pause beyond their lease, join, leave and change their version, cut and late networks, a store that loses,
//! delays and reorders, clocks that drift. The nodes run the product's own membership core.
//!
//! `CELLSPACE_HISTORIES` says how many (default 100), `CELLSPACE_SEED` where to begin.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod bug;
mod process;
#[path = "../common/search.rs"]
mod search;
mod store;
mod world;

use bug::Bug;
use cellspace_cluster::membership::Rings;
use cellspace_schemas::testkit::{self, SEED};
use search::{Found, HISTORIES, histories};
use std::time::Instant;
use world::{SLOTS, World};

/// Steps, acknowledged commands and views.
type Figures = [u64; 3];

fn search(seed: u64, count: u64, bug: Option<Bug>) -> Found<Figures> {
    let rings = Rings::new(SLOTS);
    let one = |seed| {
        let mut world = World::new(seed, rings.clone(), bug);
        let outcome = world.run();
        (outcome, [world.steps, world.acks, world.views])
    };
    search::search(seed, count, one, |all: &mut Figures, came| all.iter_mut().zip(came).for_each(|(all, came)| *all += came))
}

/// Invariants FENCE, ACK, EFFECT, OUTBOX, LEASE and ISOLATION at every step, and LIVE after the faults.
#[test]
fn histories_keep_the_invariants() {
    let seed = testkit::seed();
    let began = Instant::now();
    let Found { broken, run, figures: [steps, acks, views] } = search(seed, histories(100), None);
    if let Some((seed, broken)) = broken {
        panic!("{broken}\nrepeat with {SEED}={seed} {HISTORIES}=1 cargo test -p cellspace-cluster --test membership histories");
    }
    let rate = u128::from(run) * 1_000 / began.elapsed().as_millis().max(1);
    println!("{run} histories, {rate} a second: {steps} steps, {acks} acknowledged commands, {views} views");
    assert!(acks > run * 100 && views > run * 4, "{acks} commands and {views} views in {run} histories: that shows nothing");
}

/// Leases are for reads and effects: commits are safe without any of them.
#[test]
fn commits_are_safe_without_leases() {
    let Found { broken, .. } = search(testkit::seed(), histories(100).div_ceil(2), Some(Bug::OnlyFenced));
    if let Some((seed, broken)) = broken {
        panic!("{broken}\nrepeat with {SEED}={seed} {HISTORIES}=1 cargo test -p cellspace-cluster --test membership without_leases");
    }
}

/// A seed is a history.
#[test]
fn a_seed_repeats() {
    let play = |seed| {
        let mut world = World::new(seed, Rings::new(SLOTS), None);
        (world.run(), world.steps, world.acks, world.views)
    };
    let first = testkit::seed();
    let seeds = || first..first.saturating_add(20);
    let (one, two): (Vec<_>, Vec<_>) = (seeds().map(play).collect(), seeds().map(play).collect());
    assert_eq!(one, two, "from seed {first} on");
}

/// Each rule is broken once, and an invariant finds it.
#[test]
fn broken_rules_are_found() {
    let expected = [
        (Bug::NoLeaseCheck, "LEASE"),
        (Bug::LateStart, "LEASE"),
        (Bug::LeaseWithoutView, "LEASE LIVE"),
        (Bug::SleepingClock, "LEASE"),
        (Bug::OpensAtOnce, "LEASE"),
        (Bug::ReleasesWhatItServes, "LEASE"),
        (Bug::KeepsActivations, "LEASE"),
        (Bug::UnconditionalClaims, "FENCE"),
        (Bug::ClaimsOverNewer, "FENCE"),
        (Bug::UnknownIsNotExecuted, "ACK"),
        (Bug::AnswersBeforeCommit, "ACK"),
        (Bug::SendsBeforeCommit, "EFFECT"),
        (Bug::SendsWithoutLease, "OUTBOX"),
        (Bug::LaneOutOfOrder, "OUTBOX"),
        (Bug::NeverBuries, "LIVE"),
        (Bug::FollowsAtOnce, "LEASE"),
    ];
    let mut missed = Vec::new();
    for (bug, invariant) in expected {
        let Found { broken, run, .. } = search(1, 2_000, Some(bug));
        println!("{bug:?}: {broken:?} after {run} histories");
        if !broken.is_some_and(|(_, broken)| invariant.split(' ').any(|name| broken.contains(name))) {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found as expected: {missed:?}");
}
