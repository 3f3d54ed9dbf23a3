//! For tests with random input, of this package and of those above it: one seed, printed and taken back.

// Tests alone use it.
#![allow(clippy::expect_used, clippy::missing_panics_doc)]

use proptest::{
    collection,
    prelude::*,
    test_runner::{Config, RngSeed},
};
use serde_json::Value;
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

/// JSON of a few levels, of these texts, its members of these names.
pub fn json<T, N>(text: T, name: N) -> impl Strategy<Value = Value>
where
    T: Strategy<Value = String> + 'static,
    N: Strategy<Value = String> + Clone + 'static,
{
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            collection::vec((name.clone(), inner), 0..3).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
