//! Homes: which cell of an installation serves an owner.

use crate::{StoreError, Swap};
use cellspace_schemas::{Owner, Timestamp};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Name of a cell within its installation, as its certificates have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellName(pub String);

impl fmt::Display for CellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An owner's row. It is changed as a whole, by compare-and-set of its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// The cell whose rows of the owner count.
    pub cell: CellName,
    /// Changes so far.
    pub version: u64,
    /// When the owner came to the cell, by the clock of the node that decided it; `None`: it was never anywhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<Timestamp>,
    /// What is under way.
    pub phase: Phase,
}

/// How far a relocation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// None is under way.
    Settled,
    /// The rows are copied ahead; the cell serves all of it.
    Copying {
        /// Where they go.
        to: CellName,
    },
    /// The rows are sealed, and what is left of them is copied; the cell serves what is not sealed yet.
    Moving {
        /// Where they go.
        to: CellName,
        /// Since when, by the clock of the node that began with it.
        since: Option<Timestamp>,
    },
    /// They are there, for good: seals come off at the cell, and the copy that was left behind is removed.
    Moved {
        /// Where that is.
        from: CellName,
    },
    /// It was given up: seals come off at the cell, and what was copied is removed.
    Returning {
        /// Where it was to go.
        to: CellName,
    },
}

impl Home {
    /// That of an owner without a row, who is in the main cell.
    #[must_use]
    pub const fn first(main: CellName) -> Self {
        Self { cell: main, version: 0, came: None, phase: Phase::Settled }
    }

    /// The row after a change.
    #[must_use]
    pub fn next(&self, cell: &CellName, phase: Phase) -> Self {
        Self { cell: cell.clone(), version: self.version + 1, came: self.came, phase }
    }

    /// The cells that what is under way is about, the owner's own one first.
    pub fn cells(&self) -> impl Iterator<Item = &CellName> {
        let other = match &self.phase {
            Phase::Settled => None,
            Phase::Copying { to: other }
            | Phase::Moving { to: other, .. }
            | Phase::Returning { to: other }
            | Phase::Moved { from: other } => Some(other),
        };
        std::iter::once(&self.cell).chain(other)
    }
}

/// The rows, in the store of the installation's main cell.
pub trait Homes: Send + Sync + 'static {
    /// The row of one owner, and nothing is on its way any more.
    fn of<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Home>, StoreError>>;

    /// Puts a row in the place of the one before it, whose version is one less; that of version 1 where there is none.
    fn put<'a>(&'a self, owner: &'a Owner, next: &'a Home) -> BoxFuture<'a, Swap>;
}
