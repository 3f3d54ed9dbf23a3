//! Where an agent is found, wherever it runs.

use cellspace_schemas::Owner;
use cellspace_storage::{AgentKind, PartitionKey};
use std::fmt;

/// Location-transparent address of an agent within this cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Whose agent; placement hashes this alone, so that agents of one owner sit together.
    pub owner: Owner,
    /// Its kind.
    pub kind: AgentKind,
    /// Name among the owner's agents of that kind; mostly empty.
    pub name: String,
}

impl Address {
    /// The owner's only agent of kind `A`.
    #[must_use]
    pub fn of<A: crate::Agent>(owner: impl Into<Owner>) -> Self {
        Self { owner: owner.into(), kind: A::KIND, name: String::new() }
    }

    /// Key of its partition.
    #[must_use]
    pub fn partition(&self) -> PartitionKey {
        PartitionKey { owner: self.owner.clone(), kind: self.kind.0.to_owned(), name: self.name.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.owner)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "/{}", self.name) }
    }
}
