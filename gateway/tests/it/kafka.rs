//! The platform with its events in a real Kafka: the whole story, a broker that is killed, what the start refuses.

use crate::{
    meanwhile::{Load, Prepared, catches_up, is_active},
    process::Process,
    program::{refused, up},
    support::{PATIENCE, Platform, text},
};
use cellspace_storage::{EventLog, KafkaLog, KafkaOptions, Publication, Topic, testkit::services};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{process::Command, task::LocalSet};

/// Provisioning events that may wait for Kafka here.
const WAITING: u64 = 8;
/// How long the platform may wait for Kafka where nothing else is to: a request that did would not end within a test's patience.
const ENDLESS: Duration = Duration::from_secs(300);

/// What names a log of the test's own; `None` when there is no Kafka.
fn log(test: &str) -> Option<[String; 4]> {
    let brokers = services::kafka(&format!("kafka::{test}"))?;
    Some(["--kafka".to_owned(), brokers, "--kafka-prefix".to_owned(), format!("it{}.{test}.", std::process::id())])
}

/// What `cellspace admin topics` answers.
async fn topics(dir: &Path, named: &[&str]) -> String {
    let mut admin = Process::start(dir, &[&["admin", "topics"], named].concat());
    let mut said = String::new();
    while let Some(line) = admin.line().await {
        said.push_str(&line);
    }
    assert!(admin.end().await.success(), "{}", admin.errors());
    said
}

#[tokio::test]
async fn the_demo_passes() {
    let dir = tempfile::tempdir().unwrap();
    let Some(log) = log("the_demo_passes") else { return };
    let named: Vec<&str> = log.iter().map(String::as_str).collect();
    let made = topics(dir.path(), &[named.as_slice(), &["--create"]].concat()).await;
    assert!(
        made.contains("cellspace.installation was made")
            && made.contains("provisioning.requests was made")
            && made.contains("provisioning.activities.edcv-activity.dead was made"),
        "{made}"
    );
    assert_eq!(topics(dir.path(), &[named.as_slice(), &["--create"]].concat()).await, "");
    let data = dir.path().join("demo");
    let mut demo = Process::start(dir.path(), &[&["demo", "--json", "--data-dir", data.to_str().unwrap()], named.as_slice()].concat());
    let mut last = Value::Null;
    while let Some(line) = demo.json().await {
        last = line;
    }
    assert_eq!(last["result"], "passed", "{last}");
    assert!(demo.end().await.success(), "{}", demo.errors());

    // It was over Kafka that participants came in.
    let report: Vec<Value> = serde_json::from_str(&topics(dir.path(), &named).await).unwrap();
    let of = |topic: &str| report.iter().find(|standing| standing["topic"] == topic).unwrap_or_else(|| panic!("no {topic}"));
    for (topic, group) in [
        ("provisioning.requests", "orchestrations"),
        ("provisioning.results", "tenants"),
        ("provisioning.activities.edcv-activity", "edcv-activity"),
    ] {
        let standing = of(topic);
        assert!(standing["newest"].as_u64() >= Some(3) && standing["retentionMs"].is_null(), "{standing}");
        let group = standing["groups"].as_array().unwrap().iter().find(|found| found["group"] == group).unwrap();
        assert!(group["position"].as_u64() > Some(0), "{standing}");
    }
    assert!(of("usage")["kept"].as_u64() >= Some(3), "{report:?}");
    assert_eq!(of("provisioning.requests.dead")["newest"], 0);
}

#[tokio::test]
async fn a_data_directory_keeps_its_log_and_a_prefix_its_directory() {
    let [first, second, third] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let Some(log) = log("a_data_directory_keeps_its_log") else { return };
    let named: Vec<&str> = log.iter().map(String::as_str).collect();
    let (mut process, _) = up(first.path(), &[]).await;
    process.signal("TERM");
    assert!(process.end().await.success());
    let errors = refused(first.path(), &first.path().join("data"), &named).await;
    assert!(errors.contains("in the data directory (no --kafka), not in Kafka"), "{errors}");
    for _ in 0..2 {
        let (mut process, _) = up(second.path(), &named).await;
        process.signal("TERM");
        assert!(process.end().await.success());
    }
    let errors = refused(second.path(), &second.path().join("data"), &[]).await;
    assert!(errors.contains(&format!("in Kafka (--kafka, --kafka-prefix {:?}), not in the data directory", log[3])), "{errors}");
    let errors = refused(third.path(), &third.path().join("data"), &named).await;
    assert!(errors.contains("belong to another installation"), "{errors}");
    // Where Kafka is not there, a first start says so; a later one does without.
    let gone = ["--kafka", "127.0.0.1:1", "--kafka-prefix", log[3].as_str()];
    let errors = refused(third.path(), &third.path().join("none"), &gone).await;
    assert!(errors.contains("the event log cannot be used"), "{errors}");
    let (mut process, _) = up(second.path(), &gone).await;
    process.signal("TERM");
    assert!(process.end().await.success());
}

/// An event that no handler can read is a dead letter, which an operator sees and publishes again.
#[tokio::test]
async fn dead_letters_are_seen_and_published_again_by_command() {
    let dir = tempfile::tempdir().unwrap();
    let Some(log) = log("dead_letters_are_seen") else { return };
    let named: Vec<&str> = log.iter().map(String::as_str).collect();
    let (mut process, _) = up(dir.path(), &named).await;
    let (requests, servers) = (Topic("provisioning.requests".to_owned()), log[1].split(',').map(str::to_owned).collect());
    let kafka = KafkaLog::new(KafkaOptions::new(servers, &log[3]), None).unwrap();
    let poison = Publication { topic: requests.clone(), key: "k".to_owned(), payload: "no event".into() };
    kafka.publish(vec![poison]).await.unwrap();
    let letters =
        async |count: u64| tokio::time::timeout(PATIENCE, kafka.wait(&requests.dead(), cellspace_storage::Offset(count - 1))).await;
    letters(1).await.expect("a dead letter").unwrap();
    let shown: Value = serde_json::from_str(&topics(dir.path(), &[&named[..], &["--dead-letters", &requests.0]].concat()).await).unwrap();
    assert_eq!((&shown[0]["event"], &shown[0]["key"]), (&Value::from("no event"), &Value::from("k")), "{shown}");
    let replay = [&named[..], &["--replay", &requests.0]].concat();
    let said = topics(dir.path(), &replay).await;
    assert!(said.starts_with("1 dead letters"), "{said}");
    letters(2).await.expect("it is handled again, and again cannot be").unwrap();
    process.signal("TERM");
    assert!(process.end().await.success());
}

/// A broker that no other test uses.
struct Broker {
    script: PathBuf,
    state: tempfile::TempDir,
    port: u16,
}

impl Broker {
    fn new() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dev/kafka");
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port));
        let two = || {
            let port = free(0).ok()?.local_addr().ok()?.port();
            // Its own and its controller's.
            (port < 65_000 && free(port + 1).is_ok()).then_some(port)
        };
        let port = std::iter::repeat_with(two).flatten().next().unwrap();
        Self { script, state: tempfile::tempdir().unwrap(), port }
    }

    async fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.script);
        let done = command.args(arguments).env("CELLSPACE_DEV_STATE", self.state.path()).output();
        let done = tokio::time::timeout(PATIENCE, done).await.expect("the broker answers").unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    async fn start(&self) {
        self.run(&["start", "--port", &self.port.to_string()]).await;
    }

    async fn kill(&self) {
        self.run(&["stop", "--kill"]).await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let mut end = std::process::Command::new(&self.script);
        let _ = end.arg("reset").env("CELLSPACE_DEV_STATE", self.state.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_kafka_holds_up_nothing_but_provisioning() {
    if services::kafka("kafka::a_killed_kafka_holds_up_nothing_but_provisioning").is_some() {
        // The clients of the story are made for one thread.
        LocalSet::new().run_until(kill_kafka()).await;
    }
}

async fn kill_kafka() {
    let broker = Broker::new();
    broker.start().await;
    let options = KafkaOptions { answer: ENDLESS, ..KafkaOptions::new(vec![format!("127.0.0.1:{}", broker.port)], "") };
    let platform = Platform::temporary(|config| (config.kafka, config.waiting_provisioning) = (Some(options), WAITING)).await;
    let mut prepared = Prepared::of(&platform).await;
    let mut load = Load::start(&platform, &prepared.sharers(&platform).await);
    load.more(5).await;

    broker.kill().await;
    let mut profiles = vec![prepared.late(&platform, "late").await];
    load.more(20).await;
    assert!(!is_active(&platform, &profiles[0], "1s").await, "provisioning went on without Kafka");
    let ready = platform.http.get(format!("{}/api/check/readiness", platform.node.ops_url())).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    // When too much waits nothing new is taken in, and what is there goes on.
    let refused = loop {
        let (answer, made) = prepared.ask(&platform, &format!("late{}", profiles.len())).await;
        if answer.status() != StatusCode::ACCEPTED {
            break answer;
        }
        profiles.push(format!("{made}/{}", text(&answer.json().await.unwrap(), "id")));
        assert!(profiles.len() as u64 <= WAITING, "what waits has no bound");
    };
    assert_eq!((refused.status(), refused.headers()["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "10"));
    let orchestration = json!({"correlationId": "c", "orchestrationType": cellspace_schemas::fabric::keys::DEPLOY, "payload": {}});
    for (method, path, body) in
        [(Method::DELETE, profiles[0].as_str(), None), (Method::POST, "/api/pm/orchestrations", Some(orchestration))]
    {
        assert_eq!(platform.call(method.clone(), path, body).await.0, StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
    }
    load.more(5).await;

    broker.start().await;
    for profile in &profiles {
        catches_up(&platform, profile).await;
    }
    load.more(5).await;
    load.end().await;
    prepared.late(&platform, "latest").await;
}
