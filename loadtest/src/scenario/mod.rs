//! The scenarios. Each makes its world, warms up, measures a window, and checks every answer.

mod catalog;
mod members;
mod negotiation;
mod play;
mod provision;
mod transfer;

use crate::{options::Common, report::Report};
use anyhow::Result;

/// What is played.
#[derive(Debug, Clone, Copy)]
pub enum Scenario {
    /// Catalogs of providers, presentations verified before.
    Catalog {
        /// Offers that a counterparty sees.
        offers: usize,
    },
    /// Negotiations between participants of the platform.
    Negotiation,
    /// Transfers between participants of the platform.
    Transfer,
    /// New participants.
    Provision,
}

/// Plays a scenario.
///
/// # Errors
/// When the platform cannot be brought to where the scenario begins. What goes wrong afterwards is counted in the report.
pub async fn run(scenario: Scenario, common: &Common) -> Result<Report> {
    match scenario {
        Scenario::Catalog { offers } => catalog::run(offers, common).await,
        Scenario::Negotiation => negotiation::run(common).await,
        Scenario::Transfer => transfer::run(common).await,
        Scenario::Provision => provision::run(common).await,
    }
}
