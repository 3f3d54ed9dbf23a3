//! A cell of several processes as the example runs it, on a real Cassandra and Kafka: the story, a node that is killed, one that is drained, one that comes back.

use crate::{
    management::body,
    process::Process,
    support::{form_of, ok, read, text},
};
use cellspace_storage::testkit::services;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    process::Command,
    sync::{Notify, watch},
    task::JoinSet,
};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/cell-of-three/cell");
/// Participants that are written for.
const PARTICIPANTS: usize = 12;
/// How soon after a node's death its participants answer again: lease and margin, twice over for the views, the claims, and a machine that does other things too.
const FAILOVER: Duration = Duration::from_secs(15);
/// Longest time for anything else.
const PATIENCE: Duration = Duration::from_secs(180);

/// The example, which ends with its test.
struct Cell {
    dir: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Cell {
    /// On ports that are free; `None` without a database or a Kafka.
    fn of(test: &str) -> Option<Self> {
        let (cassandra, kafka) = (services::cassandra(test)?, services::kafka(test)?);
        let dir = tempfile::tempdir().unwrap();
        let free = |base: u16| (0..4).all(|n| (0..4).all(|m| TcpListener::bind(("127.0.0.1", base + 10 * n + m)).is_ok()));
        let port = (23_000..30_000).step_by(40).find(|base| free(*base)).unwrap();
        let variables = vec![
            ("CELLSPACE", env!("CARGO_BIN_EXE_cellspace").to_owned()),
            ("CELL_STATE", dir.path().display().to_string()),
            ("CELL_PORT", port.to_string()),
            ("CELL_CASSANDRA", cassandra.join(",")),
            ("CELL_KAFKA", kafka),
            ("CELL_NAME", format!("it_{}", uuid::Uuid::new_v4().simple())),
            ("CELL_LOG", "info".to_owned()),
        ];
        Some(Self { dir, variables })
    }

    async fn run(&self, command: &str) {
        let mut script = Command::new(EXAMPLE);
        script.arg(command).envs(self.variables.clone()).stdin(Stdio::null()).stdout(Stdio::null());
        let status = tokio::time::timeout(PATIENCE, script.status()).await.expect("the example ends").unwrap();
        assert!(status.success(), "{command}: {}", self.logs());
    }

    /// What `up` and `down` leave in the database.
    async fn remove(self) {
        let of = |name: &str| self.variables.iter().find(|(known, _)| *known == name).unwrap().1.clone();
        let nodes: Vec<String> = of("CELL_CASSANDRA").split(',').map(str::to_owned).collect();
        services::drop_keyspace(&nodes, &of("CELL_NAME")).await;
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn logs(&self) -> String {
        let of = |node: &str| {
            let log = std::fs::read_to_string(self.file(&format!("{node}.log"))).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(12).collect();
            format!("--- {node}\n{}\n", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        ["gateway", "a", "b", "c"].map(of).concat()
    }

    fn pid(&self, node: &str) -> String {
        std::fs::read_to_string(self.file(&format!("{node}.pid"))).unwrap().trim().to_owned()
    }

    fn signal(&self, node: &str, signal: &str) {
        let kill = format!("kill -{signal} {}", self.pid(node));
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// A client that may do everything, by way of the gateway.
    async fn client(&self) -> Admin {
        let file: Value = serde_json::from_slice(&std::fs::read(self.file("a/bootstrap-client.json")).unwrap()).unwrap();
        let (id, secret, url) = (text(&file, "clientId"), text(&file, "clientSecret"), text(&file, "tokenUrl"));
        let http = Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        let token = text(&ok(form_of(http.post(&url), &form).send().await.unwrap()).await, "access_token");
        Admin { http, base: url.trim_end_matches("/token").to_owned(), token }
    }

    async fn program(&self, arguments: &[&str]) -> String {
        let data = self.file("a");
        let mut admin = Process::start(self.dir.path(), &[arguments, &["--data-dir", data.to_str().unwrap()]].concat());
        let mut said = String::new();
        while let Some(line) = admin.line().await {
            said.push_str(&line);
            said.push('\n');
        }
        assert!(admin.end().await.success(), "{}{}", admin.errors(), self.logs());
        said
    }

    /// Asks for other terms than the cell has, as an operator does; what is said.
    async fn terms(&self, step: &str) -> String {
        let (known, wanted) = (std::fs::read_to_string(self.file("a.toml")).unwrap(), self.file("terms.toml"));
        assert!(known.contains("step = 256"), "{known}");
        std::fs::write(&wanted, known.replace("step = 256", step)).unwrap();
        let mut admin = Process::start(self.dir.path(), &["admin", "terms", "--config", wanted.to_str().unwrap()]);
        let said = admin.line().await.unwrap_or_default();
        admin.end().await;
        said + &admin.errors()
    }

    /// Until these nodes share the slots.
    async fn settled(&self, names: &[&str]) {
        let began = Instant::now();
        loop {
            let nodes: Value = serde_json::from_str(&self.program(&["admin", "nodes", "--json"]).await).unwrap();
            let members: Vec<&Value> = nodes.as_array().unwrap().iter().filter(|node| node["state"] != "outside").collect();
            let settled =
                members.iter().all(|node| node["state"] == "member" && node["lease"] == "renewed" && node["slots"].as_u64() > Some(0));
            if settled && members.iter().map(|node| node["node"].as_str().unwrap()).eq(names.iter().copied()) {
                assert_eq!(members.iter().map(|node| node["slots"].as_u64().unwrap()).sum::<u64>(), 4_096);
                assert!(members.iter().all(|node| node["roles"] == json!(["gateway", "runtime", "fabric"])), "{nodes}");
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{nodes}{}", self.logs());
        }
    }
}

impl Drop for Cell {
    /// Whatever becomes of the test, nothing of it stays.
    fn drop(&mut self) {
        for node in ["gateway", "a", "b", "c"] {
            let (pid, config) = (std::fs::read_to_string(self.file(&format!("{node}.pid"))), self.file(&format!("{node}.toml")));
            let Ok(pid) = pid else { continue };
            let command = std::fs::read(Path::new("/proc").join(pid.trim()).join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&*config.to_string_lossy()) {
                let _ = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {}", pid.trim())]).status();
            }
        }
    }
}

#[derive(Clone)]
struct Admin {
    http: Client,
    base: String,
    token: String,
}

impl Admin {
    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// A change, repeated under the same key for as long as it is answered with 503 and Retry-After, as clients are told to.
    async fn must(&self, path: &str, sent: &Value, key: &str) {
        let began = Instant::now();
        loop {
            let answer = self.call(Method::POST, path).header("idempotency-key", key).json(sent).send().await.unwrap();
            let again = answer.headers().contains_key("retry-after");
            let (status, said) = read(answer).await;
            if status.is_success() {
                return;
            }
            assert!(status == StatusCode::SERVICE_UNAVAILABLE && again, "{path}: {status} {said}");
            assert!(began.elapsed() < PATIENCE, "{path}: {said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn participant(&self, id: &str, host: &str) {
        let context = json!({"@id": id, "identity": format!("did:web:{host}:{id}"), "state": "ACTIVATED", "properties": {}});
        self.must("/api/mgmt/v5beta/participants", &body("ParticipantContext", context), &format!("make-{id}")).await;
    }
}

/// Clients that write for participants one thing after the other, and what they were told is there.
struct Load {
    admin: Admin,
    made: Arc<Vec<AtomicU64>>,
    written: Arc<Notify>,
    stop: watch::Sender<bool>,
    clients: JoinSet<Duration>,
}

impl Load {
    fn assets(n: usize) -> String {
        format!("/api/mgmt/v5beta/participants/p{n}/assets")
    }

    fn begin(admin: &Admin) -> Self {
        let made: Arc<Vec<AtomicU64>> = Arc::new((0..PARTICIPANTS).map(|_| AtomicU64::new(0)).collect());
        let (written, stop, mut clients) = (Arc::new(Notify::new()), watch::Sender::new(false), JoinSet::new());
        for n in 0..PARTICIPANTS {
            let (admin, made, written, stopped) = (admin.clone(), made.clone(), written.clone(), stop.subscribe());
            clients.spawn(async move {
                let mut longest = Duration::ZERO;
                while !*stopped.borrow() {
                    let (began, next) = (Instant::now(), made[n].load(Ordering::Relaxed));
                    let asset = body("Asset", json!({"@id": format!("a{next}"), "properties": {}}));
                    admin.must(&Self::assets(n), &asset, &format!("p{n}-a{next}")).await;
                    made[n].store(next + 1, Ordering::Release);
                    written.notify_waiters();
                    longest = longest.max(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                longest
            });
        }
        Self { admin: admin.clone(), made, written, stop, clients }
    }

    fn counts(&self) -> Vec<u64> {
        self.made.iter().map(|made| made.load(Ordering::Acquire)).collect()
    }

    /// Waits until something more is written for everybody; how long that took.
    async fn everybody(&self) -> Duration {
        let (began, before) = (Instant::now(), self.counts());
        let all = async {
            loop {
                let written = self.written.notified();
                // One was under way before.
                if self.counts().iter().zip(&before).all(|(now, before)| *now > before + 1) {
                    return;
                }
                written.await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("{before:?} {:?}", self.counts()));
        began.elapsed()
    }

    /// Everything that was acknowledged is there; the longest time for one write.
    async fn end(self) -> Duration {
        self.stop.send_replace(true);
        let counts = self.made.clone();
        let longest = self.clients.join_all().await.into_iter().max().unwrap();
        for (n, made) in counts.iter().enumerate() {
            for asset in 0..made.load(Ordering::Acquire) {
                let found = self.admin.call(Method::GET, &format!("{}/a{asset}", Self::assets(n))).send().await.unwrap();
                assert_eq!(found.status(), StatusCode::OK, "a{asset} of p{n}");
            }
        }
        longest
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_of_three_tells_the_story_and_loses_a_node_and_nothing_else() {
    let Some(cell) = Cell::of("cell_of_three") else { return };
    cell.run("up").await;
    cell.settled(&["a", "b", "c"]).await;
    let port = &cell.variables.iter().find(|(name, _)| *name == "CELL_PORT").unwrap().1;
    let public = format!("http://localhost:{port}");

    let client_file = cell.file("a/bootstrap-client.json");
    let mut demo =
        Process::start(cell.dir.path(), &["demo", "--json", "--against", &public, "--client-file", client_file.to_str().unwrap()]);
    let mut last = Value::Null;
    while let Some(line) = demo.json().await {
        last = line;
    }
    assert_eq!(last["result"], "passed", "{last}{}", cell.logs());
    assert!(demo.end().await.success(), "{}", demo.errors());

    let admin = cell.client().await;
    for n in 0..PARTICIPANTS {
        admin.participant(&format!("p{n}"), &format!("localhost%3A{port}")).await;
    }
    let load = Load::begin(&admin);
    load.everybody().await;
    cell.signal("b", "KILL");
    let away = load.everybody().await;
    assert!(away < FAILOVER, "after {away:?} everybody is served again\n{}", cell.logs());
    cell.settled(&["a", "c"]).await;

    // One that is started again has its part again, and one that is drained gives it away: nobody notices.
    cell.run("up").await;
    cell.settled(&["a", "b", "c"]).await;
    assert!(cell.program(&["admin", "finalize"]).await.contains("the cell writes rows of level 1, as before"));
    let stands: Value = serde_json::from_str(&cell.program(&["admin", "explain", "control-plane/p0"]).await).unwrap();
    let audit = stands["audit"].as_array().unwrap();
    assert!(["a", "b", "c"].contains(&text(&stands, "node").as_str()) && stands["seq"].as_u64() > Some(0), "{stands}");
    assert!(audit.len() > 1 && audit[0]["seq"].as_u64() > audit[1]["seq"].as_u64(), "{stands}");
    assert!(audit.iter().any(|row| row["changes"][0]["action"] == "asset.created"), "{stands}");
    let waiting: Value = serde_json::from_str(&cell.program(&["admin", "outbox", "control-plane/p0"]).await).unwrap();
    assert_eq!(waiting, json!({ "rows": [], "deadLetters": [] }));
    // Of one process of one's choice too.
    let [b, c] = [20, 30].map(|n| format!("http://localhost:{}", port.parse::<u16>().unwrap() + n + 1));
    for named in [&[][..], &["--at", &b]] {
        assert_eq!(cell.program(&[&["admin", "parked"], named].concat()).await.trim(), "[]");
    }
    assert!(cell.program(&["admin", "drain", "c"]).await.contains("c has handed its slots over"));
    load.everybody().await;
    cell.settled(&["a", "b"]).await;
    let data = cell.file("a");
    let gone = Process::said(cell.dir.path(), &["admin", "parked", "--at", &c, "--data-dir", data.to_str().unwrap()]).await.unwrap_err();
    assert!(gone.contains("the platform does not answer"), "{gone}");
    load.end().await;
    assert!(cell.terms("step = 256").await.contains("has these terms already"));
    assert!(cell.terms("step = 64").await.contains("of the cell runs"));
    cell.run("down").await;
    let said = cell.terms("step = 64").await;
    assert!(said.contains("from now on") && said.contains("step 256"), "{said}");
    assert!(cell.terms("step = 64").await.contains("has these terms already"));
    cell.remove().await;
}
