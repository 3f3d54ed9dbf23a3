//! The control plane of one participant: what it offers and to whom, what it agreed, what it transfers.
//!
//! One agent ([`ControlPlane`]), composed of machines that share its state and its turns. Each machine has its own folder with the same face:
//! pure `decide`, `delivered`, `undeliverable`, `due`, `apply`, `row` and `deadline`, and `prepare` and `deliver`, which do the I/O.
//! [`agent`] only dispatches.

pub mod access;
pub mod agent;
pub mod archive;
pub mod catalog;
pub mod data_planes;
pub mod dsp;
mod ending;
pub mod listing;
pub mod negotiation;
pub mod participant;
#[cfg(test)]
mod participant_tests;
pub mod peer;
pub mod policy;
pub mod process_events;
pub mod questions;
pub mod resources;
pub mod scopes;
pub mod secrets;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
pub mod transfer;
#[cfg(test)]
mod wake_tests;

pub use agent::{Asked, Command, ControlPlane, Created, Effect, Event, Outcome, Prepared, Refusal, Reply};
pub use participant::Participant;
pub use state::ControlPlaneState;
