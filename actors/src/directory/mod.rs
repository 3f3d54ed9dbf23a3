//! The directory: one row per tenant, participant profile, orchestration and participant context of either API, so that lists and queries over the
//! installation need not touch the agents themselves.
//!
//! It is one agent per shard ([`shard::SHARDS`], by hash of the id); lists merge the shards. A row is *reserved* before the object is made
//! and *put* by the object's own outbox afterwards, so that nothing exists unlisted. A reserved row is resolved by asking the object itself;
//! one whose object never came into being goes away at its deadline. Rows of the kind [`Kind::Identifier`] make a DID unique.

mod agent;
pub mod contexts;
mod lookup;
mod query;
mod row;
mod shard;
#[cfg(test)]
mod tests;

pub use agent::{Command, Directory, DirectoryState, Event, Refusal};
pub use query::{DirectoryError, Found, put, query, references, release, remove, reserve};
pub use row::{Holder, Kind, NewRow, Row};
pub use shard::{SHARDS, shard_of};

/// Words for what rows refer to.
pub mod reference {
    use cellspace_schemas::fabric::{CellId, DataspaceProfileId, TemplateRef};

    /// A registered cell.
    #[must_use]
    pub fn cell(id: &CellId) -> String {
        format!("cell:{id}")
    }

    /// A dataspace profile.
    #[must_use]
    pub fn dataspace_profile(id: &DataspaceProfileId) -> String {
        format!("dataspace-profile:{id}")
    }

    /// An orchestration template.
    #[must_use]
    pub fn template(id: &TemplateRef) -> String {
        format!("template:{id}")
    }
}
