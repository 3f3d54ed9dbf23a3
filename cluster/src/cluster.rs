//! The handle through which everything reaches agents, and the node's shared parts behind it.

use crate::{
    Address, Agent, Clock, NodeName, Opening, Placement, Slot, Track,
    absent::Absent,
    admission::Admission,
    cell::Cell,
    destinations::Destinations,
    host::{AnyHost, Host, Meant},
    loading::Loading,
    supervisor::{OnPanic, Supervised, Supervisor},
    timers::Timers,
    turn::TurnActor,
};
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::{Epoch, Partitions, Slots, StoreError, WakeIndex};
use parking_lot::RwLock;
use ractor::{Actor, ActorId, ActorRef, SpawnErr};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

/// Agents activated at once by themselves: a cold start must not crowd out callers, for whom half of the places are left where there are fewest.
const WAKING: usize = 8;
/// Deliveries aside that are under way at once have a place for each so many of all others.
const ASIDE_SHARE: usize = 4;
/// The same for deliveries in the background.
const BACKGROUND_SHARE: usize = 64;

/// Bounds of one node.
#[derive(Debug, Clone)]
pub struct Options {
    /// An agent unused for so long is passivated.
    pub idle_after: Duration,
    /// Above so many bytes of rows in memory the least recently used agents are passivated.
    pub resident_bytes: usize,
    /// Commands waiting per agent.
    pub inbox: usize,
    /// Commands waiting or being prepared per owner.
    pub owner_inbox: usize,
    /// Commands waiting or being prepared per owner and counterparty that sent them.
    pub counterparty_inbox: usize,
    /// Commands waiting or being prepared on the node.
    pub node_inbox: usize,
    /// Outbox deliveries under way at once on the node, beside a quarter as many aside and a 64th in the background.
    pub deliveries: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            idle_after: Duration::from_secs(300),
            resident_bytes: 512 << 20,
            inbox: 256,
            owner_inbox: 1_024,
            counterparty_inbox: 128,
            node_inbox: 16_384,
            deliveries: 1_024,
        }
    }
}

pub(crate) struct Inner {
    pub(crate) partitions: Arc<dyn Partitions>,
    pub(crate) wake: Arc<dyn WakeIndex>,
    pub(crate) options: Options,
    pub(crate) hosts: RwLock<BTreeMap<&'static str, Arc<dyn AnyHost>>>,
    pub(crate) timers: Timers,
    pub(crate) waking: Arc<Semaphore>,
    /// Room to load an agent, for whomever: after a node's death all that it had is asked for.
    pub(crate) loading: Loading,
    pub(crate) resident_bytes: AtomicUsize,
    pub(crate) pressure: Notify,
    pub(crate) draining: CancellationToken,
    /// Nobody is to wait for a state any longer.
    pub(crate) stop_waiting: CancellationToken,
    clock: Arc<dyn Clock>,
    placement: Placement,
    supervised: Supervised,
    supervisor: OnceCell<ActorRef<()>>,
    admission: Admission,
    absent: Absent,
    deliveries: Semaphore,
    /// Room for deliveries aside.
    aside: Semaphore,
    /// Room for those in the background.
    background: Semaphore,
    destinations: Destinations,
}

/// Handle of the node's runtime; cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

impl Cluster {
    /// A runtime over this store; agents are registered next, then it is started.
    #[must_use]
    pub fn new(partitions: Arc<dyn Partitions>, wake: Arc<dyn WakeIndex>, clock: Arc<dyn Clock>, options: Options) -> Self {
        Self::placed(partitions, wake, clock, options, Placement::alone(NodeName("node-1".into())))
    }

    /// A runtime that shares the agents of this store with other nodes.
    #[must_use]
    pub fn in_cell(
        partitions: Arc<dyn Partitions>,
        wake: Arc<dyn WakeIndex>,
        clock: Arc<dyn Clock>,
        options: Options,
        cell: Arc<Cell>,
    ) -> Self {
        Self::placed(partitions, wake, clock, options, Placement::in_cell(cell))
    }

    fn placed(
        partitions: Arc<dyn Partitions>,
        wake: Arc<dyn WakeIndex>,
        clock: Arc<dyn Clock>,
        options: Options,
        placement: Placement,
    ) -> Self {
        let inner = Inner {
            timers: Timers::new(clock.clone()),
            admission: Admission::new(options.node_inbox, options.owner_inbox, options.counterparty_inbox),
            absent: Absent::new(),
            deliveries: Semaphore::new(options.deliveries),
            aside: Semaphore::new((options.deliveries / ASIDE_SHARE).max(1)),
            background: Semaphore::new((options.deliveries / BACKGROUND_SHARE).max(1)),
            destinations: Destinations::default(),
            waking: Arc::new(Semaphore::new(WAKING)),
            loading: Loading::new(),
            partitions,
            wake,
            clock,
            options,
            placement,
            hosts: RwLock::default(),
            supervised: Supervised::default(),
            supervisor: OnceCell::new(),
            resident_bytes: AtomicUsize::new(0),
            pressure: Notify::new(),
            draining: CancellationToken::new(),
            stop_waiting: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes a kind of agent known. Before [`Cluster::start`].
    pub fn register<A: Agent>(&self, agent: Arc<A>) {
        self.inner.hosts.write().insert(A::KIND.0, Arc::new(Host::new(agent)));
    }

    /// Wakes every agent with undelivered outbox rows or near deadlines, and starts the timers (invariants OUTBOX and TIMER).
    ///
    /// # Errors
    /// When the wake index cannot be read.
    pub async fn start(&self) -> Result<(), StoreError> {
        match self.placement().cell() {
            None => {
                self.load_deadlines(&Slots::All).await?;
                self.wake_all(&Slots::All).await?;
            }
            Some(cell) => {
                if let Some(elsewhere) = cell.elsewhere() {
                    elsewhere.follow();
                }
                tokio::spawn(cell.clone().run());
                tokio::spawn(Self::close_slots(self.clone(), cell.clone()));
                tokio::spawn(Self::wake_opened(self.clone(), cell.clone()));
            }
        }
        tokio::spawn(Self::run_timers(self.clone()));
        tokio::spawn(Self::look_ahead(self.clone()));
        tokio::spawn(Self::sweep(self.clone()));
        Ok(())
    }

    /// Ends every [`Cluster::wait`], now and from now on, with the state as it is. To be called before requests are waited for, some of which wait for
    /// a state; turns and reads go on.
    pub fn stop_waiting(&self) {
        self.inner.stop_waiting.cancel();
    }

    /// Hands the slots over where there are other nodes; gives up after `limit`. What still comes in goes on to them.
    pub async fn leave(&self, limit: Duration) {
        if let Some(cell) = self.placement().cell()
            && tokio::time::timeout(limit, cell.leave()).await.is_err()
        {
            tracing::warn!(category = "app", "the slots were not handed over in time");
        }
    }

    /// Hands the slots over where there are other nodes, stops admitting, finishes running turns, releases every activation; gives up after `limit`.
    pub async fn drain(&self, limit: Duration) {
        let until = tokio::time::Instant::now() + limit;
        self.stop_waiting();
        self.leave(limit).await;
        self.inner.draining.cancel();
        if tokio::time::timeout_at(until, self.close_all(&Meant::All)).await.is_err() {
            tracing::warn!(category = "app", "drain gave up on agents that did not stop in time");
        }
        // Agents hold this handle among their services: without this the store would never be let go.
        self.inner.hosts.write().clear();
        if let Some(cell) = self.placement().cell() {
            cell.stop();
        }
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Whether the agent was ever written; activates nothing.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn exists(&self, address: &Address) -> Result<bool, StoreError> {
        // An agent in memory may be about to be written for the first time.
        let resident = || self.host_of(address.kind.0).is_some_and(|host| host.is_resident(address));
        // Of what others serve, or may have served meanwhile, they know what was written.
        let since = self.placement().serves(address);
        if let Some(since) = since
            && !resident()
            && self.absent().contains(address, since)
        {
            return Ok(false);
        }
        let ticket = self.absent().ticket();
        let exists = match self.inner.partitions.exists(&address.partition()).await {
            Err(StoreError::Sealed(partition)) => return Err(self.found_sealed(partition).await),
            exists => exists?,
        };
        if let Some(since) = since
            && !exists
            && !resident()
        {
            self.absent().note(address, since, ticket);
        }
        Ok(exists)
    }

    /// Whether this node may act for the agent now: its slot is this node's, whose lease holds.
    #[must_use]
    pub fn serves(&self, address: &Address) -> bool {
        self.placement().serves(address).is_some()
    }

    /// Since when this node has the owner's slot. `None` where there are no other nodes.
    #[must_use]
    pub fn opened(&self, owner: impl Into<Owner>) -> Option<Opening> {
        let owner = owner.into();
        let (cell, slot) = (self.placement().cell()?, Slot::of(&owner));
        let came = cell.elsewhere().and_then(|elsewhere| elsewhere.came(&owner, self.now()));
        Some(Opening { came, ..cell.opened_at(slot) })
    }

    /// Whether another node serves the owner, of this cell or of another one: asked before anything is done for it.
    pub async fn finds_elsewhere(&self, owner: &Owner) -> bool {
        match self.placement().cell() {
            Some(cell) => cell.finds_away(owner).await,
            None => false,
        }
    }

    /// Whether another node of the cell owns the slot of this owner, or another cell has it, as far as is known without a look at the owner's row.
    #[must_use]
    pub fn is_elsewhere(&self, owner: &Owner) -> bool {
        self.placement().cell().is_some_and(|cell| cell.is_away(owner))
    }

    /// The kinds of agents that there are, in order.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.inner.hosts.read().keys().copied().collect();
        kinds.sort_unstable();
        kinds
    }

    /// Tells the other nodes of the cell that there is news of this kind, and waits a moment for them to have taken it in. One that is not reached
    /// must find it by itself.
    pub async fn announce(&self, news: &str) {
        if let Some(cell) = self.placement().cell() {
            cell.announce(news).await;
        }
    }

    /// `Ok` while turns can be expected to commit.
    ///
    /// # Errors
    /// Why they cannot.
    pub fn health(&self) -> Result<(), StoreError> {
        if self.is_draining() {
            return Err(StoreError::Unavailable("the node is draining".into()));
        }
        self.inner.partitions.health()
    }

    /// Agents that were parked after repeated failures, with the last reason.
    #[must_use]
    pub fn parked(&self) -> Vec<(Address, String)> {
        self.inner.hosts.read().values().flat_map(|host| host.parked()).collect()
    }

    /// Activates a parked agent again, and goes on with its work; `false` when it was not parked.
    #[must_use]
    pub fn unpark(&self, address: &Address) -> bool {
        let parked = self.host_of(address.kind.0).is_some_and(|host| host.unpark(address));
        if parked {
            self.wake_at(address, self.now());
        }
        parked
    }

    /// Agents of this kind in memory now.
    #[must_use]
    pub fn resident<A: Agent>(&self) -> usize {
        self.host::<A>().map_or(0, |host| host.len())
    }

    // === for the other modules of the runtime ===

    pub(crate) fn host<A: Agent>(&self) -> Option<Arc<Host<A>>> {
        self.host_of(A::KIND.0)?.any().downcast().ok()
    }

    pub(crate) fn host_of(&self, kind: &str) -> Option<Arc<dyn AnyHost>> {
        self.inner.hosts.read().get(kind).cloned()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn partitions(&self) -> &Arc<dyn Partitions> {
        &self.inner.partitions
    }

    pub(crate) fn placement(&self) -> &Placement {
        &self.inner.placement
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.inner.timers
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.inner.admission
    }

    pub(crate) fn absent(&self) -> &Absent {
        &self.inner.absent
    }

    /// Room for a delivery on this node.
    pub(crate) fn deliveries(&self, track: Track) -> &Semaphore {
        match track {
            Track::Main => &self.inner.deliveries,
            Track::Aside => &self.inner.aside,
            Track::Background => &self.inner.background,
        }
    }

    pub(crate) fn destinations(&self) -> &Destinations {
        &self.inner.destinations
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.inner.draining.is_cancelled()
    }

    pub(crate) fn release(&self, address: &Address, epoch: Epoch) {
        self.inner.partitions.release(&address.partition(), epoch);
    }

    /// An activation's share of the memory changed.
    pub(crate) fn account(&self, before: usize, after: usize) {
        let total = &self.inner.resident_bytes;
        total.fetch_add(after, Ordering::AcqRel);
        let now = total.fetch_sub(before, Ordering::AcqRel).saturating_sub(before);
        if now > self.inner.options.resident_bytes && after > before {
            self.inner.pressure.notify_one();
        }
    }

    /// This handle again for as long as another one is there.
    pub fn downgrade(&self) -> impl Fn() -> Option<Self> + Send + Sync + use<> {
        let inner = Arc::downgrade(&self.inner);
        move || inner.upgrade().map(|inner| Self { inner })
    }

    pub(crate) fn supervise(&self, actor: ActorId, on_panic: OnPanic) {
        self.inner.supervised.insert(actor, on_panic);
    }

    pub(crate) async fn spawn<A: Agent>(&self, actor: TurnActor<A>) -> Result<(), SpawnErr> {
        let supervised = self.inner.supervised.clone();
        let start = || async move { Actor::spawn(None, Supervisor(supervised), ()).await.map(|(supervisor, _)| supervisor) };
        let supervisor = self.inner.supervisor.get_or_try_init(start).await?;
        Actor::spawn_linked(None, actor, (), supervisor.get_cell()).await?;
        Ok(())
    }
}
