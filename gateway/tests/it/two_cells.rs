//! An installation of two cells, on a real Cassandra and Kafka: any cell answers for any participant, and one that is moved loses nothing.

mod dsp;
mod killed;

use crate::{
    management::body,
    process::Process,
    support::{DRAIN, PATIENCE, Platform, config, read},
};
use cellspace::{
    Node, NodeConfig,
    node::{CellConfig, Ending, MoveReport, Roles},
};
use cellspace_cluster::{
    Clock, SystemClock,
    link::{Authority, PeerName},
    membership::Terms,
};
use cellspace_schemas::Owner;
use cellspace_storage::{
    CellName, KafkaOptions, MasterKey, NodeName, Replication, ScyllaOptions, scylla::create_schema, testkit::services,
};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    join,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use url::Url;

/// Of a drain at the end of a test.
const BRIEF: Duration = Duration::from_secs(2);
const CELLS: [&str; 2] = ["cell-a", "cell-b"];
/// Processes of the first cell that serve nothing.
const MOVERS: [&str; 3] = ["m1", "m2", "m3"];

/// What two cells begin with.
struct Place {
    known: Known,
    /// Removed with the place, by who has made it.
    _dir: Option<tempfile::TempDir>,
}

/// What another process is told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    dir: PathBuf,
    cassandra: Vec<String>,
    kafka: String,
    keyspaces: [String; 2],
}

impl Deref for Place {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl Place {
    /// `None` without a database or a Kafka.
    async fn of(test: &str) -> Option<Self> {
        let (cassandra, kafka) = (services::cassandra(test)?, services::kafka(test)?);
        let (dir, name) = (tempfile::tempdir().unwrap(), uuid::Uuid::new_v4().simple());
        let known = Known { dir: dir.path().to_owned(), cassandra, kafka, keyspaces: [format!("a{name}"), format!("b{name}")] };
        let place = Self { known, _dir: Some(dir) };
        let nodes = u8::try_from(place.cassandra.len()).unwrap();
        for keyspace in &place.keyspaces {
            let replication: Replication = nodes.to_string().parse().unwrap();
            create_schema(&ScyllaOptions::new(place.cassandra.clone(), keyspace), &replication).await.unwrap();
        }
        let mut topics = Process::start(
            &place.dir,
            &["admin", "topics", "--create", "--kafka", &place.kafka, "--kafka-prefix", &format!("{}.", place.keyspaces[0])],
        );
        while topics.line().await.is_some() {}
        assert!(topics.end().await.success(), "{}", topics.errors());
        place.certificates();
        Some(place)
    }

    /// Each cell has an authority of its own, and believes both.
    fn certificates(&self) {
        let made = CELLS.map(|cell| (cell, Authority::make(cell, SystemClock.now()).unwrap()));
        let both = made.iter().map(|(_, issued)| issued.certificate.clone()).collect::<Vec<_>>().join("\n");
        fs::write(self.dir.join("ca.pem"), both).unwrap();
        for ((cell, issued), nodes) in made.iter().zip([&[&["a"], &MOVERS[..]].concat()[..], &["b"]]) {
            let authority = Authority::open(cell, &issued.certificate, &issued.key).unwrap();
            for node in nodes {
                let issued = authority.issue(&PeerName::new(cell, &NodeName((*node).to_owned())).unwrap(), SystemClock.now()).unwrap();
                fs::write(self.dir.join(format!("{node}.pem")), issued.certificate).unwrap();
                fs::write(self.dir.join(format!("{node}-key.pem")), issued.key).unwrap();
            }
        }
    }

    /// The only node of a cell; the second one has the URLs of the first.
    async fn node(&self, n: usize, first: Option<&Node>) -> Node {
        self.start(n, first.map(|first| (first.urls.public.clone(), first.urls.admin.clone())), |_| ()).await
    }

    /// A process of a cell.
    async fn start(&self, n: usize, urls: Option<(Url, Url)>, change: impl FnOnce(&mut CellConfig)) -> Node {
        let (config, mut cell) = self.configured(n, urls);
        change(&mut cell);
        let config = NodeConfig { data_dir: self.dir.join(&cell.node.0), ..config };
        timeout(PATIENCE, Box::pin(Node::run(config, cell, Ending::default()))).await.expect("a node starts").unwrap()
    }

    /// Why another keyspace's first node does not start that was told of this cell, and not that it is the main one.
    async fn forgetful(&self, n: usize) -> String {
        let keyspace = format!("c{}", uuid::Uuid::new_v4().simple());
        let replication: Replication = self.cassandra.len().to_string().parse().unwrap();
        create_schema(&ScyllaOptions::new(self.cassandra.clone(), &keyspace), &replication).await.unwrap();
        let (config, cell) = self.configured(n, None);
        let config =
            NodeConfig { data_dir: self.dir.join("c"), scylla: Some(ScyllaOptions::new(self.cassandra.clone(), &keyspace)), ..config };
        let refused = timeout(PATIENCE, Box::pin(Node::run(config, CellConfig { main: None, ..cell }, Ending::default()))).await;
        let refused = refused.expect("a node ends").err().expect("it is refused").to_string();
        services::drop_keyspace(&self.cassandra, &keyspace).await;
        refused
    }

    fn configured(&self, n: usize, urls: Option<(Url, Url)>) -> (NodeConfig, CellConfig) {
        let name = ["a", "b"][n];
        let dir: &Path = &self.dir.join(name);
        let config = NodeConfig {
            cell: CELLS[n].to_owned(),
            master_key: Some(MasterKey::Bytes([7; 32].into())),
            public_url: urls.clone().map(|urls| urls.0),
            admin_url: urls.map(|urls| urls.1),
            scylla: Some(ScyllaOptions::new(self.cassandra.clone(), &self.keyspaces[n])),
            kafka: Some(KafkaOptions::new(vec![self.kafka.clone()], format!("{}.", self.keyspaces[0]))),
            ..config(dir)
        };
        let (other, at) = (CellName(CELLS[1 - n].to_owned()), self.keyspaces[1 - n].clone());
        let cell = CellConfig {
            node: NodeName(name.to_owned()),
            roles: Roles { fabric: n == 0, ..Roles::ALL },
            listen: "127.0.0.1:0".parse().unwrap(),
            endpoint: None,
            certificates: self.dir.to_owned(),
            terms: Terms { step: 4_096, pace: Duration::from_millis(20), ..Terms::default() },
            main: (n == 1).then(|| other.clone()),
            others: vec![(other, at)],
        };
        (config, cell)
    }

    /// Ends the nodes, of which nothing is asked any more, and removes what they have left.
    async fn left_by(&self, platform: Platform) {
        let Platform { node, beside, .. } = platform;
        join_all(beside.into_iter().chain([node]).map(|node| node.drain(BRIEF))).await;
        for keyspace in &self.keyspaces {
            services::drop_keyspace(&self.cassandra, keyspace).await;
        }
    }
}

/// The cell that has the owner, by its row.
async fn home(node: &Node, owner: &str) -> String {
    node.app.nodes.as_ref().unwrap().homes(vec![Owner::new(owner).unwrap()]).await.unwrap().remove(0).cell.0
}

/// As a client asks that honours `Retry-After`: the answer that is not "not now".
async fn asked(platform: &Platform, at: u16, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value, usize) {
    let (until, mut again) = (Instant::now() + PATIENCE, 0);
    loop {
        let request = platform.http.request(method.clone(), format!("http://localhost:{at}{path}")).bearer_auth(&platform.token);
        let request = if let Some(body) = body { request.json(body) } else { request };
        let answer = request.send().await.unwrap();
        let wait = answer.headers().get("retry-after").map(|after| after.to_str().unwrap().parse::<u64>().unwrap());
        let (status, said) = read(answer).await;
        if status != StatusCode::SERVICE_UNAVAILABLE {
            return (status, said, again);
        }
        assert!(Instant::now() < until, "{said}");
        again += 1;
        sleep(Duration::from_secs(wait.expect("when to come back"))).await;
    }
}

fn assets(participant: &str) -> String {
    format!("/api/mgmt/v5beta/participants/{participant}/assets")
}

fn asset(id: &str) -> Value {
    body("Asset", json!({"@id": id, "properties": {}}))
}

async fn moved(platform: &Platform, at: u16, owner: &str, to: &str) {
    let began = Instant::now();
    loop {
        let path = format!("/api/runtime/homes/{owner}/move?to={to}");
        let (status, said, _) = asked(platform, at, Method::POST, &path, None).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        if said["done"] == true {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{said}");
    }
}

async fn made(platform: &Platform, at: u16, id: &str) {
    let context = json!({"@id": id, "identity": platform.did(id), "state": "ACTIVATED", "properties": {}});
    let made = asked(platform, at, Method::POST, "/api/mgmt/v5beta/participants", Some(&body("ParticipantContext", context))).await;
    assert!(made.0.is_success(), "{made:?}");
}

/// Clients that write for a participant, one thing after the other and by way of both nodes, and what they were told is there.
struct Clients {
    owner: String,
    ports: [u16; 2],
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    clients: JoinSet<BTreeSet<String>>,
}

impl Clients {
    /// Each with a pause between two things.
    fn begin(platform: &Arc<Platform>, owner: &str, ports: [u16; 2], pause: Duration) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for client in 0..4 {
            let (platform, owner, stop, count) = (platform.clone(), owner.to_owned(), stop.clone(), count.clone());
            clients.spawn(async move {
                let mut there = BTreeSet::new();
                while !stop.load(Ordering::Acquire) {
                    let id = format!("a-{client}-{}", there.len());
                    let at = ports[there.len() % 2];
                    let (status, said, again) = asked(&platform, at, Method::POST, &assets(&owner), Some(&asset(&id))).await;
                    // One whose answer was lost is there when it is sent again.
                    assert!(status == StatusCode::OK || (again > 0 && status == StatusCode::CONFLICT), "{status} {said}");
                    there.insert(id);
                    count.fetch_add(1, Ordering::Release);
                    sleep(pause).await;
                }
                there
            });
        }
        Self { owner: owner.to_owned(), ports, stop, count, clients }
    }

    /// Waits until so many more things are written.
    async fn more(&self, than: usize) {
        let from = self.count.load(Ordering::Acquire);
        let grown = async {
            while self.count.load(Ordering::Acquire) < from + than {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, grown).await.expect("clients go on");
    }

    /// All that they were told is there, by way of each node.
    async fn end_well(self, platform: &Platform) {
        self.stop.store(true, Ordering::Release);
        let there: BTreeSet<String> = self.clients.join_all().await.into_iter().flatten().collect();
        let looks = self.ports.map(|at| {
            let (there, owner) = (&there, &self.owner);
            async move {
                for id in there {
                    let (status, said, _) = asked(platform, at, Method::GET, &format!("{}/{id}", assets(owner)), None).await;
                    assert_eq!(status, StatusCode::OK, "{id} by way of {at}: {said}");
                }
            }
        });
        join_all(looks).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_moves_between_cells_under_load_and_nothing_that_was_acknowledged_is_lost() {
    let Some(place) = Place::of("two_cells").await else { return };
    let a = Box::pin(place.node(0, None)).await;
    let b = Box::pin(place.node(1, Some(&a))).await;
    let mut platform = Platform::of(a, None).await;
    platform.beside = vec![b];
    let ports = [&platform.node, &platform.beside[0]].map(|node| node.admin_address().unwrap().port());
    let [at_a, at_b] = ports;

    // Without a row everything is in the main cell, also what is made by way of the other one.
    for (id, at) in [("p1", at_a), ("p2", at_b)] {
        made(&platform, at, id).await;
        assert_eq!(home(&platform.node, id).await, CELLS[0]);
    }
    let platform = Arc::new(platform);
    let clients = Clients::begin(&platform, "p1", ports, Duration::from_millis(10));
    clients.more(50).await;
    moved(&platform, at_a, "p1", CELLS[1]).await;
    assert_eq!((home(&platform.node, "p1").await, home(&platform.node, "p2").await), (CELLS[1].to_owned(), CELLS[0].to_owned()));
    clients.more(50).await;
    // Whoever moves it may fail anywhere: another one goes on, here by way of the other cell.
    let (owner, wanted) = (Owner::new("p1").unwrap(), CellName(CELLS[0].to_owned()));
    let (mut time, mut tries) = (1, 0);
    let done = loop {
        let node = [&platform.node, &platform.beside[0]][tries % 2];
        let directory = node.app.nodes.as_ref().unwrap();
        let moving = Box::pin(directory.move_to(&node.app.services.cluster, &owner, "control-plane", &wanted));
        tries += 1;
        match timeout(Duration::from_millis(time), moving).await {
            Ok(Ok(report)) if report.done => break report,
            Ok(other) => drop(other.unwrap()),
            // What is copied grows meanwhile: so does the time, faster.
            Err(_) => time += 2 + time / 4,
        }
    };
    assert_eq!(done, MoveReport { done: true, cell: wanted.clone(), copying: None, waits: None, given_up: None });
    assert!(tries > 3, "it was never ended before its time: {tries}");
    assert_eq!(home(&platform.node, "p1").await, CELLS[0]);
    clients.more(50).await;
    moved(&platform, at_b, "p1", CELLS[1]).await;
    clients.more(20).await;
    clients.end_well(&platform).await;
    let (_, all, _) = asked(&platform, at_b, Method::GET, "/api/mgmt/v5beta/participants", None).await;
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
    let (_, homes, _) = asked(&platform, at_b, Method::GET, "/api/runtime/homes", None).await;
    assert_eq!(homes, json!([{"participant": "p1", "cell": CELLS[1]}, {"participant": "p2", "cell": CELLS[0]}]));
    // What is no cell, and who is no participant.
    for (owner, to, expected) in [("p1", "cell-c", StatusCode::NOT_FOUND), ("nobody", CELLS[1], StatusCode::NOT_FOUND)] {
        let (status, said, _) = asked(&platform, at_a, Method::POST, &format!("/api/runtime/homes/{owner}/move?to={to}"), None).await;
        assert_eq!(status, expected, "{said}");
    }
    // The same by command: each cell has its share already, and what is to be moved is told before.
    let data = place.dir.join("a").display().to_string();
    let admin = async |arguments: &[&str]| Process::said(&place.dir, &[&["admin"], arguments, &["--data-dir", &data]].concat()).await;
    assert_eq!(admin(&["rebalance"]).await.unwrap(), "participants moved: 0");
    assert_eq!(admin(&["move", "p1", "--to", CELLS[0]]).await.unwrap(), format!("p1 is in cell {}", CELLS[0]));
    let plan = format!("p2: {} -> {}participants to be moved: 1", CELLS[0], CELLS[1]);
    assert_eq!(admin(&["rebalance", "--dry-run"]).await.unwrap(), plan);
    assert_eq!(home(&platform.node, "p2").await, CELLS[0]);
    assert_eq!(admin(&["rebalance"]).await.unwrap(), format!("p2 is in cell {}participants moved: 1", CELLS[1]));
    assert_eq!((home(&platform.node, "p1").await, home(&platform.node, "p2").await), (CELLS[0].to_owned(), CELLS[1].to_owned()));
    assert!(admin(&["move", "p1", "--to", "cell-c"]).await.unwrap_err().contains("no cell cell-c"));
    // A cell that is away takes nobody: a move there does not begin, or is given up, and the participant is served where it is.
    let mut platform = Arc::into_inner(platform).unwrap();
    let beside = std::mem::take(&mut platform.beside);
    let (directory, away) = (platform.node.app.nodes.as_ref().unwrap(), CellName(CELLS[1].to_owned()));
    let goes = async {
        join_all(beside.into_iter().map(|node| node.drain(DRAIN))).await;
        directory.move_to(&platform.node.app.services.cluster, &owner, "control-plane", &away).await.unwrap()
    };
    // A cell that was not told which one is the main cell does not take itself for it, and writes nothing before it knows.
    let (refused, report) = join!(Box::pin(place.forgetful(1)), Box::pin(goes));
    assert!(refused.starts_with("the keyspace c"), "{refused}");
    assert!(!report.done && report.cell.0 == CELLS[0] && report.waits.is_some(), "{report:?}");
    let (status, said, _) = asked(&platform, at_a, Method::POST, &assets("p1"), Some(&asset("last"))).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    place.left_by(platform).await;
}
