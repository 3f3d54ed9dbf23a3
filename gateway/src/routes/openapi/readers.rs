//! The readers that handlers use, by the names of the documents that they read.

use super::schema::Reads;
use crate::routes::{dataflows::Completed, token_admin};
use cellspace_actors::access::clients::mapping::{Mapping, ScopeMapping};
use cellspace_schemas::{
    Did, QuerySpec,
    dcp::{CredentialMessage, CredentialOfferMessage, CredentialRequestMessage, PresentationQueryMessage, Service},
    dps::{
        DataFlowPrepareMessage, DataFlowResumeMessage, DataFlowStartMessage, DataFlowStartedNotificationMessage, DataFlowStatusMessage,
        DataFlowSuspendMessage, DataFlowTerminateMessage, DataPlaneRegistrationMessage,
    },
    dsp::{
        catalog::CatalogRequestMessage,
        message::{Message, read},
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage,
        },
        transfer::{
            TransferCompletionMessage, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage, TransferTerminationMessage,
        },
    },
    fabric::{
        ActivityDefinition, NewCell, NewDataspaceDeployment, NewDataspaceProfile, NewParticipantProfileDeployment, NewTenant,
        OrchestrationManifest, OrchestrationTemplate, Query, TenantPropertiesDiff,
    },
    identity::{CredentialManifest, CredentialRequestDto, DidRequest, KeyDescriptor, OfferRule, ParticipantManifest},
    issuer::admin::{AttestationBody, DefinitionBody, HolderBody, OfferBody, ReasonBody},
    management::{
        Asset, AssetDraft, AssociateDataspaceProfile, CatalogRequest, CelExpression, CelExpressionTestRequest, ContractDefinitionDraft,
        ContractRequest, DatasetAccessRequest, DatasetRequest, DataspaceProfile, DcpScope, DiscoveryRequest, ParticipantContextBody,
        ParticipantContextConfig, PolicyDefinitionDraft, SecretDraft, TargetNode, TransferRequest,
        contract_request::{reason, seen_offer},
    },
    source::SourceDocument,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Whether the value is read as a type.
fn is<T: DeserializeOwned>(value: &Value) -> bool {
    serde_json::from_value::<T>(value.clone()).is_ok()
}

/// Whether the value is read as a message of the protocol.
fn message<T: Message + DeserializeOwned>(value: &Value) -> bool {
    read::<T>(value.to_string().as_bytes(), &[]).is_ok()
}

fn query(value: &Value) -> bool {
    QuerySpec::from_document(value.to_string().as_bytes(), &Asset::PATHS).is_ok()
}

fn plain_query(value: &Value) -> bool {
    QuerySpec::from_body(value.to_string().as_bytes(), &Asset::PATHS).is_ok()
}

/// Readers by the names of what they read.
pub const READERS: &[(&str, Reads)] = &[
    ("AssetDraft", |value| AssetDraft::from_json(value).is_ok()),
    ("PolicyDefinitionDraft", |value| PolicyDefinitionDraft::from_json(value).is_ok()),
    ("ContractDefinitionDraft", |value| ContractDefinitionDraft::from_json(value).is_ok()),
    ("SecretDraft", |value| SecretDraft::from_json(value.clone()).is_ok()),
    ("QuerySpec", query),
    ("PlainQuerySpec", plain_query),
    ("ParticipantContextDraft", |value| ParticipantContextBody::from_json(value).is_ok()),
    ("ParticipantContextConfigDraft", |value| ParticipantContextConfig::from_json(value).is_ok()),
    ("AssociateDataspaceProfile", |value| AssociateDataspaceProfile::from_json(value).is_ok()),
    ("CelExpressionDraft", |value| CelExpression::from_json(value, "fresh").is_ok()),
    ("CelExpressionTestRequest", |value| CelExpressionTestRequest::from_json(value).is_ok()),
    ("DcpScopeDraft", |value| DcpScope::from_json(value, "fresh").is_ok()),
    ("DataspaceProfileDraft", |value| DataspaceProfile::from_json(value).is_ok()),
    ("TargetNode", |value| TargetNode::from_json(value).is_ok()),
    ("CatalogRequest", |value| CatalogRequest::from_json(value).is_ok()),
    ("DatasetRequest", |value| DatasetRequest::from_json(value).is_ok()),
    ("DiscoveryRequest", |value| DiscoveryRequest::from_json(value).is_ok()),
    ("DatasetAccessRequest", |value| DatasetAccessRequest::from_json(value).is_ok()),
    ("ContractRequest", |value| ContractRequest::from_json(value).is_ok()),
    ("ContractOffer", contract_offer),
    ("Offer", |value| seen_offer(value).is_ok()),
    ("TerminateNegotiation", |value| reason(value, "TerminateNegotiation").is_ok()),
    ("RetireAgreement", |value| reason(value, "RetireAgreement").is_ok()),
    ("TerminateTransfer", |value| reason(value, "TerminateTransfer").is_ok()),
    ("SuspendTransfer", |value| reason(value, "SuspendTransfer").is_ok()),
    ("TransferRequest", |value| TransferRequest::from_json(value).is_ok()),
    ("DataPlaneRegistrationMessage", is::<DataPlaneRegistrationMessage>),
    ("CatalogRequestMessage", message::<CatalogRequestMessage>),
    ("ContractRequestMessage", message::<ContractRequestMessage>),
    ("ContractOfferMessage", message::<ContractOfferMessage>),
    ("ContractAgreementMessage", message::<ContractAgreementMessage>),
    ("ContractAgreementVerificationMessage", message::<ContractAgreementVerificationMessage>),
    ("ContractNegotiationEventMessage", message::<ContractNegotiationEventMessage>),
    ("ContractNegotiationTerminationMessage", message::<ContractNegotiationTerminationMessage>),
    ("TransferRequestMessage", message::<TransferRequestMessage>),
    ("TransferStartMessage", message::<TransferStartMessage>),
    ("TransferSuspensionMessage", message::<TransferSuspensionMessage>),
    ("TransferCompletionMessage", message::<TransferCompletionMessage>),
    ("TransferTerminationMessage", message::<TransferTerminationMessage>),
    ("PresentationQueryMessage", is::<PresentationQueryMessage>),
    ("CredentialMessage", is::<CredentialMessage>),
    ("CredentialOfferMessage", is::<CredentialOfferMessage>),
    ("CredentialRequestMessage", is::<CredentialRequestMessage>),
    ("DataFlowPrepareMessage", is::<DataFlowPrepareMessage>),
    ("DataFlowStartMessage", is::<DataFlowStartMessage>),
    ("DataFlowStartedNotificationMessage", is::<DataFlowStartedNotificationMessage>),
    ("DataFlowSuspendMessage", is::<DataFlowSuspendMessage>),
    ("DataFlowResumeMessage", is::<DataFlowResumeMessage>),
    ("DataFlowTerminateMessage", is::<DataFlowTerminateMessage>),
    ("DataFlowCompletedMessage", is::<Completed>),
    ("DataFlowStatusMessage", is::<DataFlowStatusMessage>),
    ("SourceDocument", is::<SourceDocument>),
    ("KeyDescriptor", is::<KeyDescriptor>),
    ("DidRequest", is::<DidRequest>),
    ("Service", is::<Service>),
    ("CredentialManifest", is::<CredentialManifest>),
    ("CredentialRequest", is::<CredentialRequestDto>),
    ("ParticipantManifest", is::<ParticipantManifest>),
    ("Scopes", is::<Vec<String>>),
    ("OfferRules", is::<Vec<OfferRule>>),
    ("HolderDraft", is::<HolderBody>),
    ("AttestationDraft", is::<AttestationBody>),
    ("CredentialDefinitionDraft", is::<DefinitionBody>),
    ("CredentialOffer", is::<OfferBody>),
    ("Reason", is::<ReasonBody>),
    ("NewCell", is::<NewCell>),
    ("NewDataspaceProfile", is::<NewDataspaceProfile>),
    ("NewDataspaceDeployment", is::<NewDataspaceDeployment>),
    ("NewTenant", is::<NewTenant>),
    ("TenantPropertiesDiff", is::<TenantPropertiesDiff>),
    ("NewParticipantProfileDeployment", is::<NewParticipantProfileDeployment>),
    ("FabricQuery", is::<Query>),
    ("ActivityDefinitionDraft", is::<ActivityDefinition>),
    ("OrchestrationTemplateDraft", is::<OrchestrationTemplate>),
    ("OrchestrationManifest", is::<OrchestrationManifest>),
    ("ClientDraft", is::<token_admin::ClientBody>),
    ("Mapping", is::<Mapping>),
    ("MappingUpdate", is::<token_admin::MappingBody>),
    ("ScopeMapping", is::<ScopeMapping>),
    ("ScopeMappingUpdate", is::<token_admin::ScopeBody>),
];

/// Who is the assigner makes the offer.
fn contract_offer(value: &Value) -> bool {
    let own = value.pointer("/policy/assigner").and_then(Value::as_str).and_then(|own| Did::new(own).ok());
    own.is_some_and(|own| ContractRequest::offer_from_json(value, &own).is_ok())
}
