//! Agents that come back by themselves: for undelivered outbox rows (invariant OUTBOX), for deadlines (invariant TIMER), after failures.

use crate::{
    Address, Cluster, Slot,
    cell::Cell,
    host::{Meant, address_of},
};
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::{PartitionKey, Slots, StoreError};
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Deadlines nearer than this are held in memory; later ones are found in the wake index when their time comes near.
const HORIZON: Duration = Duration::from_secs(3600);
/// How often the wake index is read, for deadlines within the horizon.
const LOOK_AHEAD: Duration = Duration::from_secs(1800);
/// Pause before a reading that failed is repeated; doubled each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Entries of the wake index read at once.
const PAGE: usize = 1024;

impl Cluster {
    /// The deadline, when it is near enough to be held in memory.
    pub(crate) fn near(&self, due: Option<Timestamp>) -> Option<Timestamp> {
        due.filter(|due| *due <= self.now().plus(HORIZON))
    }

    /// Activates the agent at this time, or earlier.
    pub(crate) fn wake_at(&self, address: &Address, at: Timestamp) {
        self.timers().set_if_earlier(address, at);
    }

    /// Wakes what has undelivered rows in these slots.
    pub(crate) async fn wake_all(&self, of: &Slots) -> Result<(), StoreError> {
        let mut from = None;
        loop {
            let page = self.inner.wake.awake(of, from, PAGE).await?;
            for partition in &page.entries {
                self.wake_soon(partition).await;
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Stops the agents of slots as they close, and says of each slot when its last turns have ended.
    pub(crate) async fn close_slots(self, cell: Arc<Cell>) {
        let Some(mut closes) = cell.take_closes() else { return };
        while let Some(Some(slots)) = self.inner.draining.run_until_cancelled(closes.recv()).await {
            let mut turns: BTreeMap<u16, Vec<CancellationToken>> = slots.iter().map(|slot| (*slot, Vec::new())).collect();
            for (owner, ended) in self.close(&Meant::Slots(slots.into_iter().collect())) {
                turns.entry(Slot::of(&owner).number()).or_default().push(ended);
            }
            let idle: Vec<u16> = turns.extract_if(.., |_, turns| turns.is_empty()).map(|(slot, _)| slot).collect();
            cell.ended(&idle);
            let cell = cell.clone();
            // A turn that takes long keeps no other slot.
            tokio::spawn(async move {
                let of_slot = |(slot, turns): (u16, Vec<CancellationToken>)| async move {
                    join_all(turns.iter().map(CancellationToken::cancelled)).await;
                    slot
                };
                // Those that end together are told of together.
                let at_most = turns.len().max(1);
                let mut ending = turns.into_iter().map(of_slot).collect::<FuturesUnordered<_>>().ready_chunks(at_most);
                while let Some(slots) = ending.next().await {
                    cell.ended(&slots);
                }
            });
        }
    }

    /// Tells the agents that are meant to finish their turns and stop; [`AnyHost::close`] of each kind.
    fn close(&self, meant: &Meant) -> Vec<(Owner, CancellationToken)> {
        let hosts: Vec<_> = self.inner.hosts.read().values().cloned().collect();
        hosts.iter().flat_map(|host| host.close(meant)).collect()
    }

    /// The same, and waits until they have stopped.
    pub(crate) async fn close_all(&self, meant: &Meant) {
        join_all(self.close(meant).iter().map(|(_, ended)| ended.cancelled())).await;
    }

    /// Wakes what left undelivered rows or deadlines in slots that have opened.
    pub(crate) async fn wake_opened(self, cell: Arc<Cell>) {
        while let Some(slots) = self.inner.draining.run_until_cancelled(cell.opened()).await {
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.wake_served(&slots).await {
                tracing::error!(category = "app", %error, "the wake index cannot be read");
                if self.inner.draining.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// There is news of where the owner is. When this has answered well, nothing that was in memory of it before is, nor will be if it was sealed; if it is to be
    /// served here it is woken.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be read.
    pub async fn take_in(&self, owner: &Owner) -> Result<(), StoreError> {
        let elsewhere = self.placement().cell().and_then(|cell| cell.elsewhere());
        let elsewhere = elsewhere.ok_or_else(|| StoreError::Unavailable("this node knows of no other cells".to_owned()))?;
        elsewhere.forget(owner);
        let hosts: Vec<_> = self.inner.hosts.read().values().cloned().collect();
        for host in &hosts {
            self.absent().born(&Address { owner: owner.clone(), kind: host.kind(), name: String::new() });
        }
        self.close_all(&Meant::Owner(owner.clone())).await;
        if elsewhere.is_served(owner).await? {
            self.wake_served(&Slots::from_iter([Slot::of(owner)])).await?;
        }
        Ok(())
    }

    /// Finds out where the owner of a sealed partition is; what stays sealed here is told to whoever goes on with it.
    pub(crate) async fn found_sealed(&self, partition: PartitionKey) -> StoreError {
        if let Some(elsewhere) = self.placement().cell().and_then(|cell| cell.elsewhere()) {
            elsewhere.found_sealed(&partition.owner).await;
        }
        StoreError::Sealed(partition)
    }

    /// Whether another node of the cell owns the slot: it wakes what is in it.
    fn is_of_others(&self, owner: &Owner) -> bool {
        self.placement().cell().is_some_and(|cell| cell.is_elsewhere(Slot::of(owner)))
    }

    /// Whether the owner is known to be in another cell.
    pub(crate) fn is_gone(&self, owner: &Owner) -> bool {
        self.placement().cell().and_then(|cell| cell.elsewhere()).is_some_and(|elsewhere| elsewhere.is_gone(owner))
    }

    async fn wake_served(&self, of: &Slots) -> Result<(), StoreError> {
        // Neither waits for the other: what is to be delivered somebody may wait for, and many agents that wake keep no deadline that is over.
        let (woken, loaded) = tokio::join!(self.wake_all(of), self.load_deadlines(of));
        woken.and(loaded)
    }

    /// For what is not served now. Without its lease the node may have it back in a moment, with all that was in memory: nobody else looks for it then.
    pub(crate) fn wake_later(&self, address: &Address) {
        if !self.is_of_others(&address.owner) {
            self.wake_at(address, self.now().plus(FIRST_PAUSE));
        }
    }

    async fn wake_soon(&self, partition: &PartitionKey) {
        let Some(host) = self.host_of(&partition.kind) else {
            tracing::warn!(category = "app", vpa = %partition, "the wake index names an unknown kind of agent");
            return;
        };
        let address = address_of(&*host, partition);
        if self.placement().serves(&address).is_none() {
            self.wake_later(&address);
            return;
        }
        // The permit is taken here, so that whoever walks a long list goes no faster than agents load.
        let Ok(permit) = self.inner.waking.clone().acquire_owned().await else { return };
        let cluster = self.clone();
        tokio::spawn(async move {
            host.wake(cluster, address).await;
            drop(permit);
        });
    }

    /// Takes the near deadlines of these slots in.
    pub(crate) async fn load_deadlines(&self, of: &Slots) -> Result<(), StoreError> {
        let until = self.now().plus(HORIZON);
        let mut from = None;
        loop {
            let page = self.inner.wake.due(of, until, from, PAGE).await?;
            for row in &page.entries {
                let address = self.host_of(&row.partition.kind).map(|host| address_of(&*host, &row.partition));
                // Nobody reads them again soon: they are taken in without the lease too, as long as no other node has them.
                if let Some(address) = address.filter(|address| !self.is_of_others(&address.owner)) {
                    // A resident agent may have an earlier deadline by now, or be about to come back.
                    self.wake_at(&address, row.due);
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    pub(crate) async fn run_timers(self) {
        while let Some(due) = self.inner.draining.run_until_cancelled(self.timers().next()).await {
            for address in due {
                self.wake_soon(&address.partition()).await;
            }
        }
    }

    pub(crate) async fn look_ahead(self) {
        let mut pause = LOOK_AHEAD;
        while self.inner.draining.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let slots = self.placement().cell().map_or(Slots::All, |cell| cell.open_now());
            // What is awake is awake already; but hours of the index that are over are forgotten when they are read.
            pause = match self.wake_served(&slots).await {
                Ok(()) => LOOK_AHEAD,
                Err(error) => {
                    tracing::error!(category = "app", %error, "the wake index cannot be read");
                    if pause == LOOK_AHEAD { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) }
                }
            };
        }
    }
}
