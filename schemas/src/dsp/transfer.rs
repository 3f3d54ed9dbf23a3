//! Transfer process messages (DSP 2025-1, chapter "Transfer Process Protocol").

use super::{
    base_url::BaseUrl,
    data_address::DataAddress,
    negotiation::messages,
    reasons::{Reasons, code},
};
use crate::{AgreementId, Pid, TransferType};
use serde::{Deserialize, Serialize};

/// State of a transfer process as both parties see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TransferState {
    /// The consumer asked for the dataset.
    Requested,
    /// The dataset can be accessed, or is being pushed.
    Started,
    /// Access is suspended.
    Suspended,
    /// Done. Final.
    Completed,
    /// Ended by one of the parties. Final.
    Terminated,
}

impl TransferState {
    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Started => "STARTED",
            Self::Suspended => "SUSPENDED",
            Self::Completed => "COMPLETED",
            Self::Terminated => "TERMINATED",
        }
    }
}

messages! {
    /// The consumer asks for the dataset of an agreement.
    TransferRequestMessage {
        /// The consumer's process.
        consumer_pid: Pid,
        /// Under which agreement.
        agreement_id: AgreementId,
        /// How: a distribution's format.
        format: TransferType,
        /// Where to push to; only for push transfers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_address: Option<DataAddress>,
        /// Where the provider answers to.
        callback_address: BaseUrl,
    }
    /// The transfer starts, or starts again after a suspension.
    TransferStartMessage {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process.
        consumer_pid: Pid,
        /// Where the data is; in pull transfers from the provider.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_address: Option<DataAddress>,
    }
    /// Either party suspends the transfer.
    TransferSuspensionMessage {
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
    /// Either party says that the transfer is done.
    TransferCompletionMessage {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process.
        consumer_pid: Pid,
    }
    /// Either party ends the transfer.
    TransferTerminationMessage {
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
    /// A transfer process as its other party sees it: the answer to the request and to a GET.
    TransferProcess {
        /// The provider's process.
        provider_pid: Pid,
        /// The consumer's process.
        consumer_pid: Pid,
        /// How far it is.
        state: TransferState,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::message::{CONTEXT, SentContext, read, render};
    use serde_json::{Value, json};

    #[test]
    fn a_request_is_read_and_written() {
        let value = json!({"@context": [CONTEXT], "@type": "TransferRequestMessage", "consumerPid": "urn:uuid:c", "agreementId": "urn:uuid:a",
            "format": "HttpData-PULL", "callbackAddress": "https://example.com/callback"});
        let message = read::<TransferRequestMessage>(&serde_json::to_vec(&value).unwrap(), &[]).unwrap().body;
        assert_eq!(message.data_address, None);
        assert_eq!(serde_json::from_slice::<Value>(&render(&message, None, &SentContext::default()).unwrap()).unwrap(), {
            let mut value = value.clone();
            value["callbackAddress"] = json!("https://example.com/callback");
            value
        });
        for missing in ["consumerPid", "agreementId", "format", "callbackAddress"] {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove(missing);
            assert!(read::<TransferRequestMessage>(&serde_json::to_vec(&value).unwrap(), &[]).is_err(), "{missing}");
        }
    }

    #[test]
    fn a_start_may_carry_an_address() {
        let value = json!({"@context": [CONTEXT], "@type": "TransferStartMessage", "consumerPid": "c", "providerPid": "p",
            "dataAddress": {"@type": "DataAddress", "endpointType": "t", "endpoint": "http://example.com"}});
        let message = read::<TransferStartMessage>(&serde_json::to_vec(&value).unwrap(), &[]).unwrap().body;
        assert_eq!(message.data_address.as_ref().unwrap().endpoint.as_deref(), Some("http://example.com"));
        assert_eq!(serde_json::from_slice::<Value>(&render(&message, None, &SentContext::default()).unwrap()).unwrap(), value);
    }

    #[test]
    fn every_state_has_its_word() {
        for state in ["REQUESTED", "STARTED", "SUSPENDED", "COMPLETED", "TERMINATED"] {
            assert_eq!(serde_json::from_value::<TransferState>(json!(state)).unwrap().name(), state);
        }
    }
}
