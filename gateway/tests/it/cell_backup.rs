//! A backup of a cell's keyspace, and another keyspace that its nodes go on with.

use crate::{
    cassandra::{keyspace, remove},
    management::body,
    process::Process,
    support::{PATIENCE, form_of, ok, read, text},
};
use cellspace_storage::testkit::services;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{fs, net::TcpListener, path::Path, time::Instant};

/// A process of a cell, by way of its admin listener.
struct Member {
    process: Process,
    admin: String,
    http: Client,
    token: String,
}

impl Member {
    async fn up(dir: &Path, file: &Path) -> Self {
        // In the place of what the file says, by which it would serve nothing itself.
        let mut process = Process::start(dir, &["run", "--json", "--config", file.to_str().unwrap(), "--roles", "gateway,runtime,fabric"]);
        let line = process.json().await.unwrap_or_else(|| panic!("{}", process.errors()));
        Self { admin: text(&line, "admin"), process, http: Client::new(), token: String::new() }
    }

    async fn sign_in(&mut self, client: &Value) {
        let (id, secret) = (text(client, "clientId"), text(client, "clientSecret"));
        let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        let answer = form_of(self.http.post(format!("{}/token", self.admin)), &form).send().await.unwrap();
        self.token = text(&ok(answer).await, "access_token");
    }

    /// A request, again for as long as it is not taken.
    async fn must(&self, method: Method, path: &str, sent: Option<Value>) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let request = self.http.request(method.clone(), format!("{}{path}", self.admin)).bearer_auth(&self.token);
            let answer = if let Some(sent) = &sent { request.json(sent) } else { request }.send().await.unwrap();
            let (status, said) = read(answer).await;
            if status.is_success() {
                return said;
            }
            assert!(status == StatusCode::SERVICE_UNAVAILABLE && Instant::now() < until, "{method} {path}: {status} {said}");
        }
    }

    async fn end(mut self) {
        self.process.signal("TERM");
        assert!(self.process.end().await.success(), "{}", self.process.errors());
    }
}

#[tokio::test]
async fn a_cell_goes_on_from_its_backup() {
    const ASSETS: &str = "/api/mgmt/v5beta/participants/acme/assets";
    let Some(kafka) = services::kafka("cell_backup::a_cell_goes_on_from_its_backup") else { return };
    let (place, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = place.path();
    let Some(here) = keyspace("a_cell_goes_on_from_its_backup", dir).await else { return };
    let Some(there) = keyspace("a_cell_goes_on_from_its_backup", dir).await else { return };
    let at = |name: &str| dir.join(name).display().to_string();
    Process::said(dir, &["admin", "certs", "--cell", "c", "--node", "a", "--out", &at("certs")]).await.unwrap();
    fs::write(dir.join("master.key"), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    let free = |base: u16| (0..4).all(|n| TcpListener::bind(("127.0.0.1", base + n)).is_ok());
    let port = (21_000..23_000).step_by(4).find(|base| free(*base)).unwrap();
    let file = |keyspace: &str| {
        let prefix = format!("it{}.backup.", std::process::id());
        let (nodes, file) = (here[1].replace(',', "\", \""), dir.join(format!("{keyspace}.toml")));
        let text = format!(
            "node = \"a\"\ncell = \"c\"\nroles = \"gateway\"\nport = {port}\npublic-url = \"http://localhost:{port}\"\nadmin-url = \"http://localhost:{}\"\n\
            data-dir = {:?}\nlog = \"error\"\nlink = {{ listen = \"127.0.0.1:{}\", certificates = {:?} }}\n\
            cassandra = {{ nodes = [\"{nodes}\"], keyspace = \"{keyspace}\" }}\nkafka = {{ nodes = [\"{kafka}\"], prefix = \"{prefix}\" }}\n\
            master-key = {{ file = {:?} }}\n",
            port + 1,
            at("data"),
            port + 3,
            at("certs"),
            at("master.key"),
        );
        fs::write(&file, text).unwrap();
        file
    };
    let (first, second, backup) = (file(&here[3]), file(&there[3]), dir.join("backup"));
    let command = async |command: &str, config: &Path, option: &str| {
        Process::said(dir, &["admin", command, "--config", config.to_str().unwrap(), option, backup.to_str().unwrap()]).await
    };
    let asset = |id: &str| Some(body("Asset", json!({"@id": id, "properties": {}})));

    let mut node = Member::up(beside.path(), &first).await;
    let client: Value = serde_json::from_slice(&fs::read(dir.join("data/bootstrap-client.json")).unwrap()).unwrap();
    node.sign_in(&client).await;
    let context = json!({"@id": "acme", "identity": format!("did:web:localhost%3A{port}:acme"), "state": "ACTIVATED", "properties": {}});
    node.must(Method::POST, "/api/mgmt/v5beta/participants", Some(body("ParticipantContext", context))).await;
    node.must(Method::POST, ASSETS, asset("before")).await;
    let refused = command("backup", &first, "--to").await.unwrap_err();
    assert!(refused.contains("node a of the cell runs") && !backup.exists(), "{refused}");
    let token = node.token.clone();
    node.end().await;

    let written = command("backup", &first, "--to").await.unwrap();
    assert!(written.contains("records of the cell c"), "{written}");
    let elsewhere =
        Process::said(dir, &["admin", "restore", "--data-dir", &at("new"), "--from", backup.to_str().unwrap()]).await.unwrap_err();
    assert!(elsewhere.contains("is of the cell c"), "{elsewhere}");
    command("restore", &second, "--from").await.unwrap();
    let twice = command("restore", &second, "--from").await.unwrap_err();
    assert!(twice.contains("holds data already"), "{twice}");

    // The vault that came back has another master key from now on.
    let (new, other) = (dir.join("new.key"), dir.join("other.key"));
    fs::write(&new, "RkVEQ0JBOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=").unwrap();
    fs::write(&other, "RkVEQ0JBOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTE=").unwrap();
    let rekey = async |key: &Path| {
        Process::said(dir, &["rekey", "--config", second.to_str().unwrap(), "--new-master-key-file", key.to_str().unwrap()]).await
    };
    for _ in 0..2 {
        assert!(rekey(&new).await.unwrap().contains(&format!("in the keyspace {} has the new master key", there[3])));
    }
    let opened = rekey(&other).await.unwrap_err();
    assert!(opened.contains("the master key does not open the vault"), "{opened}");
    fs::copy(&new, dir.join("master.key")).unwrap();

    // What was signed with a key of the vault is still believed, and new clients sign in.
    let mut node = Member::up(beside.path(), &second).await;
    node.token = token;
    node.must(Method::GET, &format!("{ASSETS}/before"), None).await;
    node.sign_in(&client).await;
    node.must(Method::POST, ASSETS, asset("after")).await;
    node.end().await;
    remove(&here).await;
    remove(&there).await;
}
