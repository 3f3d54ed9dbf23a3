//! For tests with random input, of this package and of those above it: one seed, printed and taken back.

// Tests alone use it.
#![allow(clippy::expect_used, clippy::missing_panics_doc)]

use proptest::test_runner::{Config, RngSeed};
use std::hash::{BuildHasher, RandomState};

/// Environment variable that brings a seed back.
pub const SEED: &str = "CELLSPACE_SEED";

/// The seed of a random test: from [`SEED`] when set, else a fresh one. Printed, so that a failure can be repeated.
#[must_use]
pub fn seed() -> u64 {
    let seed =
        std::env::var(SEED).map_or_else(|_| RandomState::new().hash_one(SEED), |text| text.parse().expect("CELLSPACE_SEED is a number"));
    println!("seed {seed}: repeat with {SEED}={seed}");
    seed
}

/// The configuration of every property test: its cases follow from [`seed`], and failures leave no files behind.
#[must_use]
pub fn proptest_config() -> Config {
    Config { rng_seed: RngSeed::Fixed(seed()), failure_persistence: None, ..Config::default() }
}
