//! What happens to negotiations and transfers, by the names that clients ask for (Management API `CallbackAddress.events`).

use serde::{Deserialize, Serialize};

/// Something that happened to a negotiation or a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProcessEvent {
    /// We have begun a negotiation.
    NegotiationInitiated,
    /// The consumer has requested.
    NegotiationRequested,
    /// The provider has offered.
    NegotiationOffered,
    /// The consumer has accepted.
    NegotiationAccepted,
    /// The provider has agreed.
    NegotiationAgreed,
    /// The consumer has verified.
    NegotiationVerified,
    /// The agreement holds.
    NegotiationFinalized,
    /// It ended without an agreement that holds.
    NegotiationTerminated,
    /// We have begun a transfer.
    TransferInitiated,
    /// Our data plane is prepared.
    TransferPrepared,
    /// The consumer has requested.
    TransferRequested,
    /// Data may flow.
    TransferStarted,
    /// It is suspended.
    TransferSuspended,
    /// It is on its way from suspended to started.
    TransferResuming,
    /// It is done.
    TransferCompleted,
    /// It ended before it was done.
    TransferTerminated,
}

/// Names that clients of other connectors ask for, of what does not happen here.
const NEVER: [&str; 2] = ["transfer.process.provisioned", "transfer.process.deprovisioned"];

impl ProcessEvent {
    /// All.
    pub const ALL: [Self; 16] = [
        Self::NegotiationInitiated,
        Self::NegotiationRequested,
        Self::NegotiationOffered,
        Self::NegotiationAccepted,
        Self::NegotiationAgreed,
        Self::NegotiationVerified,
        Self::NegotiationFinalized,
        Self::NegotiationTerminated,
        Self::TransferInitiated,
        Self::TransferPrepared,
        Self::TransferRequested,
        Self::TransferStarted,
        Self::TransferSuspended,
        Self::TransferResuming,
        Self::TransferCompleted,
        Self::TransferTerminated,
    ];

    /// The name that clients ask for, and the `type` of the event's envelope.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NegotiationInitiated => ("contract.negotiation.initiated", "ContractNegotiationInitiated"),
            Self::NegotiationRequested => ("contract.negotiation.requested", "ContractNegotiationRequested"),
            Self::NegotiationOffered => ("contract.negotiation.offered", "ContractNegotiationOffered"),
            Self::NegotiationAccepted => ("contract.negotiation.accepted", "ContractNegotiationAccepted"),
            Self::NegotiationAgreed => ("contract.negotiation.agreed", "ContractNegotiationAgreed"),
            Self::NegotiationVerified => ("contract.negotiation.verified", "ContractNegotiationVerified"),
            Self::NegotiationFinalized => ("contract.negotiation.finalized", "ContractNegotiationFinalized"),
            Self::NegotiationTerminated => ("contract.negotiation.terminated", "ContractNegotiationTerminated"),
            Self::TransferInitiated => ("transfer.process.initiated", "TransferProcessInitiated"),
            Self::TransferPrepared => ("transfer.process.prepared", "TransferProcessPrepared"),
            Self::TransferRequested => ("transfer.process.requested", "TransferProcessRequested"),
            Self::TransferStarted => ("transfer.process.started", "TransferProcessStarted"),
            Self::TransferSuspended => ("transfer.process.suspended", "TransferProcessSuspended"),
            Self::TransferResuming => ("transfer.process.resuming", "TransferProcessResuming"),
            Self::TransferCompleted => ("transfer.process.completed", "TransferProcessCompleted"),
            Self::TransferTerminated => ("transfer.process.terminated", "TransferProcessTerminated"),
        }
    }

    /// Its name, for example `contract.negotiation.finalized`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// The `type` of its envelope, for example `ContractNegotiationFinalized`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        self.words().1
    }

    /// The event of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    /// Whether a client may ask for what begins so: it does, or would elsewhere, mean an event of a negotiation or a transfer.
    #[must_use]
    pub fn is_prefix(text: &str) -> bool {
        !text.is_empty() && Self::ALL.iter().map(|event| event.name()).chain(NEVER).any(|name| name.starts_with(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_prefixes() {
        let names: HashSet<_> = ProcessEvent::ALL.iter().flat_map(|event| [event.name(), event.kind()]).collect();
        assert_eq!(names.len(), 2 * ProcessEvent::ALL.len());
        for event in ProcessEvent::ALL {
            assert_eq!(ProcessEvent::named(event.name()), Some(event));
            assert!(ProcessEvent::is_prefix(event.name()), "{event:?}");
        }
        for good in ["contract", "contract.negotiation", "contract.negotiation.fin", "transfer.process", "transfer.process.deprovisioned"] {
            assert!(ProcessEvent::is_prefix(good), "{good}");
        }
        for bad in ["", "asset.created", "contract.negotiation.finalized.", "Contract", "contract.definition", "*", " contract"] {
            assert!(!ProcessEvent::is_prefix(bad), "{bad}");
        }
    }
}
