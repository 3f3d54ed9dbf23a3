//! Asking agents wherever they are: the way there, and what is answered to others' calls.

use super::{
    message::{AgentAnswer, AgentCall, What, time_there},
    reach::Query,
};
use crate::{
    Address, Agent, AskError, Call, Cluster,
    ask::{READ, unavailable},
    cell::{Cell, Peer, PeerError, Whereabouts},
    trace,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use std::{error::Error, future::Future, sync::Arc};
use tokio::time::{Instant, sleep, timeout_at};

impl Cluster {
    /// [`Cluster::ask`] for an agent that may be on another node of the cell: one of another owner than what asks.
    ///
    /// # Errors
    /// [`AskError`]: refused, not executed, or unknown.
    pub async fn ask_anywhere<A: Agent>(&self, address: &Address, command: A::Command, call: Call) -> Result<A::Reply, AskError<A::Refusal>>
    where
        A::Refusal: Serialize + DeserializeOwned,
    {
        let Some(cell) = self.placement().cell() else { return self.ask::<A>(address, command, call).await };
        let until = Instant::now() + call.timeout;
        let call = Call { trace: call.trace.clone().or_else(trace::current), ..call };
        let what = What::command(&command, &call).map_err(|error| unavailable(format!("the command cannot be written: {error}")))?;
        let here =
            || self.ask::<A>(address, command.clone(), Call { timeout: until.saturating_duration_since(Instant::now()), ..call.clone() });
        self.anywhere(cell, address, &what, until, here, |refusal| serde_json::from_str(refusal.get())).await
    }

    /// Asks an agent that may be on another node of the cell a question: one of another owner than what asks.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn query<A: Agent, Q: Query<A>>(&self, address: &Address, query: &Q) -> Result<Q::Answer, AskError<A::Refusal>> {
        let here = || self.read::<A, _>(address, |state| query.answer(state));
        let Some(cell) = self.placement().cell() else { return here().await };
        let what = to_raw_value(query).map(|query| What::Query { name: Q::NAME.to_owned(), query });
        let what = what.map_err(|error| unavailable(format!("the question cannot be written: {error}")))?;
        // Agents refuse commands, nobody refuses a question.
        let refused = |_: &RawValue| Err(serde::de::Error::custom("a question was refused"));
        self.anywhere(cell, address, &what, Instant::now() + READ, here, refused).await
    }

    /// [`Cluster::query`] for somebody who does not spend the owner's budget: where others have spent it, it waits for a place as long as for an answer.
    ///
    /// # Errors
    /// As there.
    pub async fn query_patiently<A: Agent, Q: Query<A>>(&self, address: &Address, query: &Q) -> Result<Q::Answer, AskError<A::Refusal>> {
        let until = Instant::now() + READ;
        loop {
            match self.query::<A, Q>(address, query).await {
                Err(AskError::TooMany { retry_after }) if Instant::now() + retry_after < until => sleep(retry_after).await,
                answer => return answer,
            }
        }
    }

    /// [`Cluster::snapshot`] of an agent that may be on another node of the cell, and is then made of the rows that this question brings.
    ///
    /// # Errors
    /// [`AskError::NotRegistered`] or not executed.
    pub async fn snapshot_anywhere<A: Agent, Q: Query<A, Answer = Vec<A::Event>>>(
        &self,
        address: &Address,
        rows: &Q,
    ) -> Result<Arc<A::State>, AskError<A::Refusal>> {
        if !self.finds_elsewhere(&address.owner).await {
            return self.snapshot::<A>(address).await;
        }
        let mut state = A::State::default();
        self.query::<A, Q>(address, rows).await?.iter().for_each(|row| A::apply(&mut state, row));
        Ok(Arc::new(state))
    }

    /// Asks `here` where that is, else the node whose it is; again while it is known that nothing was executed.
    async fn anywhere<T, R, F>(
        &self,
        cell: &Arc<Cell>,
        address: &Address,
        what: &What,
        until: Instant,
        here: impl Fn() -> F,
        refused: impl Fn(&RawValue) -> Result<R, serde_json::Error>,
    ) -> Result<T, AskError<R>>
    where
        T: DeserializeOwned,
        R: Error,
        F: Future<Output = Result<T, AskError<R>>>,
    {
        let owner = &address.owner;
        let moved_by = cell.moved_by(until);
        loop {
            let last = match cell.located(owner, 0, 0, until).await {
                Whereabouts::Here => match here().await {
                    Err(AskError::Unavailable { reason, .. }) if cell.is_away(owner) => reason,
                    end => return end,
                },
                Whereabouts::There(peer, hops) => {
                    let version = cell.version_of(&peer);
                    let answer = call_there(cell, &peer, call_to(address, version, hops, what.clone()), until).await;
                    match answer.read(&refused) {
                        Ok(end) => return end,
                        Err(reason) => {
                            cell.news_of(owner, &peer, version, moved_by).await;
                            reason
                        }
                    }
                }
                Whereabouts::Nowhere(reason) => return Err(unavailable(reason)),
            };
            if Instant::now() >= moved_by {
                return Err(unavailable(last));
            }
        }
    }

    /// What another node asks of an agent whose slot it takes for this one's.
    pub async fn called(&self, call: AgentCall) -> AgentAnswer {
        let Some(cell) = self.placement().cell() else { return AgentAnswer::Elsewhere("this node is part of no cell".to_owned()) };
        let until = Instant::now() + call.time();
        match cell.located(&call.owner, call.view, call.hops, until).await {
            Whereabouts::Nowhere(reason) => AgentAnswer::Elsewhere(reason),
            Whereabouts::There(peer, hops) => call_there(cell, &peer, AgentCall { view: cell.version(), hops, ..call }, until).await,
            Whereabouts::Here => {
                let Some(host) = self.host_of(&call.kind) else {
                    return AgentAnswer::Unavailable(format!("no agents of kind {} here", call.kind), 1_000);
                };
                let owner = call.owner.clone();
                let address = Address { owner: call.owner, kind: host.kind(), name: call.name };
                let left = until.saturating_duration_since(Instant::now());
                match host.called(self.clone(), address, call.what, left).await {
                    AgentAnswer::Unavailable(reason, _) if cell.is_away(&owner) => AgentAnswer::Elsewhere(reason),
                    answer => answer,
                }
            }
        }
    }
}

fn call_to(address: &Address, view: u64, hops: u8, what: What) -> AgentCall {
    let Address { owner, kind, name } = address.clone();
    AgentCall { owner, kind: kind.0.to_owned(), name, view, hops, left: 0, what }
}

async fn call_there(cell: &Cell, peer: &Peer, mut call: AgentCall, until: Instant) -> AgentAnswer {
    call.within(time_there(until));
    match timeout_at(until, cell.link().call(peer, &call)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(PeerError::NotDone(reason))) => AgentAnswer::Elsewhere(reason),
        Ok(Err(PeerError::Lost(reason))) => call.what.lost(reason),
        Err(_) => call.what.lost(format!("node {} did not answer in time", peer.member.node)),
    }
}
