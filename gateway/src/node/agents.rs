//! The kinds of agents that a node runs: one line each.

use super::StartError;
use cellspace_actors::{
    ControlPlane, CredentialService, Name, Services, access::Clients, data_plane::DataPlane, fabric::Fabric, issuer::Issuer,
};
use std::sync::Arc;

/// Makes every kind of agent known to the runtime.
///
/// # Errors
/// When the fabric has no HTTP client.
pub fn register(services: &Services) -> Result<(), StartError> {
    let cluster = &services.cluster;
    cluster.register(Arc::new(Clients::new(services.clone())));
    cluster.register(Arc::new(ControlPlane::new(services.clone())));
    cluster.register(Arc::new(CredentialService::new(services.clone())));
    cluster.register(Arc::new(DataPlane::new(services.clone())));
    cluster.register(Arc::new(Issuer::new(services.clone())));
    cluster.register(Arc::new(Name::new(services.clone())));
    Ok(Fabric::register(services)?)
}

/// What must be in memory before requests count on it, and what runs beside the agents. Listeners serve already, agents are not woken yet.
#[allow(clippy::unused_async)] // every line added here awaits
pub async fn start(_services: &Arc<Services>) -> Result<(), StartError> {
    Ok(())
}
