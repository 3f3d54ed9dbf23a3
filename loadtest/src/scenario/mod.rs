//! The scenarios. Each makes its world, warms up, measures a window, and checks every answer.

mod activation;
mod activation_finished;
mod cassandra_commit;
mod catalog;
mod catalog_large;
pub mod cell_memory;
pub mod chaos;
pub mod hop;
mod hosted;
mod idle_memory;
mod issuance;
mod members;
mod negotiation;
mod negotiations_many;
mod negotiations_open;
mod noisy_neighbour;
mod overload;
mod parts;
pub mod placement;
mod play;
mod presentation;
mod provision;
mod status_list;
pub mod storm;
mod strangers;
mod transfer;
mod up;
mod verify_cold;

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
    /// The verification in it by itself, and the same requests.
    VerifyCold {
        /// Offers that a counterparty sees.
        offers: usize,
    },
    /// A provider with a large catalog.
    CatalogLarge {
        /// Definitions of the largest, over as many assets.
        definitions: usize,
    },
    /// Presentations of participants of the platform.
    Presentation,
    /// Credentials by the platform's issuer, until they are held.
    Issuance,
    /// A status list of the platform's issuer, while credentials on it are suspended and resumed.
    StatusList {
        /// For how many credentials lists are; as the platform has them, where it is not said.
        entries: Option<u32>,
    },
    /// Requests to participants that have left memory.
    Activation {
        /// Ended negotiations of one that is compared with one that has a thousand.
        finished: Option<usize>,
    },
    /// Participants beside one with very many open negotiations.
    NegotiationsOpen {
        /// How many.
        open: usize,
    },
    /// Queries of very many negotiations.
    NegotiationsMany {
        /// How many.
        negotiations: usize,
    },
    /// What registered participants take that nobody uses.
    IdleMemory {
        /// How many.
        participants: usize,
    },
    /// Ten times what the platform can answer.
    Overload,
    /// A provider beside others that are attacked.
    NoisyNeighbour,
    /// An empty platform.
    Up,
    /// Turns on Cassandra beside its own lightweight transactions.
    CassandraCommit,
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
        Scenario::VerifyCold { offers } => verify_cold::run(offers, common).await,
        Scenario::CatalogLarge { definitions } => catalog_large::run(definitions, common).await,
        Scenario::Presentation => presentation::run(common).await,
        Scenario::Issuance => issuance::run(common).await,
        Scenario::StatusList { entries } => status_list::run(entries, common).await,
        Scenario::Activation { finished: None } => activation::run(common).await,
        Scenario::Activation { finished: Some(finished) } => activation_finished::run(finished, common).await,
        Scenario::NegotiationsOpen { open } => negotiations_open::run(open, common).await,
        Scenario::NegotiationsMany { negotiations } => negotiations_many::run(negotiations, common).await,
        Scenario::IdleMemory { participants } => idle_memory::run(participants, common).await,
        Scenario::Overload => overload::run(common).await,
        Scenario::NoisyNeighbour => noisy_neighbour::run(common).await,
        Scenario::Up => up::run(common).await,
        Scenario::CassandraCommit => cassandra_commit::run(common).await,
    }
}
