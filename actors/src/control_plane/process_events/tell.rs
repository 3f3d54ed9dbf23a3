//! Adds to a decision what those who asked are told of the change that it makes: in the same commit, or not at all.

use super::{
    super::{ControlPlane, ControlPlaneState, negotiation::Negotiation, transfer::Transfer},
    Effect, Process, change, envelope,
};
use cellspace_cluster::Decision;
use cellspace_schemas::{
    ParticipantContextId, Timestamp,
    management::{CallbackAddress, ProcessEvent},
};
use serde_json::Value;

/// First segment of the lanes: one of each callback address of each process, so that its events come in order and wait for those of no other.
const LANE: &str = "callback";

/// What happened to a negotiation.
pub(in crate::control_plane) fn negotiation(
    decision: Decision<ControlPlane>,
    state: &ControlPlaneState,
    before: Option<&Negotiation>,
    after: &Negotiation,
) -> Decision<ControlPlane> {
    let events = change::of_negotiation(before, after);
    let told = Told { process: Process::Negotiation(after.id.clone()), callbacks: &after.callbacks, at: after.state_at };
    told.of(decision, state, events, |event, participant| envelope::of_negotiation(event, after, participant))
}

/// What happened to a transfer.
pub(in crate::control_plane) fn transfer(
    decision: Decision<ControlPlane>,
    state: &ControlPlaneState,
    before: Option<&Transfer>,
    after: &Transfer,
) -> Decision<ControlPlane> {
    let events = change::of_transfer(before, after);
    let told = Told { process: Process::Transfer(after.id.clone()), callbacks: &after.callbacks, at: after.state_at };
    told.of(decision, state, events, |event, participant| envelope::of_transfer(event, after, participant))
}

/// About which process, and to whom.
struct Told<'a> {
    process: Process,
    callbacks: &'a [CallbackAddress],
    at: Timestamp,
}

impl Told<'_> {
    fn of(
        &self,
        mut decision: Decision<ControlPlane>,
        state: &ControlPlaneState,
        events: Vec<ProcessEvent>,
        payload: impl Fn(ProcessEvent, &ParticipantContextId) -> Value,
    ) -> Decision<ControlPlane> {
        for event in events {
            decision = decision.happens(event.name(), self.process.id());
            let Some(participant) = state.known() else { continue };
            for (n, callback) in self.callbacks.iter().enumerate().filter(|(_, callback)| callback.wants(event)) {
                let (process, payload) = (self.process.clone(), payload(event, &participant.id));
                let callback = Box::new(CallbackAddress { events: Vec::new(), ..callback.clone() });
                let effect = Effect { process, callback, event, at: self.at, payload };
                decision = decision.effect(format!("{LANE}/{}/{n}", self.process), effect.into());
            }
        }
        decision
    }
}
