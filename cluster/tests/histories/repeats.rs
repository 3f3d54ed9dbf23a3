//! A seed is a history: whenever and wherever it is run, the same happens at the same times in the same order.

use super::{bug::Bug, history::history};
use cellspace_schemas::testkit::{self, SEED};
use std::{process::Command, thread};
use xxhash_rust::xxh3::xxh3_64;

/// Seeds that are run more than once.
const SEEDS: u64 = 3;
/// Environment variable of the process that runs them once more: it says what came of each, and compares nothing.
const DIGESTS: &str = "CELLSPACE_DIGESTS";

fn trace(seed: u64, bug: Option<Bug>) -> Vec<String> {
    let (outcome, came) = history(seed, bug, true);
    came.trace.into_iter().chain([format!("{outcome:?}")]).collect()
}

/// The first thing that is not the same, with some of what was before it.
fn difference(one: &[String], two: &[String]) -> Option<String> {
    let differs = one.iter().zip(two).position(|(one, two)| one != two);
    let differs = differs.or_else(|| (one.len() != two.len()).then_some(one.len().min(two.len())))?;
    let before = one[differs.saturating_sub(10)..differs].join("\n");
    Some(format!("the same until\n{before}\nthen\n{:?}\nor\n{:?}", one.get(differs), two.get(differs)))
}

fn digest(seed: u64, trace: &[String]) -> String {
    format!("seed {seed} comes to {:016x}", xxh3_64(trace.join("\n").as_bytes()))
}

#[test]
fn a_seed_repeats() {
    let first = testkit::seed();
    let seeds = first..first.saturating_add(SEEDS);
    if std::env::var_os(DIGESTS).is_some() {
        return seeds.for_each(|seed| println!("{}", digest(seed, &trace(seed, None))));
    }
    // Another process has its memory elsewhere, and another chance.
    let process = Command::new(std::env::current_exe().unwrap())
        .args(["repeats::a_seed_repeats", "--exact", "--nocapture"])
        .env(SEED, first.to_string())
        .env(DIGESTS, "1")
        .output()
        .unwrap();
    let elsewhere = String::from_utf8(process.stdout).unwrap();
    for seed in seeds {
        let (one, two) = thread::scope(|scope| {
            let two = scope.spawn(|| trace(seed, None));
            (trace(seed, None), two.join().unwrap())
        });
        assert!(one.len() > 1_000, "{} things happened: that shows nothing", one.len());
        assert_eq!(difference(&one, &two).unwrap_or_default(), "", "seed {seed}");
        let digest = digest(seed, &one);
        assert!(elsewhere.lines().any(|line| line == digest), "{digest}, and in another process:\n{elsewhere}");
    }
}

/// What does not follow from the seed is seen.
#[test]
fn chance_of_its_own_is_found() {
    let seeds = 1..20;
    let found = seeds.into_iter().find_map(|seed| difference(&trace(seed, Some(Bug::RollsDice)), &trace(seed, Some(Bug::RollsDice))));
    assert!(found.is_some());
}
