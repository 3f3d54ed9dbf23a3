//! A node's place among the others of a cell.

use super::{Roles, StartError};
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
    /// What it does.
    pub roles: Roles,
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
        let options = CellOptions {
            node: self.identity.me().node().clone(),
            level: LEVEL,
            endpoint,
            terms: self.terms.clone(),
            membership: self.membership.clone(),
            peers: link.clone(),
            uptime: Arc::new(BootClock),
        };
        let cell = if self.roles.runtime { Cell::new(options) } else { Cell::outside(options) };
        Ok(Seated { seat: self, socket, link, cell })
    }
}
