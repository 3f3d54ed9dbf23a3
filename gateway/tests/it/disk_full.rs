//! A disk without room, on the real process: a clear error, failing readiness, and nothing that was acknowledged is lost.

use crate::support::form_of;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// A running `cellspace up`; killed when dropped.
struct Up {
    process: Child,
    line: Value,
    http: Client,
    token: String,
}

impl Up {
    /// Starts it; `limit` is a command of the shell before.
    async fn start(dir: &Path, limit: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit} exec \"$0\" \"$@\"")]).arg(env!("CARGO_BIN_EXE_cellspace"));
        command.args(["up", "--json", "--log", "error", "--data-dir"]).arg(dir);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut text).unwrap();
        let line = serde_json::from_str(&text).unwrap();
        let mut up = Self { process, line, http: Client::new(), token: String::new() };
        let credentials = [("client_id", up.text("clientId")), ("client_secret", up.text("clientSecret"))];
        let form = [credentials[0], credentials[1], ("grant_type", "client_credentials")];
        let answer: Value = form_of(up.http.post(up.text("tokenUrl")), &form).send().await.unwrap().json().await.unwrap();
        up.token = answer["access_token"].as_str().unwrap().to_owned();
        up
    }

    fn text(&self, name: &str) -> &str {
        self.line[name].as_str().unwrap()
    }

    fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.text("admin"))).bearer_auth(&self.token)
    }

    async fn readiness(&self) -> (StatusCode, String) {
        let answer = self.http.get(format!("{}/api/check/readiness", self.text("ops"))).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A limit on the size of files stands for the full disk; the first start is over by then, since it makes journals of 64 MiB.
#[tokio::test]
async fn a_full_disk_fails_readiness_and_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let first = Up::start(dir.path(), "set -- \"$@\" --port 0;").await;
    assert_eq!(first.readiness().await.0, StatusCode::OK);
    drop(first);

    // 1024 blocks of 512 bytes or of 1 KiB, by shell.
    let mut full = Up::start(dir.path(), "ulimit -f 1024;").await;
    assert_eq!(full.readiness().await.0, StatusCode::OK);
    let mut made = Vec::new();
    let refused = loop {
        let id = format!("client-{}", made.len());
        let answer = full.admin(Method::POST, "/api/v1/clients").json(&json!({"id": id, "role": "provisioner"})).send().await.unwrap();
        if answer.status() != StatusCode::CREATED {
            break answer.status();
        }
        made.push(id);
    };
    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE, "after {}", made.len());
    assert!(made.len() > 10, "{}", made.len());
    let (status, report) = full.readiness().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(report.contains("FileTooLarge") || report.contains("File too large"), "{report}");
    assert!(full.process.try_wait().unwrap().is_none(), "the process goes on to say so");
    drop(full);

    let room = Up::start(dir.path(), "").await;
    assert_eq!(room.readiness().await.0, StatusCode::OK);
    for id in made {
        let again = room.admin(Method::POST, "/api/v1/clients").json(&json!({"id": id, "role": "provisioner"})).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::CONFLICT, "{id} is there");
    }
    let answer = room.admin(Method::POST, "/api/v1/clients").json(&json!({"id": "one-more", "role": "provisioner"})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
}
