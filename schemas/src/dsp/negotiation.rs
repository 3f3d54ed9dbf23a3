//! Contract negotiation messages (DSP 2025-1, chapter "Contract Negotiation Protocol").

use super::{
    base_url::BaseUrl,
    reasons::{Reasons, code},
};
use crate::{
    AgreementId, AssetId, OfferId, Pid, Timestamp,
    odrl::{Policy, PolicyType},
};
use serde::{Deserialize, Serialize};

/// State of a negotiation as both parties see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NegotiationState {
    /// The consumer asked for an agreement.
    Requested,
    /// The provider made an offer.
    Offered,
    /// The consumer accepted the offer.
    Accepted,
    /// The provider agreed.
    Agreed,
    /// The consumer verified the agreement.
    Verified,
    /// The agreement holds. Final.
    Finalized,
    /// It ended without an agreement. Final.
    Terminated,
}

impl NegotiationState {
    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Offered => "OFFERED",
            Self::Accepted => "ACCEPTED",
            Self::Agreed => "AGREED",
            Self::Verified => "VERIFIED",
            Self::Finalized => "FINALIZED",
            Self::Terminated => "TERMINATED",
        }
    }
}

/// An offer inside a message (`MessageOffer`): with a target, its rules without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Policy", into = "Policy")]
pub struct MessageOffer {
    /// Which offer.
    pub id: OfferId,
    /// The dataset.
    pub target: AssetId,
    /// Its rules and its assigner; `id` and `target` stand above.
    pub policy: Policy,
}

impl MessageOffer {
    /// Whether both offer the same: dataset and rules, whatever their ids and parties.
    #[must_use]
    pub fn same_terms(&self, other: &Self) -> bool {
        self.target == other.target && self.policy.same_rules(&other.policy)
    }
}

/// An agreement inside a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Policy", into = "Policy")]
pub struct MessageAgreement {
    /// Which agreement.
    pub id: AgreementId,
    /// The dataset.
    pub target: AssetId,
    /// Who grants.
    pub assigner: String,
    /// Who is granted.
    pub assignee: String,
    /// When it was made. The specification wants it, its schema does not.
    pub timestamp: Option<Timestamp>,
    /// Its rules; everything else stands above.
    pub policy: Policy,
}

fn required(value: Option<String>, name: &str) -> Result<String, String> {
    value.ok_or_else(|| format!("{name} is required"))
}

fn id<T: std::str::FromStr<Err = crate::IdError>>(value: Option<String>, name: &str) -> Result<T, String> {
    required(value, name)?.parse().map_err(|e| format!("{name}: {e}"))
}

fn kind(policy: &Policy, expected: PolicyType) -> Result<(), String> {
    if policy.kind == expected { Ok(()) } else { Err(format!("@type must be {}", expected.as_str())) }
}

/// An `xsd:dateTime`; without a time zone it is taken as UTC.
fn date_time(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")))
}

impl TryFrom<Policy> for MessageOffer {
    type Error = String;
    fn try_from(mut policy: Policy) -> Result<Self, String> {
        kind(&policy, PolicyType::Offer)?;
        Ok(Self { id: id(policy.id.take(), "@id")?, target: id(policy.target.take(), "target")?, policy })
    }
}

impl From<MessageOffer> for Policy {
    fn from(offer: MessageOffer) -> Self {
        Self { id: Some(offer.id.into()), target: Some(offer.target.into()), ..offer.policy }
    }
}

impl TryFrom<Policy> for MessageAgreement {
    type Error = String;
    fn try_from(mut policy: Policy) -> Result<Self, String> {
        kind(&policy, PolicyType::Agreement)?;
        let timestamp = match policy.timestamp.take() {
            None => None,
            Some(text) => Some(date_time(&text).ok_or("timestamp must be an xsd:dateTime")?),
        };
        Ok(Self {
            id: id(policy.id.take(), "@id")?,
            target: id(policy.target.take(), "target")?,
            assigner: required(policy.assigner.take(), "assigner")?,
            assignee: required(policy.assignee.take(), "assignee")?,
            timestamp,
            policy,
        })
    }
}

impl From<MessageAgreement> for Policy {
    fn from(agreement: MessageAgreement) -> Self {
        Self {
            id: Some(agreement.id.into()),
            target: Some(agreement.target.into()),
            assigner: Some(agreement.assigner),
            assignee: Some(agreement.assignee),
            timestamp: agreement.timestamp.map(Timestamp::to_rfc3339),
            ..agreement.policy
        }
    }
}

/// Declares a message type: its `@type` is its name.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
        impl $crate::dsp::message::Message for $name {
            const TYPE: &'static str = stringify!($name);
        }
    )+};
}
pub(super) use messages;

messages! {
    /// The consumer asks for an agreement (first), or answers an offer with one of its own.
    ContractRequestMessage {
        /// The consumer's process.
        consumer_pid: Pid,
        /// The provider's process; absent in the first request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_pid: Option<Pid>,
        /// What is asked for.
        offer: MessageOffer,
        /// Where the provider answers to; in the first request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        callback_address: Option<BaseUrl>,
    }
    /// The provider makes an offer: on its own initiative, or as an answer to a request.
    ContractOfferMessage {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process; absent in a first offer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consumer_pid: Option<Pid>,
        /// What is offered.
        offer: MessageOffer,
        /// Where the consumer answers to; in a first offer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        callback_address: Option<BaseUrl>,
    }
    /// The provider agrees.
    ContractAgreementMessage {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process.
        consumer_pid: Pid,
        /// The whole agreement.
        agreement: MessageAgreement,
    }
    /// The consumer has verified the agreement.
    ContractAgreementVerificationMessage {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process.
        consumer_pid: Pid,
    }
    /// The consumer accepts the offer, or the provider finalizes the agreement.
    ContractNegotiationEventMessage {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process.
        consumer_pid: Pid,
        /// Which.
        event_type: NegotiationEvent,
    }
    /// Either party ends the negotiation.
    ContractNegotiationTerminationMessage {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process.
        consumer_pid: Pid,
        /// A code of the sender's own.
        #[serde(default, deserialize_with = "code", skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// Why.
        #[serde(default, skip_serializing_if = "Reasons::is_empty")]
        reason: Reasons,
    }
    /// A negotiation as its other party sees it: the answer to the first message and to a GET.
    ContractNegotiation {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process.
        consumer_pid: Pid,
        /// How far it is.
        state: NegotiationState,
    }
}

/// What a [`ContractNegotiationEventMessage`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NegotiationEvent {
    /// The consumer accepts the offer.
    Accepted,
    /// The provider finalizes the agreement.
    Finalized,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::{
        message::{CONTEXT, Message, MessageError, SentContext, read, render},
        reasons::{MAX_REASON_CHARS, MAX_REASONS},
    };
    use serde_json::{Value, json};

    fn request() -> Value {
        json!({"@context": [CONTEXT], "@type": "ContractRequestMessage", "@id": "urn:uuid:m", "consumerPid": "urn:uuid:c",
            "offer": {"@type": "Offer", "@id": "urn:uuid:o", "target": "urn:uuid:d", "permission": [{"action": "use"}], "other": 1},
            "callbackAddress": "https://example.com/callback"})
    }

    fn parse<T: Message + serde::de::DeserializeOwned>(value: &Value) -> Result<T, MessageError> {
        read(&serde_json::to_vec(value).unwrap(), &[]).map(|m| m.body)
    }

    #[test]
    fn a_request_is_read_and_written() {
        let message: ContractRequestMessage = parse(&request()).unwrap();
        assert_eq!(message.offer.id.as_str(), "urn:uuid:o");
        assert_eq!(message.offer.policy.permission.len(), 1);
        assert_eq!(message.provider_pid, None);
        let text: Value = serde_json::from_slice(&render(&message, None, &SentContext::default()).unwrap()).unwrap();
        assert_eq!(
            text["offer"],
            json!({"@type": "Offer", "@id": "urn:uuid:o", "target": "urn:uuid:d", "permission": [{"action": "use"}]})
        );
        assert_eq!(text.get("providerPid"), None);
        assert_eq!(parse::<ContractRequestMessage>(&text), Ok(message));
    }

    #[test]
    fn bad_requests_are_refused() {
        for (path, bad) in [
            ("/consumerPid", json!("")),
            ("/consumerPid", json!("a b")),
            ("/consumerPid", json!(null)),
            ("/consumerPid", json!("x".repeat(300))),
            ("/offer", json!("o")),
            ("/offer/@type", json!("Set")),
            ("/offer/@id", json!(7)),
            ("/offer/target", json!(null)),
            ("/callbackAddress", json!("not a url")),
            ("/callbackAddress", json!("ftp://example.com")),
            ("/@id", json!(5)),
        ] {
            let mut message = request();
            *message.pointer_mut(path).unwrap() = bad.clone();
            assert!(parse::<ContractRequestMessage>(&message).is_err(), "{path} {bad}");
        }
    }

    #[test]
    fn an_agreement_is_read_and_written() {
        let value = json!({"@context": [CONTEXT], "@type": "ContractAgreementMessage", "consumerPid": "c", "providerPid": "p",
            "callbackAddress": "ignored", "agreement": {"@id": "a", "@type": "Agreement", "target": {"@id": "d"}, "assigner": "P",
            "assignee": "C", "timestamp": "2023-01-01T01:00:00Z", "permission": [{"action": "use"}]}});
        let message: ContractAgreementMessage = parse(&value).unwrap();
        assert_eq!(message.agreement.timestamp, Some(Timestamp(1_672_534_800_000)));
        assert_eq!(message.agreement.target.as_str(), "d");
        let text: Value = serde_json::from_slice(&render(&message, None, &SentContext::default()).unwrap()).unwrap();
        assert_eq!(parse::<ContractAgreementMessage>(&text), Ok(message));
        for (path, bad) in
            [("/agreement/timestamp", json!("soon")), ("/agreement/assignee", json!(null)), ("/agreement/@type", json!("Offer"))]
        {
            let mut message = value.clone();
            *message.pointer_mut(path).unwrap() = bad;
            assert!(parse::<ContractAgreementMessage>(&message).is_err(), "{path}");
        }
    }

    #[test]
    fn reasons_become_one_line() {
        let termination = |reason: Value| {
            parse::<ContractNegotiationTerminationMessage>(&json!({"@context": [CONTEXT], "@type": "ContractNegotiationTerminationMessage",
                "consumerPid": "c", "providerPid": "p", "code": "99", "reason": reason}))
        };
        let text = |reason: Value| termination(reason).unwrap().reason.text();
        assert_eq!(text(json!(["a", {"@value": "b", "@language": "en"}, {"x": 1}])).as_deref(), Some("a; b; {\"x\":1}"));
        assert_eq!(text(json!("a\nb")).as_deref(), Some("a b"));
        assert_eq!(text(json!([])), None);
        assert_eq!(text(json!(["x".repeat(5_000)])).unwrap().len(), MAX_REASON_CHARS);
        assert!(termination(json!(vec!["x"; MAX_REASONS + 1])).is_err() && termination(json!(5)).is_err());
    }

    #[test]
    fn every_state_has_its_word() {
        for state in ["REQUESTED", "OFFERED", "ACCEPTED", "AGREED", "VERIFIED", "FINALIZED", "TERMINATED"] {
            let read: NegotiationState = serde_json::from_value(json!(state)).unwrap();
            assert_eq!(read.name(), state);
        }
        assert!(serde_json::from_value::<NegotiationEvent>(json!("AGREED")).is_err());
    }
}
