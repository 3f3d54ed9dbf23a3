//! A running node: store, vault, runtime, agents, listeners, put together and taken apart again.

mod agents;
mod bootstrap;
mod cell_config;
mod config;
mod directory;
mod error;
mod events;
mod identity;
#[cfg(all(feature = "scylla", feature = "kafka"))]
mod joining;
mod moving;
mod readiness;
mod roles;
mod seat;
mod shared;
mod store;
mod vault;

pub use bootstrap::Bootstrap;
pub use cell_config::CellConfig;
pub use config::{NodeConfig, Ports};
pub use directory::{DRAIN, Directory, LevelReport, TellError};
pub use error::StartError;
#[cfg(all(feature = "scylla", feature = "kafka"))]
pub use joining::Ended;
pub use moving::{Cells, MoveError, MoveReport};
pub use roles::Roles;
pub use seat::{Beside, Seat};
pub use shared::Shared;
pub use store::{INSTALLATION, NodeStore, PLACE, keyspace_of};

use crate::{
    App,
    auth::{KnownParticipants, PlaneCallers, RemoteIssuer, Verifier},
    http::{Listener, Router},
    observe::{Health, metrics},
    routes,
    server::{Connections, Gateway, ListenerTls, Nodes, Received, serve, stack},
};
use cellspace_actors::{
    OutboundHttp, PublicUrls, Services,
    access::TokenIssuer,
    fabric::Fabric,
    issuer::StatusListPublisher,
    outbound::OutboundOptions,
    settings::{DEFAULT_PROFILE, SettingsCache},
    trust::{Trust, TrustOptions, UsedTokens},
};
use cellspace_cluster::{
    Cell,
    link::{Answers, LinkServer},
};
use identity::Sockets;
use seat::Seated;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vault::NodeVault;

/// How often histograms are folded, so that unread ones do not grow.
const UPKEEP: Duration = Duration::from_secs(30);

/// So long after it said that it drains a node of a cell still takes requests, unless half of its end is over before.
const SEEN: Duration = Duration::from_secs(5);

/// Bounds of fetching the keys of token issuers.
const KEYS: OutboundOptions =
    OutboundOptions { timeout: Duration::from_secs(5), max_body: 256 << 10, allow_private: false, authorities: Vec::new() };

/// How a start ends that is not to go on.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Cancelled when the node is to end, whether it is up or not.
    pub stop: CancellationToken,
    /// Longest time for what it serves by then.
    pub limit: Duration,
}

impl Default for Ending {
    /// Nobody ends it.
    fn default() -> Self {
        Self { stop: CancellationToken::new(), limit: Duration::from_secs(1) }
    }
}

/// A node that serves.
pub struct Node {
    /// Where it is reached.
    pub urls: Arc<PublicUrls>,
    /// Address of the operations listener.
    pub ops: SocketAddr,
    /// The first client, as long as its file is in the data directory.
    pub bootstrap: Option<Bootstrap>,
    /// What handlers see.
    pub app: App,
    /// How its listeners are reached.
    scheme: &'static str,
    fabric: Fabric,
    store: NodeStore,
    vault: NodeVault,
    public: Option<Connections>,
    admin: Option<Connections>,
    operations: Connections,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// What peers speak to, where there are any.
    peers: Option<(Arc<Cell>, LinkServer)>,
    /// Whether the store ends with this node.
    closes: bool,
    takes_events: bool,
}

impl Node {
    /// Opens the data directory, wakes what was left undone, serves.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and what to do. Nothing is left running.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        Self::open(config, None, Ending::default()).await
    }

    /// The same as one node of a cell.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start_in_cell(config: NodeConfig, shared: Shared, seat: Seat) -> Result<Self, StartError> {
        Self::start_unless(config, shared, seat, Ending::default()).await
    }

    /// The same, unless it is to end before it is up: then it hands over what it serves by then.
    ///
    /// # Errors
    /// [`StartError`], [`StartError::Ended`] among it.
    pub async fn start_unless(config: NodeConfig, shared: Shared, seat: Seat, ending: Ending) -> Result<Self, StartError> {
        Self::open(config, Some((shared, seat)), ending).await
    }

    /// One process of a cell, with what it shares with the others as they share it.
    ///
    /// # Errors
    /// As [`Node::start_unless`].
    pub async fn run(config: NodeConfig, cell: CellConfig, ending: Ending) -> Result<Self, StartError> {
        crate::crypto::install();
        // Nobody relies on it yet.
        let (shared, seat) = ending.stop.run_until_cancelled(cell.open(&config)).await.ok_or(StartError::Ended)??;
        Self::start_unless(config, shared, seat, ending).await
    }

    async fn open(config: NodeConfig, cell: Option<(Shared, Seat)>, ending: Ending) -> Result<Self, StartError> {
        crate::crypto::install();
        config.check()?;
        let tls = config.tls.clone().map(ListenerTls::load).transpose().map_err(StartError::Tls)?;
        let config = config.believing()?;
        let metrics = metrics::handle();
        let (shared, seated) = match cell {
            Some((shared, seat)) => (shared, Some(seat.take(&config.clock).await?)),
            None => (Shared::open(&config).await?, None),
        };
        let Shared { store, vault, closes } = shared;
        let roles = seated.as_ref().map(|seated| seated.seat.roles);
        let (sockets, urls) = Sockets::bind(&config, &store, roles).await?;
        let urls = Arc::new(urls);
        let app = assemble(&config, &store, &vault, urls.clone(), seated.as_ref()).await?;
        let fabric = agents::register(&app.services, config.steering.clone(), config.crawls)?;
        let takes_events = roles.is_none_or(|roles| roles.fabric);
        if takes_events {
            let consumers = fabric.health();
            app.health.watch("fabric", move || consumers.check());
        }
        // Alone, it is there before anybody asks; among others, the one that serves the installation's slot makes it.
        let bootstrap = if seated.is_none() { before_anybody(&config, &store, &app, ending.limit).await? } else { None };

        let tasks = TaskTracker::new();
        let limits = &config.limits;
        let gateway = Gateway::new(app.clone(), tasks.clone(), limits);
        let gateway = match &seated {
            None => gateway,
            Some(seated) => gateway.among(Arc::new(Nodes::new(seated.cell.clone(), seated.link.clone(), limits))),
        };
        let peers = match seated {
            None => None,
            Some(Seated { seat, socket, cell, .. }) => {
                let stack = |listener| stack(gateway.clone(), app.routes.clone(), listener, limits);
                let drained = app.nodes.as_ref().map(|nodes| nodes.drained.clone()).unwrap_or_default();
                let requests = Arc::new(Received::new(app.services.clone(), drained, stack(Listener::Public), stack(Listener::Admin)));
                let answers = Answers { cell: cell.clone(), agents: app.services.cluster.clone(), requests };
                Some((cell, LinkServer::serve(socket, seat.identity, answers)?))
            }
        };
        let listen = |socket, listener| {
            let service = stack(gateway.clone(), app.routes.clone(), listener, limits);
            serve(socket, tls.clone(), service, limits.connections, gateway.gate.lag())
        };
        let ops = sockets.ops.local_addr()?;
        // Serving begins before agents are woken: what they deliver to others of this installation must find it.
        let mut node = Self {
            fabric,
            public: sockets.public.map(|socket| listen(socket, Listener::Public)).transpose()?,
            admin: sockets.admin.map(|socket| listen(socket, Listener::Admin)).transpose()?,
            operations: listen(sockets.ops, Listener::Ops)?,
            urls,
            ops,
            scheme: config.scheme(),
            bootstrap,
            store,
            vault,
            tasks,
            stop: CancellationToken::new(),
            peers,
            closes,
            takes_events,
            app,
        };
        let woken = ending.stop.run_until_cancelled(node.wake(&config)).await;
        if let Err(error) = woken.unwrap_or(Err(StartError::Ended)) {
            // By now others may rely on it.
            node.drain(ending.limit).await;
            return Err(error);
        }
        tokio::spawn(upkeep(metrics, node.stop.clone()));
        tracing::info!(category = "app", action = "node.started", public = %node.urls.public, admin = %node.urls.admin, ops = %node.ops, "node started");
        Ok(node)
    }

    async fn wake(&mut self, config: &NodeConfig) -> Result<(), StartError> {
        let cluster = &self.app.services.cluster;
        match &self.peers {
            None => {
                cluster.start().await?;
            }
            Some((cell, _)) => {
                let cell = cell.clone();
                // First a member: agents are asked where they are.
                cluster.start().await?;
                tokio::select! {
                    biased;
                    () = cell.over() => return Err(life_over(&cell)),
                    () = cell.joined() => {}
                }
                agents::start_among(&self.app.services, &self.stop).await?;
                cell.run_all();
                // The main cell has the installation's clients.
                if cell.elsewhere().is_none_or(|elsewhere| elsewhere.is_main()) {
                    self.bootstrap = bootstrap::ensure_among(&config.data_dir, &self.store, &self.app).await?;
                }
                if let Some(nodes) = &self.app.nodes {
                    tokio::spawn(directory::adopt_events(cell, self.store.clone(), nodes.me().clone(), self.stop.clone()));
                    tokio::spawn(nodes.clone().end_moves(cluster.clone()));
                    let proof = readiness::Proof::of(nodes.clone(), &self.app.services.cluster, &self.stop).await;
                    self.app.health.ready_by(self.vault.is_in_store(), move || proof.read());
                    nodes.tell().await?;
                }
            }
        }
        if self.takes_events {
            self.fabric.start();
        }
        self.app.health.set_started();
        Ok(())
    }

    /// Base URL of the operations listener.
    #[must_use]
    pub fn ops_url(&self) -> String {
        format!("{}://{}", self.scheme, self.ops)
    }

    /// Address of the public listener, which may be reached under another URL; `None` without one.
    #[must_use]
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.public.as_ref().map(Connections::address)
    }

    /// Address of the admin listener, which may be reached under another URL; `None` without one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Connections::address)
    }

    /// Resolves when the node is to be drained because an operator said so at some node of its cell.
    pub async fn told_to_drain(&self) {
        match &self.app.nodes {
            Some(nodes) => nodes.drained.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Resolves when this life in the cell is over, and the process is to end, with [`StartError::LifeOver`].
    pub async fn life_over(&self) -> StartError {
        match &self.peers {
            Some((cell, _)) => {
                cell.over().await;
                life_over(cell)
            }
            None => std::future::pending().await,
        }
    }

    /// Ends in order: in a cell, slots are handed over first; no new requests, requests under way, turns, the store. Takes at most `limit`, half of it for requests, and then as long
    /// as the store takes to close. Work that is left goes on after the next start.
    pub async fn drain(self, limit: Duration) {
        let now = Instant::now();
        let (mut requests, end) = (now + limit / 2, now + limit);
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        tracing::info!(category = "app", action = "node.draining", "node drains");
        self.app.health.set_draining();
        if self.peers.is_none() {
            // Requests that wait for a state are answered with the state as it is; among others they go on to those that take the slots over.
            self.app.services.cluster.stop_waiting();
        }
        // First, since activities are requests to this node.
        if tokio::time::timeout_at(requests, self.fabric.stop()).await.is_err() {
            tracing::warn!(category = "app", "drain gave up on activities that did not end in time");
        }
        if self.peers.is_some() {
            // While requests still come in: they go on to those that take the slots over.
            self.app.services.cluster.leave(left(requests)).await;
            if self.public.is_some() || self.admin.is_some() {
                // However soon nothing was left to hand over: balancers look now and then.
                tokio::time::sleep_until(requests.min(now + SEEN)).await;
            }
            // What nobody has taken over.
            self.app.services.cluster.stop_waiting();
            requests = Instant::now() + left(end) / 2;
        }
        let listeners = self.public.iter().chain(&self.admin);
        futures::future::join_all(listeners.map(|listener| listener.drain(left(requests)))).await;
        self.tasks.close();
        if tokio::time::timeout_at(requests, self.tasks.wait()).await.is_err() {
            tracing::warn!(category = "app", "drain gave up on handlers that did not end in time");
        }
        // What went through flows is told while its agents still take commands.
        self.app.services.workers.drain(left(end)).await;
        self.app.services.cluster.drain(left(end)).await;
        self.stop.cancel();
        if let Some((_, server)) = &self.peers {
            server.drain(left(end)).await;
        }
        self.operations.drain(left(end)).await;
        let (store, vault) = (self.store.clone(), self.vault.clone());
        if !self.closes {
            tracing::info!(category = "app", action = "node.stopped", "node stopped");
            return;
        }
        let close = move || {
            store.close();
            vault.settle();
        };
        // Blocks for as long as the last commits take.
        if tokio::task::spawn_blocking(close).await.is_err() {
            tracing::error!(category = "app", "closing the store failed");
        }
        tracing::info!(category = "app", action = "node.stopped", "node stopped");
    }
}

/// What a process that is alone has before anybody is heard: the settings, and the first client. When it cannot have them nothing is left running.
async fn before_anybody(config: &NodeConfig, store: &NodeStore, app: &App, limit: Duration) -> Result<Option<Bootstrap>, StartError> {
    let first = async {
        agents::start(&app.services).await?;
        bootstrap::ensure(&config.data_dir, store, app).await
    };
    let outcome = first.await;
    if outcome.is_err() {
        app.services.cluster.drain(limit).await;
    }
    outcome
}

fn life_over(cell: &Cell) -> StartError {
    StartError::LifeOver(cell.why_over().map_or_else(|| "it ends".to_owned(), ToString::to_string))
}

async fn assemble(
    config: &NodeConfig,
    store: &NodeStore,
    vault: &NodeVault,
    urls: Arc<PublicUrls>,
    seated: Option<&Seated>,
) -> Result<App, StartError> {
    let clock = config.clock.clone();
    let cluster = store.cluster(clock.clone(), config.cluster.clone(), seated.map(|seated| seated.cell.clone()));
    let shared_vault = vault.shared();
    let tokens = TokenIssuer::open(shared_vault.clone(), urls.admin("")).await.map_err(|error| NodeVault::told(config, error))?;
    vault.remember(config, store).await?;
    // A store that was opened before may have served tokens that this process does not remember.
    let opened = (store.boot() > 1).then(|| clock.now());
    let keys = |allow_private| OutboundOptions { allow_private, authorities: config.outbound.authorities.clone(), ..KEYS };
    let planes = PlaneCallers::new(OutboundHttp::new(keys(config.allows_private_targets(&urls)))?, opened);
    // In a cell each slot says since when it is served here.
    let opened = opened.filter(|_| seated.is_none());
    let trust = TrustOptions { opened, status_list_age: config.status_list_age, ..config.trust.clone() };
    let private = OutboundOptions { allow_private: config.allows_private_targets(&urls), ..config.outbound.clone() };
    let http = OutboundHttp::new(private)?;
    let own = OutboundHttp::towards(urls.admin.origin(), config.outbound.clone())?;
    let trust = Arc::new(Trust::new(Arc::new(http.clone()), trust));
    if let Some(seated) = seated {
        seated.cell.remember(Arc::new(UsedTokens::of(trust.clone())));
    }
    let services = Services {
        cluster: cluster.clone(),
        cell: config.cell.as_str().into(),
        vault: shared_vault,
        events: store.events(),
        backlog: store.backlog(config.waiting_provisioning),
        trust: trust.clone(),
        http,
        own,
        dcp: config.dcp,
        urls,
        settings: SettingsCache::new(config.every_profile),
        workers: Arc::default(),
        status_lists: Arc::new(StatusListPublisher::new(config.status_list_age, config.status_list_bits)),
        tokens: Arc::new(tokens),
    };
    // The operator names these addresses, nobody from outside does.
    let keys = OutboundHttp::new(keys(true))?;
    let remote = config.issuers.iter().map(|issuer| RemoteIssuer::new(issuer.clone(), keys.clone())).collect();
    let verifier = Arc::new(Verifier::new(&services.tokens, remote, clock));
    let routes = match &config.single_participant {
        None => Router::new(routes::all())?,
        Some(participant) => {
            let (participant, profile) = (("participant", participant.as_str()), ("profile", DEFAULT_PROFILE));
            let router = Router::new(routes::all())?.naming(routes::management_v4::routes(), &[participant])?;
            router.naming(routes::dsp_classic::routes(), &[participant, profile])?
        }
    };
    let watched = vault.clone();
    let health = Arc::new(Health::new(cluster.clone(), move || watched.health(), store.clone()));
    let nodes = seated.map(|seated| Arc::new(Directory::new(seated, store.clone())));
    Ok(App {
        services: Arc::new(services),
        verifier,
        known: Arc::new(KnownParticipants::new(cluster)),
        planes: Arc::new(planes),
        routes: Arc::new(routes),
        single_participant: config.single_participant.clone(),
        health,
        nodes,
    })
}

async fn upkeep(metrics: &'static metrics_exporter_prometheus::PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        metrics.run_upkeep();
    }
}
