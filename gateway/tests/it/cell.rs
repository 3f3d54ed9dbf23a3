//! Several nodes of one cell in this process, over one store and real links with certificates: what clients are promised, whichever node they ask.

use crate::{
    management::body,
    meanwhile::{Load, Prepared, catches_up, is_active},
    support::{DRAIN, PATIENCE, Platform, config, form_of, id_of, read},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace::{
    Node, NodeConfig,
    node::{Ending, Roles, Seat, Shared, StartError},
};
use cellspace_cluster::{
    Clock, SystemClock,
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

/// What a node did not take it did not do; of what it may have taken nothing is claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_while_it_answers_for_another_makes_nobody_lie() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let (way, watched) = watch::channel(Way::Open);
    let (at, place_of_b) = watch::channel(None);
    let (endpoint, mut missed) = between(place_of_b, watched).await;
    let mut seat = place.seat("b", Some(endpoint));
    seat.listen = place_of_its_own();
    at.send_replace(Some(seat.listen.to_string()));
    let b = place.another(&a, &shared, seat, |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let id = served_by(&b);
    participant(&platform, &id).await;
    platform.must(Method::POST, &assets(&id), Some(asset("first"))).await;
    assert!(serves(&b, &id) && !serves(&platform.node, &id));

    // It is done there, and nobody hears of it.
    way.send_replace(Way::Mute);
    let asked = platform.admin(Method::POST, &assets(&id)).json(&asset("second")).send();
    let mut asked = std::pin::pin!(asked);
    let is_there = async {
        let found = format!("http://localhost:{}{}/second", b.admin_address().unwrap().port(), assets(&id));
        while platform.http.get(&found).bearer_auth(&platform.token).send().await.unwrap().status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut asked => panic!("{answer:?}"),
        done = timeout(PATIENCE, is_there) => done.unwrap(),
    }
    way.send_replace(Way::Cut);
    let answer = asked.await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    let (status, said) = read(answer).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && said.to_string().contains("the outcome is unknown"), "{status} {said}");
    // Now it is not reached at all: nothing is done, and that is what is said.
    let third = platform.admin(Method::POST, &assets(&id)).json(&asset("third")).send();
    let first = || platform.admin(Method::GET, &format!("{}/first", assets(&id))).send();
    for answer in <[_; 2]>::from(tokio::join!(third, first())) {
        let answer = answer.unwrap();
        assert_eq!((answer.status(), answer.headers()["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        let (_, said) = read(answer).await;
        assert!(!said.to_string().contains("unknown"), "{said}");
    }
    // For a while it is tried again.
    let before = *missed.borrow();
    let (answer, ()) = tokio::join!(first(), async {
        timeout(PATIENCE, missed.wait_for(|missed| *missed >= before + 5)).await.unwrap().unwrap();
        way.send_replace(Way::Open);
    });
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    let again = timeout(PATIENCE, async {
        loop {
            let answer = platform.admin(Method::POST, &assets(&id)).json(&asset("third")).send().await.unwrap();
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                return answer.status();
            }
        }
    });
    assert_eq!(again.await.unwrap(), StatusCode::OK, "it was not there");
    assert_eq!(platform.admin(Method::POST, &assets(&id)).json(&asset("second")).send().await.unwrap().status(), StatusCode::CONFLICT);
}

/// A client that comes again when it is told to loses nothing while nodes join and leave, whichever node it asks.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_join_and_leave_under_load() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let platform = Platform::of(a, None).await;
    let ids: Vec<String> = (0..12).map(|n| format!("p{n}")).collect();
    for id in &ids {
        participant(&platform, id).await;
    }
    let (stop, stopped) = watch::channel(false);
    let writing = ids.iter().map(|id| {
        let (stopped, http, token) = (stopped.clone(), Client::new(), platform.token.clone());
        let url = platform.node.urls.admin(&assets(id));
        async move {
            let (mut made, mut longest, mut pace) = (0, Duration::ZERO, interval(THINKS));
            while !*stopped.borrow() {
                let began = Instant::now();
                loop {
                    let key = format!("{url}-{made}");
                    let sent = http.post(&url).bearer_auth(&token).header("idempotency-key", &key[key.len().saturating_sub(64)..]);
                    let answer = sent.json(&asset(&format!("a{made}"))).send().await.unwrap();
                    let again = answer.headers().contains_key("retry-after");
                    let (status, said) = read(answer).await;
                    if status == StatusCode::OK {
                        break;
                    }
                    assert!(status == StatusCode::SERVICE_UNAVAILABLE && again, "{status} {said}");
                    assert!(began.elapsed() < PATIENCE, "{said}");
                    tokio::task::yield_now().await;
                }
                longest = longest.max(began.elapsed());
                made += 1;
                pace.tick().await;
            }
            (made, longest)
        }
    });
    let changing = async {
        let b = place.another(&platform.node, &shared, place.seat("b", None), |_| ()).await;
        place.settled(&["a", "b"]).await;
        let c = place.another(&platform.node, &shared, place.seat("c", None), |_| ()).await;
        place.settled(&["a", "b", "c"]).await;
        assert!(ids.iter().any(|id| serves(&b, id)) && ids.iter().any(|id| serves(&c, id)), "each has its part");
        b.drain(DRAIN).await;
        place.settled(&["a", "c"]).await;
        stop.send_replace(true);
        c
    };
    let (made, c) = tokio::join!(futures::future::join_all(writing), changing);
    let everywhere = [&platform.node, &c].map(|node| node.admin_address().unwrap());
    for (id, (made, longest)) in ids.iter().zip(made) {
        assert!(longest < PATIENCE / 4, "{longest:?} for {id}");
        for node in everywhere {
            for n in 0..made {
                let url = format!("http://localhost:{}{}/a{n}", node.port(), assets(id));
                assert_eq!(platform.http.get(url).bearer_auth(&platform.token).send().await.unwrap().status(), StatusCode::OK, "{id} {n}");
            }
        }
    }
}

/// The rows of the membership as one node has them: it alone may lose them.
struct OwnWay(MemoryMembership, Arc<AtomicBool>);

impl OwnWay {
    fn unless_cut<'a, T: 'a>(&'a self, way: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        // Nobody answers, as long as anybody waits.
        if self.1.load(Ordering::SeqCst) { Box::pin(std::future::pending()) } else { way }
    }
}

impl Membership for OwnWay {
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        self.unless_cut(self.0.view())
    }
    fn change_view(&self, next: View) -> BoxFuture<'_, Swap> {
        self.unless_cut(self.0.change_view(next))
    }
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        self.unless_cut(self.0.leases())
    }
    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap> {
        self.unless_cut(self.0.put_lease(before, next))
    }
}

/// Nodes that have all lost what they share stay, and ask clients to come again; one that has lost it alone goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_ready_unless_the_others_go_on_without_it() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let cut = Arc::new(AtomicBool::new(false));
    let mut seat = place.seat("b", None);
    seat.membership = Arc::new(OwnWay(place.rows.clone(), cut.clone()));
    let b = place.another(&a, &shared, seat, |_| ()).await;
    place.settled(&["a", "b"]).await;
    let (platform, ops) = (Platform::of(a, None).await, b.ops_url());
    let nodes = [platform.node.ops_url(), ops];
    let ready = async |node: &str| {
        let answer = platform.http.get(format!("{node}/api/check/readiness")).send().await.unwrap();
        (answer.status() == StatusCode::OK, answer.text().await.unwrap())
    };
    let until = async |node: &str, wanted: bool| {
        let all = async {
            while ready(node).await.0 != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, all).await.unwrap();
    };
    for node in &nodes {
        until(node, true).await;
    }
    let id = served_by(&b);
    participant(&platform, &id).await;

    place.rows.set_out(true);
    let answer = timeout(PATIENCE, async {
        loop {
            let answer = platform.admin(Method::GET, &format!("{}/none", assets(&id))).send().await.unwrap();
            if answer.status() != StatusCode::NOT_FOUND {
                return answer;
            }
        }
    });
    let answer = answer.await.unwrap();
    assert_eq!((answer.status(), answer.headers().contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
    // Several tries of both come to nothing.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        for node in &nodes {
            let (is_ready, said) = ready(node).await;
            assert!(is_ready, "{said}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    place.rows.set_out(false);
    let again = async {
        while platform.admin(Method::POST, &assets(&id)).json(&asset("again")).send().await.unwrap().status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();

    cut.store(true, Ordering::SeqCst);
    until(&nodes[1], false).await;
    assert!(ready(&nodes[0]).await.0);
}

/// Whoever looks at its readiness has time to see that it ends, also where there is nobody to hand anything over to.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_takes_requests_until_that_was_seen() {
    let place = Place::new();
    let (a, _shared) = place.first(|_| ()).await;
    let (admin, ready) = (a.admin_address().unwrap(), format!("{}/api/check/readiness", a.ops_url()));
    let began = Instant::now();
    let drained = tokio::spawn(a.drain(DRAIN));
    let http = Client::new();
    let seen = async {
        while http.get(&ready).send().await.unwrap().status() == StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    assert!(TcpStream::connect(admin).await.is_ok(), "whoever has not seen it yet is still let in");
    timeout(PATIENCE, drained).await.unwrap().unwrap();
    assert!(began.elapsed() > DRAIN * 2 / 5, "{:?}", began.elapsed());
    assert!(TcpStream::connect(admin).await.is_err());
}

/// A node that is told to end before it is up may serve slots already: they are handed over, not left to the end of its lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_broken_off_hands_over_what_it_serves() {
    let place = Place::new();
    // Nobody reaches the first node, so that another one waits for what it has to ask of it.
    let config_of = |node: &str| config(&place.path().join(node));
    let shared = Shared::open(&config_of("a")).await.unwrap();
    let a = Node::start_in_cell(config_of("a"), shared.clone(), place.seat("a", Some("127.0.0.1:1".to_owned()))).await.unwrap();
    let config = NodeConfig { public_url: Some(a.urls.public.clone()), admin_url: Some(a.urls.admin.clone()), ..config_of("b") };
    let ending = Ending { stop: CancellationToken::new(), limit: DRAIN };
    let started = tokio::spawn(Node::start_unless(config, shared.beside(), place.seat("b", None), ending.clone()));
    place.settled(&["a", "b"]).await;
    assert!(!started.is_finished());
    ending.stop.cancel();
    let ended = timeout(PATIENCE, started).await.unwrap().unwrap();
    assert!(matches!(ended, Err(StartError::Ended)), "{:?}", ended.map(|node| node.ops));
    place.settled(&["a"]).await;
    let of_b = place.rows.leases().await.unwrap().into_iter().find(|lease| lease.node.0 == "b").unwrap();
    assert!(!of_b.revoked, "it went by itself");
    let id = served_by(&a);
    participant(&Platform::of(a, None).await, &id).await;
}

/// Of processes that make the first client at the same time one has it, and no file opens nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_file_is_one_that_opens_something() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let client = a.bootstrap.clone().unwrap();
    let of = |node: &str, file: &str| place.path().join(node).join(file);
    let begun = |node: &str, secret: &str| {
        let stored = json!({"clientId": client.client_id, "clientSecret": secret, "tokenUrl": client.token_url});
        fs::create_dir_all(place.path().join(node)).unwrap();
        fs::write(of(node, "bootstrap-client.new"), stored.to_string()).unwrap();
    };
    // A file of another installation is none of this one.
    let stale = |node: &str, secret: &str| {
        let stored = json!({"clientId": client.client_id, "clientSecret": secret, "tokenUrl": client.token_url});
        fs::create_dir_all(place.path().join(node)).unwrap();
        fs::write(of(node, "bootstrap-client.json"), stored.to_string()).unwrap();
    };
    for (node, secret, has_it) in [("e", "another secret", false), ("f", client.secret(), true)] {
        stale(node, secret);
        let another = place.another(&a, &shared, place.seat(node, None), |_| ()).await;
        assert_eq!((another.bootstrap.is_some(), of(node, "bootstrap-client.json").exists()), (has_it, true), "{node}");
        another.drain(DRAIN).await;
    }
    // One lost the race, one ended before it knew that it had won, one while it wrote the file.
    begun("b", "another secret");
    begun("c", client.secret());
    begun("d", "");
    fs::write(of("d", "bootstrap-client.new"), "{").unwrap();
    for (node, has_it) in [("b", false), ("c", true), ("d", false)] {
        let another = place.another(&a, &shared, place.seat(node, None), |_| ()).await;
        assert_eq!(another.bootstrap.as_ref().map(|found| found.secret()), has_it.then(|| client.secret()), "{node}");
        assert_eq!(another.bootstrap.map(|found| found.path), has_it.then(|| of(node, "bootstrap-client.json")));
        assert_eq!(of(node, "bootstrap-client.json").exists(), has_it);
        assert_eq!(of(node, "bootstrap-client.new").exists(), node == "d", "what a crash left of it is nothing");
    }
}

/// The same, as it happens.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_for_the_first_time_together_have_one_first_client() {
    let place = Place::new();
    let config_of = |node: &str| {
        let (public, admin) = ("http://localhost:1".parse().unwrap(), "http://localhost:2".parse().unwrap());
        NodeConfig { public_url: Some(public), admin_url: Some(admin), ..config(&place.path().join(node)) }
    };
    let shared = Shared::open(&config_of("a")).await.unwrap();
    let start = |node: &'static str, shared: Shared| Node::start_in_cell(config_of(node), shared, place.seat(node, None));
    let nodes = tokio::join!(start("a", shared.clone()), start("b", shared.beside()), start("c", shared.beside()));
    let nodes = <[_; 3]>::from(nodes).map(Result::unwrap);
    let files = ["a", "b", "c"].map(|node| place.path().join(node).join("bootstrap-client.json").exists());
    assert_eq!(nodes.each_ref().map(|node| node.bootstrap.is_some()), files);
    let client = nodes.iter().filter_map(|node| node.bootstrap.as_ref()).collect::<Vec<_>>();
    let [client] = client[..] else { panic!("{files:?}") };
    let form = [("grant_type", "client_credentials"), ("client_id", &client.client_id), ("client_secret", client.secret())];
    let url = format!("http://localhost:{}/token", nodes[0].admin_address().unwrap().port());
    assert_eq!(form_of(Client::new().post(url), &form).send().await.unwrap().status(), StatusCode::OK);
}

/// A node that would not read what the others write serves nothing, and says why it ends; so does one whose lease the others have taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_no_part_of_its_cell_says_why() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let of_b = place.rows.leases().await.unwrap().into_iter().find(|lease| lease.node.0 == "b").unwrap();
    // The row as it is when the others have found it dead.
    let taken = async {
        loop {
            let leases = place.rows.leases().await.unwrap();
            let now = leases.into_iter().find(|lease| lease.node == of_b.node).unwrap();
            if place.rows.put_lease(Some(now.clone()), Lease { revoked: true, ..now }).await == Swap::Applied {
                return;
            }
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
    let reason = timeout(PATIENCE, b.life_over()).await.unwrap().to_string();
    assert!(reason.ends_with("the other nodes have taken this node's lease away"), "{reason}");
    place.settled(&["a"]).await;
    let later = async {
        loop {
            let view = place.rows.view().await.unwrap().unwrap();
            let next = View { version: view.version + 1, format: 99, ..view };
            if place.rows.change_view(next).await == Swap::Applied {
                return;
            }
        }
    };
    timeout(PATIENCE, later).await.unwrap();
    let reason = timeout(PATIENCE, a.life_over()).await.unwrap().to_string();
    assert!(reason.ends_with("the cell writes rows of level 99, this node reads up to 1"), "{reason}");
    let another = Node::start_in_cell(
        NodeConfig { public_url: Some(a.urls.public.clone()), admin_url: Some(a.urls.admin.clone()), ..config(&place.path().join("c")) },
        shared.beside(),
        place.seat("c", None),
    );
    let refused = timeout(PATIENCE, another).await.unwrap().map(|node| node.ops).unwrap_err().to_string();
    assert!(refused.ends_with("the cell writes rows of level 99, this node reads up to 1"), "{refused}");
    let platform = Platform::of(a, None).await;
    assert!(platform.token.is_empty(), "nothing is served on a guess");
}

/// A node that only passes requests on is ready as long as there is one that takes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_alone_is_ready_while_it_reaches_a_member() {
    let place = Place::new();
    let (way, watched) = watch::channel(Way::Open);
    let (at, place_of_a) = watch::channel(None);
    let (endpoint, _missed) = between(place_of_a, watched).await;
    let mut seat = place.seat("a", Some(endpoint));
    seat.listen = place_of_its_own();
    at.send_replace(Some(seat.listen.to_string()));
    let config = config(&place.path().join("a"));
    let shared = Shared::open(&config).await.unwrap();
    let a = Node::start_in_cell(config, shared.clone(), seat).await.unwrap();
    let mut seat = place.seat("g", None);
    seat.roles = "gateway".parse().unwrap();
    let gateway = place.another(&a, &shared, seat, |_| ()).await;
    let http = Client::new();
    let until = async |wanted: bool| {
        let all = async {
            let ready = || http.get(format!("{}/api/check/readiness", gateway.ops_url())).send();
            while (ready().await.unwrap().status() == StatusCode::OK) != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, all).await.unwrap();
    };
    until(true).await;
    way.send_replace(Way::Cut);
    until(false).await;
    way.send_replace(Way::Open);
    until(true).await;
    drop(a);
}

/// The node that goes on where another one served does not know which tokens that one saw: it takes none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_token_counts_once_wherever_its_receiver_is_served() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let (sender, receiver) = (served_by(&platform.node), served_by(&b));
    for id in [&sender, &receiver] {
        platform.participant(id).await;
    }
    let objects = json!([{"id": "m", "type": "CredentialObject"}]);
    let context = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld";
    let offer = json!({"@context": [context], "type": "CredentialOfferMessage", "issuer": platform.did(&sender), "credentials": objects});
    let url = format!("{}/offers", platform.node.urls.credential_service(&id_of(&receiver)));
    let offered = async |token: &str| {
        let answer = platform.http.post(&url).bearer_auth(token).json(&offer).send().await.unwrap();
        let again = answer.headers().contains_key("retry-after");
        let (status, said) = read(answer).await;
        (status, again, said.to_string())
    };
    // The sender signs anew as long as it is told to.
    let taken = async || {
        let taken = async {
            loop {
                let token = platform.id_token(&sender, &receiver).await;
                let (status, again, said) = offered(&token).await;
                if !again {
                    assert_eq!(status, StatusCode::OK, "{said}");
                    return token;
                }
            }
        };
        timeout(PATIENCE, taken).await.unwrap()
    };
    // One more, which is not used yet: when its receiver has moved, it is known which of them was.
    let (used, kept) = (taken().await, platform.id_token(&sender, &receiver).await);
    b.drain(DRAIN).await;
    place.settled(&["a"]).await;
    let (status, again, said) = offered(&used).await;
    assert_eq!((status, again), (StatusCode::UNAUTHORIZED, false), "{said}");
    assert_eq!(offered(&kept).await.0, StatusCode::OK);
    assert_eq!(offered(&kept).await.0, StatusCode::UNAUTHORIZED);
}

/// A message whose receiver goes to another node in the middle of it is not done: its sender signs anew, and need not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_sign_anew_since_the_receiver_has_moved_need_not_wait() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let receiver = served_by(&b);
    platform.participant(&receiver).await;
    // Who sends it has a DID whose document is long in coming, and does not come in the end.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sender = format!("did:web:localhost%3A{}", listener.local_addr().unwrap().port());
    let (asked, mut is_asked) = watch::channel(0);
    let (answers, answered) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut answered = answered.clone();
            asked.send_modify(|count| *count += 1);
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = answered.wait_for(|answered| *answered).await;
                // Who asks by TLS is gone by now.
                let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            });
        }
    });
    let url = format!("{}/offers", platform.node.urls.credential_service(&id_of(&receiver)));
    let (http, own) = (platform.http.clone(), platform.did(&receiver));
    let (context, objects) = ("https://w3id.org/dspace-dcp/v1.0/dcp.jsonld", json!([{"id": "m", "type": "CredentialObject"}]));
    let offer = json!({"@context": [context], "type": "CredentialOfferMessage", "issuer": sender, "credentials": objects});
    let offered = async || {
        let (part, now) = (|part: Value| URL_SAFE_NO_PAD.encode(part.to_string()), SystemClock.now().seconds());
        let header = part(json!({"alg": "EdDSA", "typ": "JWT", "kid": format!("{sender}#key")}));
        let claims = json!({"iss": sender, "sub": sender, "aud": own, "jti": now.to_string(), "iat": now, "exp": now + 60});
        let token = format!("{header}.{}.{}", part(claims), URL_SAFE_NO_PAD.encode([0; 64]));
        let answer = http.post(&url).bearer_auth(token).json(&offer).send().await.unwrap();
        let again = answer.headers().get("retry-after").map(|after| after.to_str().unwrap().to_owned());
        let (status, said) = read(answer).await;
        (status, again, said.to_string())
    };
    let expected = |after: &str| (StatusCode::SERVICE_UNAVAILABLE, Some(after.to_owned()));
    let (status, again, said) = offered().await;
    assert_eq!((status, again), expected("1"), "{said}");
    // What failed is remembered for a moment.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    answers.send_replace(false);
    let before = *is_asked.borrow();
    let ((status, again, said), ()) = tokio::join!(offered(), async {
        timeout(PATIENCE, is_asked.wait_for(|count| *count > before)).await.unwrap().unwrap();
        let (drained, ()) = tokio::join!(timeout(PATIENCE, b.drain(DRAIN)), async {
            while !serves(&platform.node, &receiver) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answers.send_replace(true);
        });
        drained.unwrap();
    });
    assert_eq!((status, again), expected("0"), "{said}");
}

/// Who waits for a state at a node that ends goes on waiting where the agent goes, and in all no longer than it wanted to.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_goes_on_where_its_agent_goes() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let id = served_by(&b);
    participant(&platform, &id).await;
    let negotiations = format!("/api/mgmt/v5beta/participants/{id}/contractnegotiations");
    let begun = platform.must(Method::POST, &negotiations, Some(platform.negotiation())).await;
    let one = format!("{negotiations}/{}", begun["@id"].as_str().unwrap());
    let wait = async |time: Duration| {
        let path = format!("{one}/state?wait=FINALIZED&timeout={}ms", time.as_millis());
        read(platform.admin(Method::GET, &path).send().await.unwrap()).await
    };
    let (began, brief) = (Instant::now(), Duration::from_secs(12));
    let ending = async {
        b.drain(DRAIN).await;
        place.settled(&["a"]).await;
        // A second more than is left of the brief wait, which would last longer still had it begun anew where its agent went.
        let left = (brief + Duration::from_secs(1)).saturating_sub(began.elapsed());
        wait(left).await;
    };
    let briefly = async {
        tokio::select! {
            biased;
            (status, said) = wait(brief) => assert!(status == StatusCode::OK && said["state"] != "TERMINATED", "{status} {said}"),
            () = ending => panic!("a wait began anew"),
        }
        let reason = body("TerminateNegotiation", json!({"reason": "over"}));
        let ended = platform.admin(Method::POST, &format!("{one}/terminate")).json(&reason).send().await.unwrap();
        assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    };
    let ((status, said), ()) = timeout(PATIENCE, async { tokio::join!(wait(Duration::from_secs(60)), briefly) }).await.unwrap();
    assert_eq!((status, &said["state"]), (StatusCode::OK, &json!("TERMINATED")), "{said}");
}

/// What is changed by way of one node is so at all of them when it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn settings_are_the_same_at_every_node_at_once() {
    let platform = Platform::in_cell(&["a", "b"], |_| ()).await;
    let at_b = |path: &str| format!("http://localhost:{}{path}", platform.beside[0].admin_address().unwrap().port());
    let id = served_by(&platform.beside[0]);
    participant(&platform, &id).await;
    for n in 0..5 {
        let protocol = json!({"version": "2025-1", "path": format!("/own-{n}"), "binding": "HTTPS", "namespace": "n"});
        let profile = body("DataspaceProfile", json!({"name": format!("own-{n}"), "protocol": protocol}));
        platform.must(Method::POST, "/api/mgmt/v5beta/dataspaceprofiles", Some(profile)).await;
        // The participant's node knows it.
        let profiles = body("AssociateDataspaceProfile", json!({"profiles": [format!("own-{n}")]}));
        let path = format!("/api/mgmt/v5beta/participants/{id}/profiles");
        let sent = platform.http.put(at_b(&path)).bearer_auth(&platform.token).json(&profiles).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::NO_CONTENT, "{n}");
    }
}

/// Ids that are drawn, and ids that only the body says: whichever node is asked, the one is asked whose they are.
#[tokio::test(flavor = "multi_thread")]
async fn participants_are_made_and_changed_by_way_of_any_node() {
    let platform = Platform::in_cell(&["a", "b", "c"], |_| ()).await;
    let context = |name: &str, more: Value| {
        let mut context = json!({"identity": platform.did(name), "state": "ACTIVATED", "properties": {}});
        context.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body("ParticipantContext", context)
    };
    let made = |name: String, key: Option<&'static str>| {
        let mut request = platform.admin(Method::POST, "/api/mgmt/v5beta/participants").json(&context(&name, json!({})));
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("{key}-{name}"));
        }
        async move {
            let (status, said) = read(request.send().await.unwrap()).await;
            assert_eq!(status, StatusCode::OK, "{said}");
            said["@id"].as_str().unwrap().to_owned()
        }
    };
    let mut names = std::collections::BTreeMap::new();
    for n in 0..6 {
        let name = |what: &str| format!("{what}-{n}");
        assert!(names.insert(made(name("free"), None).await, name("free")).is_none());
        let (first, again) = (made(name("keyed"), Some("key")).await, made(name("keyed"), Some("key")).await);
        assert_eq!(first, again, "a repeat");
        assert!(names.insert(first, name("keyed")).is_none());
    }
    // Each is changed by a path that names another one.
    for ((id, name), of_path) in names.iter().zip(names.keys().skip(1).chain(names.keys().next())) {
        let changed = context(name, json!({"@id": id, "properties": {"n": name}}));
        platform.must(Method::PUT, &format!("/api/mgmt/v5beta/participants/{of_path}"), Some(changed)).await;
    }
    for (id, name) in &names {
        let found = platform.must(Method::GET, &format!("/api/mgmt/v5beta/participants/{id}"), None).await;
        assert_eq!(found["properties"]["n"], json!(name), "{found}");
    }
}

/// Before another node is asked it is looked at who asks, and nobody says for a client what only nodes say to each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_passed_on_is_judged_like_any_other() {
    let platform = Platform::in_cell(&["a", "b"], |_| ()).await;
    let (here, there) = (served_by(&platform.node), served_by(&platform.beside[0]));
    for id in [&here, &there] {
        participant(&platform, id).await;
        platform.must(Method::POST, &assets(id), Some(asset("first"))).await;
        // A body that never comes is not waited for.
        let mut socket = TcpStream::connect(platform.node.admin_address().unwrap()).await.unwrap();
        for token in ["", "Authorization: Bearer none\r\n"] {
            let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: 100\r\n\r\n", assets(id));
            socket.write_all(head.as_bytes()).await.unwrap();
            let mut status = [0; 12];
            timeout(PATIENCE, socket.read_exact(&mut status)).await.unwrap().unwrap();
            assert_eq!(&status, b"HTTP/1.1 401", "{id}");
            socket = TcpStream::connect(platform.node.admin_address().unwrap()).await.unwrap();
        }
        let how = json!({"listener": "ops", "owner": "installation", "view": 1_000_000, "hops": 9, "left": 0});
        let request = platform.admin(Method::GET, &format!("{}/first", assets(id))).header("cellspace-forwarded", how.to_string());
        let answer = request.header("cellspace-wire", "99").header("cellspace-elsewhere", "x").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{id}");
        assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("cellspace-")), "{:?}", answer.headers());
    }
}

/// Negotiations and transfers need no node that takes events of the fabric; who is to come in waits for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cell_without_its_fabric_goes_on_sharing_data() {
    // The clients of the story are made for one thread.
    LocalSet::new().run_until(without_fabric()).await;
}

async fn without_fabric() {
    let place = Place::new();
    let config = config(&place.path().join("a"));
    let shared = Shared::open(&config).await.unwrap();
    let with_fabric = |name: &str, fabric| Seat { roles: Roles { fabric, ..Roles::ALL }, ..place.seat(name, None) };
    let a = Node::start_in_cell(config, shared.clone(), with_fabric("a", false)).await.unwrap();
    let b = place.another(&a, &shared, with_fabric("b", true), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let mut prepared = Prepared::of(&platform).await;
    let sharers = prepared.sharers(&platform).await;

    b.drain(DRAIN).await;
    place.settled(&["a"]).await;
    let mut load = Load::start(&platform, &sharers);
    let profile = prepared.late(&platform, "late").await;
    load.more(20).await;
    assert!(!is_active(&platform, &profile, "1s").await, "somebody took events");
    load.end().await;

    let _c = place.another(&platform.node, &shared, with_fabric("c", true), |_| ()).await;
    catches_up(&platform, &profile).await;
}
