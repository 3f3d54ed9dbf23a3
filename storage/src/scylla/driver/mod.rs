//! The store itself, by the driver of ScyllaDB.

mod backup;
mod claims;
mod commit;
mod connect;
mod copying;
mod errors;
mod generations;
mod heads;
mod homes;
mod hours;
mod marks;
mod membership;
mod moving;
mod partitions;
mod publications;
mod schema;
mod statements;
mod store;
#[cfg(test)]
mod tests;
mod vault;
mod waiting;
mod wake_index;

pub use backup::RestoringKeyspace;
pub use schema::{SCHEMA_VERSION, create_schema};
pub use store::ScyllaStore;
pub use vault::ScyllaVault;

use super::{Replication, ScyllaError, ScyllaOptions};
