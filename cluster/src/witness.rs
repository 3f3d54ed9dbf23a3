//! What became of a command whose commit was sent and not answered. The audit row of the commit is the witness.

use crate::{Address, Agent, Call, Cluster, codec::CodecError, core::Witness, reply::Answer, turn::replay};
use cellspace_storage::{Seq, StoreError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pause before the store is asked again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What the witness says.
pub(crate) enum Verdict<A: Agent> {
    /// It was executed, and its reply was kept under its key.
    Answer(Answer<A>),
    /// It was executed; its reply is lost.
    Executed,
    NotExecuted,
    /// The store does not say before the caller's deadline.
    Unknown,
}

impl Cluster {
    /// Finds out whether the command `call` is part of commit `seq`, for as long as its caller waits.
    pub(crate) async fn settle<A: Agent>(
        &self,
        address: &Address,
        call: &Call,
        request_hash: Option<u128>,
        seq: Seq,
        until: Instant,
    ) -> Verdict<A> {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Ok(verdict) = self.ask_witness(address, call, request_hash, seq, until).await {
                return verdict;
            }
            let hopeless = self.is_draining() || matches!(self.partitions().health(), Err(StoreError::Poisoned(_)));
            if hopeless || Instant::now() + pause >= until {
                return Verdict::Unknown;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask_witness<A: Agent>(
        &self,
        address: &Address,
        call: &Call,
        request_hash: Option<u128>,
        seq: Seq,
        until: Instant,
    ) -> Result<Verdict<A>, ()> {
        // The activation that sent the commit has ended: this one has claimed the partition after it, and nothing older can land any more.
        let (in_use, _) = self.ready::<A>(address, true, true, until).await.map_err(|_| ())?;
        let row = self.partitions().witness(&address.partition(), seq).await.map_err(|_| ())?;
        let Some(row) = row else { return Ok(Verdict::NotExecuted) };
        if !Witness::read(&row).map_err(|_: CodecError| ())?.names(&call.id.to_string()) {
            return Ok(Verdict::NotExecuted);
        }
        let (Some(key), Some(hash)) = (&call.idempotency, request_hash) else { return Ok(Verdict::Executed) };
        let stored = in_use.0.replies.lock().get(key.as_str(), self.now()).cloned();
        Ok(stored.map_or(Verdict::Executed, |stored| Verdict::Answer(replay(&stored, hash))))
    }
}
