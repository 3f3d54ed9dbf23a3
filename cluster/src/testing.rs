//! An agent that does nothing, for the tests of the parts around it.

use crate::{Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Rejection, RowOf};
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::{AgentKind, RowKey};
use futures::future::{BoxFuture, ready};
use std::sync::Arc;

pub(crate) struct Idle;

#[derive(Debug, Clone, thiserror::Error)]
#[error("never")]
pub(crate) struct Never;

pub(crate) fn address() -> Address {
    Address::of::<Idle>(Owner::new("a").unwrap())
}

impl Agent for Idle {
    const KIND: AgentKind = AgentKind("idle");
    type State = ();
    type Command = ();
    type Prepared = ();
    type Event = ();
    type Effect = ();
    type Outcome = ();
    type Reply = ();
    type Refusal = Never;

    fn creates((): &()) -> bool {
        true
    }

    fn prepare<'a>(&'a self, _: &'a Address, _: Arc<()>, (): (), _: &'a Call) -> BoxFuture<'a, Result<(), PrepareError<Never>>> {
        Box::pin(ready(Ok(())))
    }

    fn decide((): &(), _: &Input<Self>, _: Timestamp) -> Result<Decision<Self>, Rejection<Never>> {
        Ok(Decision::nothing())
    }

    fn apply((): &mut (), (): &()) {}

    fn row((): &()) -> RowOf {
        RowOf::Delete(RowKey::new("t", ""))
    }

    fn deliver<'a>(&'a self, _: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(ready(Ok(())))
    }
}
