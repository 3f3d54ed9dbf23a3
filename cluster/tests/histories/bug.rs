//! Rules that are broken on purpose, around the runtime and not in it: the invariants are seen to find them.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The store writes commits of activations that newer claims have fenced.
    CommitsOverClaims,
    /// The store says that a commit is stored which is not.
    AppliesNothing,
    /// The store says of a commit that landed and whose answer is lost that it did not land.
    UnknownIsFenced,
    /// The store forgets outbox rows.
    ForgetsOutbox,
    /// The store gives the outbox back in another order.
    ShufflesOutbox,
    /// The wake index misses partitions with undelivered rows.
    MissesAwake,
    /// The wake index misses deadlines.
    MissesDue,
    /// A row is written into another participant's partition.
    MixesOwners,
    /// The agent takes steps that its table does not have.
    LawlessAgent,
    /// The agent sends before its commit.
    SendsEarly,
    /// The clock that measures leases stands while a process is paused.
    SleepingClock,
    /// The clocks that measure leases differ by more than the terms allow.
    WildClocks,
    /// Peers say that slots are released which they serve.
    PeersLie,
    /// Nobody's lease can be taken away.
    NeverBuries,
    /// The wake index ends with its first page.
    LosesPages,
    /// A node that hears of used tokens forgets them.
    ForgetsTokens,
    /// A node takes tokens from before it had the slot, whether it knows of those that were used or not.
    TrustsOpenings,
    /// A node counts on what the row of a slot's dead owner says, whoever had the slot how short a time before.
    TrustsDeadOwners,
    /// A node's row says that it has had all that it owns for long, whenever it came to it.
    TellsBeforeItOpens,
    /// A node tells of slots that others may have had since it had them.
    TellsOfOthers,
    /// What a node has heard of a slot counts whenever the slot opens there, whoever had it meanwhile.
    KeepsWhatItHeard,
    /// What a node has said of a slot first counts whenever it is asked for it.
    TakesLateAnswers,
    /// Nodes that speak different versions of the link take what they hear for what they would say themselves.
    GuessesAtWires,
    /// Of messages that come at once any may be the first, whatever the seed.
    RollsDice,
}
