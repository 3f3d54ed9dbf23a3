//! Delivers one outbox row: attempts with pauses until the other side takes or refuses it, or the row's bounds are reached.

use crate::{
    Agent, Cluster, Delivery, DeliveryError, OutboxId,
    activation::{Activation, Phase},
    crash::crash_point,
    inbox::Item,
    outbox::message_id,
};
use cellspace_schemas::TraceContext;
use futures::FutureExt;
use metrics::counter;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

/// Longest single attempt; agents' own clients give up earlier.
const ATTEMPT: Duration = Duration::from_secs(90);

pub(crate) async fn deliver<A: Agent>(
    cluster: Cluster,
    agent: Arc<A>,
    activation: Arc<Activation<A>>,
    id: OutboxId,
    effect: Arc<A::Effect>,
    trace: Option<TraceContext>,
) {
    let ended = activation.ended.clone();
    tokio::select! {
        biased;
        // An activation that has ended sends nothing more; whoever claims the partition next finds the row.
        () = ended.cancelled() => {}
        item = attempts(&cluster, &*agent, &activation, id, effect, trace) => {
            crash_point!("after-send-before-outcome");
            let _ = activation.push(item);
        }
    }
}

async fn attempts<A: Agent>(
    cluster: &Cluster,
    agent: &A,
    activation: &Activation<A>,
    id: OutboxId,
    effect: Arc<A::Effect>,
    trace: Option<TraceContext>,
) -> Item<A> {
    let policy = A::retry_policy(&effect);
    let mut pause = policy.first_pause;
    let mut attempt = 1;
    loop {
        let (reason, after) = match one_attempt(cluster, agent, activation, id, effect.clone(), trace.clone(), attempt).await {
            Ok(outcome) => {
                counter!("cellspace_deliveries_total", "kind" => A::KIND.0, "outcome" => "delivered").increment(1);
                return Item::Delivered(id, outcome);
            }
            Err(DeliveryError::Refused(reason)) => {
                counter!("cellspace_deliveries_total", "kind" => A::KIND.0, "outcome" => "refused").increment(1);
                return Item::GivenUp(id, reason);
            }
            Err(DeliveryError::Retry(reason)) => (reason, Duration::ZERO),
            Err(DeliveryError::RetryAfter { reason, after }) => (reason, after.min(policy.longest_pause)),
        };
        if attempt >= policy.attempts {
            counter!("cellspace_deliveries_total", "kind" => A::KIND.0, "outcome" => "exhausted").increment(1);
            return Item::GivenUp(id, format!("{reason} (after {attempt} attempts)"));
        }
        counter!("cellspace_deliveries_total", "kind" => A::KIND.0, "outcome" => "retry").increment(1);
        tracing::debug!(category = "app", vpa = %activation.address, attempt, reason, "delivery will be tried again");
        // Jitter of up to a quarter keeps rows that failed together from coming back together.
        let next = pause.max(after);
        let jitter = next.mul_f64(rand::random::<f64>() / 4.0);
        tokio::time::sleep(next + jitter).await;
        pause = (pause * 2).min(policy.longest_pause);
        attempt += 1;
    }
}

async fn one_attempt<A: Agent>(
    cluster: &Cluster,
    agent: &A,
    activation: &Activation<A>,
    id: OutboxId,
    effect: Arc<A::Effect>,
    trace: Option<TraceContext>,
    attempt: u32,
) -> Result<A::Outcome, DeliveryError> {
    let Ok(_permit) = cluster.deliveries().acquire().await else {
        return Err(DeliveryError::Retry("the node is stopping".into()));
    };
    let Phase::Ready { state: snapshot, .. } = activation.phase.borrow().clone() else {
        return Err(DeliveryError::Retry("the agent is not ready".into()));
    };
    let address = &activation.address;
    let delivery = Delivery { address, id, effect, snapshot, attempt, trace, message_id: message_id(address, id) };
    // A panic in one delivery, also before its future exists, must not take the lane with it.
    match tokio::time::timeout(ATTEMPT, AssertUnwindSafe(async { agent.deliver(delivery).await }).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(DeliveryError::Retry("the delivery panicked".into())),
        Err(_) => Err(DeliveryError::Retry("no outcome in time".into())),
    }
}
