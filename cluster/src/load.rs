//! From an address to an agent in memory: claims the partition, then reads it.

use crate::{
    Agent, Cluster,
    activation::Activation,
    core::{Core, Stored},
    ended::Ended,
};
use cellspace_storage::{Claim, PartitionKey, Row, RowKey};
use tokio::task::JoinError;
use uuid::Uuid;

/// Rows read at once while loading.
const PAGE: usize = 512;

/// Claims the partition and loads it. Nothing is served before.
pub(crate) async fn load<A: Agent>(cluster: &Cluster, activation: &Activation<A>) -> Result<Core<A>, Ended> {
    let partition = activation.address.partition();
    let claim = cluster.partitions().claim(&partition).await.map_err(|e| Ended::Store(e.to_string()))?;
    // Whoever ends the activation releases the claim.
    let _ = activation.epoch.set(claim.epoch);
    read(cluster, activation, &partition, claim).await
}

/// Rows of a partition, read, and whether more follow behind the last one.
struct Page<A: Agent> {
    rows: Vec<Stored<A>>,
    last: Option<RowKey>,
    more: bool,
}

async fn page<A: Agent>(cluster: Cluster, partition: PartitionKey, after: Option<RowKey>) -> Result<Page<A>, Ended> {
    let page = cluster.partitions().scan(&partition, None, after.as_ref(), PAGE).await.map_err(|e| Ended::Store(e.to_string()))?;
    let read = |row: &Row| Stored::read(row).map_err(|e| Ended::Row(format!("{}/{}", row.key.table(), row.key.id()), e));
    let rows = page.rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Page { rows, last: page.rows.last().map(|row| row.key.clone()), more: page.more })
}

async fn read<A: Agent>(cluster: &Cluster, activation: &Activation<A>, partition: &PartitionKey, claim: Claim) -> Result<Core<A>, Ended> {
    let head = claim.head.unwrap_or_default();
    let mut core = Core::<A>::new(activation.address.clone(), claim.epoch, head.seq, claim.head.is_some(), Uuid::new_v4());
    if core.registered {
        let mut current = page(cluster.clone(), partition.clone(), None).await?;
        loop {
            // The next page is read while this one is taken in.
            let next = current.more.then(|| tokio::spawn(page(cluster.clone(), partition.clone(), current.last.take())));
            {
                let mut replies = activation.replies.lock();
                current.rows.into_iter().for_each(|row| core.load(row, &mut replies));
            }
            let Some(next) = next else { break };
            // Unless it panicked, the node is ending.
            let ended = |e: JoinError| if e.is_panic() { Ended::Panicked(e.to_string()) } else { Ended::Store(e.to_string()) };
            current = next.await.map_err(ended)??;
        }
    }
    core.loaded();
    Ok(core)
}
