//! The agents of a dataspace participant, and the services that do their I/O.
//!
//! Each agent's folder holds its pure machines (no clock, randomness or I/O) beside the shell that asks and tells others.

#![forbid(unsafe_code)]

pub mod access;
pub mod control_plane;
pub mod credential_service;
pub mod data_plane;
pub mod dcp_options;
pub mod derived_id;
pub mod directory;
pub mod expressions;
pub mod fabric;
pub mod federated_catalog;
pub mod issuer;
pub mod name;
pub mod outbound;
pub mod public_urls;
pub mod records;
pub mod services;
pub mod settings;
pub mod signed_post;
pub mod trust;

pub use control_plane::ControlPlane;
pub use credential_service::CredentialService;
pub use dcp_options::DcpOptions;
pub use federated_catalog::FederatedCatalog;
pub use name::Name;
pub use outbound::OutboundHttp;
pub use public_urls::PublicUrls;
pub use services::Services;
pub use settings::SettingsAgent;
