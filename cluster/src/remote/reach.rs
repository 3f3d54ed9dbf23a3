//! What an agent may be asked from other nodes.

use super::message::{AgentAnswer, What, call};
use crate::{Address, Agent, AskError, Call, Cluster};
use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use std::{collections::HashMap, error::Error, marker::PhantomData, time::Duration};

/// A question to an agent, which may be asked from any node. It writes nothing.
pub trait Query<A: Agent>: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name among the agent's questions: the same in all builds that are one cell together.
    const NAME: &'static str;
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Reads it from a snapshot.
    fn answer(&self, state: &A::State) -> Self::Answer;
}

type Commands = fn(Cluster, Address, Box<RawValue>, Call) -> BoxFuture<'static, AgentAnswer>;
type Queries = fn(Cluster, Address, Box<RawValue>) -> BoxFuture<'static, AgentAnswer>;

/// What a kind of agents may be asked from other nodes.
pub struct Reach<A> {
    commands: Option<Commands>,
    queries: HashMap<&'static str, Queries>,
    agent: PhantomData<fn() -> A>,
}

impl<A: Agent> Reach<A> {
    pub(crate) fn of_agent() -> Self {
        A::reach(Self { commands: None, queries: HashMap::new(), agent: PhantomData })
    }

    /// All its commands.
    #[must_use]
    pub fn commands(mut self) -> Self
    where
        A::Refusal: Serialize + DeserializeOwned,
    {
        self.commands = Some(command::<A>);
        self
    }

    /// This question.
    #[must_use]
    pub fn query<Q: Query<A>>(mut self) -> Self {
        self.queries.insert(Q::NAME, query::<A, Q>);
        self
    }

    pub(crate) async fn called(&self, cluster: Cluster, address: Address, what: What, left: Duration) -> AgentAnswer {
        let unknown = |what: &str| AgentAnswer::Unavailable(format!("{} is not asked for {what} from other nodes", A::KIND), 1_000);
        match what {
            What::Command { command, trace, idempotency, actor } => match (self.commands, call(trace, idempotency, actor, left)) {
                (Some(commands), Some(call)) => commands(cluster, address, command, call).await,
                (Some(_), None) => AgentAnswer::Unavailable("no idempotency key".to_owned(), 1_000),
                (None, _) => unknown("commands"),
            },
            What::Query { name, query } => match self.queries.get(name.as_str()) {
                Some(queries) => queries(cluster, address, query).await,
                None => unknown(&name),
            },
        }
    }
}

fn unreadable(error: impl Error) -> AgentAnswer {
    AgentAnswer::Unavailable(format!("what was asked cannot be read: {error}"), 1_000)
}

fn command<A: Agent>(cluster: Cluster, address: Address, command: Box<RawValue>, call: Call) -> BoxFuture<'static, AgentAnswer>
where
    A::Refusal: Serialize,
{
    Box::pin(async move {
        let command: A::Command = match serde_json::from_str(command.get()) {
            Ok(command) => command,
            Err(error) => return unreadable(error),
        };
        let refused = |refusal: A::Refusal| to_raw_value(&refusal).map_or_else(unreadable, AgentAnswer::Refused);
        AgentAnswer::with(cluster.ask::<A>(&address, command, call).await, refused)
    })
}

fn query<A: Agent, Q: Query<A>>(cluster: Cluster, address: Address, query: Box<RawValue>) -> BoxFuture<'static, AgentAnswer> {
    Box::pin(async move {
        let query: Q = match serde_json::from_str(query.get()) {
            Ok(query) => query,
            Err(error) => return unreadable(error),
        };
        let found: Result<Q::Answer, AskError<A::Refusal>> = cluster.read::<A, _>(&address, |state| query.answer(state)).await;
        AgentAnswer::of(found)
    })
}
