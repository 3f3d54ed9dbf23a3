//! A transfer process.

use super::State;
use crate::control_plane::{
    data_planes::PlaneRef,
    dsp::{Pids, Repeats, Role, limits},
};
use cellspace_schemas::{
    AgreementId, AssetId, Did, Pid, ProfileId, Timestamp, TransferId, TransferType,
    dsp::{BaseUrl, DataAddress, transfer::TransferState as Seen},
    management::{CallbackAddress, DataplaneMetadata},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A transfer process as we hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// Our process id, and the id of its flow in our data plane.
    pub id: TransferId,
    /// Our role.
    pub role: Role,
    /// Where it stands with us.
    pub state: State,
    /// The last state that both parties have acknowledged: what the counterparty is shown.
    pub seen: Seen,
    /// Counts our messages and data plane calls: outcomes of older ones change nothing.
    pub step: u32,
    /// The message whose outcome we wait for.
    pub message: Option<u32>,
    /// The data plane call whose outcome we wait for.
    pub call: Option<u32>,
    /// The counterparty.
    pub counterparty: Did,
    /// Where it takes messages.
    pub address: BaseUrl,
    /// Its process id, as soon as we know it.
    pub counterparty_pid: Option<Pid>,
    /// The dataspace profile.
    pub profile: ProfileId,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Which asset.
    pub asset: AssetId,
    /// How.
    pub transfer_type: TransferType,
    /// What our data plane is told about it.
    pub metadata: DataplaneMetadata,
    /// Our data plane, once one was chosen.
    pub data_plane: Option<PlaneRef>,
    /// What the provider's data plane starts with; gone once it was told.
    pub start_with: Option<StartWith>,
    /// Who suspended it: nobody else may resume it.
    pub suspended_by: Option<Role>,
    /// Our data plane is done; the counterparty is told as soon as both know that it has started.
    #[serde(default)]
    pub data_done: bool,
    /// When our data plane is told once more to end the flow, after it could not be told.
    #[serde(default)]
    pub end_again_at: Option<Timestamp>,
    /// How often it could not be told.
    #[serde(default)]
    pub end_failures: u32,
    /// When the policy of the agreement is not fulfilled any more, if it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// When it is seen next whether the policy of the agreement lets it go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_at: Option<Timestamp>,
    /// How many hours it may wait for the counterparty or for our data plane, when that is not [`limits::PATIENCE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// Messages accepted, to know repeats by.
    pub accepted: Repeats,
    /// Why it ended, or what the data plane reported last.
    pub error_detail: Option<String>,
    /// How often the data plane reported an error of the wire protocol.
    pub errors: u32,
    /// Whom the client wants to be told.
    pub callbacks: Vec<CallbackAddress>,
    /// The client's own properties.
    pub private_properties: Map<String, Value>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it came into its state.
    pub state_at: Timestamp,
}

/// What the provider's data plane starts with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StartWith {
    /// What the consumer has proven.
    pub claims: Map<String, Value>,
    /// Where to push to.
    pub data_address: Option<DataAddress>,
}

impl Transfer {
    /// Both parties' ids of it.
    #[must_use]
    pub fn pids(&self) -> Pids {
        Pids::new(self.role, &self.id, self.counterparty_pid.as_ref())
    }

    /// Whether it is a request that we have not acted on.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.role == Role::Provider && self.step == 0 && !self.state.is_final()
    }

    /// Whether it has ended and nothing is left to be told or heard about it.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.state.is_final() && self.message.is_none() && self.call.is_none() && self.due().is_none()
    }

    /// When something is to be done about it, should nothing happen before.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let over = self.ends_at.into_iter().chain(self.look_at).filter(|_| !self.state.is_ending());
        self.end_again_at.or_else(|| self.unanswered_at().into_iter().chain(self.waits_until()).chain(over).min())
    }

    /// Until when it waits for the counterparty, or for our data plane that said it would tell: with nothing of ours under way, and data neither flowing
    /// nor paused.
    #[must_use]
    pub fn waits_until(&self) -> Option<Timestamp> {
        let under_way = self.message.is_some() || self.call.is_some() || matches!(self.state, State::Started | State::Suspended);
        let waits = !under_way && !self.state.is_ending() && !self.is_unanswered();
        waits.then(|| limits::patient_until(self.state_at, self.hours_of_patience()))
    }

    /// How many hours it may wait.
    #[must_use]
    pub fn hours_of_patience(&self) -> u32 {
        self.patience.unwrap_or(limits::PATIENCE)
    }

    /// Until when we have to act on a request.
    #[must_use]
    pub fn unanswered_at(&self) -> Option<Timestamp> {
        self.is_unanswered().then(|| self.created_at.plus(limits::UNANSWERED))
    }

    /// Whether it must end, since the policy of the agreement is not fulfilled any more.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        !self.state.is_ending() && self.ends_at.is_some_and(|at| at <= now)
    }

    /// Whether the data address is made on our side: by the provider in pull transfers, by the consumer in push transfers.
    #[must_use]
    pub fn owns_address(&self) -> bool {
        match self.role {
            Role::Provider => !self.transfer_type.is_push(),
            Role::Consumer => self.transfer_type.is_push(),
        }
    }
}
