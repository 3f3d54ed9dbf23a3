//! The kinds of agents that a node runs: one line each.

use super::StartError;
use cellspace_actors::{
    ControlPlane, CredentialService, FederatedCatalog, Name, Services, SettingsAgent, access::Clients, control_plane::dsp::Steering,
    data_plane::DataPlane, fabric::Fabric, federated_catalog::CrawlOptions, issuer::Issuer, settings,
};
use std::sync::Arc;

/// Makes every kind of agent known to the runtime; participants take their own steps as `steering` says, and look at others' catalogs as `crawls` says.
///
/// # Errors
/// When the fabric has no HTTP client.
pub fn register(services: &Services, steering: Arc<dyn Steering>, crawls: CrawlOptions) -> Result<Fabric, StartError> {
    let cluster = &services.cluster;
    cluster.register(Arc::new(Clients::new(services.clone())));
    cluster.register(Arc::new(ControlPlane::new(services.clone(), steering)));
    cluster.register(Arc::new(CredentialService::new(services.clone())));
    cluster.register(Arc::new(DataPlane::new(services.clone())));
    cluster.register(Arc::new(FederatedCatalog::new(services.clone(), crawls)));
    cluster.register(Arc::new(Issuer::new(services.clone())));
    cluster.register(Arc::new(Name::new(services.clone())));
    cluster.register(Arc::new(SettingsAgent::new(services.clone())));
    Ok(Fabric::register(services)?)
}

/// What must be in memory before requests count on it, and what runs beside the agents. Listeners serve already, agents are not woken yet.
pub async fn start(services: &Arc<Services>) -> Result<(), StartError> {
    settings::agent::refresh(services).await.map_err(|error| StartError::Settings(error.to_string()))?;
    Ok(())
}
