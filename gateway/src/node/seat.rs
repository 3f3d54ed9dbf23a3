//! A node's place among the others of a cell.

use super::{NodeConfig, NodeStore, StartError, vault::NodeVault};
use cellspace_cluster::{
    BootClock, Cell, CellOptions,
    link::{Identity, Link},
    membership::Terms,
};
use cellspace_storage::Membership;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

/// Highest level of rows that this build reads.
const LEVEL: u16 = 1;

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
        NodeVault::remember(config, &store).await?;
        Ok(Self { store, vault, closes: true })
    }

    /// The same for another node of this process, which leaves them open when it ends.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { closes: false, ..self.clone() }
    }
}

/// A node's place in a cell.
#[derive(Clone)]
pub struct Seat {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Where it listens to its peers.
    pub listen: SocketAddr,
    /// Where they reach it, when that is not where it listens.
    pub endpoint: Option<String>,
    /// The same for all nodes.
    pub terms: Terms,
    /// The rows of the membership.
    pub membership: Arc<dyn Membership>,
    /// Whether it takes in events of the fabric; one node of a cell does.
    pub fabric: bool,
}

/// A seat that is taken: nobody is heard yet.
pub(super) struct Seated {
    pub(super) seat: Seat,
    pub(super) socket: TcpListener,
    pub(super) link: Arc<Link>,
    pub(super) cell: Arc<Cell>,
}

impl Seat {
    pub(super) async fn take(self) -> Result<Seated, StartError> {
        let socket = TcpListener::bind(self.listen).await?;
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => socket.local_addr()?.to_string(),
        };
        let link = Link::new(self.identity.clone());
        let cell = Cell::new(CellOptions {
            node: self.identity.me().node().clone(),
            level: LEVEL,
            endpoint,
            terms: self.terms.clone(),
            membership: self.membership.clone(),
            peers: link.clone(),
            uptime: Arc::new(BootClock),
        });
        Ok(Seated { seat: self, socket, link, cell })
    }
}
