//! A tenant and its participant profiles. One agent per tenant.

mod agent;
mod awaited;
mod profile;
mod properties;
mod state;

pub use agent::{Command, Deployment, Effect, Event, Outcome, Prepared, Reply, TenantAgent};
pub use state::{ProfileRecord, TenantState};

#[cfg(test)]
mod tests;
