//! Rules that are broken on purpose.

/// A rule that is broken, so that the invariants are seen to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Serves without a look at its lease.
    NoLeaseCheck,
    /// Counts a renewal from later than its start.
    LateStart,
    /// Counts a renewal although no view was applied.
    LeaseWithoutView,
    /// Its clock stands while it is paused.
    SleepingClock,
    /// Opens its slots without asking or waiting.
    OpensAtOnce,
    /// Says that it released whatever it is asked for.
    ReleasesWhatItServes,
    /// Keeps in memory what it gave away.
    KeepsActivations,
    /// The store takes claims whatever is stored.
    UnconditionalClaims,
    /// Looks at no lease, and claims over an epoch of a newer view.
    ClaimsOverNewer,
    /// Looks at no lease; what commits promise is kept all the same.
    OnlyFenced,
    /// Says "not executed" of a commit without an answer.
    UnknownIsNotExecuted,
    /// Acknowledges before the commit.
    AnswersBeforeCommit,
    /// Sends effects before the commit.
    SendsBeforeCommit,
    /// Sends effects without a look at its lease.
    SendsWithoutLease,
    /// Sends the last row of a lane first.
    LaneOutOfOrder,
    /// Never takes anybody's lease away.
    NeverBuries,
    /// Takes the place of its life before at once.
    FollowsAtOnce,
}

impl Bug {
    /// Only what the store's conditions protect is looked at.
    pub fn only_fences(self) -> bool {
        matches!(self, Self::ClaimsOverNewer | Self::OnlyFenced)
    }
}
