//! The scenarios. Each makes its world, warms up, measures a window, and checks every answer.

mod activation;
mod catalog;
mod catalog_large;
mod idle_memory;
mod members;
mod negotiation;
mod noisy_neighbour;
mod overload;
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
    /// The same, by a counterparty that nobody knows in every request.
    CatalogCold {
        /// Offers that a counterparty sees.
        offers: usize,
    },
    /// A provider with a large catalog.
    CatalogLarge {
        /// Definitions of the largest, over as many assets.
        definitions: usize,
    },
    /// Requests to participants that have left memory.
    Activation,
    /// What registered participants take that nobody uses.
    IdleMemory {
        /// How many.
        participants: usize,
    },
    /// Ten times what the platform can answer.
    Overload,
    /// A provider beside others that are attacked.
    NoisyNeighbour,
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
        Scenario::CatalogCold { offers } => catalog::run_cold(offers, common).await,
        Scenario::CatalogLarge { definitions } => catalog_large::run(definitions, common).await,
        Scenario::Activation => activation::run(common).await,
        Scenario::IdleMemory { participants } => idle_memory::run(participants, common).await,
        Scenario::Overload => overload::run(common).await,
        Scenario::NoisyNeighbour => noisy_neighbour::run(common).await,
    }
}
