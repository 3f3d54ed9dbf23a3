//! The vault that a node has: its own, or the installation's.

use super::{NodeConfig, StartError};
use cellspace_storage::{EmbeddedVault, RemoteVault, StoreError, Vault};
use std::sync::Arc;

/// Folder of the embedded vault in the data directory.
const EMBEDDED: &str = "vault";

#[derive(Clone)]
pub(super) enum NodeVault {
    Embedded(EmbeddedVault),
    Remote(RemoteVault),
}

impl NodeVault {
    /// Opens it; blocks for as long as the disk takes.
    pub(super) fn open(config: &NodeConfig) -> Result<Self, StartError> {
        match &config.vault {
            None => Ok(Self::Embedded(EmbeddedVault::open(&config.data_dir, &config.master_key())?)),
            // The keys that this installation is known by lie there.
            Some(_) if config.data_dir.join(EMBEDDED).is_dir() => Err(StartError::OtherVault(config.data_dir.clone())),
            Some(options) => Ok(Self::Remote(RemoteVault::new(options.clone())?)),
        }
    }

    pub(super) fn shared(&self) -> Arc<dyn Vault> {
        match self {
            Self::Embedded(vault) => Arc::new(vault.clone()),
            Self::Remote(vault) => Arc::new(vault.clone()),
        }
    }

    pub(super) fn health(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(vault) => vault.health(),
            Self::Remote(vault) => vault.health(),
        }
    }

    /// Before the end; blocks for as long as the disk takes.
    pub(super) fn settle(&self) {
        match self {
            Self::Embedded(vault) => vault.settle(),
            Self::Remote(_) => {}
        }
    }
}
