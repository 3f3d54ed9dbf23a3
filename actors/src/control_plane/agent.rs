//! The agent: dispatch of commands, outcomes and deadlines to its machines, and nothing else.

use super::{
    ControlPlaneState, archive, data_planes,
    dsp::{self, Steering},
    negotiation, participant, process_events,
    questions::ParticipantOf,
    resources, secrets, transfer,
};
use crate::{
    Services, credential_service,
    records::{self, Keeper, Notes},
    trust::claimed_sender,
};
use cellspace_cluster::{
    About, Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Reach, Rejection, RetryPolicy, RowOf, Track,
};
use cellspace_schemas::{KeyAlias, Timestamp};
use cellspace_storage::AgentKind;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// What one of the machines decided.
pub type Decided = Result<Decision<ControlPlane>, Rejection<Refusal>>;

/// The control plane of one participant context; the owner of its address is the participant context id.
pub struct ControlPlane {
    services: Services,
    steering: Arc<dyn Steering>,
}

impl ControlPlane {
    /// The agent with the services that its I/O uses; it takes its own steps as `steering` says.
    #[must_use]
    pub fn new(services: Services, steering: Arc<dyn Steering>) -> Self {
        Self { services, steering }
    }
}

/// Declares an enum with one variant per machine, and `From` for each of them.
macro_rules! machines {
    ($(#[$doc:meta])* $name:ident, $part:ident: $($variant:ident($module:ident)),+) => {
        $(#[$doc])*
        pub enum $name {
            $(#[doc = concat!("Of the machine `", stringify!($module), "`.")] $variant($module::$part),)+
        }
        $(impl From<$module::$part> for $name {
            fn from(part: $module::$part) -> Self {
                Self::$variant(part)
            }
        })+
    };
}

machines!(
    /// A request to the control plane.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    Command, Command: Participant(participant), Resources(resources), Negotiation(negotiation), Transfer(transfer), DataPlanes(data_planes), Secrets(secrets), Records(records)
);
machines!(
    /// What is asked of one machine, with what others said about it.
    #[derive(Debug)]
    Asked, Prepared: Participant(participant), Resources(resources), Negotiation(negotiation), Transfer(transfer), DataPlanes(data_planes), Secrets(secrets), Records(records)
);

impl Asked {
    /// The records that were made for it.
    fn made(&self) -> Vec<KeyAlias> {
        match self {
            Self::Secrets(secrets::Prepared::Put { record, .. }) => vec![record.clone()],
            Self::DataPlanes(prepared) => prepared.secret().cloned().into_iter().collect(),
            Self::Secrets(secrets::Prepared::Delete(_))
            | Self::Participant(_)
            | Self::Resources(_)
            | Self::Negotiation(_)
            | Self::Transfer(_)
            | Self::Records(_) => Vec::new(),
        }
    }
}
machines!(
    /// A change of state: the new value of one row, or its removal.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    Event, Event: Participant(participant), Resources(resources), Negotiation(negotiation), Transfer(transfer), DataPlanes(data_planes), Secrets(secrets), Archive(archive), Records(records)
);
machines!(
    /// A message to a counterparty or a data plane, word to who asked for it, or what becomes of the participant's name and secrets.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    Effect, Effect: Participant(participant), Negotiation(negotiation), Transfer(transfer), DataPlanes(data_planes), ProcessEvents(process_events)
);
machines!(
    /// What a delivery brought back.
    #[derive(Debug, Clone)]
    Outcome, Outcome: Participant(participant), Negotiation(negotiation), Transfer(transfer), DataPlanes(data_planes), ProcessEvents(process_events)
);

/// A prepared request, and what it may be about that has left the state.
#[derive(Debug)]
pub struct Prepared {
    /// What is asked.
    pub asked: Asked,
    /// Of ended processes.
    pub recalled: archive::Recalled,
}

/// Answer to a create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Id of what was made.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Answer to a command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Reply {
    /// Done; nothing to say.
    #[default]
    Done,
    /// It was made.
    Created(Created),
    /// Of the machine `negotiation`.
    Negotiation(negotiation::Reply),
    /// Of the machine `transfer`.
    Transfer(transfer::Reply),
    /// Of the machine `data_planes`.
    DataPlanes(data_planes::Reply),
    /// Of the machine `secrets`.
    Secrets(secrets::Reply),
}

/// Why a command is refused; nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// Of the machine `participant`, also for any command to a participant that is not active.
    #[error(transparent)]
    Participant(#[from] participant::Refusal),
    /// Of the machine `resources`.
    #[error(transparent)]
    Resources(#[from] resources::Refusal),
    /// A counterparty's message is not looked at.
    #[error(transparent)]
    Message(#[from] dsp::Refusal),
    /// Of the machine `negotiation`.
    #[error(transparent)]
    Negotiation(#[from] negotiation::Refusal),
    /// Of the machine `transfer`.
    #[error(transparent)]
    Transfer(#[from] transfer::Refusal),
    /// Of the machine `data_planes`.
    #[error(transparent)]
    DataPlanes(#[from] data_planes::Refusal),
    /// Of the machine `secrets`.
    #[error(transparent)]
    Secrets(#[from] secrets::Refusal),
    /// A stored row pairs an effect with the outcome of another machine: a defect, nothing a client did.
    #[error("the outcome does not belong to the effect")]
    Mismatch,
}

impl Agent for ControlPlane {
    const KIND: AgentKind = AgentKind("control-plane");
    type State = ControlPlaneState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = Outcome;
    type Reply = Reply;
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.query::<ParticipantOf>()
    }

    fn creates(command: &Command) -> bool {
        matches!(command, Command::Participant(participant::Command::Create(_)))
    }

    fn counterparty(command: &Command) -> Option<String> {
        let envelope = match command {
            Command::Negotiation(negotiation::Command::Receive(incoming)) => &incoming.envelope,
            Command::Transfer(transfer::Command::Receive(incoming)) => &incoming.envelope,
            Command::Negotiation(_)
            | Command::Transfer(_)
            | Command::Participant(_)
            | Command::Resources(_)
            | Command::DataPlanes(_)
            | Command::Secrets(_)
            | Command::Records(_) => return None,
        };
        claimed_sender(&envelope.token).map(|did| did.to_string())
    }

    fn prepare<'a>(
        &'a self,
        address: &'a Address,
        snapshot: Arc<ControlPlaneState>,
        command: Command,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        let services = &self.services;
        Box::pin(async move {
            let keys = archive::recall::keys_of(&command);
            let recalled = archive::recall(&services.cluster, address, &snapshot, keys).await;
            let recalled = recalled.map_err(|e| PrepareError::Unavailable(e.to_string()))?;
            let shown = recalled.shown_to(&snapshot);
            let asked = match command {
                Command::Participant(c) => participant::prepare(services, &shown, c).await?.into(),
                Command::Resources(c) => resources::prepare(c).into(),
                Command::Negotiation(c) => negotiation::prepare(services, &self.steering, &shown, c, call.id).await?.into(),
                Command::Transfer(c) => transfer::prepare(services, &self.steering, &shown, c, call.id).await?.into(),
                Command::DataPlanes(c) => data_planes::prepare(services, address, snapshot, c, call).await?.into(),
                Command::Secrets(c) => secrets::prepare(services, address, &snapshot, c, call).await?.into(),
                Command::Records(c) => c.into(),
            };
            Ok(Prepared { asked, recalled })
        })
    }

    fn decide(state: &ControlPlaneState, input: &Input<Self>, now: Timestamp) -> Decided {
        let shown = match input {
            Input::Command(prepared) => prepared.recalled.shown(state)?,
            Input::Delivered(..) | Input::Undeliverable(..) | Input::Due(_) => Cow::Borrowed(state),
        };
        let mut decision = decide(&shown, input, now)?;
        archive::settle(state, &shown, &mut decision);
        Ok(decision)
    }

    fn apply(state: &mut ControlPlaneState, event: &Event) {
        match event {
            Event::Participant(e) => participant::apply(state, e),
            Event::Resources(e) => resources::apply(state, e),
            Event::Negotiation(e) => negotiation::apply(state, e),
            Event::Transfer(e) => transfer::apply(state, e),
            Event::DataPlanes(e) => data_planes::apply(state, e),
            Event::Secrets(e) => secrets::apply(state, e),
            Event::Archive(e) => archive::apply(&mut state.archive, e),
            Event::Records(e) => state.notes.apply(e),
        }
    }

    fn row(event: &Event) -> RowOf {
        match event {
            Event::Participant(e) => participant::row(e),
            Event::Resources(e) => resources::row(e),
            Event::Negotiation(e) => negotiation::row(e),
            Event::Transfer(e) => transfer::row(e),
            Event::DataPlanes(e) => data_planes::row(e),
            Event::Secrets(e) => secrets::row(e),
            Event::Archive(e) => archive::row(e),
            Event::Records(e) => records::row(e),
        }
    }

    fn about(event: &Event) -> About {
        match event {
            Event::Negotiation(negotiation::Event::Set(negotiation)) => About {
                counterparty: Some(negotiation.counterparty.to_string()),
                contract: negotiation.agreement.as_ref().map(|agreement| agreement.id.to_string()),
            },
            Event::Transfer(transfer::Event::Set(transfer)) => {
                About { counterparty: Some(transfer.counterparty.to_string()), contract: Some(transfer.agreement.to_string()) }
            }
            Event::Negotiation(negotiation::Event::Deleted(_))
            | Event::Transfer(transfer::Event::Removed(_))
            | Event::Participant(_)
            | Event::Resources(_)
            | Event::DataPlanes(_)
            | Event::Secrets(_)
            | Event::Archive(_)
            | Event::Records(_) => About::default(),
        }
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        match event {
            Event::Participant(e) => Some((format!("{}/", participant::TABLE), participant::deadline(e))),
            Event::Negotiation(e) => {
                let (id, due) = negotiation::deadline(e);
                Some((format!("{}/{id}", negotiation::TABLE), due))
            }
            Event::Transfer(e) => {
                let (id, due) = transfer::deadline(e);
                Some((format!("{}/{id}", transfer::TABLE), due))
            }
            Event::Records(e) => Some(records::deadline(e)),
            Event::Resources(_) | Event::DataPlanes(_) | Event::Secrets(_) | Event::Archive(_) => None,
        }
    }

    fn tenant(state: &ControlPlaneState) -> Option<String> {
        state.known().and_then(|participant| participant.tenant()).map(str::to_owned)
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Outcome, DeliveryError>> {
        let services = &self.services;
        Box::pin(async move {
            let effect = delivery.effect.clone();
            Ok(match effect.as_ref() {
                Effect::Participant(e) => participant::deliver(services, e, &delivery).await?.into(),
                Effect::Negotiation(e) => negotiation::deliver(services, e, &delivery).await?.into(),
                Effect::Transfer(e) => transfer::deliver(services, e, &delivery).await?.into(),
                Effect::DataPlanes(e) => data_planes::deliver(services, e, &delivery).await?.into(),
                Effect::ProcessEvents(e) => process_events::deliver(services, e, &delivery).await?.into(),
            })
        })
    }

    fn destination(effect: &Effect, state: &ControlPlaneState) -> Option<String> {
        match effect {
            Effect::Negotiation(e) => negotiation::destination(e, state),
            Effect::Transfer(e) => transfer::destination(e, state),
            Effect::ProcessEvents(e) => process_events::destination(e, state),
            // Names and the vault are our own.
            Effect::Participant(_) | Effect::DataPlanes(_) => None,
        }
    }

    fn track(effect: &Effect) -> Track {
        match effect {
            Effect::ProcessEvents(_) => Track::Aside,
            Effect::Participant(_) | Effect::Negotiation(_) | Effect::Transfer(_) | Effect::DataPlanes(_) => Track::Main,
        }
    }

    fn redact(effect: &Effect) -> Option<Effect> {
        match effect {
            Effect::Transfer(e) => transfer::redact(e).map(Into::into),
            Effect::Participant(_) | Effect::Negotiation(_) | Effect::DataPlanes(_) | Effect::ProcessEvents(_) => None,
        }
    }

    fn shown(effect: &mut Value) {
        if let Some(event) = effect.get_mut("ProcessEvents") {
            process_events::shown(event);
        }
    }

    fn retry_policy(effect: &Effect) -> RetryPolicy {
        match effect {
            Effect::Participant(_) => credential_service::secrets::RETRY,
            Effect::Negotiation(e) => negotiation::retry_policy(e),
            Effect::Transfer(e) => transfer::retry_policy(e),
            Effect::DataPlanes(e) => data_planes::retry_policy(e),
            Effect::ProcessEvents(e) => process_events::retry_policy(e),
        }
    }
}

impl Keeper for ControlPlane {
    fn notes(state: &ControlPlaneState) -> &Notes {
        &state.notes
    }

    fn names(state: &ControlPlaneState, record: &KeyAlias) -> bool {
        let secrets = state.secrets.iter().map(|secret| &secret.record);
        secrets.chain(state.data_planes.all().filter_map(|plane| plane.secret())).any(|named| named == record)
    }

    fn asking(command: records::Command) -> Command {
        command.into()
    }

    fn noting(event: records::Event) -> Event {
        event.into()
    }

    fn forgetting(record: KeyAlias) -> Effect {
        data_planes::Effect::ForgetSecret(record).into()
    }
}

/// What the machine that the input is for decides.
fn decide(state: &ControlPlaneState, input: &Input<ControlPlane>, now: Timestamp) -> Decided {
    match input {
        Input::Command(prepared) => records::settled(
            state,
            prepared.asked.made(),
            Vec::new(),
            match &prepared.asked {
                Asked::Participant(p) => participant::decide(state, p, now),
                Asked::Resources(p) => resources::decide(state, p, now),
                Asked::Negotiation(p) => negotiation::decide(state, p, now),
                Asked::Transfer(p) => transfer::decide(state, p, now),
                Asked::DataPlanes(p) => data_planes::decide(state, p, now),
                Asked::Secrets(p) => secrets::decide(state, p, now),
                Asked::Records(p) => records::decide(state, p, now),
            },
        ),
        Input::Delivered(effect, outcome) => match (effect.as_ref(), outcome) {
            (Effect::Participant(e), Outcome::Participant(o)) => participant::delivered(state, e, *o),
            (Effect::Negotiation(e), Outcome::Negotiation(o)) => negotiation::delivered(state, e, o, now),
            (Effect::Transfer(e), Outcome::Transfer(o)) => transfer::delivered(state, e, o, now),
            (Effect::DataPlanes(e), Outcome::DataPlanes(o)) => data_planes::delivered(state, e, o, now),
            (Effect::ProcessEvents(_), Outcome::ProcessEvents(_)) => Ok(Decision::nothing()),
            (
                Effect::Participant(_) | Effect::Negotiation(_) | Effect::Transfer(_) | Effect::DataPlanes(_) | Effect::ProcessEvents(_),
                _,
            ) => Err(Refusal::Mismatch.into()),
        },
        Input::Undeliverable(effect, reason) => match effect.as_ref() {
            Effect::Participant(e) => participant::undeliverable(state, e),
            Effect::Negotiation(e) => negotiation::undeliverable(state, e, reason, now),
            Effect::Transfer(e) => transfer::undeliverable(state, e, reason, now),
            Effect::DataPlanes(e) => data_planes::undeliverable(state, e, reason, now),
            // The dead letter says so; the process does not depend on who hears of it.
            Effect::ProcessEvents(_) => Ok(Decision::nothing()),
        },
        Input::Due(key) => match key.split_once('/') {
            Some((participant::TABLE, _)) => participant::due(state, now),
            Some((negotiation::TABLE, id)) => id.parse().map_or_else(|_| Ok(Decision::nothing()), |id| negotiation::due(state, &id, now)),
            Some((records::TABLE, record)) => Ok(records::due(state, record, now)),
            Some((transfer::TABLE, id)) => id.parse().map_or_else(|_| Ok(Decision::nothing()), |id| transfer::due(state, &id, now)),
            // What an older version set.
            Some(_) | None => Ok(Decision::nothing()),
        },
    }
}
