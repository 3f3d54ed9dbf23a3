//! From an address to an agent in memory: claims the partition, then reads it.

use crate::{Agent, Cluster, activation::Activation, core::Core, ended::Ended};
use cellspace_storage::{Claim, PartitionKey, RowKey};
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

async fn read<A: Agent>(cluster: &Cluster, activation: &Activation<A>, partition: &PartitionKey, claim: Claim) -> Result<Core<A>, Ended> {
    let head = claim.head.unwrap_or_default();
    let mut core = Core::<A>::new(activation.address.clone(), claim.epoch, head.seq, claim.head.is_some(), Uuid::new_v4());
    let mut after: Option<RowKey> = None;
    while core.registered {
        let page = cluster.partitions().scan(partition, None, after.as_ref(), PAGE).await.map_err(|e| Ended::Store(e.to_string()))?;
        let mut replies = activation.replies.lock();
        for row in &page.rows {
            core.load(row, &mut replies).map_err(|e| Ended::Row(format!("{}/{}", row.key.table(), row.key.id()), e))?;
        }
        after = page.rows.last().map(|row| row.key.clone());
        if !page.more {
            break;
        }
    }
    core.loaded();
    Ok(core)
}
