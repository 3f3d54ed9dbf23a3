//! Under which URLs the installation is known, remembered from its first start: they are part of its data (DIDs, endpoints, token issuer).

use super::{NodeConfig, Ports, StartError};
use cellspace_actors::PublicUrls;
use cellspace_storage::EmbeddedStore;
use std::net::IpAddr;
use tokio::net::TcpListener;
use url::Url;

const PUBLIC_URL: &str = "public-url";
const ADMIN_URL: &str = "admin-url";
const PORTS: &str = "ports";

/// The bound sockets of the listeners.
pub struct Sockets {
    pub public: TcpListener,
    pub admin: TcpListener,
    pub ops: TcpListener,
}

impl Sockets {
    /// Binds the listeners, finds the URLs, and holds them against those of earlier starts.
    pub async fn bind(config: &NodeConfig, store: &EmbeddedStore) -> Result<(Self, PublicUrls), StartError> {
        let remembered = remembered_ports(store)?;
        let [public, admin, ops] = match (config.ports, remembered) {
            (Ports::Base(base), _) => consecutive(base),
            (_, Some(ports)) => ports,
            (Ports::Remembered, None) => consecutive(Ports::DEFAULT_BASE),
            (Ports::Free, None) => [0; 3],
        };
        let sockets = Self {
            public: bind(config.host, public, "public").await?,
            admin: bind(config.host, admin, "admin").await?,
            ops: bind(config.host, ops, "operations").await?,
        };
        let ports = [sockets.public.local_addr()?.port(), sockets.admin.local_addr()?.port(), sockets.ops.local_addr()?.port()];
        let [public, admin, _] = ports;
        let urls = PublicUrls {
            public: remember(store, PUBLIC_URL, "public", "--public-url", config.public_url.as_ref(), public).await?,
            admin: remember(store, ADMIN_URL, "admin", "--admin-url", config.admin_url.as_ref(), admin).await?,
        };
        if remembered != Some(ports) {
            store.put_meta(PORTS, &ports.map(|port| port.to_string()).join(",")).await?;
        }
        Ok((sockets, urls))
    }
}

const fn consecutive(base: u16) -> [u16; 3] {
    [base, base.saturating_add(1), base.saturating_add(2)]
}

async fn bind(host: IpAddr, port: u16, listener: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind((host, port)).await.map_err(|source| StartError::Bind { host, port, listener, source })
}

fn remembered_ports(store: &EmbeddedStore) -> Result<Option<[u16; 3]>, StartError> {
    let Some(text) = store.meta(PORTS)? else { return Ok(None) };
    let ports: Option<Vec<u16>> = text.split(',').map(|port| port.parse().ok()).collect();
    ports.and_then(|ports| ports.try_into().ok()).map(Some).ok_or(StartError::Setting(PORTS))
}

/// The URL of a listener: as stored; at the first start as configured, or of the bound port. A different one is refused.
async fn remember(
    store: &EmbeddedStore,
    key: &'static str,
    what: &'static str,
    flag: &'static str,
    configured: Option<&Url>,
    port: u16,
) -> Result<Url, StartError> {
    // `localhost`, since a did:web must not name an IP address (did:web method specification, 3.1).
    let wanted = configured.map_or_else(|| format!("http://localhost:{port}"), |url| url.as_str().trim_end_matches('/').to_owned());
    match store.meta(key)? {
        Some(stored) if stored != wanted => return Err(StartError::UrlChanged { what, flag, stored, wanted }),
        Some(_) => {}
        None => store.put_meta(key, &wanted).await?,
    }
    wanted.parse().map_err(|_| StartError::Setting(key))
}
