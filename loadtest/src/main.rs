//! Plays scenarios against the platform; see `--help`.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::{Parser, Subcommand};
use loadtest::{
    kill::{self, Plan},
    platform,
};

/// Plays scenarios on a platform of its own and checks what was promised. The one scenario so far kills it; load is not generated yet.
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
        /// Rounds, one or two deaths each.
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
    let plan = Plan { binary: platform::binary()?, folder: folder.path().to_owned(), rounds, seed };
    let result = kill::run(&plan, |line| eprintln!("{line}")).await;
    if result.is_err() {
        eprintln!("data and log are kept in {}", folder.keep().display());
    }
    println!("{:?}", result?);
    Ok(())
}
