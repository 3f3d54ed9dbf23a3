//! The kinds of agents that a node runs: one line each.

use super::StartError;
use cellspace_actors::{
    ControlPlane, CredentialService, FederatedCatalog, Name, Services, SettingsAgent, access::Clients, control_plane::dsp::Steering,
    data_plane::DataPlane, fabric::Fabric, federated_catalog::CrawlOptions, issuer::Issuer, settings,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long a starting node waits for the settings.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts at that.
const AGAIN: Duration = Duration::from_millis(50);
/// Between two looks at the settings.
const LOOK: Duration = Duration::from_secs(5);

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

/// What must be in memory before anything counts on it.
pub async fn start(services: &Arc<Services>) -> Result<(), StartError> {
    settings::agent::refresh(services).await.map_err(|error| StartError::Settings(error.to_string()))?;
    Ok(())
}

/// The same on a node of a cell, where no agent but those that know it runs before: what others change is announced, and looked at now and then should an announcement be lost.
pub async fn start_among(services: &Arc<Services>, stop: &CancellationToken) -> Result<(), StartError> {
    let until = Instant::now() + PATIENCE;
    // Whoever has them may be about to hand them over.
    while let Err(error) = settings::agent::refresh(services).await {
        if Instant::now() >= until {
            return Err(StartError::Settings(error.to_string()));
        }
        sleep(AGAIN).await;
    }
    let (services, stop) = (services.clone(), stop.clone());
    tokio::spawn(async move {
        while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
            if let Err(error) = settings::agent::refresh(&services).await {
                tracing::debug!(category = "app", %error, "the settings cannot be looked at");
            }
        }
    });
    Ok(())
}
