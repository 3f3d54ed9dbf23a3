//! From an address to an agent in memory: claims the partition, then reads it.

use crate::{
    Agent, Cluster,
    activation::Activation,
    core::{Core, Stored},
    ended::Ended,
    fair::Place,
    idempotency::Replies,
};
use cellspace_storage::{Claim, ClaimError, PartitionKey, Row, RowKey, StoreError};
use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use std::{future::pending, sync::Arc};
use tokio::{
    task::{JoinError, spawn_blocking},
    time::Instant,
};
use uuid::Uuid;

/// Rows read at once while loading.
const PAGE: usize = 512;

/// One more of what a gauge counts, for as long as it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Claims the partition and loads it. Nothing is served before.
pub(crate) async fn load<A: Agent>(cluster: &Cluster, activation: &Arc<Activation<A>>) -> Result<Core<A>, Ended> {
    let _place = place(cluster, activation).await?;
    let _loading = Counted::new(gauge!("cellspace_activations_loading"));
    let began = Instant::now();
    let claim = claim(cluster, activation).await;
    let (took, made) = (began.elapsed(), claim.is_ok());
    let loaded = match claim {
        Ok(claim) => read(cluster, activation, &activation.address.partition(), claim).await,
        Err(ended) => Err(ended),
    };
    cluster.inner.loading.ended(took, made);
    loaded
}

async fn claim<A: Agent>(cluster: &Cluster, activation: &Activation<A>) -> Result<Claim, Ended> {
    let claim = match cluster.partitions().claim(&activation.address.partition(), activation.since).await {
        Err(ClaimError::Store(StoreError::Sealed(partition))) => {
            return Err(Ended::Store(cluster.found_sealed(partition).await.to_string()));
        }
        claim => claim.map_err(|error| {
            if let (ClaimError::Newer { .. }, Some(cell)) = (&error, cluster.placement().cell()) {
                cell.look_for_newer();
            }
            Ended::Store(error.to_string())
        })?,
    };
    // Whoever ends the activation releases the claim.
    let _ = activation.epoch.set(claim.epoch);
    Ok(claim)
}

/// A place to load in. Whoever is to have a slot that is handed over does not wait for those that wait here.
async fn place<A: Agent>(cluster: &Cluster, activation: &Activation<A>) -> Result<Place, Ended> {
    let _waiting = Counted::new(gauge!("cellspace_activations_waiting"));
    let served = || cluster.placement().still_serves(&activation.address, activation.since);
    let handed_over = async {
        activation.inbox.closed().await;
        // On a node that drains what waits for it is still done.
        if served() {
            pending::<()>().await;
        }
    };
    let place = tokio::select! {
        biased;
        () = handed_over => return Err(Ended::NoLease),
        place = cluster.inner.loading.enter(&activation.address.owner) => place.ok_or_else(|| Ended::Store("the node is stopping".to_owned()))?,
    };
    if served() { Ok(place) } else { Err(Ended::NoLease) }
}

/// Rows of a partition, read, and whether more follow behind the last one.
struct Page<A: Agent> {
    rows: Vec<Stored<A>>,
    last: Option<RowKey>,
    more: bool,
}

async fn page<A: Agent>(cluster: Cluster, partition: PartitionKey, after: Option<RowKey>) -> Result<Page<A>, Ended> {
    let page = cluster.partitions().scan(&partition, None, after.as_ref(), PAGE).await.map_err(|e| Ended::Store(e.to_string()))?;
    let reads = cluster.placement().reads();
    let read = |row: &Row| Stored::read(row, reads).map_err(|e| Ended::Row(format!("{}/{}", row.key.table(), row.key.id()), e));
    let rows = page.rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Page { rows, last: page.rows.last().map(|row| row.key.clone()), more: page.more })
}

fn take_in<A: Agent>(mut core: Core<A>, rows: Vec<Stored<A>>, replies: &Mutex<Replies>) -> Core<A> {
    let mut replies = replies.lock();
    rows.into_iter().for_each(|row| core.load(row, &mut replies));
    drop(replies);
    core
}

async fn read<A: Agent>(
    cluster: &Cluster,
    activation: &Arc<Activation<A>>,
    partition: &PartitionKey,
    claim: Claim,
) -> Result<Core<A>, Ended> {
    let mut core = Core::<A>::new(activation.address.clone(), claim, Uuid::new_v4(), cluster.placement().writes());
    if core.registered {
        // Unless it panicked, the node is ending.
        let ended = |e: JoinError| if e.is_panic() { Ended::Panicked(e.to_string()) } else { Ended::Store(e.to_string()) };
        let mut current = page(cluster.clone(), partition.clone(), None).await?;
        let few = !current.more;
        loop {
            // The next page is read while this one is taken in.
            let next = current.more.then(|| tokio::spawn(page(cluster.clone(), partition.clone(), current.last.take())));
            let rows = current.rows;
            core = if few {
                take_in(core, rows, &activation.replies)
            } else {
                // What belongs to many rows can be much for each: no thread of the executor is held up by it.
                let activation = activation.clone();
                spawn_blocking(move || take_in(core, rows, &activation.replies)).await.map_err(ended)?
            };
            let Some(next) = next else { break };
            current = next.await.map_err(ended)??;
        }
    }
    Ok(core)
}
