//! How status lists are named: what they are for, and their format.

use cellspace_schemas::{bitstring::Encoding, dcp::CredentialFormat};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a set bit means (`statusPurpose`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Withdrawn for good.
    Revocation,
    /// Withdrawn until further notice.
    Suspension,
}

impl Purpose {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Revocation, Self::Suspension];

    /// The word of the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Revocation => "revocation",
            Self::Suspension => "suspension",
        }
    }
}

/// Name of a status list among those of its issuer, the last segment of its URL: system, purpose and number, as in `bssl-revocation-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusListId {
    /// Format of the credentials on it, which also says the list's own form.
    pub format: CredentialFormat,
    /// What a set bit means.
    pub purpose: Purpose,
    /// Which of the issuer's lists of that form; the first has 1.
    pub number: u32,
}

impl StatusListId {
    /// How its bits are written.
    #[must_use]
    pub const fn encoding(self) -> Encoding {
        match self.format {
            CredentialFormat::Vc2Jose => Encoding::Bitstring,
            CredentialFormat::Vc1Jwt => Encoding::StatusList2021,
        }
    }

    const fn system(format: CredentialFormat) -> &'static str {
        match format {
            CredentialFormat::Vc2Jose => "bssl",
            CredentialFormat::Vc1Jwt => "sl2021",
        }
    }
}

impl fmt::Display for StatusListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", Self::system(self.format), self.purpose.name(), self.number)
    }
}

/// The text names no status list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a status list")]
pub struct NoStatusList;

impl FromStr for StatusListId {
    type Err = NoStatusList;
    fn from_str(text: &str) -> Result<Self, NoStatusList> {
        let read = || {
            let (system, rest) = text.split_once('-')?;
            let (purpose, number) = rest.split_once('-')?;
            let id = Self {
                format: CredentialFormat::ALL.into_iter().find(|format| Self::system(*format) == system)?,
                purpose: Purpose::ALL.into_iter().find(|p| p.name() == purpose)?,
                number: number.parse().ok()?,
            };
            // One spelling per list: `+1` and `01` are numbers, but not names.
            (id.to_string() == text).then_some(id)
        };
        read().ok_or(NoStatusList)
    }
}
