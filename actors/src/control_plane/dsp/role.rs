//! Which side of a process we are.

use serde::{Deserialize, Serialize};

/// Our role in a negotiation or transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// We asked.
    Consumer,
    /// We were asked.
    Provider,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Consumer, Self::Provider];

    /// Its word in the Management API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "CONSUMER",
            Self::Provider => "PROVIDER",
        }
    }

    /// The counterparty's role.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Consumer => Self::Provider,
            Self::Provider => Self::Consumer,
        }
    }
}
