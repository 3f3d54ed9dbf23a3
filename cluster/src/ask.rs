//! Asking, reading and waiting: the caller's half of a command's life.

use crate::{
    Address, Agent, AskError, Call, CallId, Cluster, PrepareError, Slot, Undo,
    activation::{Activation, InUse, Phase},
    admission::{Admitted, Spent},
    inbox::{Item, PushError, Waiting},
    membership::Route,
    reply::{Answer, ReplyTo},
    trace,
    turn::replay,
    witness::Verdict,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tracing::{field::Empty, info_span};

/// Rounds of activation and preparation before a command is given back as not executed.
const ROUNDS: usize = 4;
/// What callers are told when this node cannot.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a request waits for a slot that this node owns and that is about to open.
pub(crate) const HELD: Duration = Duration::from_millis(500);
/// How long a reader waits for an agent to load.
pub(crate) const READ: Duration = Duration::from_secs(30);

pub(crate) fn unavailable<R: std::error::Error>(reason: impl Into<String>) -> AskError<R> {
    AskError::Unavailable { reason: reason.into(), retry_after: RETRY_AFTER }
}

/// What an answer means for the caller: the end, or another round for this reason.
fn outcome<A: Agent>(answer: Answer<A>) -> Result<Result<A::Reply, AskError<A::Refusal>>, String> {
    match answer {
        Answer::Done(reply) => Ok(Ok(reply)),
        Answer::Refused(refusal) => Ok(Err(AskError::Refused(refusal))),
        Answer::KeyReused => Ok(Err(AskError::KeyReused)),
        Answer::Failed(reason) => Ok(Err(unavailable(reason))),
        Answer::InDoubt(_, reason) => Ok(Err(AskError::Unknown { reason })),
        Answer::NotExecuted(reason) => Err(reason),
        Answer::Stale => Err("what was asked of others is out of date again".to_owned()),
    }
}

impl Cluster {
    /// Sends a command to an agent, wherever it is, and waits for the durable answer.
    ///
    /// Dropping the future gives up waiting; a command that already reached the inbox is executed all the same.
    ///
    /// # Errors
    /// [`AskError`]: refused, not executed, or unknown.
    pub async fn ask<A: Agent>(&self, address: &Address, command: A::Command, call: Call) -> Result<A::Reply, AskError<A::Refusal>> {
        let _admitted = self.admit(address, A::counterparty(&command))?;
        self.ask_beside::<A>(address, command, call).await
    }

    /// The same for a command of an agent's own preparation to that agent: it takes no place of its own, since the command that is prepared has one.
    ///
    /// # Errors
    /// [`AskError`]: refused, not executed, or unknown.
    pub async fn ask_beside<A: Agent>(&self, address: &Address, command: A::Command, call: Call) -> Result<A::Reply, AskError<A::Refusal>> {
        let span = info_span!("command", trace_id = Empty, vpa = %address, kind = A::KIND.0);
        let parent = call.trace.clone();
        let asking = async { self.ask_within::<A>(address, command, Call { id: CallId::fresh(), trace: trace::current(), ..call }).await };
        trace::within(span, parent.as_ref(), asking).await
    }

    async fn ask_within<A: Agent>(&self, address: &Address, command: A::Command, call: Call) -> Result<A::Reply, AskError<A::Refusal>> {
        let until = Instant::now() + call.timeout;
        let request_hash = match &call.idempotency {
            None => None,
            Some(_) => {
                let body = serde_json::to_vec(&command).map_err(|e| unavailable(format!("the command cannot be written: {e}")))?;
                Some(xxhash_rust::xxh3::xxh3_128(&body))
            }
        };
        let mut reason = String::from("the agent is being moved");
        for _ in 0..ROUNDS {
            let (in_use, state) = self.ready::<A>(address, A::creates(&command), true, until).await?;
            let activation = &in_use.0;
            if let (Some(key), Some(hash)) = (&call.idempotency, request_hash) {
                let stored = activation.replies.lock().get(key.as_str(), self.now()).cloned();
                if let Some(stored) = stored {
                    return outcome::<A>(replay(&stored, hash)).unwrap_or_else(|reason| Err(unavailable(reason)));
                }
            }
            let Some(host) = self.host::<A>() else { return Err(unavailable(format!("no agents of kind {} here", A::KIND))) };
            let round = Call { undo: Undo::default(), ..call.clone() };
            let prepare = host.agent.prepare(address, state, command.clone(), &round);
            let prepared = match timeout_at(until, prepare).await {
                Ok(Ok(prepared)) => prepared,
                Ok(Err(PrepareError::Refused(refusal))) => return Err(AskError::Refused(refusal)),
                Ok(Err(PrepareError::Unavailable(reason))) => return Err(unavailable(reason)),
                Err(_) => return Err(unavailable("others did not answer in time")),
            };
            let (reply, answer) = ReplyTo::new();
            let waiting = Waiting { prepared, call: round, request_hash, reply };
            match activation.push(Item::Command(Box::new(waiting))) {
                Ok(()) => {}
                Err((PushError::Full, _)) => return Err(AskError::TooMany { retry_after: RETRY_AFTER }),
                Err((PushError::Closing, _)) => {
                    self.until_ended::<A>(activation, until).await?;
                    continue;
                }
            }
            let answer = match timeout_at(until, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => return Err(AskError::Unknown { reason: "the agent failed".into() }),
                Err(_) => return Err(AskError::Unknown { reason: "no answer in time".into() }),
            };
            let answer = match answer {
                Answer::InDoubt(seq, doubt) => match self.settle::<A>(address, &call, request_hash, seq, until).await {
                    Verdict::Answer(answer) => answer,
                    Verdict::NotExecuted => Answer::NotExecuted(doubt),
                    Verdict::Executed => Answer::InDoubt(seq, format!("it was executed, but its answer is lost: {doubt}")),
                    Verdict::Unknown => Answer::InDoubt(seq, doubt),
                },
                clear => clear,
            };
            match outcome::<A>(answer) {
                Ok(end) => return end,
                Err(again) => reason = again,
            }
        }
        Err(unavailable(reason))
    }

    /// Reads the newest published snapshot, beside any running turn.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn read<A: Agent, T>(&self, address: &Address, query: impl FnOnce(&A::State) -> T) -> Result<T, AskError<A::Refusal>> {
        let (in_use, state) = self.ready::<A>(address, false, false, Instant::now() + READ).await?;
        let found = query(&state);
        self.may_answer(&in_use)?;
        Ok(found)
    }

    /// The newest published snapshot itself.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn snapshot<A: Agent>(&self, address: &Address) -> Result<Arc<A::State>, AskError<A::Refusal>> {
        let (in_use, state) = self.ready::<A>(address, false, false, Instant::now() + READ).await?;
        self.may_answer(&in_use)?;
        Ok(state)
    }

    /// Waits until `query` is `Some` on a published snapshot; `None` at the time-out, and as soon as the node is told to [`Cluster::stop_waiting`].
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn wait<A: Agent, T>(
        &self,
        address: &Address,
        timeout: Duration,
        mut query: impl FnMut(&A::State) -> Option<T>,
    ) -> Result<Option<T>, AskError<A::Refusal>> {
        let over = async {
            tokio::select! {
                biased;
                () = tokio::time::sleep(timeout) => {}
                () = self.inner.stop_waiting.cancelled() => {}
            }
        };
        tokio::select! {
            // First the query: a state that is there is found also when there is no time to wait.
            biased;
            found = self.watch::<A, T>(address, &mut query) => found.map(Some),
            () = over => Ok(None),
        }
    }

    /// Waits until `query` is `Some` on a published snapshot, for as long as the node runs.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn watch<A: Agent, T>(
        &self,
        address: &Address,
        mut query: impl FnMut(&A::State) -> Option<T>,
    ) -> Result<T, AskError<A::Refusal>> {
        loop {
            let (in_use, _) = self.ready::<A>(address, false, false, Instant::now() + READ).await?;
            let mut phases = in_use.0.phase.watch();
            loop {
                // Cloned out of the lock: a query may take its time.
                let phase = phases.see().clone();
                match phase {
                    Phase::Ready { state, .. } => {
                        if let Some(found) = query(&state) {
                            self.may_answer(&in_use)?;
                            return Ok(found);
                        }
                    }
                    Phase::Loading => {}
                    Phase::Gone(_) => break,
                }
                phases.changed().await;
            }
            if self.is_draining() {
                return Err(unavailable("the node is draining"));
            }
        }
    }

    /// What was read may leave only while nobody else can have changed it.
    fn may_answer<A: Agent>(&self, in_use: &InUse<A>) -> Result<(), AskError<A::Refusal>> {
        let Activation { address, since, .. } = &*in_use.0;
        if self.placement().still_serves(address, *since) { Ok(()) } else { Err(unavailable("the agent is being moved")) }
    }

    /// The view since which this node serves the agent's slot; waits a moment for one that is about to open.
    async fn serving_since<R: std::error::Error>(&self, address: &Address, until: Instant) -> Result<u64, AskError<R>> {
        if let Some(since) = self.placement().serves(address) {
            return Ok(since);
        }
        let Some(cell) = self.placement().cell() else { return Err(unavailable("this node serves nothing")) };
        let (slot, until) = (Slot::of(&address.owner), until.min(Instant::now() + HELD));
        let mut changes = cell.changes();
        loop {
            drop(changes.see());
            match (self.placement().serves(address), cell.route(slot)) {
                (Some(since), _) => return Ok(since),
                (None, Route::Forward(owner, _)) => return Err(unavailable(format!("the agent is on node {}", owner.node))),
                (None, Route::Unavailable(reason)) => return Err(unavailable(reason)),
                (None, Route::Here | Route::Hold | Route::Refresh) => {}
            }
            if timeout_at(until, changes.changed()).await.is_err() {
                return Err(unavailable("the agent is being moved"));
            }
        }
    }

    fn admit<R: std::error::Error>(&self, address: &Address, counterparty: Option<String>) -> Result<Admitted, AskError<R>> {
        self.admission().admit(&address.owner, counterparty).map_err(|spent| match spent {
            Spent::Node => unavailable("the node has too many requests"),
            Spent::Owner => AskError::TooMany { retry_after: RETRY_AFTER },
        })
    }

    /// Whoever comes again comes when there is time for it.
    fn not_loaded<R: std::error::Error>(&self, address: &Address, reason: &str) -> AskError<R> {
        AskError::Unavailable { reason: reason.to_owned(), retry_after: self.inner.loading.come_again(&address.owner) }
    }

    async fn until_ended<A: Agent>(&self, activation: &Activation<A>, until: Instant) -> Result<(), AskError<A::Refusal>> {
        timeout_at(until, activation.ended.cancelled()).await.map_err(|_| unavailable("the agent did not stop in time"))
    }

    /// The agent's activation and newest snapshot, loaded if need be. Ids that were never written activate nothing. Who is not `admitted` yet needs a
    /// place while the store is read for it.
    pub(crate) async fn ready<A: Agent>(
        &self,
        address: &Address,
        creates: bool,
        admitted: bool,
        until: Instant,
    ) -> Result<(InUse<A>, Arc<A::State>), AskError<A::Refusal>> {
        let Some(host) = self.host::<A>() else { return Err(unavailable(format!("no agents of kind {} here", A::KIND))) };
        let mut last = String::from("the agent is being moved");
        for _ in 0..ROUNDS {
            if self.is_draining() {
                return Err(unavailable("the node is draining"));
            }
            if let Some(reason) = host.why_parked(address) {
                return Err(AskError::Parked { reason });
            }
            let since = self.serving_since(address, until).await?;
            let resident = host.resident(address);
            let cold = resident.as_ref().is_none_or(|activation| activation.is_loading());
            let _place = if cold && !admitted { Some(self.admit(address, None)?) } else { None };
            let activation: Arc<Activation<A>> = match resident {
                Some(activation) => {
                    activation.close_unless(since);
                    activation
                }
                None => {
                    if !creates && !self.exists(address).await.map_err(|e| unavailable(e.to_string()))? {
                        return Err(AskError::NotRegistered);
                    }
                    if self.inner.loading.is_hopeless(until.saturating_duration_since(Instant::now())) {
                        return Err(self.not_loaded(address, "too many agents wait to be loaded"));
                    }
                    host.activate(self, address, since)
                }
            };
            let in_use = activation.in_use(self.now().millis());
            // Nearly always it is there: nothing to wait for.
            if let (Phase::Ready { registered: true, state, .. }, true) = (&*activation.phase.read(), activation.since == since) {
                return Ok((in_use, state.clone()));
            }
            let mut phases = activation.phase.watch();
            let phase = timeout_at(until, phases.until(|phase| !matches!(phase, Phase::Loading))).await;
            let phase = phase.map_err(|_| self.not_loaded(address, "the agent did not load in time"))?;
            match phase {
                Phase::Ready { registered: false, .. } if !creates => {
                    if !self.exists(address).await.map_err(|e| unavailable(e.to_string()))? {
                        return Err(AskError::NotRegistered);
                    }
                    // Its first commit has landed, and its event may be known already, but the activation has not heard of it yet.
                    let heard = phases.until(|phase| !matches!(phase, Phase::Ready { registered: false, .. }));
                    if timeout_at(until, heard).await.is_err() {
                        return Err(unavailable("the agent did not answer in time"));
                    }
                    continue;
                }
                Phase::Ready { state, .. } if activation.since == since => return Ok((in_use, state)),
                Phase::Ready { .. } => {}
                Phase::Loading => {}
                Phase::Gone(reason) => last = reason,
            }
            drop(in_use);
            self.until_ended::<A>(&activation, until).await?;
        }
        Err(unavailable(last))
    }
}
