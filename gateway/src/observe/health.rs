//! Is this node fit? Four questions, each answered by named components.

use cellspace_cluster::Cluster;
use cellspace_storage::{Counters, StoreError};
use parking_lot::RwLock;
use serde::Serialize;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the health routes ask.
pub struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    checks: RwLock<Vec<(&'static str, Check)>>,
    counters: Arc<Counters>,
}

/// Answer of a health route.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether every component is.
    pub is_system_healthy: bool,
    /// One by one.
    pub component_results: Vec<ComponentResult>,
}

/// One component's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentResult {
    component: &'static str,
    is_healthy: bool,
    failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    messages: Vec<String>,
}

impl Health {
    /// Watches the runtime (with the store below) and the vault. `counters` are the store's.
    #[must_use]
    pub fn new(cluster: Cluster, vault: impl Fn() -> Result<(), StoreError> + Send + Sync + 'static, counters: Arc<Counters>) -> Self {
        let said = |outcome: Result<(), StoreError>| outcome.map_err(|e| e.to_string());
        let checks: Vec<(&'static str, Check)> =
            vec![("store", Box::new(move || said(cluster.health()))), ("vault", Box::new(move || said(vault())))];
        Self { started: AtomicBool::new(false), draining: AtomicBool::new(false), checks: RwLock::new(checks), counters }
    }

    /// Watches another component too.
    pub fn watch(&self, component: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.checks.write().push((component, Box::new(check)));
    }

    /// Every agent was woken, every listener serves.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// The node ends: no new work, please.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the process should be left alone. Only what a restart would cure counts.
    #[must_use]
    pub fn liveness(&self) -> Report {
        Report::of(vec![("process", Ok(()))])
    }

    /// Whether the node came up.
    #[must_use]
    pub fn startup(&self) -> Report {
        let started = if self.started.load(Ordering::Acquire) { Ok(()) } else { Err("the node is starting".to_owned()) };
        Report::of(vec![("node", started)])
    }

    /// Whether the node takes requests now.
    #[must_use]
    pub fn readiness(&self) -> Report {
        let node = match (self.started.load(Ordering::Acquire), self.draining.load(Ordering::Acquire)) {
            (_, true) => Err("the node is draining".to_owned()),
            (false, _) => Err("the node is starting".to_owned()),
            (true, false) => Ok(()),
        };
        let mut all = vec![("node", node)];
        all.extend(self.checks.read().iter().map(|(name, check)| (*name, check())));
        Report::of(all)
    }

    /// Brings the store's counters to the metrics.
    pub fn publish_counters(&self) {
        let (commits, syncs, bytes) = self.counters.read();
        metrics::counter!("cellspace_store_commits_total").absolute(commits);
        metrics::counter!("cellspace_store_syncs_total").absolute(syncs);
        metrics::counter!("cellspace_store_bytes_total").absolute(bytes);
    }
}

impl Report {
    fn of(components: Vec<(&'static str, Result<(), String>)>) -> Self {
        let component_results: Vec<_> = components
            .into_iter()
            .map(|(component, outcome)| {
                let failure = outcome.err().map(|message| Failure { messages: vec![message] });
                ComponentResult { component, is_healthy: failure.is_none(), failure }
            })
            .collect();
        Self { is_system_healthy: component_results.iter().all(|c| c.is_healthy) && !component_results.is_empty(), component_results }
    }
}
