//! The vault that a node has: its own, or the installation's.

use super::{NodeConfig, NodeStore, StartError};
use cellspace_storage::{EmbeddedVault, Login, RemoteVault, StoreError, Vault, VaultError};
#[cfg(all(feature = "scylla", feature = "kafka"))]
use cellspace_storage::{MasterKey, ScyllaStore, ScyllaVault};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Folder of the embedded vault in the data directory.
const EMBEDDED: &str = "vault";
const PLACE: &str = "vault";

/// Where the keys lie that the installation is known by, remembered from its first start.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Embedded,
    Keyspace,
    Remote { address: String, folder: String },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("the data directory (no --vault-addr)"),
            Self::Keyspace => f.write_str("the keyspace of a cell (no vault-addr)"),
            Self::Remote { address, folder } => write!(f, "another vault (--vault-addr {address} --vault-folder {folder})"),
        }
    }
}

impl Place {
    fn of(config: &NodeConfig) -> Self {
        match &config.vault {
            None => Self::Embedded,
            Some(options) => Self::Remote { address: options.address.trim_end_matches('/').to_owned(), folder: options.folder.clone() },
        }
    }

    fn read(text: &str) -> Result<Self, StartError> {
        serde_json::from_str(text).map_err(|_| StartError::Setting(PLACE))
    }

    fn must_be(&self, known: Self) -> Result<(), StartError> {
        if known == *self { Ok(()) } else { Err(StartError::OtherVault { known: known.to_string(), wanted: self.to_string() }) }
    }

    /// One from before it was remembered is in the data directory.
    async fn known(config: &NodeConfig, store: &NodeStore) -> Result<Option<Self>, StartError> {
        match store.meta(PLACE).await? {
            Some(text) => Self::read(&text).map(Some),
            None => Ok(config.data_dir.join(EMBEDDED).is_dir().then_some(Self::Embedded)),
        }
    }
}

#[cfg(all(feature = "scylla", feature = "kafka"))]
fn master(config: &NodeConfig) -> Result<&MasterKey, StartError> {
    let missing = StartError::CellNeeds("a master key (master-key-file, -env or -command), or vault-addr");
    config.master_key.as_ref().ok_or(missing)
}

#[derive(Clone)]
pub(super) enum NodeVault {
    Embedded(EmbeddedVault),
    #[cfg(all(feature = "scylla", feature = "kafka"))]
    Keyspace(ScyllaVault),
    Remote(RemoteVault),
}

impl NodeVault {
    /// Opens the one that the installation began with.
    pub(super) async fn open(config: &NodeConfig, store: &NodeStore) -> Result<Self, StartError> {
        let wanted = Place::of(config);
        if let Some(known) = Place::known(config, store).await? {
            wanted.must_be(known)?;
        }
        match &config.vault {
            None => {
                let config = config.clone();
                // Blocks for as long as the disk takes.
                let opened = tokio::task::spawn_blocking(move || EmbeddedVault::open(&config.data_dir, &config.master_key()));
                Ok(Self::Embedded(opened.await.map_err(std::io::Error::other)??))
            }
            Some(options) => Ok(Self::Remote(RemoteVault::new(options.clone())?)),
        }
    }

    /// The vault that the processes of a cell share: in their keyspace, or the installation's own.
    #[cfg(all(feature = "scylla", feature = "kafka"))]
    pub(super) async fn open_in_cell(config: &NodeConfig, store: &ScyllaStore) -> Result<Self, StartError> {
        let wanted = if config.vault.is_some() { Place::of(config) } else { Place::Keyspace };
        if let Some(known) = store.meta(PLACE).await? {
            wanted.must_be(Place::read(&known)?)?;
        }
        match &config.vault {
            Some(options) => Ok(Self::Remote(RemoteVault::new(options.clone())?)),
            None => Ok(Self::Keyspace(ScyllaVault::open(store, master(config)?).await?)),
        }
    }

    /// Gives the vault in the keyspace another master key.
    #[cfg(all(feature = "scylla", feature = "kafka"))]
    pub(super) async fn rekey_in_cell(config: &NodeConfig, store: &ScyllaStore, new: &MasterKey) -> Result<(), StartError> {
        if config.vault.is_some() {
            let reason = "a vault elsewhere has no master key of the platform".to_owned();
            return Err(StartError::Cell { key: "vault-addr", reason });
        }
        Ok(ScyllaVault::rekey(store, master(config)?, new).await?)
    }

    /// From now on the keys of the installation lie here: it has answered, so that one that was named by mistake is not what the installation is held to.
    pub(super) async fn remember(&self, config: &NodeConfig, store: &NodeStore) -> Result<(), StartError> {
        let place = match self {
            Self::Embedded(_) => Place::Embedded,
            #[cfg(all(feature = "scylla", feature = "kafka"))]
            Self::Keyspace(_) => Place::Keyspace,
            Self::Remote(_) => Place::of(config),
        };
        let text = serde_json::to_string(&place).map_err(|_| StartError::Setting(PLACE))?;
        // Another process of a cell may have begun with another one meanwhile.
        place.must_be(Place::read(&store.first_meta(PLACE, &text).await?)?)
    }

    /// What a start says of the installation's vault when that is what fails: the store, which is spoken of otherwise, may be well.
    pub(super) fn told(config: &NodeConfig, error: VaultError) -> StartError {
        match (&config.vault, error) {
            (Some(options), VaultError::Store(StoreError::Unavailable(reason))) => {
                let file = if let Login::Jwt { file, .. } = &options.login {
                    format!(" --vault-jwt-file {}", file.display())
                } else {
                    String::new()
                };
                StartError::VaultAway { vault: format!("--vault-addr {}{file}", options.address), reason }
            }
            (_, error) => error.into(),
        }
    }

    pub(super) fn shared(&self) -> Arc<dyn Vault> {
        match self {
            Self::Embedded(vault) => Arc::new(vault.clone()),
            #[cfg(all(feature = "scylla", feature = "kafka"))]
            Self::Keyspace(vault) => Arc::new(vault.clone()),
            Self::Remote(vault) => Arc::new(vault.clone()),
        }
    }

    pub(super) fn health(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(vault) => vault.health(),
            #[cfg(all(feature = "scylla", feature = "kafka"))]
            Self::Keyspace(vault) => vault.health(),
            Self::Remote(vault) => vault.health(),
        }
    }

    /// Whether it is in the store that agents are in, whose health is its own.
    pub(super) const fn is_in_store(&self) -> bool {
        match self {
            #[cfg(all(feature = "scylla", feature = "kafka"))]
            Self::Keyspace(_) => true,
            Self::Embedded(_) | Self::Remote(_) => false,
        }
    }

    /// Before the end; blocks for as long as the disk takes.
    pub(super) fn settle(&self) {
        match self {
            Self::Embedded(vault) => vault.settle(),
            #[cfg(all(feature = "scylla", feature = "kafka"))]
            Self::Keyspace(_) => {}
            Self::Remote(_) => {}
        }
    }
}
