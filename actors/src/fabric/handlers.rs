//! What the fabric's consumer groups do with events.

use super::{
    OrchestrationAgent, TenantAgent,
    activity::{ActivityAgent, ActivityError, Work},
    consumer::{Failure, Handler},
    orchestration::{self, ActivityResult, Reply},
    tenant,
};
use crate::Services;
use cellspace_cluster::{Address, Call};
use cellspace_schemas::{
    CloudEvent,
    fabric::{ActivityMessage, OrchestrationManifest, OrchestrationResponse},
};
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};

/// An agent's work ends this long before its attempt is given up, so that there is time to report it.
const REPORTING: Duration = Duration::from_secs(20);

fn data<T: DeserializeOwned>(event: &CloudEvent) -> Result<T, Failure> {
    serde_json::from_value(event.data.clone()).map_err(|e| Failure::Poison(format!("malformed event data: {e}")))
}

fn call(event: &CloudEvent) -> Call {
    let mut call = Call::by(event.source.clone());
    call.trace.clone_from(&event.traceparent);
    call
}

/// `provisioning.requests`: starts orchestrations.
pub(super) struct Requests(pub(super) Services);

impl Handler for Requests {
    fn handle<'a>(&'a self, event: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let manifest: OrchestrationManifest = data(event)?;
            let address = Address::of::<OrchestrationAgent>(&manifest.id);
            let start = orchestration::Command::Start(Box::new(manifest));
            self.0.cluster.ask_anywhere::<OrchestrationAgent>(&address, start, call(event)).await?;
            Ok(())
        })
    }
}

/// `provisioning.results`: tells tenants how orchestrations ended.
pub(super) struct Results(pub(super) Services);

impl Handler for Results {
    fn handle<'a>(&'a self, event: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let response: OrchestrationResponse = data(event)?;
            // Without a tenant a client asked for the orchestration directly, and reads the result from it.
            let Some(tenant) = response.tenant_id.clone() else { return Ok(()) };
            let position = event.position().map_err(|e| Failure::Poison(e.to_string()))?;
            let ended = tenant::Command::Ended(Box::new(response), event.source.clone(), position);
            self.0.cluster.ask_anywhere::<TenantAgent>(&Address::of::<TenantAgent>(&tenant), ended, call(event)).await?;
            Ok(())
        })
    }
}

/// `provisioning.activities.<type>`: lets the agent of the type work, and reports to the orchestration.
pub(super) struct Activities {
    pub(super) services: Services,
    pub(super) agent: Arc<dyn ActivityAgent>,
}

impl Handler for Activities {
    fn handle<'a>(&'a self, event: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let message: ActivityMessage = data(event)?;
            let cluster = &self.services.cluster;
            let address = Address::of::<OrchestrationAgent>(&message.orchestration_id);
            // Events are repeated and may be old: what they ask for may have been done and undone since. The orchestration is asked in a turn,
            // since a snapshot may not show yet what the event says.
            let begin = orchestration::Command::Begin(message.activity.id.clone(), message.attempt);
            let Reply::Attempt(attempt) = cluster.ask_anywhere::<OrchestrationAgent>(&address, begin, call(event)).await? else {
                tracing::debug!(category = "app", activity = %message.activity.id, attempt = message.attempt, "the attempt is not under way");
                return Ok(());
            };
            let work = Work {
                orchestration: &message.orchestration_id,
                activity: &message.activity,
                data: &message.processing_data,
                tenant: attempt.tenant.as_ref(),
                trace: event.traceparent.as_ref(),
            };
            // Two attempts are never at work at once.
            let left = attempt.due.since(cluster.now()).saturating_sub(REPORTING);
            let working = async { if work.disposes() { self.agent.dispose(work).await } else { self.agent.deploy(work).await } };
            let done = tokio::time::timeout(left, working).await;
            // Done outside, known to nobody: the kill test ends the process here.
            fail::fail_point!("in-activity");
            let result = match done {
                Ok(Ok(outputs)) => ActivityResult::Complete(outputs),
                Ok(Err(ActivityError::Retry(reason))) => ActivityResult::Retry(reason),
                Ok(Err(ActivityError::Fatal(reason))) => ActivityResult::Fatal(reason),
                Err(_) => ActivityResult::Retry("the agent did not come to an end in time".to_owned()),
            };
            let report = orchestration::Command::Report(message.activity.id.clone(), message.attempt, result);
            cluster.ask_anywhere::<OrchestrationAgent>(&address, report, call(event)).await?;
            Ok(())
        })
    }
}
