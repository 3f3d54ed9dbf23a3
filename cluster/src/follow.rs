//! What happened to an agent, told in order to those who follow it. It is read from the audit rows of its commits: nothing is written for it, nothing runs
//! for it, and what happened while nobody looked is there afterwards, whatever restarted or was passivated meanwhile.

use crate::{
    Address, Agent, AskError, Cluster,
    activation::{InUse, Phase},
    ask::{READ, unavailable},
    core::Witness,
    decision::Happening,
    watched::Watcher,
};
use cellspace_schemas::{EventPosition, Timestamp};
use cellspace_storage::{Seq, StoreError};
use std::collections::VecDeque;
use tokio::time::Instant;

/// Commits that somebody may be behind and still be told what happened.
pub const MAX_BEHIND: u64 = 10_000;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Where it stands: the commit, and how much had happened in it then.
    pub position: EventPosition,
    /// When it was decided.
    pub at: Timestamp,
    /// What, and to what.
    pub happening: Happening,
}

/// Follows one agent, which stays in memory meanwhile.
pub struct Following<A: Agent> {
    cluster: Cluster,
    address: Address,
    /// All up to here was told.
    told: EventPosition,
    /// The commit to be read next.
    next: u64,
    /// Read, and not told yet.
    ahead: VecDeque<Happened>,
    lost: bool,
    watched: Option<(InUse<A>, Watcher<Phase<A>>)>,
}

impl Cluster {
    /// Follows what happens to the agent after a position that it told earlier; without one, from now on.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn follow<A: Agent>(&self, address: &Address, after: Option<EventPosition>) -> Result<Following<A>, AskError<A::Refusal>> {
        let (cluster, address) = (self.clone(), address.clone());
        let mut following =
            Following { cluster, address, told: EventPosition::default(), next: 0, ahead: VecDeque::new(), lost: false, watched: None };
        following.watch().await?;
        following.begin(after).await.map_err(|e| unavailable(e.to_string()))?;
        Ok(following)
    }
}

impl<A: Agent> Following<A> {
    /// The position up to which all was told: whoever comes back with it misses nothing.
    #[must_use]
    pub const fn position(&self) -> EventPosition {
        self.told
    }

    /// Whether what happened after the position that was given is not known any more, or never was: it goes on from now.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// What happens next; `None` as soon as the node is told to [`Cluster::stop_waiting`]. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Not executed: the store cannot be read, or the agent cannot be loaded.
    pub async fn next(&mut self) -> Result<Option<Happened>, AskError<A::Refusal>> {
        let stop = self.cluster.inner.stop_waiting.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(None),
            found = self.found() => found.map(Some),
        }
    }

    async fn found(&mut self) -> Result<Happened, AskError<A::Refusal>> {
        loop {
            if let Some(happened) = self.ahead.pop_front() {
                self.told = happened.position;
                return Ok(happened);
            }
            // Watched before the store is read: a commit that is not read is seen.
            if matches!(*self.watch().await?.see(), Phase::Gone(_)) {
                self.watched = None;
            } else if !self.read().await.map_err(|e| unavailable(e.to_string()))? {
                self.watch().await?.changed().await;
            }
        }
    }

    async fn watch(&mut self) -> Result<&mut Watcher<Phase<A>>, AskError<A::Refusal>> {
        if self.watched.is_none() {
            let (in_use, _) = self.cluster.ready::<A>(&self.address, false, false, Instant::now() + READ).await?;
            let phases = in_use.0.phase.watch();
            self.watched = Some((in_use, phases));
        }
        self.watched.as_mut().map(|(_, phases)| phases).ok_or_else(|| unavailable("the agent is not watched"))
    }

    async fn begin(&mut self, after: Option<EventPosition>) -> Result<(), StoreError> {
        let newest = self.cluster.partitions().audit(&self.address.partition(), 1).await?;
        let head = newest.first().map_or(0, |(seq, _)| seq.0);
        let now = EventPosition { seq: head.saturating_add(1), n: 0 };
        let known = match after {
            None => true,
            // Told before its commit was there.
            Some(after) if after == now => true,
            Some(after) if after.seq > head || head - after.seq > MAX_BEHIND => false,
            Some(after) => self.row(after.seq).await?.is_some(),
        };
        (self.told, self.lost) = (after.filter(|_| known).unwrap_or(now), !known);
        self.next = self.told.seq;
        Ok(())
    }

    async fn row(&self, seq: u64) -> Result<Option<Witness>, StoreError> {
        let row = self.cluster.partitions().witness(&self.address.partition(), Seq(seq)).await?;
        row.map(|row| Witness::read(&row).map_err(|e| StoreError::Corrupt(e.to_string()))).transpose()
    }

    /// Reads one commit more; `false` when there is none.
    async fn read(&mut self) -> Result<bool, StoreError> {
        let Some(row) = self.row(self.next).await? else { return Ok(false) };
        let (seq, at) = (self.next, row.at);
        let numbered = (1..).zip(row.happened()).map(|(n, happening)| Happened { position: EventPosition { seq, n }, at, happening });
        self.ahead.extend(numbered.filter(|happened| happened.position > self.told));
        self.next += 1;
        if self.ahead.is_empty() {
            self.told = EventPosition { seq: self.next, n: 0 };
        }
        Ok(true)
    }
}
