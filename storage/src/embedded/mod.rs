//! The embedded backends: two databases in the data directory, nothing to install beside them.
//!
//! [`EmbeddedStore`] holds partitions, wake index and event log; one thread commits for all. [`EmbeddedVault`] holds keys and secrets. An
//! exclusive lock on the data directory is the fence between processes; within the process a commit's epoch must be that of the newest claim.

mod backup;
#[cfg(test)]
mod backup_tests;
mod claims;
mod committer;
mod durable;
mod event_log;
#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod generation_tests;
mod generations;
mod keys;
mod lock;
mod membership;
mod open_error;
mod options;
mod partitions;
mod publishing;
mod rows;
mod store;
mod synced_mark;
mod synced_view;
mod tables;
#[cfg(test)]
mod tests;
mod topics;
mod values;
mod vault;
#[cfg(test)]
mod vault_tests;
mod wake_index;

pub use backup::{DataDirectory, Restoring};
pub(crate) use durable::unwritable;
pub use open_error::OpenError;
pub use options::{EmbeddedOptions, SyncObserver};
pub use publishing::Publishing;
pub use store::EmbeddedStore;
pub use topics::TopicReport;
pub use vault::EmbeddedVault;
