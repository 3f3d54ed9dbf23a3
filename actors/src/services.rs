//! What agents and handlers reach the world with.

use crate::{
    DcpOptions, OutboundHttp, PublicUrls, access::TokenIssuer, data_plane::Workers, fabric::Backlog, issuer::StatusListPublisher,
    settings::SettingsCache, trust::Trust,
};
use cellspace_cluster::Cluster;
use cellspace_storage::{EventLog, Vault};
use std::sync::Arc;

/// Shared by every agent and handler of a node; cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// The way to every agent.
    pub cluster: Cluster,
    /// Name of the cell that this node runs, for example `cell-1`.
    pub cell: Arc<str>,
    /// Keys and secrets.
    pub vault: Arc<dyn Vault>,
    /// Provisioning events and facts.
    pub events: Arc<dyn EventLog>,
    /// What waits in the store for that log.
    pub backlog: Backlog,
    /// Bounded HTTP client for counterparties.
    pub http: OutboundHttp,
    /// The same for this installation's own admin listener, and for nothing else.
    pub own: OutboundHttp,
    /// Where this installation is reached.
    pub urls: Arc<PublicUrls>,
    /// Installation-wide settings, newest version in memory.
    pub settings: SettingsCache,
    /// DID documents, verified presentations, status lists, replay protection.
    pub trust: Arc<Trust>,
    /// How it speaks DCP where peers differ.
    pub dcp: DcpOptions,
    /// Shared by the data plane's workers.
    pub workers: Arc<Workers>,
    /// Signed status lists of hosted issuers.
    pub status_lists: Arc<StatusListPublisher>,
    /// The embedded token service.
    pub tokens: Arc<TokenIssuer>,
}
