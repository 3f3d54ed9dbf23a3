//! What negotiations and transfers have in common as processes between two parties of the Dataspace Protocol.

pub mod client;
pub mod correlations;
pub mod incoming;
pub mod limits;
pub mod process;
pub mod processes;
pub mod repeats;
pub mod role;
pub mod steering;

pub use correlations::Correlations;
pub use incoming::{Envelope, Refusal, Sender};
pub use limits::Open;
pub use process::{OtherProcess, Pids};
pub use processes::{Process, Processes};
pub use repeats::{Mark, Repeats};
pub use role::Role;
pub use steering::{AtOnce, Steering};
