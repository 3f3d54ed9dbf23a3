//! The data plane of one participant: which flows run, from which sources, under which tokens. It knows no policy.
//!
//! [`DataPlane`] governs: it holds sources and flows and never sees a byte of data. The node's [`Workers`] stream, each response under the
//! flow's state as its agent publishes it.

pub mod address;
pub mod admission;
pub mod agent;
pub mod command;
pub mod decide;
pub mod flow;
pub mod meter;
pub mod participant;
mod prepare;
pub mod pull;
pub mod pump;
pub mod signing_key;
pub mod source;
pub mod state;
pub mod target;
pub mod usage;
pub mod workers;

pub use admission::{Admission, Full, Limits, Permit};
pub use agent::DataPlane;
pub use command::{Command, FlowSignal, Refusal, Reply};
pub use flow::{Flow, Role};
pub use pull::{Pull, PullError, Pulled, pull};
pub use source::Source;
pub use state::DataPlaneState;
pub use target::TargetError;
pub use workers::Workers;
