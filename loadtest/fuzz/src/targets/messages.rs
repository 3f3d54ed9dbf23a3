//! Messages of counterparties: DSP, DCP, and the catalogs that they answer with.

use super::json;
use cellspace_schemas::{
    dcp::{
        self, CredentialMessage, CredentialOfferMessage, CredentialRequestMessage, PresentationQueryMessage, PresentationResponseMessage,
    },
    dsp::{
        self, Message, Received,
        catalog::{CatalogRequestMessage, compacted_catalog, compacted_dataset},
        message::{MAX_MESSAGE_BYTES, SentContext, read, render},
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage,
        },
        reasons::MAX_REASON_CHARS,
        transfer::{
            TransferCompletionMessage, TransferProcess, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage,
            TransferTerminationMessage,
        },
    },
    json::is_too_deep,
    jsonld::{DCP, DSP, MAX_NAME_BYTES, Others, compact},
    management::MANAGEMENT_CONTEXT,
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
    let text = render(&body, id.as_ref(), &SentContext::default()).expect("what was read can be written");
    if text.len() <= MAX_MESSAGE_BYTES {
        assert_eq!(read::<T>(&text, &[]), Ok(Received { id, body }));
    }
}

/// Messages in another form of JSON-LD: what they become has a bound, and no context that could give it another meaning.
pub fn json_ld(data: &[u8]) {
    dsp(data);
    dcp(data);
    let Some(value) = json(data) else { return };
    for (dialect, others) in [(&DSP, Others::LeftOut), (&DSP, Others::Kept), (&DCP, Others::LeftOut)] {
        let Ok(compacted) = compact(dialect, &value, &[], others) else { continue };
        assert!(!compacted.contains_key("@context"));
        // A short term may stand for a long one that is known here; other names count.
        let text = serde_json::to_vec(&compacted).expect("what was read can be written");
        assert!(text.len() <= 16 * data.len() + MAX_NAME_BYTES);
    }
}

/// Messages of DCP 1.0, each as every type of message.
pub fn dcp(data: &[u8]) {
    claims::<PresentationQueryMessage>(data);
    claims::<PresentationResponseMessage>(data);
    claims::<CredentialRequestMessage>(data);
    claims::<CredentialMessage>(data);
    claims::<CredentialOfferMessage>(data);
}

fn claims<T: dcp::Message + Serialize>(data: &[u8]) {
    let Ok(message) = dcp::read::<T>(data) else { return };
    assert!(!is_too_deep(data));
    let text = serde_json::to_vec(&message).expect("what was read can be written");
    let again: T = dcp::read(&text).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&text)));
    assert_eq!(serde_json::to_vec(&again).ok(), Some(text), "another text is written of what was read again");
}

/// Catalogs, datasets and errors of counterparties, on their way to a client.
pub fn catalog_answers(data: &[u8]) {
    assert!(dsp::error::reason(data).is_none_or(|told| told.chars().count() <= MAX_REASON_CHARS));
    let Some(value) = json(data) else { return };
    // What is in the form already stays as it is.
    let known = [MANAGEMENT_CONTEXT.to_owned()];
    if let Ok(catalog) = compacted_catalog(value.clone(), &known) {
        assert_eq!(compacted_catalog(catalog.clone(), &known).as_ref(), Ok(&catalog));
    }
    if let Ok(dataset) = compacted_dataset(value, &known) {
        assert_eq!(compacted_dataset(dataset.clone(), &known).as_ref(), Ok(&dataset));
    }
}
