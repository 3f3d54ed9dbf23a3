//! Messages of counterparties: DSP, DCP, and the catalogs that they answer with.

use super::{json, stable};
use cellspace_schemas::{
    dcp::{CredentialMessage, CredentialOfferMessage, CredentialRequestMessage, PresentationQueryMessage, PresentationResponseMessage},
    dsp::{
        Message, Received,
        catalog::{CatalogRequestMessage, compacted_catalog, compacted_dataset, error_reasons},
        message::{MAX_MESSAGE_BYTES, read, render},
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage,
        },
        transfer::{
            TransferCompletionMessage, TransferProcess, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage,
            TransferTerminationMessage,
        },
    },
    json::is_too_deep,
    jsonld::{MAX_NAME_BYTES, compact},
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Messages of DSP 2025-1, each as every type of message.
pub fn dsp(data: &[u8]) {
    message::<CatalogRequestMessage>(data);
    message::<ContractRequestMessage>(data);
    message::<ContractOfferMessage>(data);
    message::<ContractAgreementMessage>(data);
    message::<ContractAgreementVerificationMessage>(data);
    message::<ContractNegotiationEventMessage>(data);
    message::<ContractNegotiationTerminationMessage>(data);
    message::<ContractNegotiation>(data);
    message::<TransferRequestMessage>(data);
    message::<TransferStartMessage>(data);
    message::<TransferSuspensionMessage>(data);
    message::<TransferCompletionMessage>(data);
    message::<TransferTerminationMessage>(data);
    message::<TransferProcess>(data);
}

fn message<T: Message + Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    let Ok(Received { id, body }) = read::<T>(data, &[]) else { return };
    assert!(data.len() <= MAX_MESSAGE_BYTES && !is_too_deep(data));
    super::kept(&body);
    let text = render(&body, id.as_ref()).expect("what was read can be written");
    if text.len() <= MAX_MESSAGE_BYTES {
        assert_eq!(read::<T>(&text, &[]), Ok(Received { id, body }));
    }
}

/// Messages in another form of JSON-LD: what they become has a bound, and no context that could give it another meaning.
pub fn json_ld(data: &[u8]) {
    dsp(data);
    let Some(value) = json(data) else { return };
    let Ok(compacted) = compact(&value, &[]) else { return };
    assert!(!compacted.contains_key("@context"));
    // A short term may stand for a long one that is known here; other names count.
    let text = serde_json::to_vec(&compacted).expect("what was read can be written");
    assert!(text.len() <= 16 * data.len() + MAX_NAME_BYTES);
}

/// Messages of DCP 1.0.
pub fn dcp(data: &[u8]) {
    stable::<PresentationQueryMessage>(data);
    stable::<PresentationResponseMessage>(data);
    stable::<CredentialRequestMessage>(data);
    stable::<CredentialMessage>(data);
    stable::<CredentialOfferMessage>(data);
}

/// Catalogs, datasets and errors of counterparties, on their way to a client.
pub fn catalog_answers(data: &[u8]) {
    let Some(value) = json(data) else { return };
    assert!(error_reasons(&value).chars().count() <= 510);
    // What is in the form already stays as it is.
    if let Some(catalog) = compacted_catalog(value.clone()) {
        assert_eq!(compacted_catalog(catalog.clone()).as_ref(), Some(&catalog));
    }
    if let Some(dataset) = compacted_dataset(value) {
        assert_eq!(compacted_dataset(dataset.clone()).as_ref(), Some(&dataset));
    }
}
