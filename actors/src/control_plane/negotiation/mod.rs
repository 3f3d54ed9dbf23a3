//! Contract negotiations and the agreements they end in (DSP 2025-1, "Contract Negotiation Protocol").
//!
//! [`table`] is the state machine of one negotiation; [`decide`](mod@decide) finds the negotiation of a request, [`appraisal`] judges what is asked
//! for by the policies, `retire` ends what is done under an agreement, [`prepare`](mod@prepare) and [`deliver`](mod@deliver) talk to others. A received message and the message that it causes are
//! one turn.

pub mod appraisal;
pub mod command;
pub mod decide;
pub mod deliver;
pub mod entity;
pub mod negotiations;
pub mod prepare;
mod retire;
pub mod state;
pub mod table;
pub mod view;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod retire_tests;
#[cfg(test)]
pub(crate) mod tests;

pub use command::{Arrived, Command, Incoming, Message, NewNegotiation, Prepared, Refusal, Reply};
pub use decide::{decide, delivered, due, process, undeliverable};
pub(super) use decide::{end, finalized};
pub use deliver::deliver;
pub use entity::{Agreement, Negotiation, Retirement};
pub use negotiations::{Event, Negotiations, deadline, row};
pub use prepare::prepare;
pub use state::{Sent, State};
pub use table::{Act, Cause, Received};

use super::ControlPlaneState;
use cellspace_cluster::RetryPolicy;
use cellspace_schemas::{NegotiationId, Pid};
use serde::{Deserialize, Serialize};

/// Table of its rows, and first segment of its lanes.
pub const TABLE: &str = "negotiation";

/// A message to send: that of the state that the negotiation came into with this step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Whose.
    pub negotiation: NegotiationId,
    /// Which.
    pub step: u32,
    /// What it is.
    pub message: Sent,
}

/// What a delivery brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The counterparty took the message, and calls its process so.
    Taken {
        /// The counterparty's process, when it told it.
        pid: Option<Pid>,
    },
    /// The message is not needed any more, or there is nobody to send it to.
    NothingToTell,
}

/// Folds an event into the state.
pub fn apply(state: &mut ControlPlaneState, event: &Event) {
    state.negotiations.apply(event);
}

/// The counterparty's host.
#[must_use]
pub fn destination(effect: &Effect, state: &ControlPlaneState) -> Option<String> {
    state.negotiations.get(&effect.negotiation).map(|negotiation| negotiation.address.url().authority().to_owned())
}

/// How often and how long a delivery is tried.
#[must_use]
pub fn retry_policy(_effect: &Effect) -> RetryPolicy {
    RetryPolicy::default()
}
