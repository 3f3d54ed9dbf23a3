//! The platform with its agents in a real Cassandra: the whole story, a killed process, what the start refuses.

use crate::{
    management::body,
    process::Process,
    program::refused,
    support::{form_of, ok},
};
use cellspace_storage::testkit::services;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use tokio::task::JoinSet;

/// A keyspace made by the program itself; `None` when there is no database.
pub async fn keyspace(test: &str, dir: &Path) -> Option<[String; 4]> {
    let nodes = services::cassandra(&format!("cassandra::{test}"))?;
    let name = format!("it_{}", uuid::Uuid::new_v4().simple());
    let named = ["--cassandra".to_owned(), nodes.join(","), "--cassandra-keyspace".to_owned(), name];
    let replication = nodes.len().to_string();
    let mut arguments = vec!["admin", "schema", "--replication", &replication];
    arguments.extend(named.iter().map(String::as_str));
    let mut admin = Process::start(dir, &arguments);
    let said = admin.line().await.unwrap_or_default();
    assert!(admin.end().await.success() && said.contains("was made"), "{said}{}", admin.errors());
    Some(named)
}

pub async fn remove([_, nodes, _, name]: &[String; 4]) {
    let nodes: Vec<String> = nodes.split(',').map(str::to_owned).collect();
    services::drop_keyspace(&nodes, name).await;
}

#[tokio::test]
async fn the_demo_passes() {
    let dir = tempfile::tempdir().unwrap();
    let Some(store) = keyspace("the_demo_passes", dir.path()).await else { return };
    let data = dir.path().join("demo");
    let mut arguments = vec!["demo", "--json", "--data-dir", data.to_str().unwrap()];
    arguments.extend(store.iter().map(String::as_str));
    let (mut demo, mut last) = (Process::start(dir.path(), &arguments), Value::Null);
    while let Some(line) = demo.json().await {
        last = line;
    }
    assert_eq!(last["result"], "passed", "{last}");
    assert!(demo.end().await.success(), "{}", demo.errors());
    remove(&store).await;
}

/// A client of a running platform.
struct Up {
    process: Process,
    admin: String,
    public: String,
    token: String,
    http: Client,
}

impl Up {
    async fn start(dir: &Path, store: &[String; 4]) -> Self {
        let more: Vec<&str> = store.iter().map(String::as_str).collect();
        let (process, ready) = crate::program::up(dir, &more).await;
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let file: Value = serde_json::from_slice(&std::fs::read(text("clientFile")).unwrap()).unwrap();
        let (id, secret) = (file["clientId"].as_str().unwrap(), file["clientSecret"].as_str().unwrap());
        let (admin, http) = (text("admin"), Client::new());
        let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        let token = ok(form_of(http.post(format!("{admin}/token")), &form).send().await.unwrap()).await;
        let token = token["access_token"].as_str().unwrap().to_owned();
        Self { process, admin, public: text("public"), token, http }
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.admin)).bearer_auth(&self.token);
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}

const ASSETS: &str = "/api/mgmt/v5beta/participants/acme/assets";

/// The process is killed while sixteen clients write; what was answered is there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let Some(store) = keyspace("a_kill_loses_nothing", dir.path()).await else { return };
    let up = Up::start(dir.path(), &store).await;
    let host = up.public.trim_start_matches("http://").replace(':', "%3A");
    let context = json!({"@id": "acme", "identity": format!("did:web:{host}:acme"), "state": "ACTIVATED"});
    ok(up.call(Method::POST, "/api/mgmt/v5beta/participants", Some(&body("ParticipantContext", context))).send().await.unwrap()).await;
    let (mut up, mut clients) = (Arc::new(up), JoinSet::new());
    let (told, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    for client in 0..16 {
        let (up, told) = (up.clone(), told.clone());
        clients.spawn(async move {
            for n in 0.. {
                let id = format!("a-{client}-{n}");
                let asset = body("Asset", json!({"@id": id, "properties": {}}));
                match up.call(Method::POST, ASSETS, Some(&asset)).send().await {
                    Ok(answer) if answer.status() == StatusCode::OK => told.send(id).unwrap(),
                    Ok(answer) => panic!("{}", answer.text().await.unwrap()),
                    // Killed.
                    Err(_) => return,
                }
            }
        });
    }
    drop(told);
    let mut there = Vec::new();
    while there.len() < 300 {
        there.push(acknowledged.recv().await.unwrap());
    }
    up.process.signal("KILL");
    clients.join_all().await;
    while let Some(id) = acknowledged.recv().await {
        there.push(id);
    }
    Arc::get_mut(&mut up).unwrap().process.end().await;

    let again = Up::start(dir.path(), &store).await;
    for id in &there {
        let answer = again.call(Method::GET, &format!("{ASSETS}/{id}"), None).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{id} of {}", there.len());
    }
    again.process.kill().await;
    remove(&store).await;
}

/// Data directory and keyspace are in one file, and go on elsewhere together; neither is taken for half of another one.
#[tokio::test]
async fn a_platform_in_a_keyspace_goes_on_from_its_backup() {
    let [old, new, own] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let Some(here) = keyspace("a_platform_in_a_keyspace", old.path()).await else { return };
    let up = Up::start(old.path(), &here).await;
    let host = up.public.trim_start_matches("http://").replace(':', "%3A");
    let context = json!({"@id": "acme", "identity": format!("did:web:{host}:acme"), "state": "ACTIVATED"});
    ok(up.call(Method::POST, "/api/mgmt/v5beta/participants", Some(&body("ParticipantContext", context))).send().await.unwrap()).await;
    let asset = |id: &str| body("Asset", json!({"@id": id, "properties": {}}));
    ok(up.call(Method::POST, ASSETS, Some(&asset("before"))).send().await.unwrap()).await;
    up.process.signal("TERM");
    let Up { mut process, .. } = up;
    assert!(process.end().await.success());

    let backup = own.path().join("backup");
    let admin = async |command: &str, dir: &Path, option: &str, store: &[String]| {
        let (data, backup) = (dir.join("data"), backup.to_str().unwrap());
        let mut arguments = vec!["admin", command, "--data-dir", data.to_str().unwrap(), option, backup];
        arguments.extend(store.iter().map(String::as_str));
        Process::said(own.path(), &arguments).await
    };
    let named = admin("backup", old.path(), "--to", &[]).await.unwrap_err();
    assert!(named.contains(&format!("the agents are in the keyspace {}", here[3])) && !backup.exists(), "{named}");
    admin("backup", old.path(), "--to", &here).await.unwrap();
    let named = admin("restore", new.path(), "--from", &[]).await.unwrap_err();
    assert!(named.contains(&format!("the agents are in the keyspace {}", here[3])), "{named}");
    let taken = admin("restore", new.path(), "--from", &here).await.unwrap_err();
    assert!(taken.contains("holds data already"), "{taken}");

    // As after the loss of the database.
    remove(&here).await;
    let schema: Vec<&str> = ["admin", "schema", "--replication", "1"].into_iter().chain(here.iter().map(String::as_str)).collect();
    Process::said(own.path(), &schema).await.unwrap();
    admin("restore", new.path(), "--from", &here).await.unwrap();
    for name in ["master.key", "bootstrap-client.json"] {
        std::fs::copy(old.path().join("data").join(name), new.path().join("data").join(name)).unwrap();
    }
    let up = Up::start(new.path(), &here).await;
    ok(up.call(Method::GET, &format!("{ASSETS}/before"), None).send().await.unwrap()).await;
    ok(up.call(Method::POST, ASSETS, Some(&asset("after"))).send().await.unwrap()).await;
    up.process.kill().await;
    remove(&here).await;
}

#[tokio::test]
async fn a_data_directory_keeps_its_store_and_a_keyspace_its_directory() {
    let [first, second, third] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let Some(store) = keyspace("a_data_directory_keeps", first.path()).await else { return };
    let named: Vec<&str> = store.iter().map(String::as_str).collect();
    let (mut up, _) = crate::program::up(first.path(), &[]).await;
    up.signal("TERM");
    assert!(up.end().await.success());
    let errors = refused(first.path(), &first.path().join("data"), &named).await;
    assert!(errors.contains("in the data directory (no --cassandra), not in a keyspace"), "{errors}");
    // What the keyspace holds is found again, from the directory that it began with.
    let mut known = Vec::new();
    for _ in 0..2 {
        let (mut up, ready) = crate::program::up(second.path(), &named).await;
        up.signal("TERM");
        assert!(up.end().await.success());
        known.push((ready["public"].clone(), ready["clientSecret"].is_string()));
    }
    assert_eq!(known, [(known[0].0.clone(), true), (known[0].0.clone(), false)]);
    let errors = refused(second.path(), &second.path().join("data"), &[]).await;
    assert!(errors.contains(&format!("in a keyspace (--cassandra, --cassandra-keyspace {})", store[3])), "{errors}");
    let errors = refused(third.path(), &third.path().join("data"), &named).await;
    assert!(errors.contains("holds the agents of another installation"), "{errors}");
    // Without a schema the way out is said.
    let errors = refused(third.path(), &third.path().join("none"), &["--cassandra", &store[1], "--cassandra-keyspace", "none"]).await;
    assert!(errors.contains("cellspace admin schema"), "{errors}");
    remove(&store).await;
}
