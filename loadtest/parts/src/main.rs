//! Measures parts of the product by themselves, in one process and without HTTP; prints one line, a JSON object.

#![forbid(unsafe_code)]

mod list;
mod others;
mod verify;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::time::Duration;

// As the product has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures parts of the product by themselves.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// The verification of a message's sender, from its token to its credentials, beside the signature checks in it.
    Verify {
        /// How long.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Seed of all keys.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// A long status list in memory, half of whose credentials are revoked.
    StatusList {
        /// Places on it.
        #[arg(long, default_value_t = 1_000_000)]
        entries: u32,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Arguments::parse().part {
        Part::Verify { seconds, seed } => {
            let figures = verify::measure(verify::PARTIES, Duration::from_secs_f64(seconds.clamp(0.1, 600.0)), seed).await?;
            println!("{}", serde_json::to_string(&figures)?);
        }
        Part::StatusList { entries } => println!("{}", serde_json::to_string(&list::measure(entries)?)?),
    }
    Ok(())
}
