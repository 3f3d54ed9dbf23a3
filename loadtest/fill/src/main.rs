//! Gives a participant of a platform that does not run very many negotiations that have ended: what would take hours over HTTP.
//!
//! The product's own runtime, store, events, state machine and archive write them, turn by turn; see [`filler`]. What is left out is told there.

#![forbid(unsafe_code)]

mod filler;
mod known;

use anyhow::{Context, Result};
use cellspace_actors::ControlPlane;
use cellspace_cluster::{Address, Call, Cluster, Options, SystemClock};
use cellspace_schemas::{ParticipantContextId, ProfileId};
use cellspace_storage::{EmbeddedOptions, EmbeddedStore};
use clap::Parser;
use filler::{Fill, Filler};
use futures::{StreamExt, TryStreamExt, stream};
use std::{path::PathBuf, sync::Arc, time::Duration};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Negotiations of one command, and commands at once.
const EACH: u64 = 8;
const AT_ONCE: usize = 32;
/// Longest time of a command, and of the end.
const LIMIT: Duration = Duration::from_secs(60);

/// Gives a participant of a platform that does not run very many negotiations that have ended.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The platform's data directory.
    data: PathBuf,
    /// The participant context.
    participant: ParticipantContextId,
    /// Its dataspace profile.
    profile: ProfileId,
    /// How many negotiations.
    count: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { data, participant, profile, count } = Arguments::parse();
    let store = Arc::new(EmbeddedStore::open(&data, EmbeddedOptions::default()).with_context(|| data.display().to_string())?);
    let cluster = Cluster::new(store.clone(), store.clone(), Arc::new(SystemClock), Options::default());
    cluster.register(Arc::new(Filler));
    let address = Address::of::<ControlPlane>(&participant);
    let fill = |first: u64| {
        let (cluster, address) = (&cluster, &address);
        let fill = Fill { first, end: (first + EACH).min(count), profile: profile.clone() };
        async move { cluster.ask::<Filler>(address, fill, Call { timeout: LIMIT, ..Call::by("fill") }).await }
    };
    let numbers = (0..count.div_ceil(EACH)).map(|n| n * EACH);
    stream::iter(numbers).map(fill).buffered(AT_ONCE).try_for_each(|()| std::future::ready(Ok(()))).await?;
    cluster.drain(LIMIT).await;
    store.close();
    Ok(())
}
