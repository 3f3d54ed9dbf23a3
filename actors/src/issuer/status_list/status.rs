//! What is said of a credential, and what an operator may say next.

use serde::{Deserialize, Serialize};

/// Status of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Valid, as far as its issuer is concerned.
    #[default]
    Active,
    /// Withdrawn until further notice.
    Suspended,
    /// Withdrawn for good.
    Revoked,
}

impl Status {
    /// All.
    pub const ALL: [Self; 3] = [Self::Active, Self::Suspended, Self::Revoked];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

/// A request to change the status of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusCommand {
    /// Withdraw for good.
    Revoke,
    /// Withdraw until further notice.
    Suspend,
    /// Undo a suspension.
    Resume,
}

impl StatusCommand {
    /// All.
    pub const ALL: [Self; 3] = [Self::Revoke, Self::Suspend, Self::Resume];
}

/// A revoked credential stays revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the credential is revoked for good")]
pub struct RevokedForGood;
