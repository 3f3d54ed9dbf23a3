//! Delivery of outbox rows.

use crate::{Address, Agent};
use cellspace_schemas::TraceContext;
use cellspace_storage::Seq;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// Identity of an outbox row within its partition: the commit that made it, and its number in that commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutboxId {
    /// The commit.
    pub seq: Seq,
    /// The row's number in the commit.
    pub n: u32,
}

impl fmt::Display for OutboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}", self.seq.0, self.n)
    }
}

/// The text names no outbox row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of an outbox row is two hexadecimal numbers, <commit>-<row>")]
pub struct OutboxIdError;

impl FromStr for OutboxId {
    type Err = OutboxIdError;

    fn from_str(text: &str) -> Result<Self, OutboxIdError> {
        let (seq, n) = text.split_once('-').ok_or(OutboxIdError)?;
        let seq = u64::from_str_radix(seq, 16).map_err(|_| OutboxIdError)?;
        Ok(Self { seq: Seq(seq), n: u32::from_str_radix(n, 16).map_err(|_| OutboxIdError)? })
    }
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
    /// Rows of the agent that are delivered aside and wait for it, those included that came with that state.
    pub aside: usize,
    /// 1 for the first attempt since the row was loaded.
    pub attempt: u32,
    /// The span of this attempt, in the trace of the turn that made the row.
    pub trace: Option<TraceContext>,
    /// A UUID that is the same on every attempt at this row, also after a restart, and that no other row has: the `@id` of the message sent.
    pub message_id: uuid::Uuid,
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It may succeed later.
    #[error("{0}")]
    Retry(String),
    /// The other side did not answer: no connection, or none in time. After a few of these its [`Agent::destination`] is called by one row at a time.
    #[error("{0}")]
    Unreachable(String),
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

/// In which room a row is attempted. However many wait or are slow in one of them, the agent's and the node's others have theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Track {
    /// What somebody waits for.
    Main,
    /// What others follow by: of an agent's rows so many are kept at most, the rest is left out.
    Aside,
    /// What nobody waits for: a few at once on the node, fewer of one agent, and few to one host.
    Background,
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

impl RetryPolicy {
    /// How long all attempts take when each fails at once.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let (mut total, mut pause) = (Duration::ZERO, self.first_pause);
        let mut pauses = self.attempts.saturating_sub(1);
        while pauses > 0 && pause < self.longest_pause && !pause.is_zero() {
            total += pause;
            pause = (pause * 2).min(self.longest_pause);
            pauses -= 1;
        }
        total.saturating_add(pause.saturating_mul(pauses))
    }
}

impl Default for RetryPolicy {
    /// 100 ms, doubled up to 30 s, 20 attempts: about seven minutes.
    fn default() -> Self {
        Self { first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(30), attempts: 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = OutboxId { seq: Seq(258), n: 7 };
        assert_eq!(id.to_string(), "0000000000000102-00000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1", "1-", "-1", "x-1", "1-x", "1-2-3"] {
            assert_eq!(bad.parse::<OutboxId>(), Err(OutboxIdError), "{bad}");
        }
    }

    #[test]
    fn patience_is_the_sum_of_the_pauses() {
        let policy = |attempts| RetryPolicy { first_pause: Duration::from_secs(1), longest_pause: Duration::from_secs(5), attempts };
        for (attempts, seconds) in [(0, 0), (1, 0), (2, 1), (3, 3), (4, 7), (5, 12), (6, 17)] {
            assert_eq!(policy(attempts).patience(), Duration::from_secs(seconds), "{attempts}");
        }
        assert!(policy(u32::MAX).patience() > Duration::from_secs(3600));
        assert_eq!(RetryPolicy::default().patience().as_secs(), 351);
    }
}
