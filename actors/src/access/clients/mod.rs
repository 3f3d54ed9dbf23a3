//! The clients of the embedded token service, and which tokens they may exchange theirs for: one agent of the installation.

pub mod agent;
pub mod client;
pub mod mapping;
pub mod state;

pub use agent::{Clients, Command, HashOf, NewClient, Refusal, Reply, address};
pub use client::{Client, ClientRole, SecretHash};
pub use mapping::{Mapping, ScopeMapping};
pub use state::ClientsState;
