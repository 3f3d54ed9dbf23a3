//! Why an embedded database does not open, and what an operator can do about it.

use std::{io, path::PathBuf, sync::Arc};

/// Why a data directory cannot be used. Each says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    #[error("{} is in use by {holder}: stop that one first, or choose another data directory", .dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// Files are damaged, truncated or missing.
    #[error("the data in {} is damaged ({reason}): restore a backup", .dir.display())]
    Corrupt {
        /// The data directory.
        dir: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Synced data is no longer there.
    #[error(
        "the store in {} has lost acknowledged data ({reason}): restore a backup, or remove {} to go on without that data",
        .dir.display(), .mark.display()
    )]
    Lost {
        /// The data directory.
        dir: PathBuf,
        /// What is missing.
        reason: String,
        /// The file that says what was synced.
        mark: PathBuf,
    },
    /// The directory cannot be made or written.
    #[error("cannot write to {}: {reason}", .dir.display())]
    Unwritable {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        reason: Arc<io::Error>,
    },
    /// A newer build wrote it.
    #[error("the data in {} has format level {found}, this build reads up to {supported}: run the newer build", .dir.display())]
    NewerFormat {
        /// The data directory.
        dir: PathBuf,
        /// Level found.
        found: u64,
        /// Newest level that this build reads.
        supported: u64,
    },
    /// The vault was sealed with another master key.
    #[error("the master key does not open the vault in {}: bring the key that it was made with", .dir.display())]
    WrongMasterKey {
        /// The data directory.
        dir: PathBuf,
    },
    /// The master key itself is unusable.
    #[error("unusable master key: {0}")]
    BadMasterKey(String),
}
