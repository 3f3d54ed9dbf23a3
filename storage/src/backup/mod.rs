//! A backup: one file with everything that an installation keeps, but for the master key of its vault and a log that is in Kafka.
//!
//! A line of JSON for each record, so that neither writing nor reading it takes more memory than its longest row: first the header, then partitions (a head, as
//! of which the rows and audit rows are that follow), topics with their groups and events, settings, homes of owners, sealed records of the vault; at the end how
//! many they were and the SHA-256 of everything before. Rows of indexes are not in it: a partition says what they say of it. Nor are seals: nobody of whom it
//! has something is on the way to another cell.

mod file;
mod record;

pub(crate) use file::damaged;
pub use file::{Reader, Writer, verify};
pub use record::{Blob, Header, Record};

use crate::{OpenError, StoreError};
use cellspace_schemas::Owner;
use std::path::PathBuf;

/// The format that this build writes, and the newest that it reads. The first one had no homes.
pub const FORMAT: u32 = 2;

/// Why there is no backup, or nothing is restored from it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be written or read.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// It is no whole backup.
    #[error("the backup is damaged ({0}): nothing is restored from it")]
    Damaged(String),
    /// A newer build made it.
    #[error("the backup has format {found}, this build reads up to {FORMAT}: restore it with the newer build")]
    NewerFormat {
        /// The format found.
        found: u64,
    },
    /// There is something where it would be restored to.
    #[error("{} holds data already: a backup is restored where there is none", .0.display())]
    NotEmpty(PathBuf),
    /// There is nothing to back up.
    #[error("{} holds no data", .0.display())]
    Nothing(PathBuf),
    /// A part of what an owner has is in one cell, and a part in another one.
    #[error(
        "participant {0} is being moved from one cell to another, and no backup has half of that: start the cells and end the move first \
        (`cellspace admin move {0} --to CELL` goes on with it)"
    )]
    Moving(Owner),
    /// The data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
