//! The actor that runs the turns of one activation.

use crate::{
    AdminError, Agent, Cluster, Input, OutboxId, Rejection, Undo,
    activation::{Activation, Phase, Wakeup},
    admin::Inspection,
    codec::CodecError,
    core::{Core, Origin},
    crash::crash_point,
    dead_letters::Redress,
    dispatcher::{self, Row},
    ended::Ended,
    host::Host,
    idempotency::StoredReply,
    inbox::{Inbox, Item, Waiting},
    load::load,
    plan::Plan,
    reply::{Answer, Otherwise, ReplyTo},
    trace,
};
use cellspace_schemas::{Timestamp, TraceContext};
use cellspace_storage::{Batch, CommitOutcome, Permit};
use metrics::{counter, histogram};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::oneshot;
use tracing::{field::Empty, info_span};

/// Commands that one commit takes at most.
const COMMANDS_PER_TURN: usize = 64;
/// Bytes of rows after which a turn takes no more.
const BYTES_PER_TURN: usize = 256 * 1024;
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

/// Those who wait for the turn under way. All are told at its end, whatever that is.
struct Callers<A: Agent> {
    commands: Vec<(ReplyTo<A>, Answer<A>)>,
    redresses: Vec<(oneshot::Sender<Result<(), AdminError>>, Result<(), AdminError>)>,
    inspections: Vec<oneshot::Sender<Inspection>>,
}

impl<A: Agent> Default for Callers<A> {
    fn default() -> Self {
        Self { commands: Vec::new(), redresses: Vec::new(), inspections: Vec::new() }
    }
}

impl<A: Agent> Callers<A> {
    /// What the callers are told should the commit not answer.
    fn otherwise(&mut self, otherwise: Otherwise) {
        for (reply, _) in &mut self.commands {
            reply.otherwise(otherwise);
        }
    }

    fn answer(self, core: &Core<A>) {
        for (reply, answer) in self.commands {
            reply.send(answer);
        }
        for (done, outcome) in self.redresses {
            let _ = done.send(outcome);
        }
        for asked in self.inspections {
            let _ = asked.send(Inspection::of(core));
        }
    }

    fn give_up(self, reason: &str) {
        for (reply, _) in self.commands {
            reply.give_up(reason);
        }
    }
}

/// Whoever hears of a panic in a turn and asks again must not find the inbox open.
struct CloseOnPanic<'a, A: Agent>(&'a Inbox<A>);

impl<A: Agent> Drop for CloseOnPanic<'_, A> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

impl<A: Agent> Actor for TurnActor<A> {
    type Msg = Wakeup;
    type State = Turns<A>;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Wakeup>, (): ()) -> Result<Turns<A>, ActorProcessingErr> {
        let started = std::time::Instant::now();
        let core = match load(&self.cluster, &self.activation).await {
            Ok(core) => core,
            Err(ended) => {
                self.host.failed(&self.cluster, &self.activation, &ended);
                return Err(ended.into());
            }
        };
        crash_point!("in-activation");
        self.supervise(&myself);
        let _ = self.activation.actor.set(myself.clone());
        self.publish(&core);
        histogram!("cellspace_activation_seconds", "kind" => A::KIND.0).record(started.elapsed().as_secs_f64());
        // The inbox starts as scheduled: this is the wake-up for what came in meanwhile, stored deadlines and undelivered rows.
        myself.cast(Wakeup)?;
        Ok(Turns { core, flush_planned: false })
    }

    async fn handle(&self, myself: ActorRef<Wakeup>, _: Wakeup, turns: &mut Turns<A>) -> Result<(), ActorProcessingErr> {
        loop {
            let mut callers = Callers::default();
            let closes = CloseOnPanic(&self.activation.inbox);
            let outcome = self.turn(turns, &mut callers).await;
            drop(closes);
            match outcome {
                Ok(close) => {
                    callers.answer(&turns.core);
                    if close {
                        self.passivate(&turns.core);
                        myself.stop(None);
                        return Ok(());
                    }
                }
                Err(ended) => {
                    // Before anybody is answered: who asks again must find a new activation.
                    self.host.failed(&self.cluster, &self.activation, &ended);
                    callers.give_up(&ended.to_string());
                    myself.stop(None);
                    return Ok(());
                }
            }
            if turns.core.outbox.has_startable() {
                crash_point!("after-reply-before-send");
                self.dispatch(turns);
            }
            if turns.core.has_riders() && !turns.flush_planned {
                turns.flush_planned = true;
                self.plan_flush();
            }
            if self.activation.inbox.rest() {
                return Ok(());
            }
        }
    }
}

impl<A: Agent> TurnActor<A> {
    /// Errors are reported where they happen; a panic is reported by the supervisor. What the node holds for that must not hold the node.
    fn supervise(&self, myself: &ActorRef<Wakeup>) {
        let (host, activation, cluster) = (Arc::downgrade(&self.host), self.activation.clone(), self.cluster.downgrade());
        let on_panic = move |panic: String| {
            if let Some((host, cluster)) = host.upgrade().zip(cluster()) {
                host.failed(&cluster, &activation, &Ended::Panicked(panic));
            }
        };
        self.cluster.supervise(myself.get_id(), Box::new(on_panic));
    }

    /// The last turn has ended.
    fn passivate(&self, core: &Core<A>) {
        crash_point!("in-passivation");
        let leftovers = self.activation.inbox.shut();
        self.host.leave(&self.cluster, &self.activation);
        self.activation.end("passivated", leftovers);
        if !core.outbox.is_empty() {
            // Nothing of it would be delivered before the next start of the node.
            self.cluster.wake_at(&self.activation.address, self.cluster.now());
        }
    }

    /// What is decided on a state that may be old must not leave.
    fn check_lease(&self) -> Result<(), Ended> {
        let serves = self.cluster.placement().still_serves(&self.activation.address, self.activation.since);
        if serves { Ok(()) } else { Err(Ended::NoLease) }
    }

    /// For a commit, as long as the lease lasts.
    fn permit(&self) -> Permit {
        // Nothing that waits to be written keeps the node.
        let (cluster, activation) = (self.cluster.downgrade(), self.activation.clone());
        Permit::while_so(move || cluster().is_some_and(|cluster| cluster.placement().still_serves(&activation.address, activation.since)))
    }

    fn publish(&self, core: &Core<A>) {
        self.cluster.account(self.activation.bytes.swap(core.bytes(), Ordering::AcqRel), core.bytes());
        // First: who sees the state finds the rows counted that came with it.
        self.announce(core);
        self.activation.phase.set(Phase::Ready { state: Arc::new(core.state.clone()), registered: core.registered });
    }

    /// Tells the node what is left to do.
    fn announce(&self, core: &Core<A>) {
        let wake = core.wake();
        self.activation.set_undelivered(core.outbox.len(), core.outbox.aside());
        self.activation.may_have_work.store(wake.awake || wake.due.is_some(), Ordering::Release);
        self.cluster.timers().set(&self.activation.address, self.cluster.near(wake.due));
    }

    /// One turn: takes what waits, decides, commits once. `true` when the activation is to close.
    async fn turn(&self, turns: &mut Turns<A>, callers: &mut Callers<A>) -> Result<bool, Ended> {
        let core = &mut turns.core;
        core.level = self.cluster.placement().writes();
        let now = self.cluster.now();
        let mut plan = Plan::default();
        let (mut flush, mut close, mut taken) = (false, false, 0_usize);
        while taken < COMMANDS_PER_TURN && plan.bytes < BYTES_PER_TURN {
            let Some(item) = self.activation.inbox.take() else { break };
            taken += 1;
            match item {
                Item::Command(waiting) => self.command(core, *waiting, now, &mut plan, callers)?,
                Item::Delivered(id, outcome) => Self::delivered(core, id, outcome, now, &mut plan)?,
                Item::GivenUp(id, reason) => Self::given_up(core, id, reason, now, &mut plan)?,
                Item::Tick => {}
                Item::Flush => {
                    turns.flush_planned = false;
                    flush = true;
                }
                Item::Inspect(asked) => callers.inspections.push(asked),
                Item::Redress(redress) => Self::redress(core, *redress, &mut plan, callers)?,
                Item::Close => {
                    close = true;
                    // Where the slot has gone already the next one writes what is left.
                    flush = self.check_lease().is_ok();
                }
            }
        }
        // A closing activation starts no deliveries: what is due is left to the next one, which its timer brings.
        if !close {
            self.deadlines(core, now, &mut plan)?;
        }
        if !plan.is_empty() {
            core.riders.extend(self.activation.replies.lock().expire(now, EXPIRED_PER_TURN));
        }
        if !plan.is_empty() || (flush && core.has_riders()) {
            self.commit(core, plan, now, callers, taken).await?;
        } else {
            if !callers.commands.is_empty() {
                self.check_lease()?;
            }
            self.announce(core);
        }
        Ok(close)
    }

    fn command(
        &self,
        core: &mut Core<A>,
        waiting: Waiting<A>,
        now: Timestamp,
        plan: &mut Plan,
        callers: &mut Callers<A>,
    ) -> Result<(), CodecError> {
        let Waiting { prepared, call, request_hash, mut reply } = waiting;
        if let (Some(key), Some(hash)) = (&call.idempotency, request_hash) {
            let earlier = plan.replies.iter().find(|r| r.key == key.as_str()).cloned();
            let earlier = earlier.or_else(|| self.activation.replies.lock().get(key.as_str(), now).cloned());
            if let Some(stored) = earlier {
                callers.commands.push((reply, replay(&stored, hash)));
                return Ok(());
            }
        }
        // Should it panic, this command is the one not to try again.
        reply.otherwise(Otherwise::Failed);
        let answer = match core.decide(&Input::Command(prepared), now) {
            Ok(decision) => {
                let changes = decision.changes();
                let origin = Origin { actor: &call.actor, command: Some(call.id.to_string()), trace: call.trace.as_ref() };
                let done = core.accept(decision, origin, now, plan)?;
                if let (true, Some(hash)) = (changes, request_hash) {
                    core.keep_reply(&call, hash, &done, now, plan)?;
                }
                if changes {
                    plan.undo.push(call.undo.clone());
                }
                Answer::Done(done)
            }
            Err(Rejection::Refused(refusal)) => Answer::Refused(refusal),
            Err(Rejection::Stale) => Answer::Stale,
        };
        reply.otherwise(Otherwise::NotExecuted);
        callers.commands.push((reply, answer));
        Ok(())
    }

    fn delivered(core: &mut Core<A>, id: OutboxId, outcome: A::Outcome, now: Timestamp, plan: &mut Plan) -> Result<(), CodecError> {
        let Some(pending) = core.finish_row(id) else { return Ok(()) };
        Self::follow(core, Input::Delivered(pending.effect, outcome), pending.trace, "outbox", now, plan)
    }

    fn given_up(core: &mut Core<A>, id: OutboxId, reason: String, now: Timestamp, plan: &mut Plan) -> Result<(), CodecError> {
        let Some(pending) = core.finish_row(id) else { return Ok(()) };
        tracing::warn!(category = "app", vpa = %core.address, lane = pending.lane, reason, "outbox row given up");
        let dropped = core.bury(id, &pending, &reason, now, plan)?;
        counter!("cellspace_dead_letters_total", "kind" => A::KIND.0).increment(1);
        counter!("cellspace_dead_letters_dropped_total", "kind" => A::KIND.0).increment(dropped as u64);
        Self::follow(core, Input::Undeliverable(pending.effect, reason), pending.trace, "outbox", now, plan)
    }

    fn redress(core: &mut Core<A>, redress: Redress<A>, plan: &mut Plan, callers: &mut Callers<A>) -> Result<(), CodecError> {
        let Redress { id, again, actor, done } = redress;
        let found = core.redress(id, again, &actor, plan)?;
        callers.redresses.push((done, if found { Ok(()) } else { Err(AdminError::NotFound) }));
        Ok(())
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
            let span = info_span!("deadline", trace_id = Empty, vpa = %core.address, key);
            let due = trace::open(&span, trace.as_ref());
            span.in_scope(|| Self::follow(core, Input::Due(key.clone()), Some(due), "deadline", now, plan))?;
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
        callers: &mut Callers<A>,
        taken: usize,
    ) -> Result<(), Ended> {
        crash_point!("before-commit");
        let batch = Batch { permit: self.permit(), ..core.batch(&mut plan, now)? };
        let (seq, wake) = (batch.seq, batch.wake);
        self.check_lease()?;
        if !core.registered {
            self.cluster.absent().born(&core.address);
        }
        self.activation.may_have_work.store(true, Ordering::Release);
        callers.otherwise(Otherwise::InDoubt(seq));
        // From here on it may be durable: what was prepared is taken back only when it is known not to be.
        let undo: Vec<_> = plan.undo.iter().flat_map(Undo::waive).collect();
        match self.cluster.partitions().commit(batch).await {
            CommitOutcome::Applied => {}
            CommitOutcome::Fenced => {
                undo.into_iter().for_each(|step| step());
                callers.otherwise(Otherwise::NotExecuted);
                self.check_lease()?;
                return Err(Ended::Fenced);
            }
            CommitOutcome::Refused(reason) => {
                undo.into_iter().for_each(|step| step());
                callers.otherwise(Otherwise::Failed);
                return Err(Ended::Refused(reason));
            }
            CommitOutcome::NotSent(reason) => {
                undo.into_iter().for_each(|step| step());
                callers.otherwise(Otherwise::NotExecuted);
                return Err(Ended::Store(reason));
            }
            CommitOutcome::Unknown(reason) => {
                // Neither taken nor done with: what they hold until the outcome is known, they hold on.
                std::mem::forget(undo);
                return Err(Ended::InDoubt(reason));
            }
        }
        crash_point!("after-commit-before-reply");
        core.landed(seq, wake);
        counter!("cellspace_turns_total", "kind" => A::KIND.0).increment(1);
        if plan.left_out > 0 {
            counter!("cellspace_outbox_dropped_total", "kind" => A::KIND.0).increment(plan.left_out);
            if !std::mem::replace(&mut core.full, true) {
                tracing::warn!(category = "app", vpa = %core.address, "too many undelivered outbox rows aside: no more are kept");
            }
        }
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
                counterparty = entry.about.counterparty, contract = entry.about.contract,
                trace_id = entry.trace.as_ref().map(TraceContext::trace_id), seq = seq.0, "committed"
            );
        }
        self.publish(core);
        Ok(())
    }

    fn plan_flush(&self) {
        let activation = self.activation.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = activation.ended.cancelled() => {}
                () = tokio::time::sleep(RIDE) => { let _ = activation.push(Item::Flush); }
            }
        });
    }

    /// Starts the deliveries that may start.
    fn dispatch(&self, turns: &mut Turns<A>) {
        for id in turns.core.outbox.start() {
            if let Some(pending) = turns.core.outbox.get(id) {
                let row = Row::of(id, pending);
                tokio::spawn(dispatcher::deliver(self.cluster.clone(), self.host.agent.clone(), self.activation.clone(), row));
            }
        }
    }
}

/// The stored reply again, or the refusal of a key used for something else.
pub(crate) fn replay<A: Agent>(stored: &StoredReply, request_hash: u128) -> Answer<A> {
    if stored.request != format!("{request_hash:032x}") {
        return Answer::KeyReused;
    }
    match serde_json::from_str(stored.reply.get()) {
        Ok(reply) => Answer::Done(reply),
        Err(e) => Answer::Failed(format!("the stored reply cannot be read: {e}")),
    }
}
