//! States of a transfer process, by their words and numbers in the Management API.

use serde::{Deserialize, Serialize};

/// Where a transfer stands with us. A state lasts until every message and data plane call that belongs to it has its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Our data plane, the consumer's, gets ready.
    PreparationRequested,
    /// The consumer's request is under way.
    Requesting,
    /// The consumer has requested.
    Requested,
    /// The provider's start message is under way.
    Starting,
    /// Our data plane is told to start: the provider's to begin, the consumer's that data may flow.
    StartupRequested,
    /// Data may flow.
    Started,
    /// We suspend: our message and our data plane are under way.
    Suspending,
    /// The counterparty suspends: our data plane is under way.
    SuspendingRequested,
    /// Suspended.
    Suspended,
    /// Our start message after a suspension is under way.
    Resuming,
    /// Our data plane is told to resume.
    ResumingRequested,
    /// We have resumed, and wait for the counterparty's data address.
    Resumed,
    /// We complete: our message is under way.
    Completing,
    /// The counterparty completes: our data plane is under way.
    CompletingRequested,
    /// Done. Final.
    Completed,
    /// We end it: our message and our data plane are under way.
    Terminating,
    /// The counterparty ends it: our data plane is under way.
    TerminatingRequested,
    /// Ended before it was done. Final.
    Terminated,
}

impl State {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::PreparationRequested,
        Self::Requesting,
        Self::Requested,
        Self::Starting,
        Self::StartupRequested,
        Self::Started,
        Self::Suspending,
        Self::SuspendingRequested,
        Self::Suspended,
        Self::Resuming,
        Self::ResumingRequested,
        Self::Resumed,
        Self::Completing,
        Self::CompletingRequested,
        Self::Completed,
        Self::Terminating,
        Self::TerminatingRequested,
        Self::Terminated,
    ];

    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreparationRequested => "PREPARATION_REQUESTED",
            Self::Requesting => "REQUESTING",
            Self::Requested => "REQUESTED",
            Self::Starting => "STARTING",
            Self::StartupRequested => "STARTUP_REQUESTED",
            Self::Started => "STARTED",
            Self::Suspending => "SUSPENDING",
            Self::SuspendingRequested => "SUSPENDING_REQUESTED",
            Self::Suspended => "SUSPENDED",
            Self::Resuming => "RESUMING",
            Self::ResumingRequested => "RESUMING_REQUESTED",
            Self::Resumed => "RESUMED",
            Self::Completing => "COMPLETING",
            Self::CompletingRequested => "COMPLETING_REQUESTED",
            Self::Completed => "COMPLETED",
            Self::Terminating => "TERMINATING",
            Self::TerminatingRequested => "TERMINATING_REQUESTED",
            Self::Terminated => "TERMINATED",
        }
    }

    /// Its number, which queries use.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::PreparationRequested => 250,
            Self::Requesting => 400,
            Self::Requested => 500,
            Self::Starting => 550,
            Self::StartupRequested => 570,
            Self::Started => 600,
            Self::Suspending => 650,
            Self::SuspendingRequested => 675,
            Self::Suspended => 700,
            Self::Resuming => 720,
            Self::ResumingRequested => 722,
            Self::Resumed => 725,
            Self::Completing => 750,
            Self::CompletingRequested => 775,
            Self::Completed => 800,
            Self::Terminating => 825,
            Self::TerminatingRequested => 840,
            Self::Terminated => 850,
        }
    }

    /// What the audit row calls the step into this state.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::PreparationRequested => "transfer.preparation_requested",
            Self::Requesting => "transfer.requesting",
            Self::Requested => "transfer.requested",
            Self::Starting => "transfer.starting",
            Self::StartupRequested => "transfer.startup_requested",
            Self::Started => "transfer.started",
            Self::Suspending => "transfer.suspending",
            Self::SuspendingRequested => "transfer.suspending_requested",
            Self::Suspended => "transfer.suspended",
            Self::Resuming => "transfer.resuming",
            Self::ResumingRequested => "transfer.resuming_requested",
            Self::Resumed => "transfer.resumed",
            Self::Completing => "transfer.completing",
            Self::CompletingRequested => "transfer.completing_requested",
            Self::Completed => "transfer.completed",
            Self::Terminating => "transfer.terminating",
            Self::TerminatingRequested => "transfer.terminating_requested",
            Self::Terminated => "transfer.terminated",
        }
    }

    /// Whether no other state can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Terminated)
    }

    /// Whether it is ending, or has.
    #[must_use]
    pub const fn is_ending(self) -> bool {
        self.is_terminating() || matches!(self, Self::Completing | Self::CompletingRequested | Self::Completed)
    }

    /// Whether it is ending by a termination, or has.
    #[must_use]
    pub const fn is_terminating(self) -> bool {
        matches!(self, Self::Terminating | Self::TerminatingRequested | Self::Terminated)
    }
}
