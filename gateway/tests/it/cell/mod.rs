//! Several nodes of one cell in this process, over one store and real links with certificates: what clients are promised, whichever node they ask.

mod first_client;
mod moving;
mod operators;
mod passed_on;
mod starts;

use crate::{
    management::body,
    meanwhile::{Load, Prepared, catches_up, is_active},
    support::{DRAIN, PATIENCE, Platform, config, form_of, id_of, read, text},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace::{
    Node, NodeConfig,
    node::{Ending, Roles, Seat, Shared, StartError},
};
use cellspace_actors::settings::DEFAULT_PROFILE;
use cellspace_cluster::{
    Clock, LEVEL, SystemClock,
    link::{Authority, CertificateFiles, Identity, PeerName},
    membership::Terms,
};
use cellspace_schemas::Owner;
use cellspace_storage::{Lease, Membership, NodeName, StoreError, Swap, View, testkit::MemoryMembership};
use futures::future::BoxFuture;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::LocalSet,
    time::{Instant, interval, timeout},
};
use tokio_util::sync::CancellationToken;

const CELL: &str = "cell-1";
/// Between two requests of one client.
const THINKS: Duration = Duration::from_millis(50);

/// What the nodes of a test share.
struct Place {
    dir: tempfile::TempDir,
    authority: Authority,
    rows: MemoryMembership,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Authority::make(CELL, SystemClock.now()).unwrap();
        fs::write(dir.path().join("ca.pem"), &made.certificate).unwrap();
        Self { dir, authority: Authority::open(CELL, &made.certificate, &made.key).unwrap(), rows: MemoryMembership::default() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn seat(&self, name: &str, endpoint: Option<String>) -> Seat {
        let peer = PeerName::new(CELL, &NodeName(name.to_owned())).unwrap();
        let issued = self.authority.issue(&peer, SystemClock.now()).unwrap();
        let file = |ending: &str| self.path().join(format!("{name}{ending}"));
        fs::write(file(".pem"), issued.certificate).unwrap();
        fs::write(file("-key.pem"), issued.key).unwrap();
        let files = CertificateFiles { authority: self.path().join("ca.pem"), certificate: file(".pem"), key: file("-key.pem") };
        Seat {
            identity: Identity::load(peer, files).unwrap(),
            listen: "127.0.0.1:0".parse().unwrap(),
            endpoint,
            // All slots at once.
            terms: Terms { step: u16::MAX, pace: Duration::from_millis(20), ..Terms::default() },
            membership: Arc::new(self.rows.clone()),
            roles: Roles { fabric: name == "a", ..Roles::ALL },
            beside: None,
        }
    }

    async fn first(&self, change: impl FnOnce(&mut NodeConfig)) -> (Node, Shared) {
        let mut config = config(&self.path().join("a"));
        change(&mut config);
        let shared = Shared::open(&config).await.unwrap();
        (Node::start_in_cell(config, shared.clone(), self.seat("a", None)).await.unwrap(), shared)
    }

    /// Another node, which has the URLs of the first one.
    async fn another(&self, first: &Node, shared: &Shared, seat: Seat, change: impl FnOnce(&mut NodeConfig)) -> Node {
        let mut config = config(&self.path().join(&seat.identity.me().node().0));
        (config.public_url, config.admin_url) = (Some(first.urls.public.clone()), Some(first.urls.admin.clone()));
        change(&mut config);
        Node::start_in_cell(config, shared.beside(), seat).await.unwrap()
    }

    /// Until these are the members, and nothing is being handed over.
    async fn settled(&self, names: &[&str]) {
        let mut versions = self.rows.versions();
        let all = async {
            loop {
                let view = self.rows.view().await.unwrap();
                let to = |view: &View| view.deal.to.iter().map(|member| member.node.0.clone()).collect::<Vec<_>>();
                if view.is_some_and(|view| view.deal.from == view.deal.to && to(&view) == names) {
                    return;
                }
                versions.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, all).await.unwrap();
    }
}

impl Platform {
    /// Nodes of these names; clients ask the first one.
    pub async fn in_cell(names: &[&str], change: impl Fn(&mut NodeConfig)) -> Self {
        let place = Place::new();
        let (first, shared) = place.first(&change).await;
        let mut beside = Vec::new();
        for (n, name) in names.iter().enumerate().skip(1) {
            beside.push(place.another(&first, &shared, place.seat(name, None), &change).await);
            place.settled(&names[..=n]).await;
        }
        let Place { dir, .. } = place;
        let mut platform = Self::of(first, Some(dir)).await;
        platform.beside = beside;
        platform
    }
}

fn serves(node: &Node, owner: &str) -> bool {
    !node.app.services.cluster.is_elsewhere(&Owner::new(owner).unwrap())
}

/// The id of a participant context that this node serves.
fn served_by(node: &Node) -> String {
    (0..).map(|n| format!("p{n}")).find(|id| serves(node, id)).unwrap()
}

async fn participant(platform: &Platform, id: &str) {
    let context = json!({"@id": id, "identity": platform.did(id), "state": "ACTIVATED", "properties": {}});
    platform.must(Method::POST, "/api/mgmt/v5beta/participants", Some(body("ParticipantContext", context))).await;
}

fn asset(id: &str) -> Value {
    body("Asset", json!({"@id": id, "properties": {}}))
}

fn assets(participant: &str) -> String {
    format!("/api/mgmt/v5beta/participants/{participant}/assets")
}

/// Between two nodes: lets everything through, keeps back what the second one says, or is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Mute,
    Cut,
}

async fn pass(mut from: TcpStream, mut to: TcpStream, mut way: watch::Receiver<Way>) {
    let (mut there, mut back) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let open = *way.borrow_and_update() == Way::Open;
        tokio::select! {
            changed = way.changed() => if changed.is_err() || *way.borrow() == Way::Cut { return },
            read = from.read(&mut there) => match read {
                Ok(n) if n > 0 => to.write_all(&there[..n]).await.unwrap(),
                _ => return,
            },
            read = to.read(&mut back), if open => match read {
                Ok(n) if n > 0 => from.write_all(&back[..n]).await.unwrap(),
                _ => return,
            },
        }
    }
}

/// A free port of this machine that nobody gets who asks for any free one: of those the kernel gives out none lies below 32,768.
fn place_of_its_own() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A place at which the node at `to` is reached as long as the way is open, and how often it was not.
async fn between(to: watch::Receiver<Option<String>>, way: watch::Receiver<Way>) -> (String, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (missed, failed) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let there = to.borrow().clone();
            if *way.borrow() == Way::Cut {
                missed.send_modify(|n| *n += 1);
                continue;
            }
            if let Some(there) = there
                && let Ok(to) = TcpStream::connect(there).await
            {
                tokio::spawn(pass(from, to, way.clone()));
            }
        }
    });
    (address, failed)
}
