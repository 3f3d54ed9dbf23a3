//! Gathers what went through flows and tells their agents: at once, and while one batch of a participant is being told, what ends meanwhile goes
//! into the next one. So a lone response costs one commit, and a thousand at once cost few.

use super::{
    Command, DataPlane,
    usage::{Amount, Batch, MAX_BATCH},
};
use cellspace_cluster::{Address, AskError, Call, Cluster};
use cellspace_schemas::{ParticipantContextId, TransferId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// A long response tells how far it is after so many bytes.
const CHECKPOINT_BYTES: u64 = 4 << 20;
/// And after so long: no more than this and [`CHECKPOINT_BYTES`] is lost with the process.
const CHECKPOINT_TIME: Duration = Duration::from_secs(1);
/// Flows with untold amounts on this node at most; beyond, no response is begun.
const MAX_UNTOLD: usize = 65_536;
/// First pause before a batch is told once more; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Holds amounts until their agents have them; an entry only for participants with untold amounts, each with a task that tells them.
#[derive(Debug)]
pub struct Meter {
    sender: Uuid,
    batches: AtomicU64,
    untold: Mutex<HashMap<ParticipantContextId, BTreeMap<TransferId, Untold>>>,
    /// Flows in `untold` and in batches that are being told.
    flows: AtomicUsize,
    tellers: TaskTracker,
    /// The process ends: no pauses any more.
    hurry: CancellationToken,
    /// The process has no time left.
    stop: CancellationToken,
}

/// What went through one flow, and who waits until that is stored.
#[derive(Debug, Default)]
struct Untold {
    amount: Amount,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            sender: Uuid::now_v7(),
            batches: AtomicU64::new(0),
            untold: Mutex::default(),
            flows: AtomicUsize::new(0),
            tellers: TaskTracker::new(),
            hurry: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }
}

/// One response being measured; counted as ended when [`Measured::completed`], or else when dropped.
pub struct Measured {
    meter: Arc<Meter>,
    cluster: Cluster,
    participant: ParticipantContextId,
    flow: TransferId,
    /// Handed on since the last checkpoint.
    bytes: AtomicU64,
    begun: Notify,
    ended: AtomicBool,
}

impl Measured {
    /// Starts to measure.
    #[must_use]
    pub fn new(meter: Arc<Meter>, cluster: Cluster, participant: ParticipantContextId, flow: TransferId) -> Self {
        let (bytes, begun, ended) = (AtomicU64::new(0), Notify::new(), AtomicBool::new(false));
        Self { meter, cluster, participant, flow, bytes, begun, ended }
    }

    /// So many bytes more.
    pub fn add(&self, bytes: usize) {
        let more = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.bytes.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) >= CHECKPOINT_BYTES {
            self.checkpoint();
        } else if before == 0 {
            self.begun.notify_one();
        }
    }

    /// Tells from time to time how far the response is; never returns.
    pub async fn checkpoints(&self) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(CHECKPOINT_TIME).await;
            self.checkpoint();
        }
    }

    /// Counts the response as ended, and returns when that is stored: `true`; or when it cannot be said: `false`.
    pub async fn completed(&self) -> bool {
        let (stored, waiting) = oneshot::channel();
        self.ended.store(true, Ordering::Relaxed);
        self.gather(1, Some(stored));
        waiting.await.is_ok()
    }

    fn checkpoint(&self) {
        if self.bytes.load(Ordering::Relaxed) > 0 {
            self.gather(0, None);
        }
    }

    fn gather(&self, responses: u64, waiting: Option<oneshot::Sender<()>>) {
        let amount = Amount { responses, bytes: self.bytes.swap(0, Ordering::Relaxed) };
        Meter::add(&self.meter, &self.cluster, &self.participant, &self.flow, amount, waiting);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            self.gather(1, None);
        }
    }
}

impl Meter {
    /// Whether so much is untold that nothing more may begin.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.flows.load(Ordering::Relaxed) >= MAX_UNTOLD
    }

    fn add(
        meter: &Arc<Self>,
        cluster: &Cluster,
        participant: &ParticipantContextId,
        flow: &TransferId,
        amount: Amount,
        waiting: Option<oneshot::Sender<()>>,
    ) {
        let mut untold = meter.untold.lock();
        let tells_already = untold.contains_key(participant);
        let of_flow = untold.entry(participant.clone()).or_default().entry(flow.clone()).or_insert_with(|| {
            meter.flows.fetch_add(1, Ordering::Relaxed);
            Untold::default()
        });
        of_flow.amount = of_flow.amount.plus(amount);
        of_flow.waiting.extend(waiting);
        drop(untold);
        // Without a runtime the process is ending, and nobody is left to tell.
        let runtime = tokio::runtime::Handle::try_current();
        if let (false, Ok(runtime)) = (tells_already, runtime) {
            let (teller, cluster, participant) = (meter.clone(), cluster.clone(), participant.clone());
            meter.tellers.spawn_on(async move { teller.tell_all(&cluster, &participant).await }, &runtime);
        }
    }

    /// Waits until all that is gathered is told, at most so long; what is not told then is lost, and reported. For the end of the process.
    pub async fn flush(&self, limit: Duration) {
        self.tellers.close();
        self.hurry.cancel();
        if tokio::time::timeout(limit, self.tellers.wait()).await.is_err() {
            self.stop.cancel();
            self.tellers.wait().await;
        }
    }

    async fn tell_all(&self, cluster: &Cluster, participant: &ParticipantContextId) {
        while let Some(taken) = self.take(participant) {
            let amounts: BTreeMap<_, _> = taken.iter().map(|(flow, untold)| (flow.clone(), untold.amount)).collect();
            let batch = Batch { sender: self.sender, counter: self.batches.fetch_add(1, Ordering::Relaxed), amounts };
            let count = taken.len();
            match self.tell(cluster, participant, &batch).await {
                Ok(()) => {
                    for waiting in taken.into_values().flat_map(|untold| untold.waiting) {
                        // Who has left meanwhile need not know.
                        let _ = waiting.send(());
                    }
                }
                Err(reason) => {
                    let Amount { responses, bytes } = batch.amounts.values().fold(Amount::default(), |sum, amount| sum.plus(*amount));
                    tracing::error!(
                        category = "app", vpa = %Address::of::<DataPlane>(participant), action = "usage.lost", flows = count, responses, bytes, reason
                    );
                }
            }
            self.flows.fetch_sub(count, Ordering::Relaxed);
        }
    }

    /// A batch; `None` when nothing is left, and then the participant is forgotten.
    fn take(&self, participant: &ParticipantContextId) -> Option<BTreeMap<TransferId, Untold>> {
        let mut untold = self.untold.lock();
        let flows = untold.get_mut(participant)?;
        if flows.is_empty() {
            untold.remove(participant);
            return None;
        }
        let rest = flows.keys().nth(MAX_BATCH).cloned().map(|first| flows.split_off(&first)).unwrap_or_default();
        Some(std::mem::replace(flows, rest))
    }

    /// Tells the batch until its agent has it: nothing else knows what went through.
    async fn tell(&self, cluster: &Cluster, participant: &ParticipantContextId, batch: &Batch) -> Result<(), String> {
        let address = Address::of::<DataPlane>(participant);
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = cluster.ask::<DataPlane>(&address, Command::RecordUsage(batch.clone()), Call::by("data-plane"));
            let Some(told) = self.stop.run_until_cancelled(asked).await else { return Err("the process ends".to_owned()) };
            let reason = match told {
                Ok(_) => return Ok(()),
                // Its counter makes a repeat harmless.
                Err(
                    error @ (AskError::Unknown { .. } | AskError::Unavailable { .. } | AskError::Parked { .. } | AskError::TooMany { .. }),
                ) => error.to_string(),
                Err(error @ (AskError::Refused(_) | AskError::NotRegistered | AskError::KeyReused)) => return Err(error.to_string()),
            };
            tracing::warn!(category = "app", vpa = %participant, action = "usage.late", flows = batch.amounts.len(), reason);
            let pausing = tokio::time::sleep(if self.hurry.is_cancelled() { FIRST_PAUSE } else { pause });
            tokio::select! {
                () = pausing => {}
                () = self.hurry.cancelled(), if !self.hurry.is_cancelled() => {}
                () = self.stop.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
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
        let flow = |n: usize| (TransferId::new(format!("t-{n:04}")).unwrap(), Untold::default());
        meter.untold.lock().insert(participant.clone(), (0..=MAX_BATCH).map(flow).collect());
        assert_eq!(meter.take(&participant).unwrap().len(), MAX_BATCH);
        assert_eq!(meter.take(&participant).unwrap().len(), 1);
        assert!(meter.take(&participant).is_none() && meter.untold.lock().is_empty());
    }
}
