//! Asking, reading and waiting: the caller's half of a command's life.

use crate::{
    Address, Agent, AskError, Call, CallId, Cluster, PrepareError,
    activation::{Activation, InUse, Phase},
    inbox::{Answer, Item, PushError, Waiting},
    turn::replay,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// Rounds of activation and preparation before a command is given back as not executed.
const ROUNDS: usize = 4;
/// What callers are told when this node cannot.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn unavailable<R: std::error::Error>(reason: impl Into<String>) -> AskError<R> {
    AskError::Unavailable { reason: reason.into(), retry_after: RETRY_AFTER }
}

impl Cluster {
    /// Sends a command to an agent, wherever it is, and waits for the durable answer.
    ///
    /// Dropping the future gives up waiting; a command that already reached the inbox is executed all the same.
    ///
    /// # Errors
    /// [`AskError`]: refused, not executed, or unknown.
    pub async fn ask<A: Agent>(&self, address: &Address, command: A::Command, call: Call) -> Result<A::Reply, AskError<A::Refusal>> {
        let until = Instant::now() + call.timeout;
        let call = Call { id: CallId::fresh(), ..call };
        let Ok(_permit) = self.admission().try_acquire() else { return Err(unavailable("the node has too many requests")) };
        let request_hash = match &call.idempotency {
            None => None,
            Some(_) => {
                let body = serde_json::to_vec(&command).map_err(|e| unavailable(format!("the command cannot be written: {e}")))?;
                Some(xxhash_rust::xxh3::xxh3_128(&body))
            }
        };
        let mut reason = String::from("the agent is being moved");
        for _ in 0..ROUNDS {
            let (in_use, state) = self.ready::<A>(address, A::creates(&command), until).await?;
            let activation = &in_use.0;
            if let (Some(key), Some(hash)) = (&call.idempotency, request_hash) {
                let stored = activation.replies.lock().get(key.as_str(), self.now()).cloned();
                if let Some(stored) = stored {
                    return match replay::<A>(&stored, hash) {
                        Answer::Done(reply) => Ok(reply),
                        Answer::NotExecuted(reason) => Err(unavailable(reason)),
                        _ => Err(AskError::KeyReused),
                    };
                }
            }
            let Some(host) = self.host::<A>() else { return Err(unavailable(format!("no agents of kind {} here", A::KIND))) };
            let prepare = host.agent.prepare(address, state, command.clone(), &call);
            let prepared = match tokio::time::timeout_at(until, prepare).await {
                Ok(Ok(prepared)) => prepared,
                Ok(Err(PrepareError::Refused(refusal))) => return Err(AskError::Refused(refusal)),
                Ok(Err(PrepareError::Unavailable(reason))) => return Err(unavailable(reason)),
                Err(_) => return Err(unavailable("others did not answer in time")),
            };
            let (reply, answer) = oneshot::channel();
            let waiting = Waiting { prepared, call: call.clone(), request_hash, reply };
            match activation.push(Item::Command(Box::new(waiting))) {
                Ok(()) => {}
                Err((PushError::Full, _)) => return Err(AskError::TooMany { retry_after: RETRY_AFTER }),
                Err((PushError::Closing, _)) => {
                    activation.ended.cancelled().await;
                    continue;
                }
            }
            match tokio::time::timeout_at(until, answer).await {
                Ok(Ok(Answer::Done(reply))) => return Ok(reply),
                Ok(Ok(Answer::Refused(refusal))) => return Err(AskError::Refused(refusal)),
                Ok(Ok(Answer::KeyReused)) => return Err(AskError::KeyReused),
                Ok(Ok(Answer::Stale)) => "what was asked of others is out of date again".clone_into(&mut reason),
                Ok(Ok(Answer::NotExecuted(why))) => reason = why,
                Ok(Ok(Answer::Unknown(reason))) => return Err(AskError::Unknown { reason }),
                Ok(Err(_)) => return Err(AskError::Unknown { reason: "the agent failed".into() }),
                Err(_) => return Err(AskError::Unknown { reason: "no answer in time".into() }),
            }
        }
        Err(unavailable(reason))
    }

    /// Reads the newest published snapshot, beside any running turn.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn read<A: Agent, T>(&self, address: &Address, query: impl FnOnce(&A::State) -> T) -> Result<T, AskError<A::Refusal>> {
        let (_in_use, state) = self.ready::<A>(address, false, Instant::now() + Duration::from_secs(30)).await?;
        Ok(query(&state))
    }

    /// The newest published snapshot itself.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn snapshot<A: Agent>(&self, address: &Address) -> Result<Arc<A::State>, AskError<A::Refusal>> {
        Ok(self.ready::<A>(address, false, Instant::now() + Duration::from_secs(30)).await?.1)
    }

    /// Waits until `query` is `Some` on a published snapshot; `None` at the time-out.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn wait<A: Agent, T>(
        &self,
        address: &Address,
        timeout: Duration,
        mut query: impl FnMut(&A::State) -> Option<T>,
    ) -> Result<Option<T>, AskError<A::Refusal>> {
        let until = Instant::now() + timeout;
        loop {
            let (in_use, _) = self.ready::<A>(address, false, until.max(Instant::now() + Duration::from_secs(5))).await?;
            let mut phases = in_use.0.phase.subscribe();
            loop {
                // Cloned out of the lock: a query may take its time.
                let phase = phases.borrow_and_update().clone();
                match phase {
                    Phase::Ready { state, .. } => {
                        if let Some(found) = query(&state) {
                            return Ok(Some(found));
                        }
                    }
                    Phase::Loading => {}
                    Phase::Gone(_) => break,
                }
                match tokio::time::timeout_at(until, phases.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break,
                    Err(_) => return Ok(None),
                }
            }
            if self.is_draining() {
                return Err(unavailable("the node is draining"));
            }
        }
    }

    /// The agent's activation and newest snapshot, loaded if need be. Ids that were never written activate nothing.
    async fn ready<A: Agent>(
        &self,
        address: &Address,
        creates: bool,
        until: Instant,
    ) -> Result<(InUse<A>, Arc<A::State>), AskError<A::Refusal>> {
        let Some(host) = self.host::<A>() else { return Err(unavailable(format!("no agents of kind {} here", A::KIND))) };
        if !self.placement().owns(address) {
            return Err(unavailable("another node owns the agent's slot"));
        }
        let mut last = String::from("the agent is being moved");
        for _ in 0..ROUNDS {
            if self.is_draining() {
                return Err(unavailable("the node is draining"));
            }
            if let Some(reason) = host.why_parked(address) {
                return Err(unavailable(format!("the agent is parked: {reason}")));
            }
            let activation: Arc<Activation<A>> = match host.resident(address) {
                Some(activation) => activation,
                None => {
                    if !creates && !self.exists(address).await.map_err(|e| unavailable(e.to_string()))? {
                        return Err(AskError::NotRegistered);
                    }
                    host.activate(self, address)
                }
            };
            let in_use = activation.in_use(self.now().millis());
            let phase = {
                let current = activation.phase.borrow().clone();
                if matches!(current, Phase::Loading) {
                    let mut phases = activation.phase.subscribe();
                    match tokio::time::timeout_at(until, phases.wait_for(|phase| !matches!(phase, Phase::Loading))).await {
                        Ok(Ok(phase)) => phase.clone(),
                        Ok(Err(_)) => Phase::Gone("the activation ended".into()),
                        Err(_) => return Err(unavailable("the agent did not load in time")),
                    }
                } else {
                    current
                }
            };
            match phase {
                Phase::Ready { registered: false, .. } if !creates => {
                    if !self.exists(address).await.map_err(|e| unavailable(e.to_string()))? {
                        return Err(AskError::NotRegistered);
                    }
                    // Its first commit has landed, and its event may be known already, but the activation has not heard of it yet.
                    let mut phases = activation.phase.subscribe();
                    let heard = phases.wait_for(|phase| !matches!(phase, Phase::Ready { registered: false, .. }));
                    if tokio::time::timeout_at(until, heard).await.is_err() {
                        return Err(unavailable("the agent did not answer in time"));
                    }
                    continue;
                }
                Phase::Ready { state, .. } => return Ok((in_use, state)),
                Phase::Loading => {}
                Phase::Gone(reason) => last = reason,
            }
            drop(in_use);
            activation.ended.cancelled().await;
        }
        Err(unavailable(last))
    }
}
