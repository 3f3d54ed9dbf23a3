//! Seeded histories of whole nodes: the product's runtime and cell, several in one process, over a store, a network and clocks that are simulated: crashes,
//! restarts, processes that are paused beyond their lease, cuts of one way and of both, requests that are lost, late, or of an unknown outcome, clocks that
//! drift, nodes that join and leave, versions that roll. Time is paused, and all
//! chance follows from the seed: a history is the same each time, on whichever machine.
//!
//! Which invariant is looked at where, beside the tests of each part:
//!
//! | invariant | `membership` | here |
//! |---|---|---|
//! | FENCE, ACK, EFFECT, ISOLATION | of a model of activations, at each step | of the product's, as each commit lands, each effect leaves, each answer comes |
//! | OUTBOX | lanes in order, rows end | the same over restarts, breakers and a wake index of pages |
//! | TIMER, STATE | no: it has neither deadlines nor a table of steps | every alarm rings once, and not before it is due; no step that the table does not have |
//! | LEASE | no slot is served by two, no read is old | the same of agents |
//! | LIVE | all slots are served soon, by lives of whichever level | every agent is, by way of every node, and nothing is left to do |
//!
//! And here alone: a token that goes with a command counts once, and who is told of a slot is told by who served it last (what nodes know beside the store goes with
//! the slot), also while views follow each other faster than nodes look at them; and nodes that speak different versions of the link, which do not understand
//! each other.
//!
//! `CELLSPACE_HISTORIES` says how many (default 20), `CELLSPACE_SEED` where to begin; `CELLSPACE_TRACE` tells what happened.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod agent;
mod bug;
mod clients;
mod dice;
mod gate;
mod history;
mod node;
mod peers;
mod repeats;
mod rows;
mod store;
mod storm;
mod tokens;
mod waver;
mod world;

#[path = "../common/search.rs"]
mod search;

use bug::Bug;
use cellspace_schemas::testkit::{self, SEED};
use history::{Figures, history};
use search::{Found, HISTORIES, histories};
use std::time::Instant;

fn search(seed: u64, count: u64, bug: Option<Bug>) -> Found<Figures> {
    let traced = std::env::var_os("CELLSPACE_TRACE").is_some();
    let one = |seed| {
        let (outcome, came) = history(seed, bug, traced);
        came.trace.iter().for_each(|line| println!("{line}"));
        (outcome, Figures { trace: Vec::new(), ..came })
    };
    search::search(seed, count, one, |all: &mut Figures, came| {
        all.acks += came.acks;
        all.reads += came.reads;
        all.commits += came.commits;
        all.views += came.views;
        all.repeats += came.repeats;
        all.told += came.told;
    })
}

/// Invariants FENCE, ACK, EFFECT, OUTBOX, TIMER, STATE and ISOLATION at every step, LEASE whenever a client begins something, and LIVE after the faults.
#[test]
fn histories_of_whole_nodes_keep_the_invariants() {
    let seed = testkit::seed();
    let began = Instant::now();
    let Found { broken, run, figures: Figures { acks, reads, commits, views, repeats, told, .. } } = search(seed, histories(20), None);
    if let Some((seed, broken)) = broken {
        panic!("{broken}\nrepeat with {SEED}={seed} {HISTORIES}=1 cargo test -p cellspace-cluster --test histories whole_nodes");
    }
    let rate = u128::from(run) * 1_000 / began.elapsed().as_millis().max(1);
    println!(
        "{run} histories, {rate} a second: {acks} acknowledged commands, {reads} reads, {commits} commits, {views} views, {repeats} repeats, {told} slots told of"
    );
    let enough = acks > run * 30 && reads > run * 4 && views > run * 3 && repeats > run / 8 && told > run / 8;
    assert!(enough || run < 20, "that shows nothing");
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
        Bug::LosesPages,
        Bug::ForgetsTokens,
        Bug::TrustsOpenings,
        Bug::TrustsDeadOwners,
        Bug::TellsBeforeItOpens,
        Bug::TellsOfOthers,
        Bug::KeepsWhatItHeard,
        Bug::TakesLateAnswers,
        Bug::GuessesAtWires,
    ];
    let mut missed = Vec::new();
    for bug in all {
        // By whichever invariant sees first what it leads to.
        let Found { broken, run, .. } = search(1, 400, Some(bug));
        println!("{bug:?}: {broken:?} after {run} histories");
        if broken.is_none() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
