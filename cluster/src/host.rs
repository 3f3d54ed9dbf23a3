//! All activations of one kind on this node, and what happens when one fails.

use crate::{
    Address, AdminError, Agent, Cluster, OutboxId, Slot,
    activation::{Activation, Phase},
    admin::Inspection,
    codec,
    dead_letters::{Letter, Redress, letter_key},
    ended::Ended,
    failures::Failures,
    inbox::Item,
    remote::{AgentAnswer, Reach, What},
    turn::TurnActor,
};
use cellspace_schemas::Owner;
use cellspace_storage::{AgentKind, PartitionKey};
use dashmap::{DashMap, Entry};
use futures::future::BoxFuture;
use metrics::{counter, gauge};
use ractor::SpawnErr;
use serde_json::Value;
use std::{
    any::Any,
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// How long an operator's wish is tried.
const REDRESS: Duration = Duration::from_secs(30);

pub(crate) struct Host<A: Agent> {
    pub(crate) agent: Arc<A>,
    activations: DashMap<Address, Arc<Activation<A>>>,
    failures: Failures,
    parked: DashMap<Address, String>,
    reach: Reach<A>,
}

/// An agent in memory that may be passivated.
pub(crate) struct Resident {
    pub(crate) address: Address,
    pub(crate) last_used: i64,
    pub(crate) bytes: usize,
}

/// Agents that are to stop.
pub(crate) enum Meant {
    All,
    Slots(HashSet<u16>),
    Owner(Owner),
}

/// What the node needs of a host without knowing its agents' types.
pub(crate) trait AnyHost: Send + Sync {
    fn kind(&self) -> AgentKind;
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// Activates the agent, or tells the resident one that a deadline may have passed.
    fn wake(self: Arc<Self>, cluster: Cluster, address: Address) -> BoxFuture<'static, ()>;
    fn is_resident(&self, address: &Address) -> bool;
    /// Agents that nobody uses and that have nothing to deliver.
    fn unused(&self) -> Vec<Resident>;
    /// Passivates one of them, unless it was used since it was found unused.
    fn passivate(&self, found: &Resident);
    /// Tells every agent that is meant to finish its turn and stop: whose they are, each with what is cancelled when it has stopped.
    fn close(&self, meant: &Meant) -> Vec<(Owner, CancellationToken)>;
    fn parked(&self) -> Vec<(Address, String)>;
    fn unpark(&self, address: &Address) -> bool;
    /// What a resident agent says of itself.
    fn inspect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Option<Inspection>>;
    /// Takes out of the effect of a dead letter what is not shown.
    fn shown(&self, effect: &mut Value);
    /// What another node asks of an agent of this one.
    fn called(self: Arc<Self>, cluster: Cluster, address: Address, what: What, left: Duration) -> BoxFuture<'static, AgentAnswer>;
    /// Sends a dead letter again, or throws it away.
    fn redress(
        self: Arc<Self>,
        cluster: Cluster,
        address: Address,
        id: OutboxId,
        again: bool,
        actor: String,
    ) -> BoxFuture<'static, Result<(), AdminError>>;
}

impl<A: Agent> Host<A> {
    pub(crate) fn new(agent: Arc<A>) -> Self {
        Self { agent, activations: DashMap::new(), failures: Failures::default(), parked: DashMap::new(), reach: Reach::of_agent() }
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

    /// The activation in memory, or a new one that starts to load. One from before the slot was served since then is closing.
    pub(crate) fn activate(self: &Arc<Self>, cluster: &Cluster, address: &Address, since: u64) -> Arc<Activation<A>> {
        match self.activations.entry(address.clone()) {
            Entry::Occupied(entry) => {
                let held = entry.get().clone();
                drop(entry);
                held.close_unless(since);
                held
            }
            Entry::Vacant(entry) => {
                let activation = Arc::new(Activation::new(address.clone(), since, cluster.options().inbox, cluster.now().millis()));
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
            // What went wrong in loading has been reported; what is left is a panic there, or an actor that could not be started at all.
            let ended = match error {
                SpawnErr::StartupFailed(panic) => Ended::Panicked(panic.to_string()),
                other => Ended::Store(other.to_string()),
            };
            self.failed(&cluster, &activation, &ended);
        }
    }

    /// The activation is no longer the agent's, and its claim is given back.
    pub(crate) fn leave(&self, cluster: &Cluster, activation: &Arc<Activation<A>>) {
        cluster.account(activation.bytes.swap(0, Ordering::AcqRel), 0);
        if let Some(epoch) = activation.epoch.get() {
            cluster.release(&activation.address, *epoch);
        }
        if self.activations.remove_if(&activation.address, |_, held| Arc::ptr_eq(held, activation)).is_some() {
            gauge!("cellspace_activations", "kind" => A::KIND.0).decrement(1.0);
        }
    }

    /// Drops a failed activation, once.
    pub(crate) fn failed(&self, cluster: &Cluster, activation: &Arc<Activation<A>>, ended: &Ended) {
        if activation.ended.is_cancelled() {
            return;
        }
        let (address, reason) = (&activation.address, ended.to_string());
        if matches!(ended, Ended::NoLease) {
            // Its slot is handed over, or the node has lost it: nothing is wrong with the agent.
            tracing::info!(category = "app", vpa = %address, reason, "activation dropped");
        } else {
            tracing::error!(category = "app", vpa = %address, reason, "activation dropped");
            counter!("cellspace_activation_failures_total", "kind" => A::KIND.0).increment(1);
        }
        let leftovers = activation.inbox.shut();
        self.leave(cluster, activation);
        activation.end(&reason, leftovers);
        let failure = self.failures.count(address, ended.own_fault());
        if failure.park && cluster.serves(address) {
            tracing::error!(category = "app", vpa = %address, reason, "agent parked after repeated failures");
            if self.parked.insert(address.clone(), reason).is_none() {
                gauge!("cellspace_agents_parked", "kind" => A::KIND.0).increment(1.0);
            }
            // Its slot may have closed meanwhile, for which nobody is parked.
            if !cluster.serves(address) {
                self.unpark(address);
            }
        } else if activation.may_have_work.load(Ordering::Acquire) && !cluster.is_draining() && !cluster.is_gone(&address.owner) {
            cluster.wake_at(address, cluster.now().plus(failure.pause));
        }
    }

    async fn redress_one(
        self: Arc<Self>,
        cluster: Cluster,
        address: Address,
        id: OutboxId,
        again: bool,
        actor: String,
    ) -> Result<(), AdminError> {
        let unavailable = |reason: &str| AdminError::Unavailable(reason.to_owned());
        let stored = cluster.partitions().get(&address.partition(), &letter_key(id)).await?.ok_or(AdminError::NotFound)?;
        let letter = codec::open::<Letter<A::Effect>>(&stored.value, cluster.placement().reads())?;
        if again && letter.body.redacted {
            return Err(AdminError::Redacted);
        }
        if let Some(reason) = self.why_parked(&address) {
            return Err(AdminError::Unavailable(format!("the agent is parked: {reason}")));
        }
        let until = Instant::now() + REDRESS;
        let (done, outcome) = oneshot::channel();
        let mut item = Item::Redress(Box::new(Redress { id, again: again.then_some((letter.body, letter.trace)), actor, done }));
        loop {
            if cluster.is_draining() {
                return Err(unavailable("the node is draining"));
            }
            let since = cluster.placement().serves(&address).ok_or_else(|| unavailable("this node does not serve the agent's slot"))?;
            let activation = self.activate(&cluster, &address, since);
            let Err((_, refused)) = activation.push(item) else { break };
            item = refused;
            timeout_at(until, activation.ended.cancelled()).await.map_err(|_| unavailable("the agent did not stop in time"))?;
        }
        match timeout_at(until, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(unavailable("the agent failed")),
            Err(_) => Err(unavailable("no answer in time")),
        }
    }
}

impl<A: Agent> AnyHost for Host<A> {
    fn kind(&self) -> AgentKind {
        A::KIND
    }

    fn called(self: Arc<Self>, cluster: Cluster, address: Address, what: What, left: Duration) -> BoxFuture<'static, AgentAnswer> {
        Box::pin(async move { self.reach.called(cluster, address, what, left).await })
    }

    fn shown(&self, effect: &mut Value) {
        A::shown(effect);
    }

    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn wake(self: Arc<Self>, cluster: Cluster, address: Address) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while !cluster.is_draining()
                && !self.parked.contains_key(&address)
                && let Some(since) = cluster.placement().serves(&address)
            {
                let activation = self.activate(&cluster, &address, since);
                let mut phase = activation.phase.watch();
                // A fresh activation looks at its deadlines and outbox by itself.
                if activation.push(Item::Tick).is_ok() {
                    phase.until(|phase| !matches!(phase, Phase::Loading)).await;
                    return;
                }
                // One that closes fires nothing any more.
                activation.ended.cancelled().await;
            }
            // The lease may have gone while it waited for its turn to come back.
            if !cluster.is_draining() && !self.parked.contains_key(&address) {
                cluster.wake_later(&address);
            }
        })
    }

    fn is_resident(&self, address: &Address) -> bool {
        self.activations.contains_key(address)
    }

    fn unused(&self) -> Vec<Resident> {
        self.activations
            .iter()
            .filter(|a| a.is_unused() && !a.is_loading())
            .map(|a| Resident {
                address: a.address.clone(),
                last_used: a.last_used.load(Ordering::Relaxed),
                bytes: a.bytes.load(Ordering::Relaxed),
            })
            .collect()
    }

    fn passivate(&self, found: &Resident) {
        if let Some(activation) = self.resident(&found.address) {
            let unused = || activation.is_unused() && activation.last_used.load(Ordering::Acquire) == found.last_used;
            if activation.inbox.close_if_idle(unused) {
                activation.wake_actor();
            }
        }
    }

    fn close(&self, which: &Meant) -> Vec<(Owner, CancellationToken)> {
        let meant = |address: &Address| match which {
            Meant::All => true,
            Meant::Slots(slots) => slots.contains(&Slot::of(&address.owner).number()),
            Meant::Owner(owner) => address.owner == *owner,
        };
        // Whether it works at the next node is for that one to find out.
        self.failures.forget_those(meant);
        let parked: Vec<Address> = self.parked.iter().map(|entry| entry.key().clone()).filter(meant).collect();
        for address in &parked {
            self.unpark(address);
        }
        let mut all: Vec<_> = self.activations.iter().filter(|entry| meant(entry.key())).map(|entry| entry.value().clone()).collect();
        all.sort_by(|a, b| a.address.cmp(&b.address));
        for activation in &all {
            let _ = activation.push(Item::Close);
        }
        all.into_iter().map(|activation| (activation.address.owner.clone(), activation.ended.clone())).collect()
    }

    fn parked(&self) -> Vec<(Address, String)> {
        let mut all: Vec<_> = self.parked.iter().map(|entry| (entry.key().clone(), entry.value().clone())).collect();
        all.sort();
        all
    }

    fn unpark(&self, address: &Address) -> bool {
        self.failures.forget(address);
        let parked = self.parked.remove(address).is_some();
        if parked {
            gauge!("cellspace_agents_parked", "kind" => A::KIND.0).decrement(1.0);
        }
        parked
    }

    fn inspect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Option<Inspection>> {
        Box::pin(async move {
            let (asked, answer) = oneshot::channel();
            self.resident(address)?.push(Item::Inspect(asked)).ok()?;
            answer.await.ok()
        })
    }

    fn redress(
        self: Arc<Self>,
        cluster: Cluster,
        address: Address,
        id: OutboxId,
        again: bool,
        actor: String,
    ) -> BoxFuture<'static, Result<(), AdminError>> {
        Box::pin(self.redress_one(cluster, address, id, again, actor))
    }
}

/// The address of a partition, when its kind is known here.
pub(crate) fn address_of(host: &dyn AnyHost, partition: &PartitionKey) -> Address {
    Address { owner: partition.owner.clone(), kind: host.kind(), name: partition.name.clone() }
}
