//! Whether a node of a cell is ready: whether it can commit in a slot of its own, which is tried beside the requests, so that nobody who asks waits for a database.
//!
//! A store that answers nobody takes no node out: all would go, and nothing would come of it; requests are answered 503 with Retry-After meanwhile. One that answers the
//! others takes this node out, and so does losing them too. A node that serves no slots is ready as long as it reaches one that may.

use super::Directory;
use cellspace_cluster::{Cluster, Unproven};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(3);
/// A claim that takes longer shows nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// The outcome of the last try.
pub struct Proof(Mutex<Result<(), String>>);

impl Proof {
    /// Tries now, and from now on until `stop`.
    pub async fn of(nodes: Arc<Directory>, cluster: &Cluster, stop: &CancellationToken) -> Arc<Self> {
        let proof = Arc::new(Self(Mutex::new(attempt(&nodes, cluster).await)));
        let (kept, cluster, stop) = (proof.clone(), cluster.clone(), stop.clone());
        tokio::spawn(async move {
            while stop.run_until_cancelled(sleep(AGAIN)).await.is_some() {
                let outcome = attempt(&nodes, &cluster).await;
                if let Err(reason) = &outcome {
                    tracing::warn!(category = "app", action = "node.not_ready", reason, "the node is not ready");
                }
                *kept.0.lock() = outcome;
            }
        });
        proof
    }

    /// What the last try came to.
    ///
    /// # Errors
    /// Why the node is not ready.
    pub fn read(&self) -> Result<(), String> {
        self.0.lock().clone()
    }
}

async fn attempt(nodes: &Directory, cluster: &Cluster) -> Result<(), String> {
    if !nodes.roles().runtime {
        // It passes on what comes in, and commits nothing.
        let reached = timeout(PATIENCE, nodes.others_are_reached()).await.unwrap_or(false);
        return if reached { Ok(()) } else { Err("no member of the cell is reached".to_owned()) };
    }
    let outcome = timeout(PATIENCE, cluster.prove()).await;
    let Err(reason) =
        outcome.unwrap_or_else(|_| Err(Unproven::Store(cellspace_storage::StoreError::Unavailable("no answer in time".to_owned()))))
    else {
        return Ok(());
    };
    // Without the store no node keeps its lease, and none serves what it owns.
    let store_is_away = match &reason {
        Unproven::Store(_) => true,
        Unproven::NoSlot => nodes.owns_slots(),
        Unproven::Newer => false,
    };
    if store_is_away && !nodes.others_go_on().await {
        tracing::warn!(category = "app", action = "node.store_away", %reason, "no node can commit: this one stays");
        return Ok(());
    }
    Err(reason.to_string())
}
