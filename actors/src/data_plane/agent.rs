//! The agent: one participant's data plane, comes into being with its first source or flow.

use super::{
    command::{Command, Effect, Prepared, Refusal, Reply},
    decide, prepare,
    state::{DataPlaneState, Event},
};
use crate::{
    Services, credential_service,
    records::{self, Keeper, Notes},
};
use cellspace_cluster::{Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Rejection, RetryPolicy, RowOf};
use cellspace_schemas::{KeyAlias, Timestamp};
use cellspace_storage::AgentKind;
use futures::future::BoxFuture;
use std::sync::Arc;

/// What was decided.
pub type Decided = Result<Decision<DataPlane>, Rejection<Refusal>>;

/// The data plane of one participant context; the owner of its address is the participant context id.
pub struct DataPlane {
    services: Services,
}

impl DataPlane {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

impl Agent for DataPlane {
    const KIND: AgentKind = AgentKind("data-plane");
    type State = DataPlaneState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = ();
    type Reply = Reply;
    type Refusal = Refusal;

    fn creates(command: &Command) -> bool {
        match command {
            Command::PutSource { .. } | Command::Prepare(_) | Command::Start(_) | Command::Record(records::Command::Begin(_)) => true,
            Command::DeleteSource(_)
            | Command::Signal { .. }
            | Command::RecordUsage(_)
            | Command::Dispose
            | Command::Record(records::Command::Abandon(_)) => false,
        }
    }

    fn prepare<'a>(
        &'a self,
        address: &'a Address,
        snapshot: Arc<DataPlaneState>,
        command: Command,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        Box::pin(prepare::prepare(&self.services, address, snapshot, command, call))
    }

    fn decide(state: &DataPlaneState, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(prepared) => {
                records::settled(state, prepared.made().cloned().into_iter().collect(), Vec::new(), decide::decide(state, prepared, now))
            }
            Input::Delivered(effect, ()) => match effect.as_ref() {
                Effect::Forget(record) => Ok(records::gone(state, record)),
            },
            Input::Undeliverable(effect, _) => match effect.as_ref() {
                Effect::Forget(record) => Ok(records::again(record)),
            },
            Input::Due(key) => Ok(match key.split_once('/') {
                Some((records::TABLE, record)) => records::due(state, record, now),
                Some(_) | None => Decision::nothing(),
            }),
        }
    }

    fn apply(state: &mut DataPlaneState, event: &Event) {
        state.apply(event);
    }

    fn row(event: &Event) -> RowOf {
        event.row()
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        match event {
            Event::Record(event) => Some(records::deadline(event)),
            _ => None,
        }
    }

    fn tenant(state: &DataPlaneState) -> Option<String> {
        state.tenant.as_deref().map(str::to_owned)
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            match delivery.effect.as_ref() {
                Effect::Forget(record) => records::forget(self.services.vault.as_ref(), &delivery.address.owner, record).await,
            }
        })
    }

    fn retry_policy(_effect: &Effect) -> RetryPolicy {
        credential_service::secrets::RETRY
    }
}

impl Keeper for DataPlane {
    fn notes(state: &DataPlaneState) -> &Notes {
        &state.notes
    }

    fn names(state: &DataPlaneState, record: &KeyAlias) -> bool {
        let received = state.flows.values().filter_map(|flow| flow.received.as_ref().map(|address| &address.record));
        state.secrets.values().chain(received).any(|named| named == record)
    }

    fn asking(command: records::Command) -> Command {
        Command::Record(command)
    }

    fn noting(event: records::Event) -> Event {
        Event::Record(event)
    }

    fn forgetting(record: KeyAlias) -> Effect {
        Effect::Forget(record)
    }
}
