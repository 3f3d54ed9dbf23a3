//! The fabric role of a node: its agents, and the consumers that connect them over the event log.

use super::{
    FabricRegistry, OrchestrationAgent, Platform, TenantAgent, activity,
    consumer::{Consumer, Handler, Settings},
    handlers::{Activities, Requests, Results},
    supervisor::{self, ConsumerHealth},
    topics,
};
use crate::{Services, directory::Directory};
use cellspace_schemas::fabric::ActivityType;
use cellspace_storage::{Group, Topic};
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};

/// Why the fabric cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTP client can be made.
    #[error("the fabric's HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// The fabric role.
pub struct Fabric {
    services: Services,
    platform: Arc<Platform>,
    health: ConsumerHealth,
    stop: watch::Sender<bool>,
    consumers: JoinSet<()>,
}

impl Fabric {
    /// Makes the fabric's agents known to the runtime; before [`cellspace_cluster::Cluster::start`].
    ///
    /// # Errors
    /// [`StartError`] when no HTTP client can be made.
    pub fn register(services: &Services) -> Result<Self, StartError> {
        let platform = Arc::new(Platform::new(services)?);
        let cluster = &services.cluster;
        cluster.register(Arc::new(FabricRegistry::new(services.clone(), platform.clone())));
        cluster.register(Arc::new(TenantAgent::new(services.clone())));
        cluster.register(Arc::new(OrchestrationAgent::new(services.clone())));
        cluster.register(Arc::new(Directory::new(services.clone())));
        let (stop, _) = watch::channel(false);
        Ok(Self { services: services.clone(), platform, health: ConsumerHealth::default(), stop, consumers: JoinSet::new() })
    }

    /// Whether all consumers run.
    #[must_use]
    pub fn health(&self) -> ConsumerHealth {
        self.health.clone()
    }

    /// Starts the consumers, once the platform's listeners take calls.
    pub fn start(&mut self) {
        let services = self.services.clone();
        self.consume(topics::REQUESTS.to_owned(), "orchestrations", Arc::new(Requests(services.clone())));
        self.consume(topics::RESULTS.to_owned(), "tenants", Arc::new(Results(services.clone())));
        for agent in activity::agents(&self.platform) {
            let group = agent.activity_type();
            if let Ok(activity_type) = ActivityType::new(group) {
                self.consume(topics::activities(&activity_type), group, Arc::new(Activities { services: services.clone(), agent }));
            }
        }
    }

    fn consume(&mut self, topic: String, group: &str, handler: Arc<dyn Handler>) {
        let (log, settings) = (self.services.events.clone(), Settings::default());
        let consumer = Consumer { log, topic: Topic(topic), group: Group(group.to_owned()), handler, settings };
        self.consumers.spawn(supervisor::keep(consumer, self.stop.subscribe(), self.health.clone()));
    }

    /// Stops the consumers. What is at work is dropped, and done again after the next start.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.consumers.join_next().await.is_some() {}
    }
}
