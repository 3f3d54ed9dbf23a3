//! The machine of a name: free, reserved until a deadline, confirmed.

use cellspace_schemas::{Did, ParticipantContextId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a reservation waits for its confirmation before its holder is asked whether it exists.
pub const RESERVED_FOR: Duration = Duration::from_secs(60);

/// A name that belongs to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// To whom.
    pub participant: ParticipantContextId,
    /// For which DID.
    pub did: Did,
    /// Until when it is only reserved; `None` once confirmed.
    pub until: Option<Timestamp>,
}

impl Reservation {
    /// A fresh one.
    #[must_use]
    pub fn new(participant: ParticipantContextId, did: Did, now: Timestamp) -> Self {
        Self { participant, did, until: Some(now.plus(RESERVED_FOR)) }
    }

    /// The same, confirmed.
    #[must_use]
    pub fn confirmed(&self) -> Self {
        Self { until: None, ..self.clone() }
    }
}
