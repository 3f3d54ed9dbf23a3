//! Why a store in ScyllaDB or Cassandra cannot be used.

use crate::{OpenError, StoreError};

/// Why the store cannot be used. Each says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScyllaError {
    /// The options make no sense.
    #[error("{0}")]
    Options(String),
    /// The driver is not in this build.
    #[error("this build of cellspace has no ScyllaDB and Cassandra in it: build it with `--features scylla`")]
    NotBuilt,
    /// No node answers, or not as a database of this kind does.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// It does not do what it is asked.
    #[error("the database refuses: {0}")]
    Refused(String),
    /// The keyspace, its tables or their version are missing.
    #[error("the keyspace does not hold the schema of this build: run `cellspace admin schema`")]
    NoSchema,
    /// A newer build has made the schema.
    #[error("the keyspace has schema version {found}, this build knows up to {supported}: run the newer build")]
    NewerSchema {
        /// Version found.
        found: i32,
        /// Newest version that this build knows.
        supported: i32,
    },
    /// A restore into the keyspace has not ended, or never will.
    #[error("a backup is being restored into the keyspace {0}; when that has failed, drop the keyspace, make it anew, and restore again")]
    Restoring(String),
    /// The vault in the keyspace was sealed with another master key.
    #[error("the master key does not open the vault in the keyspace {0}: bring the key that it was made with")]
    WrongMasterKey(String),
    /// Nothing has made a vault there.
    #[error("the keyspace {0} holds no vault")]
    NoVault(String),
    /// The master key itself is unusable.
    #[error(transparent)]
    MasterKey(#[from] OpenError),
    /// Opening went wrong later.
    #[error(transparent)]
    Store(#[from] StoreError),
}
