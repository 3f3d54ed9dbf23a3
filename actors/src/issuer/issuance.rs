//! The issuance process: from the holder's request to the delivered credentials.

use super::{approval::Answer, claims::Claims};
use cellspace_schemas::{
    Did, ParticipantContextId, Timestamp,
    dcp::CredentialFormat,
    issuer::{CredentialDefinitionId, CredentialId, HolderId, HolderPid, IssuerPid, admin::ProcessView, metadata::RequestStatus},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// State of an issuance process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The request waits for approval.
    Submitted,
    /// Claims and rules are fulfilled; the credentials are on their way.
    Approved,
    /// The holder has the credentials.
    Delivered,
    /// The credentials could not be delivered, or nobody approved.
    Errored,
}

impl State {
    /// All.
    pub const ALL: [Self; 4] = [Self::Submitted, Self::Approved, Self::Delivered, Self::Errored];

    /// Its code in the peers' API.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Submitted => 50,
            Self::Approved => 100,
            Self::Delivered => 200,
            Self::Errored => 300,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Approved => "APPROVED",
            Self::Delivered => "DELIVERED",
            Self::Errored => "ERRORED",
        }
    }

    /// What the holder is told (DCP 1.0, 6.8.1).
    #[must_use]
    pub const fn request_status(self) -> RequestStatus {
        match self {
            Self::Submitted | Self::Approved => RequestStatus::Received,
            Self::Delivered => RequestStatus::Issued,
            Self::Errored => RequestStatus::Rejected,
        }
    }
}

/// What happens to an issuance process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Claims and rules are fulfilled, and whoever is asked approves.
    Approve,
    /// Whoever is asked does not, or not in time.
    Reject,
    /// The holder asks again, with the same request.
    Repeat,
    /// The holder's credential service took the credentials.
    Delivered,
    /// It will not take them, or cannot be reached.
    Failed,
    /// The holder is removed.
    Abandon,
}

impl Command {
    /// All.
    pub const ALL: [Self; 6] = [Self::Approve, Self::Reject, Self::Repeat, Self::Delivered, Self::Failed, Self::Abandon];
}

/// What a process does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Enters the state, and sends the credentials when `deliver` says so.
    To {
        /// The new state.
        state: State,
        /// Whether the credentials are sent.
        deliver: bool,
    },
    /// Nothing changes, nothing is sent.
    Stay,
    /// The request is judged as a new one, in a process of its own.
    Anew,
    /// Not allowed in this state.
    Refused,
}

/// The table of issuance processes. Pure.
#[must_use]
pub const fn step(from: State, command: Command) -> Step {
    use {Command as C, State::*};
    match (from, command) {
        // SUBMITTED --approve--> APPROVED
        (Submitted, C::Approve) => Step::To { state: Approved, deliver: true },
        // a request is approved once
        (Approved | Delivered | Errored, C::Approve) => Step::Refused,
        // SUBMITTED --reject--> ERRORED
        (Submitted, C::Reject) => Step::To { state: Errored, deliver: false },
        // what was decided is decided
        (Approved | Delivered | Errored, C::Reject) => Step::Refused,
        // SUBMITTED, APPROVED --repeat-->: it is decided, or the credentials are on their way
        (Submitted | Approved, C::Repeat) => Step::Stay,
        // DELIVERED --repeat--> DELIVERED: whoever asks again may have lost them, and gets the same ones
        (Delivered, C::Repeat) => Step::To { state: Delivered, deliver: true },
        // ERRORED --repeat-->: what was attested then may not hold any more
        (Errored, C::Repeat) => Step::Anew,
        // nothing was sent yet
        (Submitted, C::Delivered | C::Failed) => Step::Refused,
        // APPROVED --delivered--> DELIVERED; ERRORED --delivered--> DELIVERED: an earlier attempt arrived after all
        (Approved | Errored, C::Delivered) => Step::To { state: Delivered, deliver: false },
        // APPROVED --failed--> ERRORED
        (Approved, C::Failed) => Step::To { state: Errored, deliver: false },
        // the holder had them before, or the process has ended
        (Delivered, C::Delivered | C::Failed) | (Errored, C::Failed) => Step::Stay,
        // SUBMITTED, APPROVED --abandon--> ERRORED
        (Submitted | Approved, C::Abandon) => Step::To { state: Errored, deliver: false },
        // nothing under way
        (Delivered | Errored, C::Abandon) => Step::Stay,
    }
}

/// A credential that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// By which definition.
    pub definition: CredentialDefinitionId,
    /// How it is written.
    pub format: CredentialFormat,
    /// The credential issued for it.
    pub credential: CredentialId,
}

/// An issuance process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its id, the `issuerPid`.
    pub id: IssuerPid,
    /// For whom.
    pub holder: HolderId,
    /// The holder's DID at the time of the request: where the credentials go.
    pub holder_did: Did,
    /// The request on the holder's side.
    pub holder_pid: HolderPid,
    /// What was attested.
    pub claims: Arc<Claims>,
    /// What was asked for, in the order of the request.
    pub requested: Vec<Requested>,
    /// Its state.
    pub state: State,
    /// Whether a delivery is under way; there is never more than one.
    pub delivering: bool,
    /// Why it is `ERRORED`.
    pub error: Option<String>,
    /// What became of the question whether to approve; `None` where nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Process {
    /// Whether the request asks for the same.
    #[must_use]
    pub fn is_repeated_by(&self, definitions: &[CredentialDefinitionId]) -> bool {
        self.requested.iter().map(|r| &r.definition).eq(definitions)
    }

    /// What was asked for.
    #[must_use]
    pub fn definitions(&self) -> Vec<CredentialDefinitionId> {
        self.requested.iter().map(|requested| requested.definition.clone()).collect()
    }

    /// As it is answered to operators.
    #[must_use]
    pub fn view(&self, issuer: &ParticipantContextId) -> ProcessView {
        ProcessView {
            id: self.id.clone(),
            holder_id: self.holder.clone(),
            participant_context_id: issuer.clone(),
            holder_pid: self.holder_pid.clone(),
            claims: Claims::clone(&self.claims),
            credential_definitions: self.definitions(),
            credential_formats: self.requested.iter().map(|r| (r.definition.clone(), r.format.name())).collect(),
            state: self.state.name(),
            error_detail: self.error.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_state_and_command() {
        use {Command as C, State::*};
        let to = |state, deliver| Step::To { state, deliver };
        let table = [
            (Submitted, [to(Approved, true), to(Errored, false), Step::Stay, Step::Refused, Step::Refused, to(Errored, false)]),
            (Approved, [Step::Refused, Step::Refused, Step::Stay, to(Delivered, false), to(Errored, false), to(Errored, false)]),
            (Delivered, [Step::Refused, Step::Refused, to(Delivered, true), Step::Stay, Step::Stay, Step::Stay]),
            (Errored, [Step::Refused, Step::Refused, Step::Anew, to(Delivered, false), Step::Stay, Step::Stay]),
        ];
        assert_eq!(table.map(|(state, _)| state), State::ALL);
        assert_eq!(C::ALL.len(), 6);
        for (state, steps) in table {
            for (command, expected) in C::ALL.into_iter().zip(steps) {
                assert_eq!(step(state, command), expected, "{state:?} {command:?}");
            }
        }
    }

    #[test]
    fn names_and_codes_are_those_of_the_specification() {
        use RequestStatus::*;
        let expected = [("SUBMITTED", 50, Received), ("APPROVED", 100, Received), ("DELIVERED", 200, Issued), ("ERRORED", 300, Rejected)];
        assert_eq!(State::ALL.map(|s| (s.name(), s.code(), s.request_status())), expected);
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        /// Whatever happens: what was delivered stays delivered, and nothing is sent before approval.
        #[test]
        fn delivered_is_for_good(commands in proptest::collection::vec(0..Command::ALL.len(), 0..20)) {
            let (mut state, mut approved, mut sent, mut delivered) = (State::Submitted, false, false, false);
            for command in commands.into_iter().map(|n| Command::ALL[n]) {
                // Outcomes come only from what was sent.
                if matches!(command, Command::Delivered | Command::Failed) && !sent {
                    continue;
                }
                if let Step::To { state: next, deliver } = step(state, command) {
                    approved |= command == Command::Approve;
                    prop_assert!(!deliver || approved);
                    sent |= deliver;
                    state = next;
                }
                delivered |= state == State::Delivered;
                prop_assert!(!delivered || state == State::Delivered);
            }
        }
    }
}
