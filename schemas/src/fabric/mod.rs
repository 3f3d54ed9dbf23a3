//! Words of the fabric: what tenant manager and provision manager speak, and what travels between them on the event log.
//!
//! Names and shapes follow the Connector Fabric Manager's `v1alpha1` APIs. Unknown fields are ignored, `null` counts as absent.

pub mod cell;
pub mod dataspace_profile;
pub mod ids;
pub mod keys;
pub mod orchestration;
pub mod participant_profile;
pub mod predicate;
pub mod query;
pub mod tenant;
mod wire;

pub use cell::{Cell, NewCell};
pub use dataspace_profile::{
    CredentialSpec, DataspaceDeployment, DataspaceProfile, DataspaceSpec, NewDataspaceDeployment, NewDataspaceProfile,
};
pub use ids::{
    ActivityId, ActivityType, CellId, DataspaceProfileId, DeploymentId, OrchestrationId, OrchestrationType, ParticipantProfileId,
    TemplateRef, TenantId, VpaId,
};
pub use orchestration::{
    Activity, ActivityDefinition, ActivityMessage, Orchestration, OrchestrationDefinition, OrchestrationManifest, OrchestrationResponse,
    OrchestrationState, OrchestrationStep, OrchestrationTemplate,
};
pub use participant_profile::{
    DeploymentState, NewParticipantProfileDeployment, ParticipantProfile, VirtualParticipantAgent, VpaManifest, VpaType,
};
pub use predicate::{Predicate, PredicateError};
pub use query::{Page, Query};
pub use tenant::{NewTenant, Tenant, TenantPropertiesDiff};

/// Free properties of an entity.
pub type Properties = serde_json::Map<String, serde_json::Value>;
