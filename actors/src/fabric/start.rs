//! The fabric role of a node: its agents, and the consumers that connect them over the event log.

use super::{
    FabricRegistry, OrchestrationAgent, Platform, TenantAgent,
    activity::{self, ActivityAgent, ActivityError, Work},
    consumer::{Consumer, Failure, Handler, Settings},
    orchestration::{self, ActivityResult},
    tenant, topics,
};
use crate::{Services, directory::Directory};
use cellspace_cluster::{Address, Call};
use cellspace_schemas::{
    CloudEvent,
    fabric::{ActivityMessage, ActivityType, OrchestrationManifest, OrchestrationResponse},
};
use cellspace_storage::{Group, Topic};
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};

/// Why the fabric cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTP client can be made.
    #[error("the fabric's HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// The running fabric role.
pub struct Fabric {
    stop: watch::Sender<bool>,
    consumers: JoinSet<()>,
}

impl Fabric {
    /// Makes the fabric's agents known to the runtime; before [`cellspace_cluster::Cluster::start`].
    ///
    /// # Errors
    /// [`StartError`] when no HTTP client can be made.
    pub fn register(services: &Services) -> Result<(), StartError> {
        let platform = Arc::new(Platform::new(services)?);
        let cluster = &services.cluster;
        cluster.register(Arc::new(FabricRegistry::new(services.clone(), platform)));
        cluster.register(Arc::new(TenantAgent::new(services.clone())));
        cluster.register(Arc::new(OrchestrationAgent::new(services.clone())));
        cluster.register(Arc::new(Directory::new(services.clone())));
        Ok(())
    }

    /// Starts the consumers, once the platform's listeners take calls.
    ///
    /// # Errors
    /// [`StartError`] when no HTTP client can be made.
    pub fn start(services: &Services) -> Result<Self, StartError> {
        let platform = Arc::new(Platform::new(services)?);
        let (stop, stopped) = watch::channel(false);
        let mut consumers = JoinSet::new();
        let mut consume = |topic: String, group: &str, handler: Arc<dyn Handler>| {
            let (log, settings) = (services.events.clone(), Settings::default());
            let consumer = Consumer { log, topic: Topic(topic), group: Group(group.to_owned()), handler, settings };
            consumers.spawn(consumer.run(stopped.clone()));
        };
        consume(topics::REQUESTS.to_owned(), "orchestrations", Arc::new(Requests(services.clone())));
        consume(topics::RESULTS.to_owned(), "tenants", Arc::new(Results(services.clone())));
        for agent in activity::agents(&platform) {
            if let Ok(activity_type) = ActivityType::new(agent.activity_type()) {
                let group = agent.activity_type();
                consume(topics::activities(&activity_type), group, Arc::new(Activities { services: services.clone(), agent }));
            }
        }
        Ok(Self { stop, consumers })
    }

    /// Stops the consumers. What is at work is dropped, and done again after the next start.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.consumers.join_next().await.is_some() {}
    }
}

fn data<T: DeserializeOwned>(event: &CloudEvent) -> Result<T, Failure> {
    serde_json::from_value(event.data.clone()).map_err(|e| Failure::Poison(format!("malformed event data: {e}")))
}

fn call(event: &CloudEvent) -> Call {
    let mut call = Call::by(event.source.clone());
    call.trace.clone_from(&event.traceparent);
    call
}

/// `provisioning.requests`: starts orchestrations.
struct Requests(Services);

impl Handler for Requests {
    fn handle<'a>(&'a self, event: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let manifest: OrchestrationManifest = data(event)?;
            let address = Address::of::<OrchestrationAgent>(&manifest.id);
            let start = orchestration::Command::Start(Box::new(manifest));
            self.0.cluster.ask::<OrchestrationAgent>(&address, start, call(event)).await?;
            Ok(())
        })
    }
}

/// `provisioning.results`: tells tenants how orchestrations ended.
struct Results(Services);

impl Handler for Results {
    fn handle<'a>(&'a self, event: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let response: OrchestrationResponse = data(event)?;
            // Without a tenant a client asked for the orchestration directly, and reads the result from it.
            let Some(tenant) = response.tenant_id.clone() else { return Ok(()) };
            let position = event.position().map_err(|e| Failure::Poison(e.to_string()))?;
            let ended = tenant::Command::Ended(Box::new(response), event.source.clone(), position);
            self.0.cluster.ask::<TenantAgent>(&Address::of::<TenantAgent>(&tenant), ended, call(event)).await?;
            Ok(())
        })
    }
}

/// `provisioning.activities.<type>`: lets the agent of the type work, and reports to the orchestration.
struct Activities {
    services: Services,
    agent: Arc<dyn ActivityAgent>,
}

impl Handler for Activities {
    fn handle<'a>(&'a self, event: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let message: ActivityMessage = data(event)?;
            let work = Work {
                orchestration: &message.orchestration_id,
                activity: &message.activity,
                data: &message.processing_data,
                trace: event.traceparent.as_ref(),
            };
            let done = if work.disposes() { self.agent.dispose(work).await } else { self.agent.deploy(work).await };
            // Done outside, known to nobody: the kill test ends the process here.
            fail::fail_point!("in-activity");
            let result = match done {
                Ok(outputs) => ActivityResult::Complete(outputs),
                Err(ActivityError::Retry(reason)) => ActivityResult::Retry(reason),
                Err(ActivityError::Fatal(reason)) => ActivityResult::Fatal(reason),
            };
            let address = Address::of::<OrchestrationAgent>(&message.orchestration_id);
            let report = orchestration::Command::Report(message.activity.id.clone(), message.attempt, result);
            self.services.cluster.ask::<OrchestrationAgent>(&address, report, call(event)).await?;
            Ok(())
        })
    }
}
