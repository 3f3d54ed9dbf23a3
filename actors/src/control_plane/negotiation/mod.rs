//! Contract negotiations and the agreements they end in.

use super::{
    ControlPlane, ControlPlaneState,
    agent::{Decided, Refusal as AgentRefusal},
};
use crate::Services;
use cellspace_cluster::{Address, Call, Delivery, DeliveryError, PrepareError, RetryPolicy, RowOf};
use cellspace_schemas::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Table of its entities, and first segment of their deadlines' keys.
pub const TABLE: &str = "negotiation";

/// Its part of the state.
#[derive(Debug, Clone, Default)]
pub struct State {}

impl State {
    /// Whether the asset is being negotiated or was agreed on: it must not be removed then.
    #[must_use]
    pub fn holds_asset(&self, _asset: &cellspace_schemas::AssetId) -> bool {
        false
    }
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {}

/// A request with what others said about it.
#[derive(Debug)]
pub enum Prepared {}

/// A change of one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {}

/// A message to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Effect {}

/// What a delivery brought back.
#[derive(Debug, Clone)]
pub enum Outcome {}

/// Answer to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {}

/// Why a request is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {}

/// Asks others what the decision needs.
///
/// # Errors
/// [`Refusal`], or something needed is out of reach.
pub async fn prepare(
    _services: &Services,
    _address: &Address,
    _snapshot: Arc<ControlPlaneState>,
    command: Command,
    _call: &Call,
) -> Result<Prepared, PrepareError<AgentRefusal>> {
    match command {}
}

/// Decides on a request. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(_state: &ControlPlaneState, prepared: &Prepared, _now: Timestamp) -> Decided {
    match *prepared {}
}

/// What a successful delivery means. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn delivered(_state: &ControlPlaneState, effect: &Effect, _outcome: &Outcome, _now: Timestamp) -> Decided {
    match *effect {}
}

/// What a delivery that was given up means. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn undeliverable(_state: &ControlPlaneState, effect: &Effect, _reason: &str, _now: Timestamp) -> Decided {
    match *effect {}
}

/// The deadline of the entity has passed. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn due(_state: &ControlPlaneState, _id: &str, _now: Timestamp) -> Decided {
    Ok(cellspace_cluster::Decision::nothing())
}

/// The deadline that the event's entity now has.
#[must_use]
pub fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
    match *event {}
}

/// Folds an event into the state.
pub fn apply(_state: &mut ControlPlaneState, event: &Event) {
    match *event {}
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    match *event {}
}

/// Carries out an outbox row; may be repeated.
///
/// # Errors
/// [`DeliveryError`]
pub async fn deliver(_services: &Services, effect: &Effect, _delivery: &Delivery<'_, ControlPlane>) -> Result<Outcome, DeliveryError> {
    match *effect {}
}

/// How often and how long a delivery is tried.
#[must_use]
pub fn retry_policy(effect: &Effect) -> RetryPolicy {
    match *effect {}
}
