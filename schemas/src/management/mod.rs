//! Bodies of the Management API (v5).

pub mod asset;
pub mod asset_fields;
pub mod callback_address;
pub mod catalog_request;
pub mod contract_definition;
pub mod contract_request;
pub mod dataplane_metadata;
pub mod dataset_access;
pub mod discovery;
pub mod envelope;
pub mod participant_context;
pub mod policy_definition;
pub mod process_event;
pub mod secret;
pub mod settings;
pub mod target_node;
pub mod transfer_request;

pub use asset::{Asset, AssetDraft};
pub use asset_fields::AssetFields;
pub use callback_address::CallbackAddress;
pub use catalog_request::{CatalogRequest, DatasetRequest, requested_profile};
pub use contract_definition::{ContractDefinition, ContractDefinitionDraft};
pub use contract_request::ContractRequest;
pub use dataplane_metadata::DataplaneMetadata;
pub use dataset_access::DatasetAccessRequest;
pub use discovery::{DiscoveryRequest, DiscoveryResponse};
pub use envelope::{MANAGEMENT_CONTEXT, Reader};
pub use participant_context::{AssociateDataspaceProfile, ParticipantContextBody, ParticipantContextConfig, ParticipantContextState};
pub use policy_definition::{PolicyDefinition, PolicyDefinitionDraft};
pub use process_event::ProcessEvent;
pub use secret::SecretDraft;
pub use settings::{CelExpression, CelExpressionTestRequest, DataspaceProfile, DcpScope, ScopeType, TrustedIssuer};
pub use target_node::TargetNode;
pub use transfer_request::TransferRequest;
