//! Measures parts of the product by themselves, in one process and without HTTP; prints one line, a JSON object.

#![forbid(unsafe_code)]

mod list;
mod others;
mod placement;
#[cfg(feature = "scylla")]
mod turns;
mod verify;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::time::Duration;
use tokio::runtime::Builder;

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
    /// How evenly slots are dealt over 3 to 12 nodes, and how many move when one comes.
    Placement {
        /// Seed of the nodes' names.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Turns on a ScyllaDB or Cassandra, beside bare lightweight transactions by its driver.
    #[cfg(feature = "scylla")]
    Turns {
        /// `host:port` of some of its nodes.
        #[arg(long, value_delimiter = ',', required = true)]
        cassandra: Vec<String>,
        /// Keyspace that is made, and removed afterwards.
        #[arg(long)]
        keyspace: String,
        /// How long.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
    },
}

fn main() -> Result<()> {
    let part = Arguments::parse().part;
    let mut runtime = match &part {
        // As the product runs: on all processors.
        #[cfg(feature = "scylla")]
        Part::Turns { .. } => Builder::new_multi_thread(),
        Part::Verify { .. } | Part::StatusList { .. } | Part::Placement { .. } => Builder::new_current_thread(),
    };
    println!("{}", runtime.enable_all().build()?.block_on(measure(part))?);
    Ok(())
}

/// Measures the part; its figures, as JSON.
async fn measure(part: Part) -> Result<String> {
    let time = |seconds: f64| Duration::from_secs_f64(seconds.clamp(0.1, 600.0));
    Ok(match part {
        Part::Verify { seconds, seed } => serde_json::to_string(&verify::measure(verify::PARTIES, time(seconds), seed).await?)?,
        Part::Placement { seed } => serde_json::to_string(&placement::measure(seed)?)?,
        Part::StatusList { entries } => serde_json::to_string(&list::measure(entries)?)?,
        #[cfg(feature = "scylla")]
        Part::Turns { cassandra, keyspace, seconds } => {
            serde_json::to_string(&turns::measure(&cassandra, &keyspace, time(seconds)).await?)?
        }
    })
}
