//! Under which URLs the installation is known, remembered from its first start: they are part of its data (DIDs, endpoints, token issuer).

use super::{NodeConfig, NodeStore, Ports, Roles, StartError};
use cellspace_actors::PublicUrls;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use tokio::net::TcpListener;
use url::Url;

pub(super) const ADDRESSES: &str = "addresses";

/// What is remembered: one value, so that no crash leaves the half of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Addresses {
    public: String,
    admin: String,
    /// Of the public, admin and operations listener.
    ports: [u16; 3],
}

/// The bound sockets of the listeners; those for requests are there when the process takes any.
pub struct Sockets {
    pub public: Option<TcpListener>,
    pub admin: Option<TcpListener>,
    pub ops: TcpListener,
}

impl Sockets {
    /// Binds the listeners, finds the URLs, and holds them against those of earlier starts. `roles`: of one process among several.
    pub async fn bind(config: &NodeConfig, store: &NodeStore, roles: Option<Roles>) -> Result<(Self, PublicUrls), StartError> {
        let known = remembered(store).await?;
        // Ports are the node's own, URLs the cell's.
        let ports = match (config.ports, known.as_ref().filter(|_| roles.is_none())) {
            (Ports::Base(base), _) => Ports::consecutive(base),
            (_, Some(known)) => known.ports,
            (Ports::Remembered, None) => Ports::consecutive(Ports::DEFAULT_BASE),
            (Ports::Free, None) => [0; 3],
        };
        let bind = |port, listener| bind(config.host, port, listener, roles.is_none() && known.is_some());
        let [public, admin, ops] = ports;
        let takes_requests = roles.is_none_or(|roles| roles.gateway);
        let sockets = if takes_requests {
            Self {
                public: Some(bind(public, "public").await?),
                admin: Some(bind(admin, "admin").await?),
                ops: bind(ops, "operations").await?,
            }
        } else {
            Self { public: None, admin: None, ops: bind(ops, "operations").await? }
        };
        let port = |socket: Option<&TcpListener>| socket.map_or(Ok(0), |socket| socket.local_addr().map(|address| address.port()));
        let ports = [port(sockets.public.as_ref())?, port(sockets.admin.as_ref())?, port(Some(&sockets.ops))?];
        let [public, admin, _] = ports;
        let wanted = Addresses {
            public: base_url(config, config.public_url.as_ref(), public),
            admin: base_url(config, config.admin_url.as_ref(), admin),
            ports,
        };
        let text = serde_json::to_string(&wanted).map_err(|_| StartError::Setting(ADDRESSES))?;
        let known = match known {
            // Others of the cell may start at the same time.
            None if roles.is_some() => read(Some(store.first_meta(ADDRESSES, &text).await?.as_str()))?,
            known => known,
        };
        if let Some(known) = &known {
            unchanged("public", "--public-url", &known.public, &wanted.public)?;
            unchanged("admin", "--admin-url", &known.admin, &wanted.admin)?;
        }
        let url = |text: &str| text.parse().map_err(|_| StartError::Setting(ADDRESSES));
        let urls = PublicUrls { public: url(&wanted.public)?, admin: url(&wanted.admin)? };
        if roles.is_none() && known.as_ref() != Some(&wanted) {
            store.put_meta(ADDRESSES, &text).await?;
        }
        Ok((sockets, urls))
    }
}

async fn bind(host: IpAddr, port: u16, listener: &'static str, known: bool) -> Result<TcpListener, StartError> {
    TcpListener::bind((host, port)).await.map_err(|reason| {
        let way_out = if known {
            "stop what uses it; this installation keeps its ports, since its URLs are part of its data"
        } else {
            "stop what uses it, or choose others with --port"
        };
        StartError::Bind { host, port, listener, reason, way_out }
    })
}

async fn remembered(store: &NodeStore) -> Result<Option<Addresses>, StartError> {
    read(store.meta(ADDRESSES).await?.as_deref())
}

fn read(text: Option<&str>) -> Result<Option<Addresses>, StartError> {
    text.map(serde_json::from_str).transpose().map_err(|_| StartError::Setting(ADDRESSES))
}

/// As configured, or of the bound port.
fn base_url(config: &NodeConfig, configured: Option<&Url>, port: u16) -> String {
    // `localhost`, since a did:web must not name an IP address (did:web method specification, 3.1).
    configured.map_or_else(|| format!("{}://localhost:{port}", config.scheme()), |url| url.as_str().trim_end_matches('/').to_owned())
}

fn unchanged(what: &'static str, flag: &'static str, stored: &str, wanted: &str) -> Result<(), StartError> {
    if stored == wanted {
        return Ok(());
    }
    Err(StartError::UrlChanged { what, flag, stored: stored.to_owned(), wanted: wanted.to_owned() })
}
