//! All activations of one kind on this node, and what happens when one fails.

use crate::{Address, Agent, Cluster, activation::Activation, inbox::Item, turn::TurnActor};
use cellspace_storage::{AgentKind, PartitionKey};
use dashmap::{DashMap, Entry};
use futures::future::BoxFuture;
use metrics::{counter, gauge};
use std::{
    any::Any,
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// Failures within [`PARK_WINDOW`] after which an agent is parked.
const PARK_AFTER: usize = 3;
const PARK_WINDOW: Duration = Duration::from_secs(60);
/// Pause before a failed agent with work of its own is activated again.
const COME_BACK: Duration = Duration::from_millis(500);

pub(crate) struct Host<A: Agent> {
    pub(crate) agent: Arc<A>,
    activations: DashMap<Address, Arc<Activation<A>>>,
    failures: DashMap<Address, VecDeque<Instant>>,
    parked: DashMap<Address, String>,
}

/// An agent in memory that may be passivated.
pub(crate) struct Resident {
    pub(crate) address: Address,
    pub(crate) last_used: i64,
    pub(crate) bytes: usize,
}

/// What the node needs of a host without knowing its agents' types.
pub(crate) trait AnyHost: Send + Sync {
    fn kind(&self) -> AgentKind;
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// Activates the agent, or tells the resident one that a deadline may have passed.
    fn wake(self: Arc<Self>, cluster: Cluster, address: Address) -> BoxFuture<'static, ()>;
    /// Agents that nobody uses and that have nothing to deliver.
    fn unused(&self) -> Vec<Resident>;
    /// Passivates one of them, unless it came into use again.
    fn passivate(&self, address: &Address);
    /// Tells every agent to finish its turn and stop, and waits for it.
    fn close_all(self: Arc<Self>) -> BoxFuture<'static, ()>;
    fn parked(&self) -> Vec<(Address, String)>;
    fn unpark(&self, address: &Address) -> bool;
}

impl<A: Agent> Host<A> {
    pub(crate) fn new(agent: Arc<A>) -> Self {
        Self { agent, activations: DashMap::new(), failures: DashMap::new(), parked: DashMap::new() }
    }

    pub(crate) fn resident(&self, address: &Address) -> Option<Arc<Activation<A>>> {
        self.activations.get(address).map(|entry| entry.value().clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.activations.len()
    }

    pub(crate) fn why_parked(&self, address: &Address) -> Option<String> {
        self.parked.get(address).map(|reason| reason.clone())
    }

    /// The activation in memory, or a new one that starts to load.
    pub(crate) fn activate(self: &Arc<Self>, cluster: &Cluster, address: &Address) -> Arc<Activation<A>> {
        match self.activations.entry(address.clone()) {
            Entry::Occupied(entry) => entry.get().clone(),
            Entry::Vacant(entry) => {
                let activation = Arc::new(Activation::new(address.clone(), cluster.options().inbox, cluster.now().millis()));
                entry.insert(activation.clone());
                gauge!("cellspace_activations", "kind" => A::KIND.0).increment(1.0);
                counter!("cellspace_activations_total", "kind" => A::KIND.0).increment(1);
                tokio::spawn(Self::start(self.clone(), cluster.clone(), activation.clone()));
                activation
            }
        }
    }

    async fn start(self: Arc<Self>, cluster: Cluster, activation: Arc<Activation<A>>) {
        let actor = TurnActor { host: self.clone(), activation: activation.clone(), cluster: cluster.clone() };
        if let Err(error) = cluster.spawn(actor).await {
            self.failed(&cluster, &activation, &error.reason, error.own_fault);
        }
    }

    pub(crate) fn forget(&self, activation: &Arc<Activation<A>>) {
        if self.activations.remove_if(&activation.address, |_, held| Arc::ptr_eq(held, activation)).is_some() {
            gauge!("cellspace_activations", "kind" => A::KIND.0).decrement(1.0);
        }
    }

    /// Drops a failed activation. `own_fault`: a panic or an unreadable row, not the store or a fence.
    pub(crate) fn failed(self: &Arc<Self>, cluster: &Cluster, activation: &Arc<Activation<A>>, reason: &str, own_fault: bool) {
        let address = &activation.address;
        tracing::error!(category = "app", vpa = %address, reason, "activation dropped");
        counter!("cellspace_activation_failures_total", "kind" => A::KIND.0).increment(1);
        let work_left = activation.undelivered.load(Ordering::Acquire) > 0 || activation.actor.get().is_none();
        cluster.account(activation.bytes.swap(0, Ordering::AcqRel), 0);
        self.forget(activation);
        activation.end(reason, true);
        if own_fault && self.count_failure(address) {
            tracing::error!(category = "app", vpa = %address, reason, "agent parked after repeated failures");
            self.parked.insert(address.clone(), reason.to_owned());
        } else if work_left && !cluster.is_draining() {
            let (host, cluster, address) = (self.clone(), cluster.clone(), address.clone());
            tokio::spawn(async move {
                tokio::time::sleep(COME_BACK).await;
                host.wake(cluster, address).await;
            });
        }
    }

    fn count_failure(&self, address: &Address) -> bool {
        let now = Instant::now();
        self.failures.retain(|_, times| times.back().is_some_and(|last| now.duration_since(*last) < PARK_WINDOW));
        let mut times = self.failures.entry(address.clone()).or_default();
        times.push_back(now);
        while times.front().is_some_and(|first| now.duration_since(*first) >= PARK_WINDOW) {
            times.pop_front();
        }
        times.len() >= PARK_AFTER
    }
}

impl<A: Agent> AnyHost for Host<A> {
    fn kind(&self) -> AgentKind {
        A::KIND
    }

    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn wake(self: Arc<Self>, cluster: Cluster, address: Address) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if cluster.is_draining() || self.parked.contains_key(&address) {
                return;
            }
            let activation = self.activate(&cluster, &address);
            // A fresh activation looks at its deadlines and outbox by itself; a closing one has none that are near.
            let _ = activation.push(Item::Tick);
            let mut phase = activation.phase.subscribe();
            let _ = phase.wait_for(|phase| !matches!(phase, crate::activation::Phase::Loading)).await;
        })
    }

    fn unused(&self) -> Vec<Resident> {
        self.activations
            .iter()
            .filter(|a| a.users.load(Ordering::Acquire) == 0 && a.undelivered.load(Ordering::Acquire) == 0 && a.actor.get().is_some())
            .map(|a| Resident {
                address: a.address.clone(),
                last_used: a.last_used.load(Ordering::Relaxed),
                bytes: a.bytes.load(Ordering::Relaxed),
            })
            .collect()
    }

    fn passivate(&self, address: &Address) {
        if let Some(activation) = self.resident(address)
            && activation.users.load(Ordering::Acquire) == 0
            && activation.inbox.close_if_idle()
        {
            activation.wake_actor();
        }
    }

    fn close_all(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let all: Vec<_> = self.activations.iter().map(|entry| entry.value().clone()).collect();
            for activation in &all {
                let _ = activation.push(Item::Close);
            }
            for activation in all {
                activation.ended.cancelled().await;
            }
        })
    }

    fn parked(&self) -> Vec<(Address, String)> {
        self.parked.iter().map(|entry| (entry.key().clone(), entry.value().clone())).collect()
    }

    fn unpark(&self, address: &Address) -> bool {
        self.failures.remove(address);
        self.parked.remove(address).is_some()
    }
}

/// The address of a partition, when its kind is known here.
pub(crate) fn address_of(host: &dyn AnyHost, partition: &PartitionKey) -> Address {
    Address { owner: partition.owner.clone(), kind: host.kind(), name: partition.name.clone() }
}
