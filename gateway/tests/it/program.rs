//! Promises of the command line: how it ends, what it prints, what it must never log.

use crate::{
    process::Process,
    support::{PATIENCE, form_of, id_of, ok},
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

/// What could be a key or a secret: long, and neither a hash in hexadecimal digits nor a word.
fn looks_secret(word: &str) -> bool {
    word.len() >= 40 && !word.bytes().all(|b| b.is_ascii_hexdigit()) && word.bytes().any(|b| b.is_ascii_digit())
}

#[test]
fn secrets_would_be_noticed() {
    for (word, secret) in [
        ("hf3KQ0m1u5n5mX7tqZ3Jx2o1vJ7m8c0b9a6d5e4f3g2", true),
        ("b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9", false),
        ("a-name-of-words-that-is-quite-long-but-a-name", false),
        ("01a21373-2e35-766c-ae64-3cfce81f2c30", false),
    ] {
        assert_eq!(looks_secret(word), secret, "{word}");
    }
}

/// The whole story: every line of output is JSON, its platform's metrics name nobody, its log holds no token and no key.
#[tokio::test]
async fn the_demo_passes_and_keeps_its_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let arguments = ["demo", "--json", "--keep", "--log", "debug", "--data-dir", data.to_str().unwrap()];
    let mut demo = Process::start(dir.path(), &arguments);
    let mut lines = Vec::new();
    let kept = loop {
        let line = demo.json().await.unwrap_or_else(|| panic!("{lines:?}, {}", demo.errors()));
        if !line["kept"].is_null() {
            break line["kept"].clone();
        }
        lines.push(line);
    };
    let last = lines.last().unwrap();
    assert_eq!(last["result"], "passed", "{last}");
    assert!(lines.iter().filter(|line| line["step"].is_number()).count() > 100);
    let log = lines[0]["begun"]["log"].as_str().unwrap().to_owned();

    let metrics = Client::new().get(format!("{}/metrics", kept["ops"].as_str().unwrap())).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("cellspace_turns_total"), "{metrics}");
    let mut secrets = vec![kept["client"]["secret"].as_str().unwrap().to_owned()];
    for token in kept["tokens"].as_array().unwrap() {
        secrets.push(token["token"].as_str().unwrap().to_owned());
        for name in ["context", "did"].iter().filter_map(|name| token[*name].as_str()) {
            assert!(!metrics.contains(name), "a metric names {name}");
        }
    }
    demo.signal("TERM");
    assert!(demo.end().await.success(), "{}", demo.errors());
    assert_eq!(demo.errors(), "");

    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("negotiation.finalized") && log.contains("\"severity\":\"DEBUG\""));
    secrets.push(std::fs::read_to_string(data.join("data/master.key")).unwrap().trim().to_owned());
    for line in log.lines() {
        assert!(!secrets.iter().any(|secret| line.contains(secret.as_str())), "a secret is logged: {line}");
        // Tokens and credentials are JWTs; the rest of what is secret are random numbers in base64.
        assert!(!line.contains("eyJ") && !line.contains("PRIVATE KEY"), "a token or key is logged: {line}");
        let word = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').find(|word| looks_secret(word));
        assert!(word.is_none(), "{word:?} is logged: {line}");
    }
    audited(&log);
}

/// What is said of a turn: one line, with the same fields everywhere.
fn audited(log: &str) {
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let audit: Vec<&Value> = lines.iter().filter(|line| line["category"] == "audit" && !line["seq"].is_null()).collect();
    for line in &audit {
        for field in ["severity", "component", "vpa", "action", "actor"] {
            assert!(line[field].is_string(), "{field} is missing: {line}");
        }
    }
    for line in lines.iter().filter(|line| !line["vpa"].is_null()) {
        assert!(line["vpa"].as_str().unwrap().contains('/'), "an agent is named kind/owner: {line}");
    }
    let of = |action: &'static str| audit.iter().copied().filter(move |line| line["action"] == action);
    let finalized: Vec<_> = of("negotiation.finalized").collect();
    // Two negotiations, two sides.
    assert_eq!(finalized.len(), 4, "{finalized:?}");
    for line in finalized {
        for field in ["counterparty", "contract", "tenant", "trace_id"] {
            assert!(line[field].is_string(), "{field} is missing: {line}");
        }
    }
    assert_eq!(of("asset.created").count(), 2);
    assert!(lines.iter().all(|line| line["action"] != "management.changed"));
}

/// A signal ends the story early, in order, and says so.
#[tokio::test]
async fn a_demo_can_be_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Process::start(dir.path(), &["demo", "--json", "--data-dir", dir.path().join("demo").to_str().unwrap()]);
    while demo.json().await.unwrap()["step"].is_null() {}
    demo.signal("INT");
    let mut last = Value::Null;
    while let Some(line) = demo.json().await {
        last = line;
    }
    assert_eq!(last["result"], "failed", "{last}");
    assert!(last["reason"].as_str().unwrap().contains("signal"), "{last}");
    assert_eq!(demo.end().await.code(), Some(1));
    assert_eq!(demo.errors(), "");
}

/// Nobody reads any more, as with `demo | head`.
#[tokio::test]
async fn a_demo_without_readers_ends_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Process::start(dir.path(), &["demo", "--data-dir", dir.path().join("demo").to_str().unwrap()]);
    demo.line().await.unwrap();
    demo.hang_up();
    assert_eq!(demo.end().await.code(), Some(1));
    assert_eq!(demo.errors(), "");
}

/// The same of a platform that is to stay: it goes on, and a signal drains it.
#[tokio::test]
async fn a_platform_without_readers_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut platform = Process::start(dir.path(), &["up", "--port", "0", "--log", "error", "--data-dir", data.to_str().unwrap()]);
    platform.line().await.unwrap();
    platform.hang_up();
    platform.signal("TERM");
    assert!(platform.end().await.success(), "{}", platform.errors());
    assert_eq!(platform.errors(), "");
}

#[tokio::test]
async fn switches_in_the_environment_are_read_as_people_write_them() {
    let dir = tempfile::tempdir().unwrap();
    for (value, is_read) in [("1", true), ("true", true), ("off", true), ("maybe", false)] {
        let mut refused = Process::limited(dir.path(), &format!("CELLSPACE_EVERY_PROFILE={value}"), &["up", "--host", "192.0.2.1"]);
        assert!(!refused.end().await.success());
        assert_eq!(refused.errors().contains("192.0.2.1 is no loopback address"), is_read, "{value}: {}", refused.errors());
    }
}

/// Off, and none, are said too.
#[tokio::test]
async fn what_a_file_of_a_cell_says_counts_before_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let rest = "node = \"a\"\nport = 1\npublic-url = \"http://h:1\"\nadmin-url = \"http://h:2\"\nmaster-key-file = \"m\"\ncassandra-nodes = [\"h:1\"]\n\
        link = { listen = \"127.0.0.1:1\", certificates = \"c\" }\n";
    let environment = "export CELLSPACE_EVERY_PROFILE=maybe CELLSPACE_KAFKA=h:3;";
    for (said, known) in [("every-profile = false\nkafka-nodes = []\n", false), ("kafka-nodes = []\n", true)] {
        std::fs::write(&file, format!("{said}{rest}")).unwrap();
        let mut refused = Process::limited(dir.path(), environment, &["run", "--config", file.to_str().unwrap()]);
        assert!(!refused.end().await.success());
        let told = refused.errors();
        assert_eq!((told.contains("kafka-nodes is missing"), told.contains("maybe")), (!known, known), "{told}");
    }
}

/// Each reason once.
#[tokio::test]
async fn errors_do_not_repeat_themselves() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "in the way").unwrap();
    let below = dir.path().join("file/data");
    for option in [["--data-dir", below.to_str().unwrap()], ["--log", "a=b=c"]] {
        let mut refused = Process::start(dir.path(), &[["up", "--port", "0"].as_slice(), &option].concat());
        assert_eq!(refused.end().await.code(), Some(1));
        let told = refused.errors();
        let error = told.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_else(|| panic!("{told}"));
        let reasons: Vec<_> = error.split(": ").collect();
        let distinct: std::collections::BTreeSet<_> = reasons.iter().collect();
        assert!(reasons.len() > 1 && distinct.len() == reasons.len(), "{error}");
    }
}

#[tokio::test]
async fn a_demo_that_cannot_start_says_so_in_json() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data"), "in the way").unwrap();
    let mut demo = Process::start(dir.path(), &["demo", "--json", "--data-dir", dir.path().to_str().unwrap()]);
    assert_eq!(demo.end().await.code(), Some(1));
    assert!(demo.errors().contains("is not empty"), "{}", demo.errors());
}

/// What a build says that lacks what these options name; nothing is begun. It is the program of these tests, when it lacks the feature, else the one that
/// `CELLSPACE_DEFAULT_BUILD` names.
async fn says_what_it_lacks(test: &str, feature: &str, is_there: bool, command: &str, named: [&str; 2]) {
    let default = std::env::var_os("CELLSPACE_DEFAULT_BUILD").map(PathBuf::from);
    let Some(program) = default.or_else(|| (!is_there).then(|| env!("CARGO_BIN_EXE_cellspace").into())) else {
        // Not by a macro, whose output the test runner keeps to itself.
        let _ = writeln!(std::io::stderr(), "\nskipped: needs CELLSPACE_DEFAULT_BUILD: program::{test}");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for before in [vec!["up", "--port", "0", "--data-dir", data.to_str().unwrap()], vec!["admin", command]] {
        let mut refused = Process::of(&program, dir.path(), "", &[before.as_slice(), &named].concat());
        assert_eq!(refused.end().await.code(), Some(1));
        assert!(refused.errors().contains(&format!("`--features {feature}`")), "{before:?} {}", refused.errors());
        assert!(!data.exists());
    }
    // A demo leaves no place of its own with nothing in it.
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    let mut refused = Process::of(&program, dir.path(), &format!("TMPDIR={}", own.display()), &[["demo"].as_slice(), &named].concat());
    assert_eq!(refused.end().await.code(), Some(1));
    assert!(refused.errors().contains(&format!("`--features {feature}`")), "{}", refused.errors());
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
}

#[tokio::test]
async fn a_build_without_the_driver_says_which_feature_it_lacks() {
    let (test, is_there) = ("a_build_without_the_driver_says_which_feature_it_lacks", cfg!(feature = "scylla"));
    says_what_it_lacks(test, "scylla", is_there, "schema", ["--cassandra", "localhost:9042"]).await;
}

#[tokio::test]
async fn a_build_without_kafka_says_which_feature_it_lacks() {
    let (test, is_there) = ("a_build_without_kafka_says_which_feature_it_lacks", cfg!(feature = "kafka"));
    says_what_it_lacks(test, "kafka", is_there, "topics", ["--kafka", "localhost:9092"]).await;
}

/// Why a start with this data directory is refused.
pub async fn refused(dir: &Path, data: &Path, more: &[&str]) -> String {
    let arguments = [&["up", "--port", "0", "--data-dir", data.to_str().unwrap()][..], more].concat();
    let mut refused = Process::start(dir, &arguments);
    assert!(!refused.end().await.success());
    refused.errors()
}

pub async fn up(dir: &Path, more: &[&str]) -> (Process, Value) {
    let data = dir.join("data");
    let mut arguments = vec!["up", "--json", "--port", "0", "--data-dir", data.to_str().unwrap()];
    arguments.extend(more);
    let mut process = Process::start(dir, &arguments);
    let ready = process.json().await.unwrap_or_else(|| panic!("{}", process.errors()));
    (process, ready)
}

/// SIGTERM answers a long poll with the state as it is, ends at once, and the secret is shown at the first start alone.
#[tokio::test]
async fn up_ends_in_order_while_a_client_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (mut process, ready) = up(dir.path(), &[]).await;
    let (admin, http) = (ready["admin"].as_str().unwrap(), Client::new());
    let (id, secret) = (ready["clientId"].as_str().unwrap(), ready["clientSecret"].as_str().unwrap());
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    let token = ok(form_of(http.post(format!("{admin}/token")), &form).send().await.unwrap()).await;
    let token = token["access_token"].as_str().unwrap();
    let call = |method, path: &str, body: Option<Value>| {
        let request = http.request(method, format!("{admin}{path}")).bearer_auth(token);
        if let Some(body) = body { request.json(&body) } else { request }
    };
    let host = ready["public"].as_str().unwrap().trim_start_matches("http://").replace(':', "%3A");
    let did = |name: &str| format!("did:web:{host}:{name}");
    let manifest = json!({"participantContextId": id_of("acme"), "did": did("acme"), "active": true, "serviceEndpoints": [],
        "key": {"keyId": "key1", "privateKeyAlias": "alias1", "keyGeneratorParams": {"algorithm": "EDDSA", "curve": "Ed25519"}}});
    ok(call(Method::POST, "/api/identity/v1beta/participants", Some(manifest)).send().await.unwrap()).await;
    // There is nothing to be moved, which is said.
    let (data, aside) = (dir.path().join("data").display().to_string(), tempfile::tempdir().unwrap());
    for command in ["nodes", "rebalance"] {
        let said = Process::said(aside.path(), &["admin", command, "--data-dir", &data]).await.unwrap();
        assert_eq!(said, "this platform is one process, which is no part of a cell and serves all participants");
    }
    // Nobody is there to issue it, so that it stays as it is.
    let path = "/api/identity/v1beta/participants/acme/credentials/request";
    let request =
        json!({"issuerDid": did("nobody"), "holderPid": "hp-1", "credentials": [{"format": "vc20-bssl/jwt", "type": "T", "id": "t"}]});
    assert_eq!(call(Method::POST, path, Some(request)).send().await.unwrap().status(), StatusCode::CREATED);
    let waiting = tokio::spawn(call(Method::GET, &format!("{path}/hp-1?wait=ISSUED&timeout=60s"), None).send());
    let metrics = format!("{}/metrics", ready["ops"].as_str().unwrap());
    while !http
        .get(&metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
        .contains("cellspace_http_requests_in_flight{listener=\"admin\"} 1")
    {}
    let started = Instant::now();
    process.signal("TERM");
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_ne!(ok(answer).await["status"], "ISSUED");
    assert!(process.end().await.success(), "{}", process.errors());
    assert!(started.elapsed() < PATIENCE / 3, "{:?}", started.elapsed());

    let (mut again, ready) = up(dir.path(), &[]).await;
    assert_eq!(ready["clientId"], id);
    assert!(ready["clientSecret"].is_null() && Path::new(ready["clientFile"].as_str().unwrap()).exists(), "{ready}");
    again.signal("INT");
    assert!(again.end().await.success(), "{}", again.errors());
}
