//! Transfer processes (DSP 2025-1, "Transfer Process Protocol") and the flows of our data planes under them (data plane signaling).
//!
//! [`table`] is the state machine of one transfer; [`decide`](mod@decide) finds the transfer of a request and evaluates the policy of its agreement;
//! [`prepare`](mod@prepare) and [`deliver`](mod@deliver) talk to others. Messages to the counterparty and calls of the data plane have lanes of their
//! own: neither waits for the other.

pub mod command;
pub mod decide;
pub mod deliver;
pub mod entity;
pub mod monitor;
pub mod prepare;
pub mod state;
mod step;
pub mod table;
pub mod transfers;
pub mod view;
pub mod words;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod monitor_tests;
#[cfg(test)]
pub(crate) mod tests;

pub use command::{Arrived, Command, Incoming, Message, NewTransfer, Prepared, Refusal, Reply};
pub(super) use decide::end;
pub use decide::{decide, delivered, due, process, undeliverable};
pub use deliver::deliver;
pub use entity::{StartWith, Transfer};
pub use prepare::prepare;
pub use state::State;
pub use transfers::{Event, Transfers, deadline, row};
pub use words::{Act, Cause, Moved, Notice, PlaneCall, Received, Signal, Task};

use super::ControlPlaneState;
use cellspace_cluster::RetryPolicy;
use cellspace_schemas::{Pid, TransferId};
use serde::{Deserialize, Serialize};

/// Table of its rows, and first segment of the lanes of its messages.
pub const TABLE: &str = "transfer";

/// A message to send, or a data plane to call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Whose.
    pub transfer: TransferId,
    /// What.
    pub task: Task,
}

impl Effect {
    /// The step it belongs to, when it belongs to one.
    #[must_use]
    pub const fn step(&self) -> Option<u32> {
        match &self.task {
            Task::Tell(step, _) | Task::Call(step, _) => Some(*step),
            Task::Look => None,
        }
    }
}

/// What a delivery brought back.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The counterparty took the message, and calls its process so.
    Taken {
        /// The counterparty's process, when it told it.
        pid: Option<Pid>,
    },
    /// It is not needed any more, or there is nobody to tell.
    NothingToTell,
    /// The data plane's answer.
    Answered(Signal),
    /// It was looked at.
    Looked {
        /// What the policy of its agreement requires and is not so.
        unmet: Option<String>,
    },
}

/// Folds an event into the state.
pub fn apply(state: &mut ControlPlaneState, event: &Event) {
    let (id, _) = deadline(event);
    let uses = |state: &ControlPlaneState| state.transfers.get(id).filter(|t| !t.is_at_rest()).map(|t| t.agreement.clone());
    let before = uses(state);
    state.transfers.apply(event);
    match (before, uses(state)) {
        (None, Some(agreement)) => state.negotiations.begin_use(&agreement),
        (Some(agreement), None) => state.negotiations.end_use(&agreement),
        (None, None) | (Some(_), Some(_)) => {}
    }
}

/// The host of the counterparty, or of the data plane.
#[must_use]
pub fn destination(effect: &Effect, state: &ControlPlaneState) -> Option<String> {
    let transfer = state.transfers.get(&effect.transfer)?;
    let target = match &effect.task {
        Task::Tell(..) => &transfer.address,
        Task::Call(..) => &state.data_planes.of(transfer.data_plane.as_ref()?)?.endpoint,
        Task::Look => return None,
    };
    Some(target.url().authority().to_owned())
}

/// The effect without its data address, which gives access to data; `None` when it has none.
#[must_use]
pub fn redact(effect: &Effect) -> Option<Effect> {
    let task = match &effect.task {
        Task::Tell(step, Notice::Request(Some(_))) => Task::Tell(*step, Notice::Request(None)),
        Task::Tell(step, Notice::Start(Some(_))) => Task::Tell(*step, Notice::Start(None)),
        Task::Call(step, PlaneCall::Start { claims, data_address: Some(_) }) => {
            Task::Call(*step, PlaneCall::Start { claims: claims.clone(), data_address: None })
        }
        Task::Call(step, PlaneCall::Started(Some(_))) => Task::Call(*step, PlaneCall::Started(None)),
        Task::Call(step, PlaneCall::Resume(Some(_))) => Task::Call(*step, PlaneCall::Resume(None)),
        Task::Tell(
            _,
            Notice::Request(None) | Notice::Start(None) | Notice::Suspension(_) | Notice::Completion | Notice::Termination(_),
        )
        | Task::Call(
            _,
            PlaneCall::Prepare
            | PlaneCall::Start { data_address: None, .. }
            | PlaneCall::Started(None)
            | PlaneCall::Suspend(_)
            | PlaneCall::Resume(None)
            | PlaneCall::Terminate(_)
            | PlaneCall::Completed,
        )
        | Task::Look => return None,
    };
    Some(Effect { transfer: effect.transfer.clone(), task })
}

/// How often and how long a delivery is tried.
#[must_use]
pub fn retry_policy(_effect: &Effect) -> RetryPolicy {
    RetryPolicy::default()
}
