//! Owners that were found sealed where they are: somebody has begun with what is to be ended, and may be gone.

use super::{Directory, sealed::SEALED};
use cellspace_cluster::Cluster;
use cellspace_schemas::Owner;
use cellspace_storage::{Home, Phase, relocation::Want};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};

/// Owners that are gone on with at once.
const AT_ONCE: usize = 64;
/// Whoever has decided a move, or given it up, ends it by then.
const SOON: Duration = Duration::from_secs(2);

impl Directory {
    /// Goes on with them, as long as the node is part of its cell.
    pub(crate) async fn end_moves(self: Arc<Self>, cluster: Cluster) {
        let Some(mut stuck) = self.cell.elsewhere().and_then(|elsewhere| elsewhere.take_stuck()) else { return };
        let (places, busy) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Mutex::new(HashMap::<_, Arc<Notify>>::new())));
        loop {
            let next = async { Some((stuck.recv().await?, places.clone().acquire_owned().await.ok()?)) };
            let Some((owner, place)) = (tokio::select! {
                () = self.cell.over() => None,
                next = next => next,
            }) else {
                return;
            };
            let again = Arc::new(Notify::new());
            if let Some(waits) = busy.lock().get(&owner) {
                waits.notify_one();
                continue;
            }
            busy.lock().insert(owner.clone(), again.clone());
            let (this, cluster, busy) = (self.clone(), cluster.clone(), busy.clone());
            tokio::spawn(async move {
                this.end_move(&cluster, &owner, &again).await;
                busy.lock().remove(&owner);
                drop(place);
            });
        }
    }

    /// Ends what has sealed the owner, unless whoever began with it does so in time. It is looked at whenever the owner is found sealed once more: what was decided
    /// meanwhile is to be ended sooner than what is not.
    async fn end_move(&self, cluster: &Cluster, owner: &Owner, again: &Notify) {
        let Some(mover) = self.mover(cluster, owner) else { return };
        let Ok(mut before) = mover.elsewhere.home(owner).await else { return };
        let due = |home: &Home| mover.sealed_until(home).unwrap_or_else(|| mover.elsewhere.since(owner, home.version) + SOON);
        let mut until = due(&before);
        loop {
            let _ = timeout_at(until, again.notified()).await;
            // However many ask.
            let is_over = Instant::now() >= until;
            match mover.elsewhere.home(owner).await {
                Ok(home) if home.version == before.version && is_over => break,
                Ok(home) if home.version == before.version => {}
                // Somebody goes on with it, and may stop once more.
                Ok(home) if home.phase != Phase::Settled => (until, before) = (due(&home), home),
                _ => return,
            }
        }
        tracing::warn!(category = "app", action = "owner.relocation_taken_up", %owner, phase = ?before.phase, "others did not end a move in time");
        mover.go_on(Want::Settle, SEALED).await;
    }
}
