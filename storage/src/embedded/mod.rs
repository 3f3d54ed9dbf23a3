//! The embedded backends: a database in the data directory, nothing to install beside it.
//!
//! [`EmbeddedStore`] holds partitions, wake index and event log; one thread commits for all ([`committer`]). An exclusive lock on the data
//! directory is the fence between processes; within the process a commit's epoch must be that of the newest claim.

mod claims;
mod committer;
mod event_log;
mod keys;
mod lock;
mod open_error;
mod options;
mod partitions;
mod store;
mod synced_mark;
mod tables;
#[cfg(test)]
mod tests;
mod topics;
mod values;
mod wake_index;

pub use open_error::OpenError;
pub use options::{EmbeddedOptions, SyncObserver};
pub use store::EmbeddedStore;
