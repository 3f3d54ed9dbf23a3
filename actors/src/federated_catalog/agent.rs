//! The agent of one participant's federated catalog.

use super::{
    CrawlKey, CrawlOptions, MAX_TARGETS, Pace, crawl, decide,
    state::{Event, State},
};
use crate::{Services, trust::did};
use cellspace_cluster::{
    Address, Agent, AskError, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Query, Reach, Rejection, RetryPolicy, RowOf,
    Track,
};
use cellspace_schemas::{Did, Owner, ParticipantContextId, Timestamp, dsp::BaseUrl, management::TargetNode};
use cellspace_storage::AgentKind;
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Target nodes and crawls of one participant; those of the installation, which crawls nothing itself, are the same kind of agent.
pub struct FederatedCatalog {
    services: Services,
    options: CrawlOptions,
}

impl FederatedCatalog {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub const fn new(services: Services, options: CrawlOptions) -> Self {
        Self { services, options }
    }
}

/// The agent of a participant.
#[must_use]
pub fn address(participant: &ParticipantContextId) -> Address {
    Address::of::<FederatedCatalog>(participant)
}

/// The agent that knows the target nodes of the installation. Its name keeps it apart from a participant's of whatever id.
#[must_use]
pub fn installation() -> Address {
    Address { name: "installation".to_owned(), ..Address::of::<FederatedCatalog>(Owner::installation()) }
}

/// A view that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Of what.
    pub key: CrawlKey,
    /// Where the target says its versions, when whoever named it says so.
    pub url: Option<BaseUrl>,
    /// Whether others are shown it too.
    pub shared: bool,
}

/// Requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Names a target node.
    AddTarget(TargetNode),
    /// Names it differently.
    ReplaceTarget(TargetNode),
    /// Names it no longer. What was seen of it is forgotten, unless the installation names it too: a crawl finds that out at once, or when the one that
    /// is under way comes back.
    RemoveTarget(Did),
    /// Somebody asks for these views: they are looked at from now on for a while. Those for which there is no room are left out.
    Want(Vec<Wanted>),
    /// The participant is gone.
    Leave,
}

/// A request with what it is judged by.
#[derive(Debug)]
pub struct Prepared {
    /// The request.
    pub command: Command,
    /// How old a view may be that somebody asks for.
    pub refresh: Duration,
}

/// Answer: when it was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Milliseconds since the epoch.
    pub at: Timestamp,
}

/// What the agent knows, for other nodes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Standing;

impl Query<FederatedCatalog> for Standing {
    const NAME: &'static str = "standing";
    /// As rows have it.
    type Answer = Vec<Event>;

    fn answer(&self, state: &State) -> Self::Answer {
        state.rows()
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// There is one already.
    #[error("target node {0} exists")]
    Exists(Did),
    /// There is none.
    #[error("target node {0} does not exist")]
    NotFound(Did),
    /// Too many.
    #[error("at most {MAX_TARGETS} target nodes are possible")]
    Full,
}

/// A crawl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Of what.
    pub key: CrawlKey,
    /// Where the target says its versions; without one, what its DID document says.
    pub url: Option<BaseUrl>,
}

/// What a crawl brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was found.
    pub found: Found,
    /// When it is looked again.
    pub pace: Pace,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A view.
    Seen(Box<Sighted>),
    /// None, for this reason.
    Failed(String),
    /// Nobody names the target so any more.
    Unnamed,
    /// Whoever looks is gone for good.
    Gone,
}

/// A catalog as its target has shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighted {
    /// Where the target takes messages.
    pub address: BaseUrl,
    /// The catalog in the form of the Management API, as text.
    pub catalog: Arc<str>,
    /// Of that text.
    pub digest: String,
    /// Whether there is more than that.
    pub cut: bool,
}

pub(super) type Decided = Result<Decision<FederatedCatalog>, Rejection<Refusal>>;

impl Agent for FederatedCatalog {
    const KIND: AgentKind = AgentKind("federated-catalog");
    type State = State;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = Outcome;
    type Reply = Reply;
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.commands().query::<Standing>()
    }

    fn creates(command: &Command) -> bool {
        match command {
            Command::AddTarget(_) | Command::Want(_) => true,
            Command::ReplaceTarget(_) | Command::RemoveTarget(_) | Command::Leave => false,
        }
    }

    fn prepare<'a>(
        &'a self,
        _address: &'a Address,
        _snapshot: Arc<State>,
        command: Command,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        async { Ok(Prepared { command, refresh: self.options.refresh }) }.boxed()
    }

    fn decide(state: &State, input: &Input<Self>, now: Timestamp) -> Decided {
        decide::decide(state, input, now)
    }

    fn apply(state: &mut State, event: &Event) {
        state.apply(event);
    }

    fn row(event: &Event) -> RowOf {
        event.row()
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        event.deadline()
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Outcome, DeliveryError>> {
        async move {
            let found = crawl::crawl(&self.services, &delivery.address.owner, &delivery.effect).await?;
            Ok(Outcome { found, pace: Pace { options: self.options, spread: rand::random() } })
        }
        .boxed()
    }

    /// Where the target was last found, else where it is looked for first.
    fn destination(effect: &Effect, state: &State) -> Option<String> {
        let seen = state.crawls.get(&effect.key).and_then(|crawl| crawl.seen.as_ref());
        let found = seen.map(|seen| &seen.address).or(effect.url.as_ref());
        found.map(|address| address.url().authority().to_owned()).or_else(|| did::authority(&effect.key.target))
    }

    fn track(_effect: &Effect) -> Track {
        Track::Background
    }

    /// Of what stands in the way here; a target that does not answer is an outcome.
    fn retry_policy(_effect: &Effect) -> RetryPolicy {
        RetryPolicy { first_pause: Duration::from_secs(1), ..RetryPolicy::default() }
    }
}

/// Forgets all that there is of a participant that is gone.
///
/// # Errors
/// When it has to be tried again.
pub async fn forget(services: &Services, participant: &ParticipantContextId) -> Result<(), DeliveryError> {
    let address = address(participant);
    match services.cluster.ask::<FederatedCatalog>(&address, Command::Leave, Call::by(address.to_string())).await {
        Ok(_) | Err(AskError::NotRegistered) => Ok(()),
        Err(error) => Err(DeliveryError::Retry(error.to_string())),
    }
}
