//! What an agent is: a pure core (`decide`, `apply`) between two shells of I/O (`prepare`, `deliver`).

use crate::{About, Address, Call, Decision, Delivery, DeliveryError, PrepareError, Reach, Rejection, RetryPolicy, Track};
use cellspace_schemas::Timestamp;
use cellspace_storage::{AgentKind, RowKey};
use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::Arc;

/// Which row an event writes. The row's value is the event itself, so that loading a partition is applying its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOf {
    /// The event is the new value of this row.
    Put(RowKey),
    /// The event removes this row.
    Delete(RowKey),
}

/// What a turn decides on.
#[derive(Debug)]
pub enum Input<A: Agent> {
    /// A command, after `prepare`.
    Command(A::Prepared),
    /// An outbox row was delivered, with what the other side said.
    Delivered(Arc<A::Effect>, A::Outcome),
    /// An outbox row was given up: refused by the other side, or out of attempts. The runtime keeps it as a dead letter.
    Undeliverable(Arc<A::Effect>, String),
    /// The deadline under this key has passed.
    Due(String),
}

/// A kind of virtual actor. The value holds its services; all state is in `State`.
///
/// `decide` and `apply` are pure: no clock, randomness, I/O or spawn. Everything fresh comes in with the prepared command.
pub trait Agent: Send + Sync + Sized + 'static {
    /// Stable word in stored keys.
    const KIND: AgentKind;

    /// State in memory, on persistent maps: a clone must be cheap (it is the published snapshot).
    type State: Clone + Default + Send + Sync + 'static;
    /// A request as received; serialised for the idempotency hash and for peers.
    type Command: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// A command with what others said about it, fresh ids, and their versions.
    type Prepared: Send + Sync + 'static;
    /// A change of state: the new value of one row, or its removal.
    type Event: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// Something to do outside after the commit; an outbox row.
    type Effect: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What a delivery brought back.
    type Outcome: Send + Sync + 'static;
    /// Answer to a command; stored under its idempotency key.
    type Reply: Serialize + DeserializeOwned + Clone + Default + Send + 'static;
    /// Why a command is refused; nothing was changed.
    type Refusal: std::error::Error + Clone + Send + Sync + 'static;

    /// Whether the command may address an agent that was never written. All others answer [`crate::AskError::NotRegistered`].
    fn creates(command: &Self::Command) -> bool;

    /// Whose message the command is, as it says itself: commands of one counterparty are limited, so that its slowness does not take the places of
    /// all others. `None`: nobody's.
    fn counterparty(_command: &Self::Command) -> Option<String> {
        None
    }

    /// Asks others what the decision needs, concurrently and before the turn; reads the snapshot only to know what to ask.
    /// It may run more than once for one command, each time with the same [`Call::id`]; what it does elsewhere belongs to [`Call::undo`].
    fn prepare<'a>(
        &'a self,
        address: &'a Address,
        snapshot: Arc<Self::State>,
        command: Self::Command,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Self::Prepared, PrepareError<Self::Refusal>>>;

    /// The decision. Pure. `state` already holds the events of earlier inputs of the same turn.
    ///
    /// # Errors
    /// [`Rejection::Refused`] answers the client and changes nothing; [`Rejection::Stale`] runs `prepare` once more.
    /// A refusal of a `Delivered`, `Undeliverable` or `Due` input is logged, and the row or deadline is done with.
    fn decide(state: &Self::State, input: &Input<Self>, now: Timestamp) -> Result<Decision<Self>, Rejection<Self::Refusal>>;

    /// Folds an event into the state. Never fails, never decides.
    fn apply(state: &mut Self::State, event: &Self::Event);

    /// Which row the event writes.
    fn row(event: &Self::Event) -> RowOf;

    /// The deadline that the event's entity now has: `Some((key, None))` clears it. `None`: the entity has no deadlines at all.
    fn deadline(_event: &Self::Event) -> Option<(String, Option<Timestamp>)> {
        None
    }

    /// With whom and under what an event came about, for the audit.
    fn about(_event: &Self::Event) -> About {
        About::default()
    }

    /// The tenant that this agent's rows belong to, when it knows one.
    fn tenant(_state: &Self::State) -> Option<String> {
        None
    }

    /// Carries out an outbox row. May be repeated: after a crash, or when the outcome was not stored.
    ///
    /// # Errors
    /// [`DeliveryError::Retry`] is tried again by the effect's [`RetryPolicy`]; [`DeliveryError::Refused`] is given up at once.
    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Self::Outcome, DeliveryError>>;

    /// The host that a delivery goes to, as the authority of its target (`host:port`): deliveries to one host are limited, and one that does not
    /// answer is probed by one row at a time. `None`: nothing outside is called, or nothing is known of it yet.
    fn destination(_effect: &Self::Effect, _state: &Self::State) -> Option<String> {
        None
    }

    /// In which room it is delivered.
    fn track(_effect: &Self::Effect) -> Track {
        Track::Main
    }

    /// What a dead letter keeps of an effect with something secret in it, such as a token or a data address; such a letter is never sent again.
    /// `None`: nothing in it is secret.
    fn redact(_effect: &Self::Effect) -> Option<Self::Effect> {
        None
    }

    /// Takes out of the effect of a dead letter, as JSON, what an operator is not to see though it must be there to send it again.
    fn shown(_effect: &mut Value) {}

    /// What it may be asked from other nodes; nothing, unless it says so.
    #[must_use]
    fn reach(none: Reach<Self>) -> Reach<Self> {
        none
    }

    /// How often and how long a delivery is tried.
    fn retry_policy(_effect: &Self::Effect) -> RetryPolicy {
        RetryPolicy::default()
    }
}
