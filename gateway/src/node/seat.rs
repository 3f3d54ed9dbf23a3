//! A node's place among the others of a cell.

use super::{Cells, Roles, StartError};
use cellspace_cluster::{
    BootClock, Cell, CellOptions, Clock, Elsewhere, LEVEL,
    link::{Identity, Link},
    membership::Terms,
};
use cellspace_schemas::Owner;
use cellspace_storage::{CellName, Homes, Membership};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

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
    /// The other cells of the installation, if it has any.
    pub beside: Option<Beside>,
}

/// The cells of an installation of several.
#[derive(Clone)]
pub struct Beside {
    /// This node's.
    pub own: CellName,
    /// The one that has what was not moved to another one.
    pub main: CellName,
    /// Where the owners of all are.
    pub homes: Arc<dyn Homes>,
    /// Rows of the memberships of the others.
    pub others: BTreeMap<CellName, Arc<dyn Membership>>,
    /// All stores, for moves.
    pub cells: Arc<dyn Cells>,
}

/// A seat that is taken: nobody is heard yet.
pub(super) struct Seated {
    pub(super) seat: Seat,
    pub(super) socket: TcpListener,
    pub(super) link: Arc<Link>,
    pub(super) cell: Arc<Cell>,
}

impl Seat {
    pub(super) async fn take(self, clock: &Arc<dyn Clock>) -> Result<Seated, StartError> {
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
            clock: clock.clone(),
        };
        let cell = if self.roles.runtime { Cell::new(options) } else { Cell::outside(options) };
        // It has the settings.
        cell.run_first(Owner::installation());
        if let Some(Beside { own, main, homes, others, .. }) = &self.beside {
            let outside = |membership: &Arc<dyn Membership>| {
                Cell::outside(CellOptions {
                    node: self.identity.me().node().clone(),
                    level: LEVEL,
                    endpoint: String::new(),
                    terms: self.terms.clone(),
                    membership: membership.clone(),
                    peers: link.clone(),
                    uptime: Arc::new(BootClock),
                    clock: clock.clone(),
                })
            };
            let others = others.iter().map(|(name, membership)| (name.clone(), outside(membership))).collect();
            cell.among(Elsewhere::new(homes.clone(), own.clone(), main.clone(), others));
        }
        Ok(Seated { seat: self, socket, link, cell })
    }
}
