//! Delivery of outbox rows.

use crate::{Address, Agent};
use cellspace_schemas::TraceContext;
use cellspace_storage::Seq;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Identity of an outbox row within its partition: the commit that made it, and its number in that commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutboxId {
    /// The commit.
    pub seq: Seq,
    /// The row's number in the commit.
    pub n: u32,
}

/// One attempt at an outbox row.
#[derive(Debug)]
pub struct Delivery<'a, A: Agent> {
    /// The agent whose row it is.
    pub address: &'a Address,
    /// The row.
    pub id: OutboxId,
    /// What to do.
    pub effect: Arc<A::Effect>,
    /// The agent's newest published state.
    pub snapshot: Arc<A::State>,
    /// 1 for the first attempt since the row was loaded.
    pub attempt: u32,
    /// The trace of the turn that made the row.
    pub trace: Option<TraceContext>,
    /// A UUID that is the same on every attempt at this row, also after a restart: the `@id` of the message sent.
    pub message_id: uuid::Uuid,
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The other side may take it later.
    #[error("{0}")]
    Retry(String),
    /// The other side may take it later, and said when (HTTP `Retry-After`).
    #[error("{reason}")]
    RetryAfter {
        /// Why not now.
        reason: String,
        /// Not before this; cut to the longest pause of the [`RetryPolicy`].
        after: Duration,
    },
    /// The other side will not take it, ever.
    #[error("{0}")]
    Refused(String),
}

/// Bounds of the attempts at one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Pause before the second attempt; doubled each time, with jitter.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Attempts before the row is given up; counted anew after a restart.
    pub attempts: u32,
}

impl Default for RetryPolicy {
    /// 100 ms, doubled up to 30 s, 20 attempts: about seven minutes.
    fn default() -> Self {
        Self { first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(30), attempts: 20 }
    }
}
