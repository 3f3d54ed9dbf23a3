//! Partitions, wake index, membership and vault in ScyllaDB or Cassandra, one keyspace a cell.
//!
//! A **partition** of the table `partitions` holds one agent: static columns for its head, rows under `(part, generation, key)`. Each commit is one
//! conditional batch in that partition, each claim one conditional update, and nothing else ever writes what is read of it; so what a newer claim has fenced
//! cannot land, whenever it arrives. Conditional writes are sent once: neither driver nor store repeats them, and what was not answered is *unknown* until the
//! partition has been claimed anew, after which the audit row of its seq is the witness.
//!
//! What lies **beside the partitions** (wake index, publications) is written before the commit that needs it, under a mark that no other commit has, and
//! removed after the commit that does not need it any more, which is answered meanwhile. A crash in between leaves a row too many, which its mark tells; never
//! one too few.
//!
//! **Deleted rows** would be read over for days before the database forgets them. A partition that has gathered many is copied to its next
//! generation, so that an activation reads about as much as it gets.
//!
//! The driver is in builds with the feature `scylla`; what is chosen of such a store can be said in all.

#[cfg(feature = "scylla")]
mod driver;
mod error;
mod options;

#[cfg(feature = "scylla")]
pub use driver::{RestoringKeyspace, SCHEMA_VERSION, ScyllaStore, ScyllaVault, create_schema};
pub use error::ScyllaError;
pub use options::{Replication, ScyllaOptions};
