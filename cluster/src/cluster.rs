//! The handle through which everything reaches agents, and the node's shared parts behind it.

use crate::{
    Address, Agent, Clock, NodeName, Placement,
    host::{AnyHost, Host, address_of},
    supervisor::{OnEnd, Supervised, Supervisor},
    timers::Timers,
    turn::{Failure, TurnActor},
};
use cellspace_schemas::Timestamp;
use cellspace_storage::{DueRow, Epoch, PartitionKey, Partitions, StoreError, WakeIndex};
use parking_lot::RwLock;
use ractor::{Actor, ActorId, ActorRef};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

/// Deadlines nearer than this are held in memory; later ones are found in the wake index when their time comes near.
const HORIZON: Duration = Duration::from_secs(3600);
/// How often the wake index is read for deadlines within the horizon.
const LOOK_AHEAD: Duration = Duration::from_secs(1800);
/// Entries of the wake index read at once.
const WAKE_PAGE: usize = 1024;
/// Agents activated at once by themselves: a cold start must not crowd out callers.
const WAKING: usize = 64;

/// Bounds of one node.
#[derive(Debug, Clone)]
pub struct Options {
    /// An agent unused for so long is passivated.
    pub idle_after: Duration,
    /// Above so many bytes of rows in memory the least recently used agents are passivated.
    pub resident_bytes: usize,
    /// Commands waiting per agent.
    pub inbox: usize,
    /// Commands waiting or being prepared on the node.
    pub node_inbox: usize,
    /// Outbox deliveries under way at once on the node.
    pub deliveries: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { idle_after: Duration::from_secs(300), resident_bytes: 512 << 20, inbox: 256, node_inbox: 16_384, deliveries: 1_024 }
    }
}

struct Inner {
    partitions: Arc<dyn Partitions>,
    wake: Arc<dyn WakeIndex>,
    clock: Arc<dyn Clock>,
    options: Options,
    placement: Placement,
    hosts: RwLock<HashMap<&'static str, Arc<dyn AnyHost>>>,
    supervised: Supervised,
    supervisor: OnceCell<ActorRef<()>>,
    timers: Timers,
    admission: Semaphore,
    deliveries: Semaphore,
    waking: Arc<Semaphore>,
    resident_bytes: AtomicUsize,
    pressure: Notify,
    draining: CancellationToken,
}

/// Handle of the node's runtime; cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

impl Cluster {
    /// A runtime over this store; agents are registered next, then it is started.
    #[must_use]
    pub fn new(partitions: Arc<dyn Partitions>, wake: Arc<dyn WakeIndex>, clock: Arc<dyn Clock>, options: Options) -> Self {
        let inner = Inner {
            timers: Timers::new(clock.clone()),
            admission: Semaphore::new(options.node_inbox),
            deliveries: Semaphore::new(options.deliveries),
            waking: Arc::new(Semaphore::new(WAKING)),
            partitions,
            wake,
            clock,
            options,
            placement: Placement::alone(NodeName("node-1".into())),
            hosts: RwLock::default(),
            supervised: Supervised::default(),
            supervisor: OnceCell::new(),
            resident_bytes: AtomicUsize::new(0),
            pressure: Notify::new(),
            draining: CancellationToken::new(),
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
        self.load_deadlines().await?;
        self.wake_all().await?;
        tokio::spawn(Self::run_timers(self.clone()));
        tokio::spawn(Self::look_ahead(self.clone()));
        tokio::spawn(Self::sweep(self.clone()));
        Ok(())
    }

    /// Stops admitting, finishes running turns, releases every activation; gives up after `limit`.
    pub async fn drain(&self, limit: Duration) {
        self.inner.draining.cancel();
        let hosts: Vec<_> = self.inner.hosts.read().values().cloned().collect();
        let all = futures::future::join_all(hosts.into_iter().map(AnyHost::close_all));
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!(category = "app", "drain gave up on agents that did not stop in time");
        }
        // Agents hold this handle among their services: without this the store would never be let go.
        self.inner.hosts.write().clear();
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
        self.inner.partitions.exists(&address.partition()).await
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

    /// Lets a parked agent be activated again; `false` when it was not parked.
    #[must_use]
    pub fn unpark(&self, address: &Address) -> bool {
        self.inner.hosts.read().get(address.kind.0).is_some_and(|host| host.unpark(address))
    }

    /// Agents of this kind in memory now.
    #[must_use]
    pub fn resident<A: Agent>(&self) -> usize {
        self.host::<A>().map_or(0, |host| host.len())
    }

    // === for the other modules of the runtime ===

    pub(crate) fn host<A: Agent>(&self) -> Option<Arc<Host<A>>> {
        let host = self.inner.hosts.read().get(A::KIND.0).cloned()?;
        host.any().downcast().ok()
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

    pub(crate) fn admission(&self) -> &Semaphore {
        &self.inner.admission
    }

    pub(crate) fn deliveries(&self) -> &Semaphore {
        &self.inner.deliveries
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.inner.draining.is_cancelled()
    }

    /// The deadline, when it is near enough to be held in memory.
    pub(crate) fn near(&self, due: Option<Timestamp>) -> Option<Timestamp> {
        due.filter(|due| *due <= self.now().plus(HORIZON))
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

    pub(crate) fn supervise(&self, actor: ActorId, on_end: OnEnd) {
        self.inner.supervised.insert(actor, on_end);
    }

    pub(crate) async fn spawn<A: Agent>(&self, actor: TurnActor<A>) -> Result<(), Failure> {
        let supervised = self.inner.supervised.clone();
        let start = || async move { Actor::spawn(None, Supervisor(supervised), ()).await.map(|(supervisor, _)| supervisor) };
        let supervisor = self.inner.supervisor.get_or_try_init(start).await.map_err(|e| Failure::of_spawn(&e))?;
        Actor::spawn_linked(None, actor, (), supervisor.get_cell()).await.map_err(|e| Failure::of_spawn(&e))?;
        Ok(())
    }

    async fn wake_all(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.inner.wake.awake(after.clone(), WAKE_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for partition in &page {
                self.wake_soon(partition).await;
            }
        }
    }

    async fn wake_soon(&self, partition: &PartitionKey) {
        let Some(host) = self.inner.hosts.read().values().find(|host| host.kind().0 == partition.kind).cloned() else {
            tracing::warn!(category = "app", vpa = %partition, "the wake index names an unknown kind of agent");
            return;
        };
        let address = address_of(&*host, partition);
        // The permit is taken here, so that whoever walks a long list goes no faster than agents load.
        let Ok(permit) = self.inner.waking.clone().acquire_owned().await else { return };
        let cluster = self.clone();
        tokio::spawn(async move {
            host.wake(cluster, address).await;
            drop(permit);
        });
    }

    async fn load_deadlines(&self) -> Result<(), StoreError> {
        let until = self.now().plus(HORIZON);
        let mut after: Option<DueRow> = None;
        loop {
            let page = self.inner.wake.due(until, after.clone(), WAKE_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for row in &page {
                let host = self.inner.hosts.read().values().find(|host| host.kind().0 == row.partition.kind).cloned();
                if let Some(host) = host {
                    self.inner.timers.set(&address_of(&*host, &row.partition), Some(row.due));
                }
            }
        }
    }

    async fn run_timers(self) {
        while let Some(due) = self.inner.draining.run_until_cancelled(self.inner.timers.next()).await {
            for address in due {
                self.wake_soon(&address.partition()).await;
            }
        }
    }

    async fn look_ahead(self) {
        while self.inner.draining.run_until_cancelled(tokio::time::sleep(LOOK_AHEAD)).await.is_some() {
            if let Err(error) = self.load_deadlines().await {
                tracing::error!(category = "app", %error, "the wake index cannot be read");
            }
        }
    }

    /// Passivates what is idle, and under memory pressure what was least recently used. One task per node.
    async fn sweep(self) {
        let pause = (self.inner.options.idle_after / 4).clamp(Duration::from_millis(50), Duration::from_secs(30));
        while !self.is_draining() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.inner.pressure.notified() => {}
                () = self.inner.draining.cancelled() => {}
            }
            let hosts: Vec<_> = self.inner.hosts.read().values().cloned().collect();
            let mut unused: Vec<_> = hosts.iter().flat_map(|host| host.unused().into_iter().map(move |r| (host, r))).collect();
            unused.sort_by_key(|(_, resident)| resident.last_used);
            let idle_before =
                self.now().millis().saturating_sub(i64::try_from(self.inner.options.idle_after.as_millis()).unwrap_or(i64::MAX));
            // A tenth of room, so that the next activation does not start the sweep again.
            let cap = self.inner.options.resident_bytes;
            let resident = self.inner.resident_bytes.load(Ordering::Acquire);
            let mut over = if resident > cap { resident - (cap - cap / 10) } else { 0 };
            for (host, resident) in unused {
                if resident.last_used <= idle_before || over > 0 {
                    over = over.saturating_sub(resident.bytes);
                    host.passivate(&resident.address);
                }
            }
        }
    }
}
