//! What the nodes of a cell have in common: opened once in a process, whether it runs one of them or, as tests do, several.

use super::{NodeConfig, NodeStore, StartError, vault::NodeVault};

/// What all nodes of a cell have in common, opened once in a process.
#[derive(Clone)]
pub struct Shared {
    pub(super) store: NodeStore,
    pub(super) vault: NodeVault,
    /// Who has opened it closes it.
    pub(super) closes: bool,
}

impl Shared {
    /// Opens store and vault that the installation began with.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn open(config: &NodeConfig) -> Result<Self, StartError> {
        config.check()?;
        let store = NodeStore::open(config).await?;
        let vault = NodeVault::open(config, &store).await?;
        Ok(Self { store, vault, closes: true })
    }

    /// The same for another node of this process, which leaves them open when it ends.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { closes: false, ..self.clone() }
    }
}
