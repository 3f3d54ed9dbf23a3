//! Delivers one outbox row: attempts with pauses until the other side takes or refuses it, or the row's bounds are reached.
//!
//! Only an attempt takes room: a row that pauses, or waits for a host that does not answer, keeps nobody else from being delivered.

use crate::{
    Address, Agent, Cluster, Delivery, DeliveryError, OutboxId, Track,
    activation::{Activation, Phase},
    crash::crash_point,
    destinations::AtHost,
    inbox::Item,
    outbox::{Pending, Progress},
    trace,
};
use cellspace_schemas::TraceContext;
use futures::FutureExt;
use metrics::counter;
use parking_lot::Mutex;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, SemaphorePermit},
    time::Instant,
};
use tracing::{field::Empty, info_span};
use uuid::Uuid;

/// Longest single attempt; agents' own clients give up earlier.
const ATTEMPT: Duration = Duration::from_secs(90);

/// The row, as its delivery needs it.
pub(crate) struct Row<A: Agent> {
    id: OutboxId,
    message: Uuid,
    effect: Arc<A::Effect>,
    trace: Option<TraceContext>,
    progress: Arc<Mutex<Progress>>,
}

impl<A: Agent> Row<A> {
    pub(crate) fn of(id: OutboxId, pending: &Pending<A>) -> Self {
        Self {
            id,
            message: pending.message,
            effect: pending.effect.clone(),
            trace: pending.trace.clone(),
            progress: pending.progress.clone(),
        }
    }
}

/// What an attempt holds while it runs.
struct Room<'a> {
    host: Option<AtHost>,
    _share: Option<OwnedSemaphorePermit>,
    _lane: OwnedSemaphorePermit,
    _node: SemaphorePermit<'a>,
}

pub(crate) async fn deliver<A: Agent>(cluster: Cluster, agent: Arc<A>, activation: Arc<Activation<A>>, row: Row<A>) {
    let ended = activation.ended.clone();
    tokio::select! {
        biased;
        // An activation that has ended sends nothing more; whoever claims the partition next finds the row.
        () = ended.cancelled() => {}
        item = attempts(&cluster, &*agent, &activation, row) => {
            crash_point!("after-send-before-outcome");
            let _ = activation.push(item);
        }
    }
}

async fn attempts<A: Agent>(cluster: &Cluster, agent: &A, activation: &Activation<A>, row: Row<A>) -> Item<A> {
    let policy = A::retry_policy(&row.effect);
    let outcome = |outcome: &'static str| counter!("cellspace_deliveries_total", "kind" => A::KIND.0, "outcome" => outcome).increment(1);
    // A host that does not answer is not called by every row; but none waits for it longer than its own attempts would have taken.
    let patience = Instant::now() + policy.patience();
    let mut pause = policy.first_pause;
    let mut attempt = 1;
    loop {
        let (reason, after) = match one_attempt(cluster, agent, activation, &row, attempt, patience).await {
            Ok(result) => {
                outcome("delivered");
                return Item::Delivered(row.id, result);
            }
            Err(Failed::Impatient(reason)) => {
                outcome("exhausted");
                return Item::GivenUp(row.id, format!("{reason} (after {} attempts)", attempt - 1));
            }
            Err(Failed::Attempt(DeliveryError::Refused(reason))) => {
                outcome("refused");
                return Item::GivenUp(row.id, reason);
            }
            Err(Failed::Attempt(DeliveryError::Retry(reason) | DeliveryError::Unreachable(reason))) => (reason, None),
            Err(Failed::Attempt(DeliveryError::RetryAfter { reason, after })) => (reason, Some(after.min(policy.longest_pause))),
        };
        if attempt >= policy.attempts {
            outcome("exhausted");
            return Item::GivenUp(row.id, format!("{reason} (after {attempt} attempts)"));
        }
        outcome("retry");
        tracing::debug!(category = "app", vpa = %activation.address, attempt, reason, "delivery will be tried again");
        // Jitter of up to a quarter keeps rows that failed together from coming back together.
        let next = match after {
            // That there is nothing to wait for is believed once.
            Some(Duration::ZERO) if attempt == 1 => Duration::ZERO,
            after => pause.max(after.unwrap_or_default()),
        };
        let next = next + next / 256 * spread(&activation.address, row.id, attempt);
        {
            let mut progress = row.progress.lock();
            progress.next = Some(cluster.now().plus(next));
            progress.reason = Some(reason);
        }
        tokio::time::sleep(next).await;
        if !next.is_zero() {
            pause = (pause * 2).min(policy.longest_pause);
        }
        attempt += 1;
    }
}

/// A number below 64 that the row and its attempt have, and others mostly do not.
fn spread(address: &Address, id: OutboxId, attempt: u32) -> u32 {
    let hash = xxhash_rust::xxh3::xxh3_64(format!("{address} {id} {attempt}").as_bytes());
    u32::try_from(hash % 64).unwrap_or(0)
}

/// Why an attempt brought nothing.
enum Failed {
    Attempt(DeliveryError),
    /// The host was not called any more: it has not answered for too long.
    Impatient(String),
}

/// Waits for room. While it waits for the host or the lane it holds nothing but the agent's share of that host, so that neither a slow host nor a busy
/// agent stops others.
async fn room<'a, A: Agent>(
    cluster: &'a Cluster,
    activation: &Activation<A>,
    destination: Option<String>,
    track: Track,
    patience: Instant,
) -> Result<Room<'a>, Failed> {
    let stopping = || Failed::Attempt(DeliveryError::Retry("the node is stopping".into()));
    let lanes = activation.room(track);
    let share = match &destination {
        Some(name) => Some(activation.lanes_to(name, track).acquire_owned().await.map_err(|_| stopping())?),
        None => None,
    };
    loop {
        let host = match &destination {
            Some(name) => Some(cluster.destinations().enter(track, name.clone(), patience).await.map_err(Failed::Impatient)?),
            None => None,
        };
        let (host, lane) = match lanes.clone().try_acquire_owned() {
            Ok(lane) => (host, lane),
            Err(_) => {
                drop(host);
                let lane = lanes.clone().acquire_owned().await.map_err(|_| stopping())?;
                // Kept if the host still has room, or is to be probed: who gives it back to those behind would take turns with them for ever.
                match &destination {
                    None => (None, lane),
                    Some(name) => match cluster.destinations().try_enter(track, name.clone()) {
                        Some(host) => (Some(host), lane),
                        None => continue,
                    },
                }
            }
        };
        let node = cluster.deliveries(track).acquire().await.map_err(|_| stopping())?;
        return Ok(Room { host, _share: share, _lane: lane, _node: node });
    }
}

async fn one_attempt<A: Agent>(
    cluster: &Cluster,
    agent: &A,
    activation: &Activation<A>,
    row: &Row<A>,
    attempt: u32,
    patience: Instant,
) -> Result<A::Outcome, Failed> {
    let retry = |reason: &str| Failed::Attempt(DeliveryError::Retry(reason.to_owned()));
    let snapshot = || match activation.phase.read().clone() {
        Phase::Ready { state, .. } => Ok(state),
        Phase::Loading | Phase::Gone(_) => Err(retry("the agent is not ready")),
    };
    let destination = A::destination(&row.effect, &*snapshot()?);
    let room = room(cluster, activation, destination, A::track(&row.effect), patience).await?;
    if !cluster.placement().still_serves(&activation.address, activation.since) {
        return Err(retry("this node does not hold its lease"));
    }
    {
        let mut progress = row.progress.lock();
        progress.attempts = attempt;
        progress.next = None;
    }
    let (address, snapshot) = (&activation.address, snapshot()?);
    // After the state, whose rows are counted before it is seen.
    let aside = activation.aside();
    let delivering = async {
        let effect = row.effect.clone();
        let delivery = Delivery { address, id: row.id, effect, snapshot, aside, attempt, trace: trace::current(), message_id: row.message };
        agent.deliver(delivery).await
    };
    let span = info_span!("outbox.delivery", trace_id = Empty, vpa = %address, kind = A::KIND.0, attempt);
    // A panic in one delivery, also before its future exists, must not take the lane with it.
    let attempted = tokio::time::timeout(ATTEMPT, AssertUnwindSafe(delivering).catch_unwind());
    let outcome = match trace::within(span, row.trace.as_ref(), attempted).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(DeliveryError::Retry("the delivery panicked".into())),
        Err(_) => Err(DeliveryError::Unreachable("no outcome in time".into())),
    };
    if let Some(host) = &room.host {
        match &outcome {
            Err(DeliveryError::Unreachable(reason)) => host.unreached(reason),
            Err(DeliveryError::Retry(_)) => host.unclear(),
            Ok(_) | Err(DeliveryError::RetryAfter { .. } | DeliveryError::Refused(_)) => host.reached(),
        }
    }
    outcome.map_err(Failed::Attempt)
}
