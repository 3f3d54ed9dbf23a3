//! Names and versions of a partition.

use cellspace_schemas::Owner;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Kind of agent, a short stable word that is part of the stored key, for example `control-plane`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AgentKind(pub &'static str);

impl fmt::Display for AgentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Key of one agent's partition within a cell's keyspace: `(owner, kind, name)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionKey {
    /// Whose agent it is; agents of one owner sit in one slot.
    pub owner: Owner,
    /// The agent's kind, spelled as in [`AgentKind`].
    pub kind: String,
    /// Name among the owner's agents of that kind; mostly empty.
    pub name: String,
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.owner)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "/{}", self.name) }
    }
}

/// Fence of an activation: ordered by view (the boot counter on an embedded node), then by the activation's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Membership view version; on an embedded node the boot counter.
    pub view: u64,
    /// Number of the activation within the view.
    pub count: u64,
}

impl Epoch {
    /// The epoch of a claim that is admitted by this view, over the epoch as stored; `None` when that is of a newer view.
    #[must_use]
    pub const fn claimed_under(self, view: u64) -> Option<Self> {
        if self.view > view {
            return None;
        }
        let count = if self.view == view { self.count } else { 0 };
        Some(Self { view, count: count + 1 })
    }
}

/// Number of a committed turn within its partition; the first commit has 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number of the next turn.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The static row of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Epoch of the last commit.
    pub epoch: Epoch,
    /// Number of the last commit.
    pub seq: Seq,
}
