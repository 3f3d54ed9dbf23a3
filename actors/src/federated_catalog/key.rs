//! What is looked at.

use cellspace_schemas::{Did, ProfileId};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A target in a profile: what a participant has one crawl and one view of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CrawlKey {
    /// Whose catalog.
    pub target: Did,
    /// In which profile.
    pub profile: ProfileId,
}

/// The text is the id of rows: neither part has white space, so that it is that of this key alone.
impl fmt::Display for CrawlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.target, self.profile)
    }
}

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a crawl is named by a DID and a profile")]
pub struct KeyError;

impl FromStr for CrawlKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (target, profile) = text.split_once(' ').ok_or(KeyError)?;
        Ok(Self { target: target.parse().map_err(|_| KeyError)?, profile: profile.parse().map_err(|_| KeyError)? })
    }
}
