//! Seeded histories of a cell: nodes that crash, pause beyond their lease, join, leave and change their version, cut and late networks, a store that loses,
//! delays and reorders, clocks that drift. The nodes run the product's own membership core.
//!
//! `CELLSPACE_HISTORIES` says how many (default 100), `CELLSPACE_SEED` where to begin.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod process;
mod store;
mod world;

use cellspace_cluster::membership::Rings;
use cellspace_schemas::testkit::{self, SEED};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Instant,
};
use world::{Bug, SLOTS, World};

const HISTORIES: &str = "CELLSPACE_HISTORIES";

fn histories() -> u64 {
    std::env::var(HISTORIES).map_or(100, |text| text.parse().unwrap())
}

/// Runs histories from `seed` on, on all processors, until one breaks an invariant.
fn search(seed: u64, count: u64, bug: Option<Bug>) -> (Option<(u64, String)>, [u64; 4]) {
    let (next, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let figures: [AtomicU64; 4] = Default::default();
    let rings = Rings::new(SLOTS);
    let work = || {
        while !done.load(Relaxed) {
            let n = next.fetch_add(1, Relaxed);
            if n >= count {
                break;
            }
            let seed = seed.wrapping_add(n);
            let mut world = World::new(seed, rings.clone(), bug);
            let outcome = world.run();
            for (figure, value) in figures.iter().zip([1, world.steps, world.acks, world.views]) {
                figure.fetch_add(value, Relaxed);
            }
            if let Err(broken) = outcome {
                done.store(true, Relaxed);
                return Some((seed, broken));
            }
        }
        None
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().filter_map(|thread| thread.join().unwrap()).min()
    });
    (found, figures.map(AtomicU64::into_inner))
}

/// Invariants FENCE, ACK, EFFECT, OUTBOX, LEASE and ISOLATION at every step, and LIVE after the faults.
#[test]
fn histories_keep_the_invariants() {
    let seed = testkit::seed();
    let began = Instant::now();
    let (found, [run, steps, acks, views]) = search(seed, histories(), None);
    if let Some((seed, broken)) = found {
        panic!("{broken}\nrepeat with {SEED}={seed} {HISTORIES}=1 cargo test -p cellspace-cluster --test membership histories");
    }
    let rate = u128::from(run) * 1_000 / began.elapsed().as_millis().max(1);
    println!("{run} histories, {rate} a second: {steps} steps, {acks} acknowledged commands, {views} views");
    assert!(acks > run * 100 && views > run * 4, "{acks} commands and {views} views in {run} histories: that shows nothing");
}

/// Leases are for reads and effects: commits are safe without any of them.
#[test]
fn commits_are_safe_without_leases() {
    let (found, [run, ..]) = search(testkit::seed(), histories() / 2, Some(Bug::OnlyFenced));
    assert_eq!(found, None, "after {run} histories");
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
    ];
    let mut missed = Vec::new();
    for (bug, invariant) in expected {
        let (found, [run, ..]) = search(1, 2_000, Some(bug));
        println!("{bug:?}: {found:?} after {run} histories");
        if !found.is_some_and(|(_, broken)| invariant.split(' ').any(|name| broken.contains(name))) {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found as expected: {missed:?}");
}
