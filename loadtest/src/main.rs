//! Load generator and kill driver of the platform; see `--help`.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::{Parser, Subcommand};
use loadtest::{
    kill,
    platform::{self, Launch},
};
use std::time::Duration;

/// Load and faults from outside.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Kill the platform during negotiations, transfers and onboarding; check that nothing acknowledged is lost or doubled.
    ///
    /// Needs a `cellspace` built with the feature `failpoints` for the named crash points: CELLSPACE_BINARY names it.
    Kill {
        /// Rounds, one kill each.
        #[arg(long, default_value_t = 30)]
        rounds: u32,
        /// Seed of the random moments; a fresh one is taken and printed without it.
        #[arg(long)]
        seed: Option<u64>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Scenario::Kill { rounds, seed } = Arguments::parse().scenario;
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("seed {seed}");
    let folder = platform::workspace(None)?;
    let launch = Launch {
        binary: platform::binary()?,
        data: folder.path().join("data"),
        log: folder.path().join("log"),
        crash: None,
        idle: Duration::from_millis(300),
    };
    let result = kill::run(&launch, rounds, seed, |line| eprintln!("{line}")).await;
    if result.is_err() {
        eprintln!("data and log are kept in {}", folder.keep().display());
    }
    println!("{:?}", result?);
    Ok(())
}
