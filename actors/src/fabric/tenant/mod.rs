//! A tenant and its participant profiles. One agent per tenant.

mod agent;
mod profile;
mod properties;
mod state;

pub use agent::{Command, Deployment, Effect, Event, Prepared, Refusal, Reply, TenantAgent};
pub use state::{ProfileRecord, TenantState};

#[cfg(test)]
mod tests;
