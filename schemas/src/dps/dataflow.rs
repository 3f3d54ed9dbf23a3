//! Data flow messages (data plane signaling, "Data Flow API").

use crate::{AgreementId, AssetId, MessageId, ProfileId, TransferId, TransferType, dsp::DataAddress};
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Map, Value};

/// Labels of one flow at most.
pub const MAX_LABELS: usize = 64;
/// Longest reason or error text kept, in characters.
pub const MAX_TEXT_CHARS: usize = 1_000;

/// State of a data flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DataFlowState {
    /// Made.
    Initialized,
    /// Getting ready to receive or send.
    Preparing,
    /// Ready.
    Prepared,
    /// Starting the wire protocol.
    Starting,
    /// Data may flow.
    Started,
    /// No data flows for now.
    Suspended,
    /// Ended normally. Final.
    Completed,
    /// Ended before completion. Final.
    Terminated,
}

impl DataFlowState {
    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialized => "INITIALIZED",
            Self::Preparing => "PREPARING",
            Self::Prepared => "PREPARED",
            Self::Starting => "STARTING",
            Self::Started => "STARTED",
            Self::Suspended => "SUSPENDED",
            Self::Completed => "COMPLETED",
            Self::Terminated => "TERMINATED",
        }
    }

    /// Whether no other state can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Terminated => true,
            Self::Initialized | Self::Preparing | Self::Prepared | Self::Starting | Self::Started | Self::Suspended => false,
        }
    }
}

/// What is common to prepare and start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataFlowBaseMessage {
    /// Which message; the same on every attempt.
    pub message_id: MessageId,
    /// The sender's id in the dataspace: its DID.
    pub participant_id: String,
    /// The counterparty's id in the dataspace: its DID.
    pub counter_party_id: String,
    /// The dataspace profile.
    pub dataspace_context: ProfileId,
    /// The transfer process; also the flow's id in the paths of later messages.
    pub process_id: TransferId,
    /// Under which agreement.
    pub agreement_id: AgreementId,
    /// Which dataset.
    pub dataset_id: AssetId,
    /// How.
    pub profile: TransferType,
    /// What the counterparty has proven, as the control plane verified it.
    pub claims: Map<String, Value>,
    /// For the data plane alone, for example the source's name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Flavours of the flow.
    #[serde(default, deserialize_with = "labels", skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// The consumer's data plane gets ready.
pub type DataFlowPrepareMessage = DataFlowBaseMessage;

/// The provider's data plane starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataFlowStartMessage {
    /// Which flow, for whom.
    #[serde(flatten)]
    pub flow: DataFlowBaseMessage,
    /// Where to push to; only in push transfers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_address: Option<DataAddress>,
}

/// The consumer's data plane learns that the transfer has started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataFlowStartedNotificationMessage {
    /// Which message.
    pub message_id: MessageId,
    /// Where the data is; in pull transfers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_address: Option<DataAddress>,
}

/// The flow goes on after a suspension.
pub type DataFlowResumeMessage = DataFlowStartedNotificationMessage;

/// The flow pauses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataFlowSuspendMessage {
    /// Which message.
    pub message_id: MessageId,
    /// Why.
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The flow ends.
pub type DataFlowTerminateMessage = DataFlowSuspendMessage;

/// How a flow is: the answer to prepare, start and resume, and what a data plane tells its control plane.
///
/// The schema requires both ids; data planes leave them out where the path says the same, so they are optional when read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataFlowStatusMessage {
    /// Which message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// Which flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_flow_id: Option<TransferId>,
    /// Its state.
    pub state: DataFlowState,
    /// Where the data is (provider, pull) or goes (consumer, push).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_address: Option<DataAddress>,
    /// What went wrong.
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Answer to the status request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataFlowStatusResponseMessage {
    /// Which flow.
    pub data_flow_id: TransferId,
    /// Its state.
    pub state: DataFlowState,
}

fn labels<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let labels = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
    super::registration::check_labels(&labels).map_err(D::Error::custom)?;
    Ok(labels)
}

fn words<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text
        .map(|t| t.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT_CHARS).collect::<String>())
        .filter(|t| !t.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn start() -> Value {
        json!({"messageId": "m-1", "participantId": "did:web:me", "counterPartyId": "did:web:peer", "dataspaceContext": "http-dsp-profile-2025-1",
            "processId": "t-1", "agreementId": "ag-1", "datasetId": "a-77", "profile": "HttpData-PULL", "labels": ["eu"],
            "metadata": {"source": "store-3"}, "claims": {"vc": []},
            "dataAddress": {"@type": "DataAddress", "endpointType": "t", "endpoint": "https://x"}})
    }

    #[test]
    fn start_and_prepare_share_their_base() {
        let message: DataFlowStartMessage = serde_json::from_value(start()).unwrap();
        assert_eq!(serde_json::to_value(&message).unwrap(), start());
        let prepare: DataFlowPrepareMessage = serde_json::from_value(start()).unwrap();
        assert_eq!(prepare, message.flow);
        for required in [
            "messageId",
            "participantId",
            "counterPartyId",
            "dataspaceContext",
            "processId",
            "agreementId",
            "datasetId",
            "profile",
            "claims",
        ] {
            let mut bad = start();
            bad.as_object_mut().unwrap().remove(required);
            assert!(serde_json::from_value::<DataFlowStartMessage>(bad).is_err(), "{required}");
        }
    }

    #[test]
    fn a_status_needs_its_state_alone() {
        let message: DataFlowStatusMessage = serde_json::from_value(json!({"state": "PREPARED"})).unwrap();
        assert_eq!((message.state, message.data_flow_id), (DataFlowState::Prepared, None));
        assert!(serde_json::from_value::<DataFlowStatusMessage>(json!({"dataFlowId": "t-1"})).is_err());
        assert!(serde_json::from_value::<DataFlowStatusMessage>(json!({"state": "DONE"})).is_err());
    }

    #[test]
    fn every_state_has_its_word() {
        for state in ["INITIALIZED", "PREPARING", "PREPARED", "STARTING", "STARTED", "SUSPENDED", "COMPLETED", "TERMINATED"] {
            assert_eq!(serde_json::from_value::<DataFlowState>(json!(state)).unwrap().name(), state);
        }
    }
}
