//! A negotiation and the agreement it may lead to.

use super::State;
use crate::control_plane::{
    dsp::{Pids, Repeats, Role, limits},
    policy,
};
use cellspace_schemas::{
    AgreementId, AssetId, Did, NegotiationId, Pid, ProfileId, Timestamp,
    dsp::{
        BaseUrl,
        negotiation::{MessageAgreement, MessageOffer, NegotiationState as Seen},
    },
    management::CallbackAddress,
    odrl::{Policy, PolicyType},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A contract negotiation as we hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Negotiation {
    /// Our process id.
    pub id: NegotiationId,
    /// Our role.
    pub role: Role,
    /// Where it stands with us.
    pub state: State,
    /// The last state that both parties have acknowledged: what the counterparty is shown.
    pub seen: Seen,
    /// Counts our messages: outcomes of older ones change nothing.
    pub step: u32,
    /// The counterparty.
    pub counterparty: Did,
    /// Where it takes messages.
    pub address: BaseUrl,
    /// Its process id, as soon as we know it.
    pub counterparty_pid: Option<Pid>,
    /// The dataspace profile.
    pub profile: ProfileId,
    /// The offer last requested or made.
    pub offer: MessageOffer,
    /// The agreement, from AGREEING or AGREED on.
    pub agreement: Option<Arc<Agreement>>,
    /// Messages accepted, to know repeats by.
    pub accepted: Repeats,
    /// Why it ended.
    pub error_detail: Option<String>,
    /// Why our policy refused it, with what was found: for the participant, never for its counterparty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// How many hours it may stay in a state in which one party waits for the other, when that is not [`limits::PATIENCE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// Whom the client wants to be told.
    pub callbacks: Vec<CallbackAddress>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it came into its state.
    pub state_at: Timestamp,
}

impl Negotiation {
    /// Both parties' ids of it.
    #[must_use]
    pub fn pids(&self) -> Pids {
        Pids::new(self.role, &self.id, self.counterparty_pid.as_ref())
    }

    /// Whether the counterparty began it and we have sent nothing yet.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.step == 0 && !self.state.is_final()
    }

    /// When something is to be done about it, should nothing happen before.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let retired = self.agreement.as_ref().and_then(|agreement| agreement.retired.as_ref());
        retired
            .and_then(|retired| retired.next)
            .or_else(|| if self.is_unanswered() { Some(self.created_at.plus(limits::UNANSWERED)) } else { self.waits_until() })
    }

    /// How long one party waits for the other: with no message of ours under way.
    fn waits_until(&self) -> Option<Timestamp> {
        let waits = !self.state.is_final() && self.state.sends().is_none();
        waits.then(|| limits::patient_until(self.state_at, self.patience.unwrap_or(limits::PATIENCE)))
    }

    /// Why it ends when it is due: what the counterparty is told, too.
    #[must_use]
    pub fn overdue(&self) -> String {
        if self.is_unanswered() {
            return limits::NOT_ANSWERED.to_owned();
        }
        let on_us = match self.role {
            Role::Provider => matches!(self.state, State::Requested | State::Accepted | State::Verified),
            Role::Consumer => matches!(self.state, State::Offered | State::Agreed),
        };
        let who = if on_us { "no decision" } else { "no answer of the counterparty" };
        format!("{who} within {} hours in state {}", self.patience.unwrap_or(limits::PATIENCE), self.state.name())
    }

    /// The agreement, when transfers may be made under it. In FINALIZING the consumer may know already that it holds, and a transfer that it asks
    /// for proves so.
    #[must_use]
    pub fn agreement_in_force(&self) -> Option<&Arc<Agreement>> {
        let agreed = matches!(self.state, State::Finalizing | State::Finalized);
        self.agreement.as_ref().filter(|agreement| agreed && agreement.retired.is_none())
    }

    /// Whether the asset is ours and must not be removed: it is being negotiated or was agreed on.
    #[must_use]
    pub fn holds_asset(&self) -> bool {
        let agreed = self.state == State::Finalized && self.agreement.is_some();
        self.role == Role::Provider && (!self.state.is_final() || agreed)
    }
}

/// A contract agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    /// The id that both parties know it by.
    pub id: AgreementId,
    /// The asset.
    pub asset: AssetId,
    /// Who grants.
    pub provider: Did,
    /// Who is granted.
    pub consumer: Did,
    /// When it was made.
    pub signed_at: Timestamp,
    /// Its rules.
    pub policy: Policy,
    /// Since when, with us, nothing is transferred under it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Retirement>,
}

/// The end of an agreement that one of its parties, whose own affair this is, wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retirement {
    /// When.
    pub at: Timestamp,
    /// Why: the counterparty is told so of each transfer that ends with it.
    pub reason: String,
    /// When further transfers under it are to be ended, if there are any.
    pub next: Option<Timestamp>,
}

impl Agreement {
    /// The agreement on this offer.
    #[must_use]
    pub fn on(offer: &MessageOffer, id: AgreementId, provider: Did, consumer: Did, now: Timestamp) -> Self {
        let policy = Policy { kind: PolicyType::Agreement, assigner: None, assignee: None, ..offer.policy.clone() };
        Self { id, asset: offer.target.clone(), provider, consumer, signed_at: now, policy, retired: None }
    }

    /// When its policy is not fulfilled any more, if that follows from the dates in it alone.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        policy::ends_at(&self.policy, self.signed_at)
    }

    /// As it stands in a message.
    #[must_use]
    pub fn to_message(&self) -> MessageAgreement {
        MessageAgreement {
            id: self.id.clone(),
            target: self.asset.clone(),
            assigner: self.provider.to_string(),
            assignee: self.consumer.to_string(),
            timestamp: Some(self.signed_at),
            policy: self.policy.clone(),
        }
    }
}
