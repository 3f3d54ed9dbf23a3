//! The management plane: tenants and their participant profiles, what the operator registered, orchestrations and the agents that carry out
//! their activities.
//!
//! Nothing on the path of negotiations, transfers and credentials needs it. It reaches participants' agents only as any client would: through
//! the platform's HTTP APIs, with tokens that are bound to one participant each.
//!
//! A deployment travels over the event log: tenant -> `provisioning.requests` -> orchestration -> `provisioning.activities.<type>` -> activity
//! agents -> orchestration -> `provisioning.results` -> tenant.

pub mod activity;
mod backlog;
pub mod consumer;
mod handlers;
pub mod index;
pub mod limits;
pub mod operations;
pub mod orchestration;
pub mod platform;
mod refusal;
pub mod registry;
pub mod start;
mod supervisor;
pub mod tenant;
#[cfg(test)]
mod testing;
pub mod topics;

pub use backlog::Backlog;
pub use orchestration::OrchestrationAgent;
pub use platform::Platform;
pub use refusal::Refusal;
pub use registry::FabricRegistry;
pub use start::{Fabric, StartError};
pub use supervisor::ConsumerHealth;
pub use tenant::TenantAgent;
