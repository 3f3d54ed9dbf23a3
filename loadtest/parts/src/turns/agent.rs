//! An agent whose turns are measured: each stores one row of so many bytes, and may leave something to be delivered.

use cellspace_cluster::{Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Rejection, RowOf};
use cellspace_schemas::Timestamp;
use cellspace_storage::{AgentKind, RowKey};
use futures::future::{BoxFuture, ready};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What one turn stores.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Keep {
    /// The row.
    pub text: String,
    /// Whether an outbox row comes with it.
    pub sends: bool,
}

/// The row's new value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    text: String,
}

/// Nothing is refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("refused")]
pub struct Refusal;

/// The agent. What it sends has arrived at once.
pub struct Keeper;

impl Agent for Keeper {
    const KIND: AgentKind = AgentKind("keeper");
    type State = Arc<str>;
    type Command = Keep;
    type Prepared = Keep;
    type Event = Kept;
    type Effect = String;
    type Outcome = ();
    type Reply = usize;
    type Refusal = Refusal;

    fn creates(_: &Keep) -> bool {
        true
    }

    fn prepare<'a>(
        &'a self,
        _: &'a Address,
        _: Arc<Self::State>,
        keep: Keep,
        _: &'a Call,
    ) -> BoxFuture<'a, Result<Keep, PrepareError<Refusal>>> {
        Box::pin(ready(Ok(keep)))
    }

    fn decide(_: &Self::State, input: &Input<Self>, _: Timestamp) -> Result<Decision<Self>, Rejection<Refusal>> {
        let Input::Command(Keep { text, sends }) = input else { return Ok(Decision::nothing()) };
        let decision = Decision::action("kept").event(Kept { text: text.clone() }).replying(text.len());
        Ok(if *sends { decision.effect("there", text.clone()) } else { decision })
    }

    fn apply(state: &mut Self::State, event: &Kept) {
        *state = event.text.as_str().into();
    }

    fn row(_: &Kept) -> RowOf {
        RowOf::Put(RowKey::new("kept", ""))
    }

    fn deliver<'a>(&'a self, _: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(ready(Ok(())))
    }
}
