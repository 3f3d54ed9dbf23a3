//! Is this node fit? Four questions, each answered by named components.

use crate::node::NodeStore;
use cellspace_actors::fabric::topics::USAGE;
use cellspace_cluster::Cluster;
use cellspace_storage::{StoreError, TopicReport};
use parking_lot::RwLock;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

const STORE: &str = "store";
const VAULT: &str = "vault";

/// What the health routes ask.
pub struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    checks: RwLock<Vec<(&'static str, Check)>>,
    /// Whether a commit works, where that is tried: readiness then asks this, and not what store and vault seem to be.
    /// With whether it stands for the vault too.
    commits: RwLock<Option<(bool, Check)>>,
    store: NodeStore,
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
    /// Watches the runtime (with the store below), the vault, and the store's events.
    #[must_use]
    pub fn new(cluster: Cluster, vault: impl Fn() -> Result<(), StoreError> + Send + Sync + 'static, store: NodeStore) -> Self {
        let said = |outcome: Result<(), StoreError>| outcome.map_err(|e| e.to_string());
        let checks: Vec<(&'static str, Check)> =
            vec![(STORE, Box::new(move || said(cluster.health()))), (VAULT, Box::new(move || said(vault())))];
        Self {
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            checks: RwLock::new(checks),
            commits: RwLock::default(),
            store,
        }
    }

    /// Watches another component too.
    pub fn watch(&self, component: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.checks.write().push((component, Box::new(check)));
    }

    /// Readiness asks this in the place of the store, and of the vault where that is in the store.
    pub fn ready_by(&self, vault_is_in_store: bool, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        *self.commits.write() = Some((vault_is_in_store, Box::new(check)));
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

    /// What an operator should look after: beside the start, whether facts to bill by were lost since nobody reads them, and whether Kafka, where events are
    /// there, can be used. No reason to take the node out, which is what readiness is for.
    #[must_use]
    pub fn health(&self) -> Report {
        let mut all = vec![("node", self.start_outcome())];
        all.extend(self.checks.read().iter().map(|(name, check)| (*name, check())));
        all.push(("usage", usage_outcome(&self.store.topics())));
        all.extend(self.store.events_health().map(|outcome| ("events", outcome.map_err(|e| e.to_string()))));
        Report::of(all)
    }

    /// Whether the node came up.
    #[must_use]
    pub fn startup(&self) -> Report {
        Report::of(vec![("node", self.start_outcome())])
    }

    fn start_outcome(&self) -> Result<(), String> {
        if self.started.load(Ordering::Acquire) { Ok(()) } else { Err("the node is starting".to_owned()) }
    }

    /// Whether the node takes requests now.
    #[must_use]
    pub fn readiness(&self) -> Report {
        let node = if self.draining.load(Ordering::Acquire) { Err("the node is draining".to_owned()) } else { self.start_outcome() };
        let mut all = vec![("node", node)];
        let commits = self.commits.read();
        all.extend(commits.as_ref().map(|(_, check)| ("commits", check())));
        let is_asked = |name: &str| commits.as_ref().is_none_or(|(in_store, _)| name != STORE && !(*in_store && name == VAULT));
        all.extend(self.checks.read().iter().filter(|(name, _)| is_asked(name)).map(|(name, check)| (*name, check())));
        Report::of(all)
    }

    /// Brings what the store counts to the metrics.
    pub fn publish_counters(&self) {
        let (commits, syncs, bytes) = self.store.counters().read();
        metrics::counter!("cellspace_store_commits_total").absolute(commits);
        metrics::counter!("cellspace_store_syncs_total").absolute(syncs);
        metrics::counter!("cellspace_store_bytes_total").absolute(bytes);
        for TopicReport { topic, kept, lost } in self.store.topics() {
            #[allow(clippy::cast_precision_loss)]
            metrics::gauge!("cellspace_store_topic_events", "topic" => topic.0.clone()).set(kept as f64);
            metrics::counter!("cellspace_store_topic_events_lost_total", "topic" => topic.0).absolute(lost);
        }
    }
}

fn usage_outcome(topics: &[TopicReport]) -> Result<(), String> {
    match topics.iter().find(|report| report.topic.0 == USAGE && report.lost > 0) {
        Some(report) => Err(format!("{} events of topic {USAGE} went unread: nobody takes them", report.lost)),
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_storage::Topic;

    #[test]
    fn lost_usage_is_a_failure_and_lost_facts_are_none() {
        let report = |topic: &str, lost| TopicReport { topic: Topic(topic.to_owned()), kept: 5, lost };
        assert_eq!(usage_outcome(&[report("runtime.facts", 3), report(USAGE, 0)]), Ok(()));
        let failure = usage_outcome(&[report("runtime.facts", 3), report(USAGE, 7)]).unwrap_err();
        assert!(failure.contains("7 events of topic usage"), "{failure}");
    }
}
