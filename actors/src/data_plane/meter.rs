//! Gathers what went through flows and tells their agents in batches: one command per participant and window, however many responses end.

use super::{
    Command, DataPlane,
    usage::{Amount, Batch, MAX_BATCH},
};
use cellspace_cluster::{Address, AskError, Call, Cluster};
use cellspace_schemas::{ParticipantContextId, TransferId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How long ended responses are gathered.
const WINDOW: Duration = Duration::from_secs(1);
/// Attempts at one batch; between them the pause grows up to [`LONGEST_PAUSE`]: about five minutes.
const ATTEMPTS: u32 = 20;
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

type Pending = HashMap<ParticipantContextId, BTreeMap<TransferId, Amount>>;

/// Holds amounts until their agents have them; an entry only for participants with untold amounts.
#[derive(Debug, Default)]
pub struct Meter {
    pending: Mutex<Pending>,
    tellers: TaskTracker,
    hurry: Notify,
}

/// One response being measured; counted when dropped.
pub struct Measured {
    meter: Arc<Meter>,
    cluster: Cluster,
    participant: ParticipantContextId,
    flow: TransferId,
    bytes: u64,
}

impl Measured {
    /// Starts to measure.
    #[must_use]
    pub fn new(meter: Arc<Meter>, cluster: Cluster, participant: ParticipantContextId, flow: TransferId) -> Self {
        Self { meter, cluster, participant, flow, bytes: 0 }
    }

    /// So many bytes more.
    pub fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let amount = Amount { responses: 1, bytes: self.bytes };
        Meter::add(&self.meter, &self.cluster, &self.participant, &self.flow, amount);
    }
}

impl Meter {
    fn add(meter: &Arc<Self>, cluster: &Cluster, participant: &ParticipantContextId, flow: &TransferId, amount: Amount) {
        let mut pending = meter.pending.lock();
        let tells_already = pending.contains_key(participant);
        let total = pending.entry(participant.clone()).or_default().entry(flow.clone()).or_default();
        *total = total.plus(amount);
        drop(pending);
        // Without a runtime the process is ending, and nobody is left to tell.
        let runtime = tokio::runtime::Handle::try_current();
        if let (false, Ok(runtime)) = (tells_already, runtime) {
            let (teller, cluster, participant) = (meter.clone(), cluster.clone(), participant.clone());
            meter.tellers.spawn_on(async move { teller.tell_all(&cluster, &participant).await }, &runtime);
        }
    }

    /// Tells what is gathered without waiting for the window, and returns when all of it is told or given up. For the end of the process.
    pub async fn flush(&self) {
        self.tellers.close();
        self.hurry.notify_waiters();
        self.tellers.wait().await;
    }

    async fn tell_all(&self, cluster: &Cluster, participant: &ParticipantContextId) {
        loop {
            self.pause(WINDOW).await;
            let Some(amounts) = self.take(participant) else { return };
            let count = amounts.len();
            if let Err(reason) = self.tell(cluster, participant, Batch { id: Uuid::now_v7(), amounts }).await {
                tracing::error!(category = "app", vpa = %participant, action = "usage.lost", flows = count, reason);
            }
        }
    }

    /// A batch; `None` when nothing is left, and then the participant is forgotten.
    fn take(&self, participant: &ParticipantContextId) -> Option<BTreeMap<TransferId, Amount>> {
        let mut pending = self.pending.lock();
        let amounts = pending.get_mut(participant)?;
        if amounts.is_empty() {
            pending.remove(participant);
            return None;
        }
        let rest = amounts.keys().nth(MAX_BATCH).cloned().map(|first| amounts.split_off(&first)).unwrap_or_default();
        Some(std::mem::replace(amounts, rest))
    }

    async fn tell(&self, cluster: &Cluster, participant: &ParticipantContextId, batch: Batch) -> Result<(), String> {
        let address = Address::of::<DataPlane>(participant);
        let mut pause = Duration::from_millis(250);
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            match cluster.ask::<DataPlane>(&address, Command::RecordUsage(batch.clone()), Call::by("data-plane")).await {
                Ok(_) => return Ok(()),
                // The batch's id makes a repeat harmless.
                Err(AskError::Unknown { reason: why } | AskError::Unavailable { reason: why, .. }) => reason = why,
                Err(error @ AskError::TooMany { .. }) => reason = error.to_string(),
                Err(error @ (AskError::Refused(_) | AskError::NotRegistered | AskError::KeyReused)) => return Err(error.to_string()),
            }
            if self.tellers.is_closed() {
                break;
            }
            self.pause(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(reason)
    }

    /// Waits, but not once the process ends.
    async fn pause(&self, pause: Duration) {
        let hurried = self.hurry.notified();
        if !self.tellers.is_closed() {
            let _ = tokio::time::timeout(pause, hurried).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_and_nothing_is_kept_afterwards() {
        let meter = Meter::default();
        let participant = ParticipantContextId::new("p").unwrap();
        let amounts = (0..=MAX_BATCH).map(|n| (TransferId::new(format!("t-{n:04}")).unwrap(), Amount { responses: 1, bytes: 2 })).collect();
        meter.pending.lock().insert(participant.clone(), amounts);
        assert_eq!(meter.take(&participant).unwrap().len(), MAX_BATCH);
        assert_eq!(meter.take(&participant).unwrap().len(), 1);
        assert!(meter.take(&participant).is_none() && meter.pending.lock().is_empty());
    }
}
