//! The actor that runs the turns of one activation.

use crate::{
    Agent, Cluster, Input, OutboxId, Rejection,
    activation::{Activation, Phase, Wakeup},
    codec::CodecError,
    core::{Core, Origin, Plan},
    crash::crash_point,
    host::Host,
    inbox::{Answer, Item, Waiting},
};
use cellspace_schemas::{Timestamp, TraceContext};
use cellspace_storage::{ClaimError, CommitOutcome, RowKey};
use metrics::{counter, histogram};
use ractor::{Actor, ActorProcessingErr, ActorRef, SpawnErr};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::oneshot;

/// Commands that one commit takes at most.
const COMMANDS_PER_TURN: usize = 64;
/// Bytes of rows after which a turn takes no more.
const BYTES_PER_TURN: usize = 256 * 1024;
/// Rows read at once while loading.
const LOAD_PAGE: usize = 512;
/// Deliveries of one agent under way at once.
const LANES: usize = 64;
/// How long deletions of delivered rows wait for a commit to ride on.
const RIDE: Duration = Duration::from_millis(100);
/// Expired idempotency rows deleted by one turn at most.
const EXPIRED_PER_TURN: usize = 128;

pub(crate) struct TurnActor<A: Agent> {
    pub(crate) host: Arc<Host<A>>,
    pub(crate) activation: Arc<Activation<A>>,
    pub(crate) cluster: Cluster,
}

pub(crate) struct Turns<A: Agent> {
    core: Core<A>,
    flush_planned: bool,
}

/// Why an activation ends other than by passivation.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the partition was claimed by a newer activation")]
    Fenced,
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    #[error("the store failed: {0}")]
    Store(String),
    #[error("row {0}: {1}")]
    Row(String, CodecError),
}

/// Why an actor did not start or ended, and whether the agent itself is to blame (and may be parked for it).
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) own_fault: bool,
}

impl Failure {
    pub(crate) fn of(error: &ActorProcessingErr) -> Self {
        let own_fault = !matches!(error.downcast_ref(), Some(Ended::Fenced | Ended::Unknown(_) | Ended::Store(_)));
        Self { reason: error.to_string(), own_fault }
    }

    pub(crate) fn of_spawn(error: &SpawnErr) -> Self {
        match error {
            SpawnErr::StartupFailed(error) => Self::of(error),
            other => Self { reason: other.to_string(), own_fault: false },
        }
    }
}

type Reply<A> = (oneshot::Sender<Answer<A>>, Answer<A>);

impl<A: Agent> Actor for TurnActor<A> {
    type Msg = Wakeup;
    type State = Turns<A>;
    type Arguments = ();

    /// Claims the partition and loads it. Nothing is served before.
    async fn pre_start(&self, myself: ActorRef<Wakeup>, (): ()) -> Result<Turns<A>, ActorProcessingErr> {
        let started = std::time::Instant::now();
        let _ = self.activation.actor.set(myself.clone());
        self.supervise(&myself);
        let core = self.load().await?;
        crash_point!("in-activation");
        self.publish(&core);
        let turns = Turns { core, flush_planned: false };
        histogram!("cellspace_activation_seconds", "kind" => A::KIND.0).record(started.elapsed().as_secs_f64());
        // The inbox starts as scheduled: this is the wake-up for what came in meanwhile, stored deadlines and undelivered rows.
        myself.cast(Wakeup)?;
        Ok(turns)
    }

    async fn handle(&self, myself: ActorRef<Wakeup>, _: Wakeup, turns: &mut Turns<A>) -> Result<(), ActorProcessingErr> {
        loop {
            let closed = self.turn(turns).await?;
            if closed {
                self.cluster.release(&self.activation.address, turns.core.epoch);
                self.cluster.account(self.activation.bytes.swap(0, Ordering::AcqRel), 0);
                self.host.forget(&self.activation);
                self.activation.end("passivated", false);
                myself.stop(None);
                return Ok(());
            }
            self.dispatch(turns);
            if self.activation.inbox.rest() {
                return Ok(());
            }
        }
    }
}

impl<A: Agent> TurnActor<A> {
    fn supervise(&self, myself: &ActorRef<Wakeup>) {
        let (host, activation, cluster) = (self.host.clone(), self.activation.clone(), self.cluster.clone());
        let on_end = move |error: Option<&ActorProcessingErr>| {
            // One that closed by itself has said its last words.
            if !activation.ended.is_cancelled() {
                let failure = error.map_or(Failure { reason: "the actor stopped".into(), own_fault: true }, Failure::of);
                host.failed(&cluster, &activation, &failure.reason, failure.own_fault);
            }
        };
        self.cluster.supervise(myself.get_id(), Box::new(on_end));
    }

    async fn load(&self) -> Result<Core<A>, Ended> {
        let address = &self.activation.address;
        let store = self.cluster.partitions();
        let partition = address.partition();
        let claim = store.claim(&partition).await.map_err(|e: ClaimError| Ended::Store(e.to_string()))?;
        let head = claim.head.unwrap_or_default();
        let mut core = Core::<A>::new(address.clone(), claim.epoch, head.seq, claim.head.is_some());
        let mut after: Option<RowKey> = None;
        while core.registered {
            let page = store.scan(&partition, None, after.as_ref(), LOAD_PAGE).await.map_err(|e| Ended::Store(e.to_string()))?;
            let mut replies = self.activation.replies.lock();
            for row in &page.rows {
                core.load(row, &mut replies).map_err(|e| Ended::Row(format!("{}/{}", row.key.table(), row.key.id()), e))?;
            }
            after = page.rows.last().map(|row| row.key.clone());
            if !page.more {
                break;
            }
        }
        Ok(core)
    }

    fn publish(&self, core: &Core<A>) {
        self.cluster.account(self.activation.bytes.swap(core.bytes, Ordering::AcqRel), core.bytes);
        self.activation.undelivered.store(core.outbox.len(), Ordering::Relaxed);
        self.activation.phase.send_replace(Phase::Ready { state: Arc::new(core.state.clone()), registered: core.registered });
        self.cluster.timers().set(&self.activation.address, self.cluster.near(core.deadlines.next()));
    }

    /// One turn: takes what waits, commits once, answers all. `true` when the activation is to close.
    async fn turn(&self, turns: &mut Turns<A>) -> Result<bool, ActorProcessingErr> {
        let core = &mut turns.core;
        let now = self.cluster.now();
        let mut plan = Plan::default();
        let mut replies: Vec<Reply<A>> = Vec::new();
        let (mut flush, mut close, mut taken) = (false, false, 0_usize);
        while taken < COMMANDS_PER_TURN && plan.bytes < BYTES_PER_TURN {
            let Some(item) = self.activation.inbox.take() else { break };
            taken += 1;
            match item {
                Item::Command(waiting) => replies.push(self.command(core, *waiting, now, &mut plan)?),
                Item::Delivered(id, outcome) => Self::delivered(core, id, outcome, now, &mut plan)?,
                Item::GivenUp(id, reason) => Self::given_up(core, id, reason, now, &mut plan)?,
                Item::Tick => {}
                Item::Flush => {
                    turns.flush_planned = false;
                    flush = true;
                }
                Item::Close => {
                    close = true;
                    flush = true;
                }
            }
        }
        self.deadlines(core, now, &mut plan)?;
        if !plan.is_empty() {
            core.riders.extend(self.activation.replies.lock().expire(now, EXPIRED_PER_TURN));
        }
        if !plan.is_empty() || (flush && !core.riders.is_empty()) {
            self.commit(core, plan, now, &mut replies, taken).await?;
        } else {
            self.activation.undelivered.store(core.outbox.len(), Ordering::Relaxed);
            self.cluster.timers().set(&self.activation.address, self.cluster.near(core.deadlines.next()));
        }
        for (sender, answer) in replies {
            let _ = sender.send(answer);
        }
        crash_point!("after-reply-before-send");
        if close {
            crash_point!("in-passivation");
        } else if !core.riders.is_empty() && !turns.flush_planned {
            turns.flush_planned = true;
            self.plan_flush();
        }
        Ok(close)
    }

    fn command(&self, core: &mut Core<A>, waiting: Waiting<A>, now: Timestamp, plan: &mut Plan) -> Result<Reply<A>, CodecError> {
        let Waiting { prepared, call, request_hash, reply: sender } = waiting;
        if let (Some(key), Some(hash)) = (&call.idempotency, request_hash) {
            let earlier = plan.replies.iter().find(|r| r.key == key.as_str()).cloned();
            let earlier = earlier.or_else(|| self.activation.replies.lock().get(key.as_str(), now).cloned());
            if let Some(stored) = earlier {
                return Ok((sender, replay(&stored, hash)));
            }
        }
        match core.decide(&Input::Command(prepared), now) {
            Ok(decision) => {
                let changes = decision.changes();
                let origin = Origin { actor: &call.actor, command: Some(call.id.to_string()), trace: call.trace.as_ref() };
                let reply = core.accept(decision, origin, now, plan)?;
                if let (true, Some(hash)) = (changes, request_hash) {
                    core.keep_reply(&call, hash, &reply, now, plan)?;
                }
                Ok((sender, Answer::Done(reply)))
            }
            Err(Rejection::Refused(refusal)) => Ok((sender, Answer::Refused(refusal))),
            Err(Rejection::Stale) => Ok((sender, Answer::Stale)),
        }
    }

    fn delivered(core: &mut Core<A>, id: OutboxId, outcome: A::Outcome, now: Timestamp, plan: &mut Plan) -> Result<(), CodecError> {
        let Some(pending) = core.finish_row(id) else { return Ok(()) };
        Self::follow(core, Input::Delivered(pending.effect, outcome), pending.trace, "outbox", now, plan)
    }

    fn given_up(core: &mut Core<A>, id: OutboxId, reason: String, now: Timestamp, plan: &mut Plan) -> Result<(), CodecError> {
        let Some(pending) = core.finish_row(id) else { return Ok(()) };
        tracing::warn!(category = "app", vpa = %core.address, lane = pending.lane, reason, "outbox row given up");
        core.bury(id, &pending, &reason, plan)?;
        Self::follow(core, Input::Undeliverable(pending.effect, reason), pending.trace, "outbox", now, plan)
    }

    /// Decides an input that nobody waits for; a refusal is logged.
    fn follow(
        core: &mut Core<A>,
        input: Input<A>,
        trace: Option<TraceContext>,
        actor: &str,
        now: Timestamp,
        plan: &mut Plan,
    ) -> Result<(), CodecError> {
        match core.decide(&input, now) {
            Ok(decision) => {
                core.accept(decision, Origin { actor, command: None, trace: trace.as_ref() }, now, plan)?;
            }
            Err(Rejection::Refused(refusal)) => {
                tracing::info!(category = "app", vpa = %core.address, %refusal, "input without effect");
            }
            Err(Rejection::Stale) => tracing::warn!(category = "app", vpa = %core.address, "input without command answered as stale"),
        }
        Ok(())
    }

    fn deadlines(&self, core: &mut Core<A>, now: Timestamp, plan: &mut Plan) -> Result<(), CodecError> {
        let mut fired = 0;
        while let Some((key, trace)) = core.deadlines.passed(now) {
            Self::follow(core, Input::Due(key.clone()), trace, "deadline", now, plan)?;
            if core.deadlines.still_passed(&key, now) {
                // Nobody moved it: done with, or it would fire for ever.
                core.deadlines.clear(&key);
            }
            fired += 1;
            if fired >= COMMANDS_PER_TURN {
                // The rest in a turn of its own.
                let _ = self.activation.push(Item::Tick);
                break;
            }
        }
        Ok(())
    }

    async fn commit(
        &self,
        core: &mut Core<A>,
        mut plan: Plan,
        now: Timestamp,
        replies: &mut Vec<Reply<A>>,
        taken: usize,
    ) -> Result<(), ActorProcessingErr> {
        crash_point!("before-commit");
        let written = plan.bytes;
        let batch = core.batch(&mut plan, now);
        let seq = batch.seq;
        let outcome =
            if self.cluster.placement().lease_held() { self.cluster.partitions().commit(batch).await } else { CommitOutcome::Fenced };
        let ended = match outcome {
            CommitOutcome::Applied => None,
            CommitOutcome::Fenced => Some(Ended::Fenced),
            CommitOutcome::Unknown(reason) => Some(Ended::Unknown(reason)),
        };
        if let Some(ended) = ended {
            let answer = |reason: String| match ended {
                Ended::Unknown(_) => Answer::Unknown(reason),
                _ => Answer::NotExecuted(reason),
            };
            for (sender, _) in replies.drain(..) {
                let _ = sender.send(answer(ended.to_string()));
            }
            return Err(ended.into());
        }
        crash_point!("after-commit-before-reply");
        core.seq = seq;
        core.registered = true;
        core.bytes += written;
        counter!("cellspace_turns_total", "kind" => A::KIND.0).increment(1);
        histogram!("cellspace_turn_inputs", "kind" => A::KIND.0).record(u32::try_from(taken).unwrap_or(u32::MAX));
        {
            let mut kept = self.activation.replies.lock();
            for stored in plan.replies {
                kept.insert(stored);
            }
        }
        let tenant = A::tenant(&core.state);
        for entry in &plan.audit {
            tracing::info!(
                category = "audit", vpa = %core.address, tenant = tenant.as_deref(), action = entry.action, actor = entry.actor,
                trace = entry.trace.as_ref().map(TraceContext::trace_id), seq = seq.0, "committed"
            );
        }
        self.publish(core);
        Ok(())
    }

    fn plan_flush(&self) {
        let activation = self.activation.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = activation.ended.cancelled() => {}
                () = tokio::time::sleep(RIDE) => { let _ = activation.push(Item::Flush); }
            }
        });
    }

    /// Starts the deliveries that may start.
    fn dispatch(&self, turns: &mut Turns<A>) {
        for id in turns.core.outbox.startable(LANES) {
            if let Some(pending) = turns.core.outbox.get(id) {
                let (effect, trace) = (pending.effect.clone(), pending.trace.clone());
                tokio::spawn(crate::dispatcher::deliver(
                    self.cluster.clone(),
                    self.host.agent.clone(),
                    self.activation.clone(),
                    id,
                    effect,
                    trace,
                ));
            }
        }
    }
}

/// The stored reply again, or the refusal of a key used for something else.
pub(crate) fn replay<A: Agent>(stored: &crate::idempotency::StoredReply, request_hash: u128) -> Answer<A> {
    if stored.request != format!("{request_hash:032x}") {
        return Answer::KeyReused;
    }
    match serde_json::from_str(stored.reply.get()) {
        Ok(reply) => Answer::Done(reply),
        Err(e) => Answer::NotExecuted(format!("the stored reply cannot be read: {e}")),
    }
}
