//! Bounds of processes with counterparties: how many are open at once, and how long one may wait for us.

use super::Refusal;
use cellspace_schemas::{Did, Timestamp, management::ParticipantContextConfig};
use rpds::HashTrieMapSync;
use std::time::Duration;

/// Open negotiations of one participant at most, and open transfers.
pub const MAX_OPEN: usize = 50_000;
/// Of these with one counterparty at most.
pub const MAX_OPEN_WITH_COUNTERPARTY: usize = 10_000;
/// How long a process that a counterparty began waits for our first message; then it is terminated.
pub const UNANSWERED: Duration = Duration::from_secs(24 * 60 * 60);
/// What the counterparty is told then.
pub const NOT_ANSWERED: &str = "not answered within 24 hours";
/// How many hours a process in which both have spoken stays in a state in which one party waits for the other, or for its own data plane: seven days.
pub const PATIENCE: u32 = 7 * 24;
/// Entry of a participant's configuration with another number of hours: for a negotiation from its next change on, and not for a first message of the
/// counterparty, which waits for [`UNANSWERED`] whatever it says.
pub const NEGOTIATION_PATIENCE: &str = "cellspace.negotiation.patience.hours";
/// The same for transfers.
pub const TRANSFER_PATIENCE: &str = "cellspace.transfer.patience.hours";
/// Most that it may say: a year.
const LONGEST_PATIENCE: u32 = 366 * 24;
/// What the counterparty is told of a transfer that the policy of its agreement ends.
pub const NOT_IN_FORCE: &str = "the agreement is not in force any more";

/// What this entry of the participant's configuration says of [`PATIENCE`]; what cannot be meant is as if it were not there.
#[must_use]
pub fn patience(config: &ParticipantContextConfig, entry: &str) -> Option<u32> {
    let hours = config.entries.get(entry)?.trim().parse().ok()?;
    (1..=LONGEST_PATIENCE).contains(&hours).then_some(hours)
}

/// When so many hours since then are over: at a full hour, so that what comes and goes within one seldom changes when the participant is woken next.
#[must_use]
pub fn patient_until(since: Timestamp, hours: u32) -> Timestamp {
    const HOUR: i64 = 60 * 60 * 1_000;
    Timestamp(since.0.div_euclid(HOUR).saturating_add(i64::from(hours) + 1).saturating_mul(HOUR))
}

/// Open processes of one kind, counted.
#[derive(Debug, Clone, Default)]
pub struct Open {
    all: usize,
    with: HashTrieMapSync<Did, usize>,
}

impl Open {
    /// One more with this counterparty.
    pub fn add(&mut self, peer: &Did) {
        self.all += 1;
        self.with.insert_mut(peer.clone(), self.with(peer) + 1);
    }

    /// One less.
    pub fn remove(&mut self, peer: &Did) {
        self.all = self.all.saturating_sub(1);
        match self.with(peer) {
            0 | 1 => {
                self.with.remove_mut(peer);
            }
            n => self.with.insert_mut(peer.clone(), n - 1),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn all(&self) -> usize {
        self.all
    }

    /// How many there are with this counterparty.
    #[must_use]
    pub fn with(&self, peer: &Did) -> usize {
        self.with.get(peer).copied().unwrap_or(0)
    }

    /// Whether one more may begin.
    ///
    /// # Errors
    /// [`Refusal::TooMany`]
    pub fn room(&self, peer: &Did) -> Result<(), Refusal> {
        if self.all >= MAX_OPEN || self.with(peer) >= MAX_OPEN_WITH_COUNTERPARTY { Err(Refusal::TooMany) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_one_and_for_all() {
        let (a, b) = (Did::new("did:web:a").unwrap(), Did::new("did:web:b").unwrap());
        let mut open = Open::default();
        (0..MAX_OPEN_WITH_COUNTERPARTY).for_each(|_| open.add(&a));
        assert_eq!((open.room(&a), open.room(&b)), (Err(Refusal::TooMany), Ok(())));
        open.remove(&a);
        assert_eq!(open.room(&a), Ok(()));
        for n in open.all()..MAX_OPEN {
            open.add(&Did::new(format!("did:web:c{n}")).unwrap());
        }
        assert_eq!(open.room(&b), Err(Refusal::TooMany));
        open.remove(&a);
        assert_eq!((open.room(&b), open.with(&a), open.with(&b)), (Ok(()), MAX_OPEN_WITH_COUNTERPARTY - 2, 0));
    }
}
