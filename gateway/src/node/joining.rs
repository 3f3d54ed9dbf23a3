//! What a process of a cell opens before it joins the others.

use super::{CellConfig, NodeConfig, NodeStore, Seat, Shared, StartError, vault::NodeVault};
use cellspace_cluster::{
    link::{CertificateFiles, Identity, PeerName},
    membership::Terms,
};
use cellspace_storage::{Membership, NodeName};
use std::sync::Arc;

/// Setting of the keyspace: the terms that the cell began with.
const TERMS: &str = "terms";

impl CellConfig {
    /// Opens what it shares with the others, and is ready to sit down beside them.
    ///
    /// # Errors
    /// [`StartError`]
    pub(super) async fn open(self, config: &NodeConfig) -> Result<(Shared, Seat), StartError> {
        self.check()?;
        let name = PeerName::new(&config.cell, &self.node)?;
        let file = |ending: &str| self.certificates.join(format!("{}{ending}", self.node));
        let files = CertificateFiles { authority: self.certificates.join("ca.pem"), certificate: file(".pem"), key: file("-key.pem") };
        let identity = Identity::load(name, files)?;
        let (shared, membership) = Shared::open_in_cell(config, &self.node).await?;
        let Terms { renew, lease, margin, pace, step, .. } = self.terms;
        let wanted = format!("renew {renew:?}, lease {lease:?}, margin {margin:?}, pace {pace:?}, step {step}");
        let known = shared.store.first_meta(TERMS, &wanted).await?;
        if known != wanted {
            return Err(StartError::OtherTerms { known, wanted });
        }
        let Self { listen, endpoint, terms, roles, .. } = self;
        Ok((shared, Seat { identity, listen, endpoint, terms, membership, roles }))
    }
}

impl Shared {
    /// Opens the keyspace, the Kafka and the vault that the processes of a cell share, for the one that is called `node`; and the rows of its membership.
    ///
    /// # Errors
    /// [`StartError`]
    async fn open_in_cell(config: &NodeConfig, node: &NodeName) -> Result<(Self, Arc<dyn Membership>), StartError> {
        config.check()?;
        let (store, rows) = NodeStore::open_in_cell(config, node).await?;
        let vault = NodeVault::open_in_cell(config, &rows).await?;
        let membership: Arc<dyn Membership> = Arc::new(rows);
        Ok((Self { store, vault, closes: true }, membership))
    }
}
