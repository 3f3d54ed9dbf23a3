//! Bodies of the Management API (v5).

pub mod asset;
pub mod catalog_request;
pub mod contract_definition;
pub mod dataplane_metadata;
pub mod envelope;
pub mod participant_context;
pub mod policy_definition;
pub mod settings;

pub use asset::{Asset, AssetDraft};
pub use catalog_request::{CatalogRequest, DatasetRequest, requested_profile};
pub use contract_definition::{ContractDefinition, ContractDefinitionDraft};
pub use dataplane_metadata::DataplaneMetadata;
pub use envelope::{MANAGEMENT_CONTEXT, Reader};
pub use participant_context::{AssociateDataspaceProfile, ParticipantContextBody, ParticipantContextConfig, ParticipantContextState};
pub use policy_definition::{PolicyDefinition, PolicyDefinitionDraft};
pub use settings::{CelExpression, CelExpressionTestRequest, DataspaceProfile, DcpScope, ScopeType, TrustedIssuer};
