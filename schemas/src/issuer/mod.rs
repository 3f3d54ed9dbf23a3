//! Words of credential issuance: identifiers, the issuer admin API, and what an issuer says of itself.

pub mod admin;
pub mod coerce;
pub mod ids;
pub mod metadata;

pub use ids::{AttestationId, CredentialDefinitionId, CredentialId, HolderId, HolderPid, IssuerPid};
