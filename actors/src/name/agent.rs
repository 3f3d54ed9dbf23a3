//! The agent of one name.

use super::reservation::Reservation;
use crate::Services;
use cellspace_cluster::{Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Query, Reach, Rejection, RowOf};
use cellspace_schemas::{Did, ParticipantContextId, Timestamp};
use cellspace_storage::{AgentKind, RowKey};
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const TABLE: &str = "reservation";

/// A DID path and whom it belongs to.
pub struct Name {
    services: Services,
}

impl Name {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

/// State.
#[derive(Debug, Clone, Default)]
pub struct State {
    reservation: Option<Arc<Reservation>>,
}

impl State {
    /// Whom the name belongs to, confirmed or not.
    #[must_use]
    pub fn participant(&self) -> Option<&ParticipantContextId> {
        self.reservation.as_ref().map(|reservation| &reservation.participant)
    }
}

/// Whom the name belongs to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct HolderOf;

impl Query<Name> for HolderOf {
    const NAME: &'static str = "holder";
    type Answer = Option<ParticipantContextId>;

    fn answer(&self, state: &State) -> Self::Answer {
        state.participant().cloned()
    }
}

/// Requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Reserves the name.
    Reserve {
        /// For whom.
        participant: ParticipantContextId,
        /// For which DID.
        did: Did,
    },
    /// Keeps it.
    Confirm {
        /// For whom.
        participant: ParticipantContextId,
        /// For which DID.
        did: Did,
    },
    /// Gives it back.
    Release(ParticipantContextId),
    /// Gives it back, unless it is confirmed.
    Cancel(ParticipantContextId),
}

/// Changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// It belongs to somebody.
    Reserved(Arc<Reservation>),
    /// It is free.
    Released,
}

/// Asks whether the participant context exists that never confirmed its reservation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inquire(ParticipantContextId, Did);

#[cfg(test)]
impl Inquire {
    pub(super) const fn of(participant: ParticipantContextId, did: Did) -> Self {
        Self(participant, did)
    }
}

/// Whether it exists with that DID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exists(bool);

impl From<bool> for Exists {
    fn from(exists: bool) -> Self {
        Self(exists)
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// It belongs to another participant context.
    #[error("the name belongs to another participant context")]
    Taken,
}

impl Agent for Name {
    const KIND: AgentKind = AgentKind("name");
    type State = State;
    type Command = Command;
    type Prepared = Command;
    type Event = Event;
    type Effect = Inquire;
    type Outcome = Exists;
    type Reply = ();
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.commands().query::<HolderOf>()
    }

    fn creates(command: &Command) -> bool {
        matches!(command, Command::Reserve { .. } | Command::Confirm { .. })
    }

    fn prepare<'a>(
        &'a self,
        _address: &'a Address,
        _snapshot: Arc<State>,
        command: Command,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Command, PrepareError<Refusal>>> {
        async { Ok(command) }.boxed()
    }

    fn decide(state: &State, input: &Input<Self>, now: Timestamp) -> Result<Decision<Self>, Rejection<Refusal>> {
        let held = state.reservation.as_ref();
        match input {
            Input::Command(Command::Reserve { participant, did }) => match held {
                // free --reserve--> reserved
                None => {
                    let reservation = Reservation::new(participant.clone(), did.clone(), now);
                    Ok(Decision::action("name.reserved").event(Event::Reserved(Arc::new(reservation))))
                }
                // reserved --reserve by the same--> reserved, for longer; confirmed stays confirmed
                Some(held) if held.participant == *participant && held.did == *did => {
                    let next = Reservation { until: held.until.map(|_| now.plus(super::reservation::RESERVED_FOR)), ..(**held).clone() };
                    Ok(if held.until.is_none() {
                        Decision::nothing()
                    } else {
                        Decision::action("name.reserved").event(Event::Reserved(Arc::new(next)))
                    })
                }
                Some(_) => Err(Refusal::Taken.into()),
            },
            Input::Command(Command::Confirm { participant, did }) => match held {
                Some(held) if held.participant != *participant || held.did != *did => Err(Refusal::Taken.into()),
                Some(held) if held.until.is_none() => Ok(Decision::nothing()),
                // reserved --confirm--> confirmed
                // free --confirm--> confirmed: released meanwhile, since the context came late, and taken by nobody
                Some(_) | None => {
                    let confirmed = Reservation { participant: participant.clone(), did: did.clone(), until: None };
                    Ok(Decision::action("name.confirmed").event(Event::Reserved(Arc::new(confirmed))))
                }
            },
            Input::Command(Command::Release(participant)) => match held {
                // reserved, confirmed --release--> free
                Some(held) if held.participant == *participant => Ok(Decision::action("name.released").event(Event::Released)),
                Some(_) | None => Ok(Decision::nothing()),
            },
            Input::Command(Command::Cancel(participant)) => match held {
                // reserved --cancel--> free
                Some(held) if held.participant == *participant && held.until.is_some() => {
                    Ok(Decision::action("name.released").event(Event::Released))
                }
                Some(_) | None => Ok(Decision::nothing()),
            },
            Input::Due(_) => match held {
                // reserved --due--> reserved: is there a participant context?
                Some(held) if held.until.is_some() => {
                    let next = Reservation { until: Some(now.plus(super::reservation::RESERVED_FOR)), ..(**held).clone() };
                    let inquiry = Inquire(held.participant.clone(), held.did.clone());
                    Ok(Decision::action("name.inquiry").event(Event::Reserved(Arc::new(next))).effect(TABLE, inquiry))
                }
                Some(_) | None => Ok(Decision::nothing()),
            },
            Input::Delivered(inquiry, Exists(exists)) => match held {
                // reserved --there is none--> free
                // reserved --there is one--> confirmed
                Some(held) if held.until.is_some() && held.participant == inquiry.0 => Ok(if *exists {
                    Decision::action("name.confirmed").event(Event::Reserved(Arc::new(held.confirmed())))
                } else {
                    Decision::action("name.released").event(Event::Released)
                }),
                Some(_) | None => Ok(Decision::nothing()),
            },
            // The next deadline asks again.
            Input::Undeliverable(..) => Ok(Decision::nothing()),
        }
    }

    fn apply(state: &mut State, event: &Event) {
        state.reservation = match event {
            Event::Reserved(reservation) => Some(reservation.clone()),
            Event::Released => None,
        };
    }

    fn row(event: &Event) -> RowOf {
        let key = RowKey::new(TABLE, "");
        match event {
            Event::Reserved(_) => RowOf::Put(key),
            Event::Released => RowOf::Delete(key),
        }
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        let until = match event {
            Event::Reserved(reservation) => reservation.until,
            Event::Released => None,
        };
        Some((TABLE.to_owned(), until))
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Exists, DeliveryError>> {
        async move {
            let Inquire(participant, _) = delivery.effect.as_ref();
            super::is_used(&self.services, &delivery.address.owner, participant).await.map(Exists)
        }
        .boxed()
    }
}
