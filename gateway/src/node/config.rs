//! What may be chosen of a node.

use super::StartError;
use crate::{
    auth::IssuerConfig,
    crypto,
    server::{Limits, TlsFiles},
};
use cellspace_actors::{
    DcpOptions, PublicUrls,
    control_plane::dsp::{AtOnce, Steering},
    fabric::{
        Backlog,
        topics::{self, USAGE},
    },
    federated_catalog::CrawlOptions,
    issuer::ListBits,
    outbound::OutboundOptions,
    trust::TrustOptions,
};
use cellspace_cluster::{Clock, Options, SystemClock};
use cellspace_schemas::ParticipantContextId;
use cellspace_storage::{EmbeddedOptions, KafkaError, KafkaOptions, MasterKey, RemoteVaultOptions, ScyllaError, ScyllaOptions, Topic};
use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use url::{Host, Url};

/// Ports of the three listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ports {
    /// Those of the last start; at the first start [`Ports::DEFAULT_BASE`] and the next two.
    #[default]
    Remembered,
    /// Those of the last start; at the first start three free ones.
    Free,
    /// This one for the public listener, the next two for the admin and the operations listener.
    Base(u16),
}

/// Name of the master key's file in the data directory, unless it is kept elsewhere.
const MASTER_KEY: &str = "master.key";
/// Usage facts kept while nobody reads them: some 4 GB.
const UNREAD_USAGE: u64 = 10_000_000;

impl Ports {
    /// The public listener's port, when nothing else was chosen.
    pub const DEFAULT_BASE: u16 = 7070;
    /// The highest port for the public listener, since two more follow.
    pub const LAST_BASE: u16 = u16::MAX - 2;

    pub(super) const fn consecutive(base: u16) -> [u16; 3] {
        [base, base.saturating_add(1), base.saturating_add(2)]
    }
}

/// Configuration of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where everything is kept; made when missing.
    pub data_dir: PathBuf,
    /// The vault's master key; a file in the data directory when `None`.
    pub master_key: Option<MasterKey>,
    /// The installation's own vault, HashiCorp Vault or OpenBao; the embedded one when `None`.
    pub vault: Option<RemoteVaultOptions>,
    /// Address that the listeners bind.
    pub host: IpAddr,
    /// Their ports.
    pub ports: Ports,
    /// The certificate of the listeners, which are encrypted then; read anew when it changes.
    pub tls: Option<TlsFiles>,
    /// File with authorities (PEM) that are believed beside those that the system believes: of counterparties, of issuers of tokens, and of this installation's own URLs.
    pub authorities: Option<PathBuf>,
    /// Whether to bind another address than loopback although requests are not encrypted here (a proxy in front does that).
    pub allow_plain_http: bool,
    /// Where the public listener is reached from outside, when that is not `http://localhost:<port>`, or `https` with a certificate.
    pub public_url: Option<Url>,
    /// Where the admin listener is reached from outside, when that is not `http://localhost:<port>`, or `https` with a certificate.
    pub admin_url: Option<Url>,
    /// Name of the cell.
    pub cell: String,
    /// The participant context that this installation is there for, if it is there for one: the Management API then also serves v4,
    /// which names none, and DSP at `/api/dsp/2025-1`.
    pub single_participant: Option<ParticipantContextId>,
    /// Whether every participant uses all dataspace profiles, whatever it is associated with.
    pub every_profile: bool,
    /// Issuers of access tokens beside the embedded token service.
    pub issuers: Vec<IssuerConfig>,
    /// Whether counterparties may have loopback and private addresses and plain HTTP. By default when this node's own public URL is loopback.
    pub allow_private_targets: Option<bool>,
    /// Client towards counterparties; its `allow_private` is set by [`NodeConfig::allow_private_targets`].
    pub outbound: OutboundOptions,
    /// Oldest status list that is relied on, and how long the lists of issuers hosted here may be kept by their verifiers.
    pub status_list_age: Duration,
    /// How many bits the status lists of issuers hosted here have. Lists that are there keep what is on them, whatever is said later.
    pub status_list_bits: ListBits,
    /// Ages and bounds of what is believed about others; `opened` and `status_list_age` are set at the start.
    pub trust: TrustOptions,
    /// How DCP is spoken where peers differ; the default is the specification's.
    pub dcp: DcpOptions,
    /// What participants do by themselves in negotiations and transfers.
    pub steering: Arc<dyn Steering>,
    /// How often others' catalogs are looked at for the federated catalog.
    pub crawls: CrawlOptions,
    /// Bounds of each listener.
    pub limits: Limits,
    /// Bounds of the runtime.
    pub cluster: Options,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the embedded store.
    pub store: EmbeddedOptions,
    /// The cell's keyspace in ScyllaDB or Cassandra, where agents are then; without it they are in the data directory.
    pub scylla: Option<ScyllaOptions>,
    /// The log of events in Kafka; without it the log is in the data directory.
    pub kafka: Option<KafkaOptions>,
    /// Provisioning events that may wait in the store for a log that is elsewhere; above that nothing new is deployed, disposed of or orchestrated.
    pub waiting_provisioning: u64,
}

impl NodeConfig {
    /// The defaults, with everything kept in `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            master_key: None,
            vault: None,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Ports::Remembered,
            tls: None,
            authorities: None,
            allow_plain_http: false,
            public_url: None,
            admin_url: None,
            cell: "cell-1".to_owned(),
            single_participant: None,
            every_profile: false,
            issuers: Vec::new(),
            allow_private_targets: None,
            outbound: OutboundOptions::default(),
            status_list_age: Duration::from_secs(5),
            status_list_bits: ListBits::default(),
            trust: TrustOptions::default(),
            dcp: DcpOptions::default(),
            steering: Arc::new(AtOnce),
            crawls: CrawlOptions::default(),
            limits: Limits::default(),
            cluster: Options::default(),
            clock: Arc::new(SystemClock),
            store: EmbeddedOptions {
                unread_events_of: [(Topic(USAGE.to_owned()), UNREAD_USAGE)].into(),
                facts: topics::facts().map(|name| Topic(name.to_owned())).into(),
                ..EmbeddedOptions::default()
            },
            scylla: None,
            kafka: None,
            waiting_provisioning: Backlog::BOUND,
        }
    }

    pub(super) fn check(&self) -> Result<(), StartError> {
        if !self.host.is_loopback() && self.tls.is_none() && !self.allow_plain_http {
            return Err(StartError::NotLoopback(self.host));
        }
        match self.ports {
            Ports::Base(base) if base > Ports::LAST_BASE => return Err(StartError::Port(base)),
            _ => {}
        }
        if let Some(options) = &self.scylla {
            if !cfg!(feature = "scylla") {
                return Err(ScyllaError::NotBuilt.into());
            }
            options.check()?;
        }
        if let Some(options) = &self.kafka {
            if !cfg!(feature = "kafka") {
                return Err(KafkaError::NotBuilt.into());
            }
            options.check()?;
        }
        for url in [&self.public_url, &self.admin_url].into_iter().flatten() {
            let bare = url.query().is_none() && url.fragment().is_none() && url.path() == "/" && url.username().is_empty();
            if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !bare {
                return Err(StartError::BadUrl(url.clone()));
            }
            if self.tls.is_some() && url.scheme() == "http" {
                return Err(StartError::PlainUrl(url.clone()));
            }
        }
        Ok(())
    }

    /// With the authorities of its file among those whom its clients believe.
    pub(super) fn believing(mut self) -> Result<Self, StartError> {
        if let Some(file) = &self.authorities {
            self.outbound.authorities.extend(crypto::authorities(file).map_err(StartError::Authorities)?);
        }
        Ok(self)
    }

    /// How its listeners are reached.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where the master key comes from. The default is told of: who can copy the data directory then holds the key to its vault too.
    pub(crate) fn master_key(&self) -> MasterKey {
        self.master_key.clone().unwrap_or_else(|| {
            let path = self.data_dir.join(MASTER_KEY);
            tracing::warn!(category = "app", action = "vault.master_key", path = %path.display(),
                "the vault's master key lies beside the vault; --master-key-file, --master-key-env or --master-key-command keep it apart");
            MasterKey::File(path)
        })
    }

    pub(super) fn allows_private_targets(&self, urls: &PublicUrls) -> bool {
        self.allow_private_targets.unwrap_or_else(|| match urls.public.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_addresses_need_a_word() {
        let open = NodeConfig { host: [0, 0, 0, 0].into(), ..NodeConfig::new("x") };
        assert!(matches!(open.check(), Err(StartError::NotLoopback(_))));
        assert!(NodeConfig { allow_plain_http: true, ..open.clone() }.check().is_ok());
        let tls = TlsFiles { certificate: "c".into(), key: "k".into() };
        assert!(NodeConfig { tls: Some(tls), ..open }.check().is_ok());
    }

    #[test]
    fn three_ports_must_fit() {
        let on = |base| NodeConfig { ports: Ports::Base(base), ..NodeConfig::new("x") }.check();
        assert!(on(65_533).is_ok() && matches!(on(65_534), Err(StartError::Port(65_534))));
    }

    #[test]
    fn base_urls_have_no_path() {
        for (url, good) in [
            ("https://cells.example", true),
            ("http://localhost:1", true),
            ("https://cells.example/base", false),
            ("https://u@cells.example", false),
            ("https://cells.example/?x", false),
            ("ftp://cells.example", false),
        ] {
            let config = NodeConfig { public_url: Some(url.parse().unwrap()), ..NodeConfig::new("x") };
            assert_eq!(config.check().is_ok(), good, "{url}");
            let tls = TlsFiles { certificate: "c".into(), key: "k".into() };
            let encrypted = NodeConfig { tls: Some(tls), ..config }.check();
            assert_eq!(encrypted.is_ok(), url == "https://cells.example", "{url}");
        }
    }

    #[test]
    fn private_targets_follow_the_public_url() {
        let config = NodeConfig::new("x");
        let urls = |public: &str| PublicUrls { public: public.parse().unwrap(), admin: "http://localhost:1".parse().unwrap() };
        for (url, allowed) in [("http://localhost:1", true), ("http://127.0.0.1:1", true), ("https://cells.example", false)] {
            assert_eq!(config.allows_private_targets(&urls(url)), allowed, "{url}");
        }
    }
}
