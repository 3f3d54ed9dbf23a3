//! The machine of a data flow (data plane signaling, "Data Flow State Machine"). Pure.
//!
//! A consumer's flow begins with `prepare`, a provider's with `start`. Both transitions are made at once here, so `PREPARING` and `STARTING`
//! are never entered by ourselves; they have their arrows all the same.

use cellspace_schemas::{
    AgreementId, AssetId, KeyAlias, MessageId, PartyId, ProfileId, SourceName, Timestamp, TransferId, TransferType, dps::DataFlowState,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Which end of the flow this data plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The end that gets the data.
    Consumer,
    /// The end that has the data.
    Provider,
}

/// What a control plane asks of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Signal {
    /// Get ready (consumer).
    Prepare,
    /// Start the wire protocol (provider).
    Start,
    /// The other end has started (consumer).
    Started,
    /// Pause.
    Suspend,
    /// Go on.
    Resume,
    /// End before completion.
    Terminate,
    /// End normally.
    Completed,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare",
            Self::Start => "start",
            Self::Started => "started",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Terminate => "terminate",
            Self::Completed => "completed",
        })
    }
}

/// A signal that the flow's state does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{signal} is not allowed for a flow in state {}", .state.name())]
pub struct NotAllowed {
    /// The state.
    pub state: DataFlowState,
    /// The signal.
    pub signal: Signal,
}

/// The state that follows; the present one for a signal that asks for what is already so.
///
/// # Errors
/// [`NotAllowed`] when the table has no arrow.
pub fn next(state: DataFlowState, role: Role, signal: Signal) -> Result<DataFlowState, NotAllowed> {
    use DataFlowState as S;
    use Role::{Consumer, Provider};
    match (signal, role, state) {
        // INITIALIZED --prepare--> PREPARED (consumer)
        (Signal::Prepare, Consumer, S::Initialized) => Ok(S::Prepared),
        // INITIALIZED --start--> STARTED (provider)
        (Signal::Start, Provider, S::Initialized) => Ok(S::Started),
        // PREPARED, STARTING --started--> STARTED (consumer); STARTED: a newer address takes the place of the older one
        (Signal::Started, Consumer, S::Prepared | S::Starting | S::Started) => Ok(S::Started),
        // STARTED --suspend--> SUSPENDED; SUSPENDED: it is so
        (Signal::Suspend, Consumer | Provider, S::Started | S::Suspended) => Ok(S::Suspended),
        // SUSPENDED --resume--> STARTED; STARTED: it is so
        (Signal::Resume, Consumer | Provider, S::Suspended | S::Started) => Ok(S::Started),
        // STARTED --completed--> COMPLETED; COMPLETED: it is so
        (Signal::Completed, Consumer | Provider, S::Started | S::Completed) => Ok(S::Completed),
        // any open state --terminate--> TERMINATED; TERMINATED: it is so
        (
            Signal::Terminate,
            Consumer | Provider,
            S::Initialized | S::Preparing | S::Prepared | S::Starting | S::Started | S::Suspended | S::Terminated,
        ) => Ok(S::Terminated),
        // everything else is refused; COMPLETED and TERMINATED stay
        (
            Signal::Prepare,
            Consumer,
            S::Preparing | S::Prepared | S::Starting | S::Started | S::Suspended | S::Completed | S::Terminated,
        )
        | (Signal::Start, Provider, S::Preparing | S::Prepared | S::Starting | S::Started | S::Suspended | S::Completed | S::Terminated)
        | (Signal::Started, Consumer, S::Initialized | S::Preparing | S::Suspended | S::Completed | S::Terminated)
        | (
            Signal::Prepare | Signal::Started,
            Provider,
            S::Initialized | S::Preparing | S::Prepared | S::Starting | S::Started | S::Suspended | S::Completed | S::Terminated,
        )
        | (
            Signal::Start,
            Consumer,
            S::Initialized | S::Preparing | S::Prepared | S::Starting | S::Started | S::Suspended | S::Completed | S::Terminated,
        )
        | (
            Signal::Suspend,
            Consumer | Provider,
            S::Initialized | S::Preparing | S::Prepared | S::Starting | S::Completed | S::Terminated,
        )
        | (Signal::Resume, Consumer | Provider, S::Initialized | S::Preparing | S::Prepared | S::Starting | S::Completed | S::Terminated)
        | (
            Signal::Completed,
            Consumer | Provider,
            S::Initialized | S::Preparing | S::Prepared | S::Starting | S::Suspended | S::Terminated,
        )
        | (Signal::Terminate, Consumer | Provider, S::Completed) => Err(NotAllowed { state, signal }),
    }
}

/// What a flow is about; never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The other participant.
    pub counter_party: PartyId,
    /// The dataspace profile.
    pub dataspace: ProfileId,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Which dataset.
    pub dataset: AssetId,
    /// How.
    pub transfer_type: TransferType,
}

/// The access token that is good for a provider's flow. The token itself is made of this whenever it is asked for and is stored nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its `jti`.
    pub id: Uuid,
    /// Its `iat`.
    pub issued_at: Timestamp,
    /// Its `exp`.
    pub expires_at: Timestamp,
}

/// Where a consumer's flow finds the data. What may be secret lies in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedAddress {
    /// The endpoint.
    pub endpoint: String,
    /// Its type.
    pub endpoint_type: String,
    /// Alias of the vault's record with the whole address.
    pub record: KeyAlias,
}

/// A data flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Its id: the transfer process id that the control plane chose.
    pub id: TransferId,
    /// Which end this is.
    pub role: Role,
    /// Its state.
    pub state: DataFlowState,
    /// What it is about.
    pub terms: Terms,
    /// Where the data comes from; of providers.
    pub source: Option<SourceName>,
    /// The token that is good for it; of providers.
    pub grant: Option<Grant>,
    /// Where the data is; of consumers.
    pub received: Option<ReceivedAddress>,
    /// The last signal that was accepted, and its message's id: the same once more is a repeat.
    pub last: (Signal, Option<MessageId>),
    /// Why it was suspended or terminated.
    pub reason: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Flow {
    /// Whether the message is the last accepted one once more.
    #[must_use]
    pub fn is_repeat(&self, signal: Signal, message: Option<&MessageId>) -> bool {
        message.is_some() && self.last.0 == signal && self.last.1.as_ref() == message
    }

    /// Whether data may flow under the token with this `jti`.
    #[must_use]
    pub fn serves(&self, token: Uuid) -> bool {
        self.role == Role::Provider && self.state == DataFlowState::Started && self.grant.is_some_and(|grant| grant.id == token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataFlowState as S;
    use Role::{Consumer, Provider};
    use proptest::prelude::*;

    const STATES: [S; 8] = [S::Initialized, S::Preparing, S::Prepared, S::Starting, S::Started, S::Suspended, S::Completed, S::Terminated];
    const SIGNALS: [Signal; 7] =
        [Signal::Prepare, Signal::Start, Signal::Started, Signal::Suspend, Signal::Resume, Signal::Terminate, Signal::Completed];

    /// Every (state, role, signal), row by row: what follows, or `-` where it is refused. Columns as in [`SIGNALS`].
    #[rustfmt::skip]
    const TABLE: [(S, Role, [&str; 7]); 16] = [
        //                          prepare     start      started    suspend      resume     terminate     completed
        (S::Initialized, Consumer, ["PREPARED", "-",       "-",       "-",         "-",       "TERMINATED", "-"]),
        (S::Initialized, Provider, ["-",        "STARTED", "-",       "-",         "-",       "TERMINATED", "-"]),
        (S::Preparing,   Consumer, ["-",        "-",       "-",       "-",         "-",       "TERMINATED", "-"]),
        (S::Preparing,   Provider, ["-",        "-",       "-",       "-",         "-",       "TERMINATED", "-"]),
        (S::Prepared,    Consumer, ["-",        "-",       "STARTED", "-",         "-",       "TERMINATED", "-"]),
        (S::Prepared,    Provider, ["-",        "-",       "-",       "-",         "-",       "TERMINATED", "-"]),
        (S::Starting,    Consumer, ["-",        "-",       "STARTED", "-",         "-",       "TERMINATED", "-"]),
        (S::Starting,    Provider, ["-",        "-",       "-",       "-",         "-",       "TERMINATED", "-"]),
        (S::Started,     Consumer, ["-",        "-",       "STARTED", "SUSPENDED", "STARTED", "TERMINATED", "COMPLETED"]),
        (S::Started,     Provider, ["-",        "-",       "-",       "SUSPENDED", "STARTED", "TERMINATED", "COMPLETED"]),
        (S::Suspended,   Consumer, ["-",        "-",       "-",       "SUSPENDED", "STARTED", "TERMINATED", "-"]),
        (S::Suspended,   Provider, ["-",        "-",       "-",       "SUSPENDED", "STARTED", "TERMINATED", "-"]),
        (S::Completed,   Consumer, ["-",        "-",       "-",       "-",         "-",       "-",          "COMPLETED"]),
        (S::Completed,   Provider, ["-",        "-",       "-",       "-",         "-",       "-",          "COMPLETED"]),
        (S::Terminated,  Consumer, ["-",        "-",       "-",       "-",         "-",       "TERMINATED", "-"]),
        (S::Terminated,  Provider, ["-",        "-",       "-",       "-",         "-",       "TERMINATED", "-"]),
    ];

    #[test]
    fn every_state_role_and_signal() {
        for (state, role, row) in TABLE {
            for (signal, expected) in SIGNALS.into_iter().zip(row) {
                let found = next(state, role, signal).map_or("-", S::name);
                assert_eq!(found, expected, "{} {role:?} {signal}", state.name());
            }
        }
        let rows: std::collections::HashSet<_> = TABLE.iter().map(|(state, role, _)| (*state, *role)).collect();
        assert_eq!(rows.len(), STATES.len() * 2, "the table has every state and role once");
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        /// Whatever is signalled in whatever order: a final state stays, and terminate reaches TERMINATED from everywhere but COMPLETED.
        #[test]
        fn final_stays_final(role in prop_oneof![Just(Consumer), Just(Provider)], signals in prop::collection::vec(0_usize..7, 0..24)) {
            let mut state = S::Initialized;
            for index in signals {
                let before = state;
                state = next(state, role, SIGNALS[index]).unwrap_or(state);
                prop_assert!(!before.is_final() || state == before);
            }
            let ended = next(state, role, Signal::Terminate);
            prop_assert_eq!(ended.is_ok(), state != S::Completed);
        }

        /// A signal that was accepted is accepted again and stays where it led, but for the ones that begin a flow.
        #[test]
        fn accepted_twice_is_accepted_once(state in 0_usize..8, role in prop_oneof![Just(Consumer), Just(Provider)], signal in 2_usize..7) {
            if let Ok(after) = next(STATES[state], role, SIGNALS[signal]) {
                prop_assert_eq!(next(after, role, SIGNALS[signal]), Ok(after));
            }
        }
    }
}
