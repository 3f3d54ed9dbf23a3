//! The platform under test, as what is in front of it sees it: one node in this process, or the processes of a cell.

use crate::desk::{self, Desks};
use anyhow::{Context, Result};
use cellspace::{Node, NodeConfig, Ports, node::Bootstrap};
use cellspace_actors::PublicUrls;
use cellspace_storage::MasterKey;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::TcpListener;

/// How long a node in this process may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// A cell that runs, as `deploy/examples/cell-of-three` starts it.
#[derive(Debug, clap::Args)]
pub struct CellArgs {
    /// Directory with the data directories of the cell's processes; without it the platform is one node in this process.
    #[arg(long, requires = "cell_port")]
    pub cell: Option<PathBuf>,
    /// Port of the public listener of the cell's gateway; its admin listener has the next one.
    #[arg(long, requires = "cell")]
    pub cell_port: Option<u16>,
}

/// The platform.
pub struct Platform {
    /// Its URLs. The public one is that of the front.
    pub urls: PublicUrls,
    /// Where its public listener is, behind the front.
    pub address: SocketAddr,
    /// Its first client.
    pub client: Bootstrap,
    /// Its agents.
    pub desks: Desks,
    node: Option<Node>,
}

impl Platform {
    /// Behind a front that is to listen on this port of loopback: the cell, or one node that is configured so, with its data below the directory.
    pub async fn behind(port: u16, dir: &Path, cell: &CellArgs, change: impl FnOnce(&mut NodeConfig)) -> Result<(Self, TcpListener)> {
        let front = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| format!("port {port} cannot be used"))?;
        let public = format!("http://localhost:{}", front.local_addr()?.port()).parse()?;
        if let (Some(state), Some(port)) = (&cell.cell, cell.cell_port) {
            let admin = format!("http://localhost:{}", port.saturating_add(1)).parse()?;
            let dirs: Vec<PathBuf> = ["a", "b", "c"].map(|node| state.join(node)).into();
            let client = dirs.iter().find_map(|dir| Bootstrap::read(dir).transpose()).context("the cell made no first client")??;
            let address = (Ipv4Addr::LOCALHOST, port).into();
            let platform = Self { urls: PublicUrls { public, admin }, address, client, desks: Desks::of(dirs)?, node: None };
            return Ok((platform, front));
        }
        let data = dir.join("data");
        let mut config = NodeConfig { ports: Ports::Free, public_url: Some(public), ..NodeConfig::new(data.clone()) };
        config.master_key = Some(MasterKey::File(data.join("master.key")));
        change(&mut config);
        let node = Node::start(config).await?;
        desk::open(node.app.services.clone(), &data).await?;
        let address = node.public_address().context("there is no public listener")?;
        let client = node.bootstrap.clone().context("the platform made no first client")?;
        let platform = Self { urls: (*node.urls).clone(), address, client, desks: Desks::of(vec![data])?, node: Some(node) };
        Ok((platform, front))
    }

    /// Ends what runs in this process.
    pub async fn drain(self) {
        if let Some(node) = self.node {
            node.drain(STOP).await;
        }
    }
}
