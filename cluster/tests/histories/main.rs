//! Seeded histories of whole nodes: the product's runtime and cell, several in one process, over a store, a network and clocks that are simulated: crashes,
//! restarts, processes that are paused beyond their lease, cuts of one way and of both, requests that are lost, late, or of an unknown outcome, clocks that
//! drift, nodes that join and leave, versions that roll. Time is paused, and chance follows from the seed.
//!
//! `CELLSPACE_HISTORIES` says how many (default 20), `CELLSPACE_SEED` where to begin; `CELLSPACE_TRACE` tells what happened.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod agent;
mod bug;
mod clients;
mod dice;
mod history;
mod node;
mod store;
mod storm;
mod world;

use bug::Bug;
use cellspace_schemas::testkit::{self, SEED};
use history::{Figures, history};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

const HISTORIES: &str = "CELLSPACE_HISTORIES";

fn histories() -> u64 {
    std::env::var(HISTORIES).map_or(20, |text| text.parse().unwrap())
}

/// Runs histories from `seed` on, on all processors, until one breaks an invariant.
fn search(seed: u64, count: u64, bug: Option<Bug>) -> (Option<(u64, String)>, u64, Figures) {
    let (next, done, run) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let figures = Mutex::new(Figures::default());
    let traced = std::env::var_os("CELLSPACE_TRACE").is_some();
    let work = || {
        while !done.load(Relaxed) {
            let n = next.fetch_add(1, Relaxed);
            if n >= count {
                break;
            }
            let seed = seed.wrapping_add(n);
            let (outcome, came) = history(seed, bug, traced);
            came.trace.iter().for_each(|line| println!("{line}"));
            run.fetch_add(1, Relaxed);
            let mut all = figures.lock().unwrap();
            all.acks += came.acks;
            all.reads += came.reads;
            all.commits += came.commits;
            all.views += came.views;
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
    (found, run.load(Relaxed), figures.into_inner().unwrap())
}

/// Invariants FENCE, ACK, EFFECT, OUTBOX, TIMER, STATE, ISOLATION and LEASE at every step, and LIVE after the faults.
#[test]
fn histories_of_whole_nodes_keep_the_invariants() {
    let seed = testkit::seed();
    let began = Instant::now();
    let (found, run, Figures { acks, reads, commits, views, .. }) = search(seed, histories(), None);
    if let Some((seed, broken)) = found {
        panic!("{broken}\nrepeat with {SEED}={seed} {HISTORIES}=1 cargo test -p cellspace-cluster --test histories whole_nodes");
    }
    let rate = u128::from(run) * 1_000 / began.elapsed().as_millis().max(1);
    println!("{run} histories, {rate} a second: {acks} acknowledged commands, {reads} reads, {commits} commits, {views} views");
    assert!(acks > run * 50 && reads > run * 10 && views > run * 3, "that shows nothing");
}

/// A seed is a history: run twice, the same things happen at the same times.
#[test]
fn a_seed_repeats() {
    let seed = testkit::seed();
    for seed in seed..seed.saturating_add(3) {
        let (one, two) = (history(seed, None, true), history(seed, None, true));
        let differ = one.1.trace.iter().zip(&two.1.trace).position(|(one, two)| one != two);
        let around = differ.map(|n| (&one.1.trace[n.saturating_sub(5)..=n], &two.1.trace[n]));
        assert!(one.1.trace.len() > 100, "{} things happened", one.1.trace.len());
        assert_eq!(around, None, "seed {seed}");
        assert_eq!((one.0, one.1.trace.len()), (two.0, two.1.trace.len()));
    }
}

/// Each rule is broken once, and an invariant finds it.
#[test]
fn broken_rules_are_found() {
    let expected = [
        (Bug::CommitsOverClaims, "FENCE"),
        (Bug::AppliesNothing, "ACK"),
        (Bug::UnknownIsFenced, "ACK FENCE"),
        (Bug::ForgetsOutbox, "OUTBOX"),
        // What comes out of order takes steps that the table does not have.
        (Bug::ShufflesOutbox, "OUTBOX STATE"),
        (Bug::MissesAwake, "OUTBOX"),
        (Bug::MissesDue, "TIMER"),
        (Bug::MixesOwners, "ISOLATION"),
        (Bug::LawlessAgent, "STATE"),
        (Bug::SendsEarly, "EFFECT"),
        (Bug::SleepingClock, "LEASE"),
        (Bug::WildClocks, "LEASE"),
        // What is served beside the one who may is old: seen as it is read, or at the end.
        (Bug::PeersLie, "LEASE ACK"),
        (Bug::NeverBuries, "LIVE"),
    ];
    let mut missed = Vec::new();
    for (bug, invariant) in expected {
        let (found, run, _) = search(1, 400, Some(bug));
        println!("{bug:?}: {found:?} after {run} histories");
        if !found.is_some_and(|(_, broken)| invariant.split(' ').any(|name| broken.contains(name))) {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found as expected: {missed:?}");
}
