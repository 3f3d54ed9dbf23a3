//! Seeded histories of whole nodes: the product's runtime and cell, several in one process, over a store, a network and clocks that are simulated: crashes,
//! restarts, processes that are paused beyond their lease, cuts of one way and of both, requests that are lost, late, or of an unknown outcome, clocks that
//! drift, nodes that join and leave, versions that roll. Time is paused, and chance follows from the seed. In
//! which order tasks go on that one thing has woken does not, so that some histories are not the same twice.
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
        panic!("{broken}\nrun again with {SEED}={seed} {HISTORIES}=1 cargo test -p cellspace-cluster --test histories whole_nodes");
    }
    let rate = u128::from(run) * 1_000 / began.elapsed().as_millis().max(1);
    println!("{run} histories, {rate} a second: {acks} acknowledged commands, {reads} reads, {commits} commits, {views} views");
    assert!(acks > run * 50 && reads > run * 10 && views > run * 3, "that shows nothing");
}

/// Each rule is broken once, and an invariant finds it.
#[test]
fn broken_rules_are_found() {
    let all = [
        Bug::CommitsOverClaims,
        Bug::AppliesNothing,
        Bug::UnknownIsFenced,
        Bug::ForgetsOutbox,
        Bug::ShufflesOutbox,
        Bug::MissesAwake,
        Bug::MissesDue,
        Bug::MixesOwners,
        Bug::LawlessAgent,
        Bug::SendsEarly,
        Bug::SleepingClock,
        Bug::WildClocks,
        Bug::PeersLie,
        Bug::NeverBuries,
    ];
    let mut missed = Vec::new();
    for bug in all {
        // By whichever invariant sees first what it leads to.
        let (found, run, _) = search(1, 400, Some(bug));
        println!("{bug:?}: {found:?} after {run} histories");
        if found.is_none() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
