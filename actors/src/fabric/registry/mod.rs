//! What the operator has registered: cells, dataspace profiles, activity definitions, orchestration templates. One agent per installation.

mod agent;
mod cells;
pub mod dag;
mod definitions;
mod profiles;
mod settings;
mod state;

#[cfg(test)]
mod tests;

pub use agent::{Command, FabricRegistry, Reply, address, ask, snapshot};
pub use state::{CellRecord, Definition, RegistryState, credentials, profile_names};
