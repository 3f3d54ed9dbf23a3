//! The participant's control plane with other commands: each begins negotiations as the control plane does and brings them to their end.
//!
//! State, events, rows, archive and the beginning and the refusal of a negotiation are the control plane's own. Left out is what goes to others: no message is
//! delivered, no event published. A negotiation that is finalized skips the states between: its end, with agreement and ids of both parties, is put in their place.

use crate::known;
use cellspace_actors::{
    control_plane::{
        ControlPlane, ControlPlaneState,
        agent::{Effect, Event, Prepared, Refusal},
        archive::Recalled,
        dsp::Role,
        negotiation::{self, Agreement, Negotiation, NewNegotiation, State},
    },
    settings::Settings,
};
use cellspace_cluster::{Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Rejection, RowOf};
use cellspace_schemas::{ProfileId, Timestamp, dsp::negotiation::NegotiationState as Seen};
use cellspace_storage::AgentKind;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Negotiations of these numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fill {
    /// The first.
    pub first: u64,
    /// The one behind the last.
    pub end: u64,
    /// The profile of all.
    pub profile: ProfileId,
}

/// The agent.
pub struct Filler;

/// What is made of a decision of the control plane.
struct Made {
    state: ControlPlaneState,
    decision: Decision<Filler>,
}

impl Made {
    /// Takes over what the control plane decides; answers what it would send.
    fn take(&mut self, input: &Input<ControlPlane>, now: Timestamp) -> Result<Vec<Effect>, Rejection<Refusal>> {
        let Decision { events, effects, .. } = ControlPlane::decide(&self.state, input, now)?;
        events.into_iter().for_each(|event| self.event(event));
        Ok(effects.into_iter().map(|outgoing| outgoing.effect).collect())
    }

    fn event(&mut self, event: Event) {
        ControlPlane::apply(&mut self.state, &event);
        self.decision.events.push(event);
    }
}

/// What a negotiation is about, by its number.
fn new(number: u64, profile: &ProfileId) -> anyhow::Result<NewNegotiation> {
    Ok(NewNegotiation {
        id: Some(known::id(number)?),
        profile: profile.clone(),
        counterparty: known::counterparty(number)?,
        address: format!("https://counterparty-{number}.example/dsp").parse().map_err(|e| anyhow::anyhow!("{e}"))?,
        offer: known::offer(number)?,
        callbacks: Vec::new(),
    })
}

fn malformed<T>(_: T) -> Rejection<Refusal> {
    Rejection::Refused(negotiation::Refusal::Malformed("the number makes no negotiation").into())
}

/// Begins the negotiation of a number, and ends it.
fn negotiate(made: &mut Made, number: u64, profile: &ProfileId, now: Timestamp) -> Result<(), Rejection<Refusal>> {
    let new = Box::new(new(number, profile).map_err(malformed)?);
    let id = known::id(number).map_err(malformed)?;
    // The participant's own profile needs none of them.
    let settings = Arc::new(Settings::default());
    let begin = negotiation::Prepared::Begin { id: id.clone(), role: Role::Consumer, new, settings };
    let begun = made.take(&Input::Command(Prepared { asked: begin.into(), recalled: Recalled::default() }), now)?;
    if known::is_terminated(number) {
        for request in begun {
            made.take(&Input::Undeliverable(Arc::new(request), "answered 400: not with you".to_owned()), now)?;
        }
        return Ok(());
    }
    let own = made.state.active().map_err(|refusal| Rejection::Refused(refusal.into()))?.identity.clone();
    let Some(there) = made.state.negotiations.get(&id).cloned() else { return Err(malformed(())) };
    let agreement = Agreement::on(&there.offer, known::agreement(number).map_err(malformed)?, there.counterparty.clone(), own, now);
    let ended = Negotiation {
        state: State::Finalized,
        seen: Seen::Finalized,
        step: there.step + 1,
        counterparty_pid: Some(known::theirs(number).map_err(malformed)?),
        agreement: Some(Arc::new(agreement)),
        ..Negotiation::clone(&there)
    };
    made.event(negotiation::Event::Set(Arc::new(ended)).into());
    Ok(())
}

impl Agent for Filler {
    const KIND: AgentKind = ControlPlane::KIND;
    type State = ControlPlaneState;
    type Command = Fill;
    type Prepared = Fill;
    type Event = Event;
    type Effect = Effect;
    type Outcome = ();
    type Reply = ();
    type Refusal = Refusal;

    fn creates(_: &Fill) -> bool {
        false
    }

    fn prepare<'a>(
        &'a self,
        _: &'a Address,
        _: Arc<ControlPlaneState>,
        fill: Fill,
        _: &'a Call,
    ) -> BoxFuture<'a, Result<Fill, PrepareError<Refusal>>> {
        Box::pin(std::future::ready(Ok(fill)))
    }

    fn decide(state: &ControlPlaneState, input: &Input<Self>, now: Timestamp) -> Result<Decision<Self>, Rejection<Refusal>> {
        let Input::Command(fill) = input else { return Ok(Decision::nothing()) };
        let mut made = Made { state: state.clone(), decision: Decision::action("negotiations.filled") };
        for number in fill.first..fill.end {
            negotiate(&mut made, number, &fill.profile, now)?;
        }
        Ok(made.decision)
    }

    fn apply(state: &mut ControlPlaneState, event: &Event) {
        ControlPlane::apply(state, event);
    }

    fn row(event: &Event) -> RowOf {
        ControlPlane::row(event)
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        ControlPlane::deadline(event)
    }

    fn tenant(state: &ControlPlaneState) -> Option<String> {
        ControlPlane::tenant(state)
    }

    fn deliver<'a>(&'a self, _: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(std::future::ready(Err(DeliveryError::Retry("the platform does that".to_owned()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_actors::{
        control_plane::{Participant, archive::KEPT, participant},
        settings::DEFAULT_PROFILE,
    };
    use cellspace_schemas::management::{ParticipantContextConfig, ParticipantContextState};
    use std::collections::BTreeMap;

    #[test]
    fn what_ends_is_archived_as_the_control_plane_does() {
        let participant = Participant {
            id: "acme".parse().unwrap(),
            identity: "did:web:acme".parse().unwrap(),
            state: ParticipantContextState::Activated,
            properties: Default::default(),
            created_at: Timestamp(1),
            config: ParticipantContextConfig::default(),
        };
        let mut state = ControlPlaneState::default();
        Filler::apply(&mut state, &participant::Event::Set(Arc::new(participant)).into());
        let mut rows: BTreeMap<String, usize> = BTreeMap::new();
        for first in (0..800).step_by(8) {
            let fill = Fill { first, end: first + 8, profile: DEFAULT_PROFILE.parse().unwrap() };
            let decision = Filler::decide(&state, &Input::Command(fill), Timestamp(2)).unwrap();
            assert!(decision.effects.is_empty() && decision.facts.is_empty());
            for event in decision.events {
                Filler::apply(&mut state, &event);
                if let RowOf::Put(key) = Filler::row(&event) {
                    *rows.entry(key.table().to_owned()).or_default() += 1;
                }
            }
        }
        assert_eq!(state.negotiations.open().all(), 0);
        let live: Vec<_> = state.negotiations.iter().collect();
        assert!((KEPT..KEPT + 16).contains(&live.len()), "{}", live.len());
        let archived = 800 - live.len();
        assert_eq!(rows["\u{7f}negotiation"], archived);
        assert_eq!(rows["\u{7f}negotiation-of"], rows["\u{7f}agreement"]);
        // State, role, counterparty, asset and time of each, and that it was agreed on.
        assert_eq!(rows["\u{7f}negotiation-by"], archived * 5 + rows["\u{7f}agreement"]);
        let terminated = live.iter().filter(|n| n.state == State::Terminated).count();
        assert_eq!(terminated, live.iter().filter(|n| n.error_detail.is_some()).count());
        assert!((live.len() / 5..live.len() / 3).contains(&terminated), "{terminated}");
    }
}
