//! A disk without room, on the real process: a clear error, failing readiness, and nothing that was acknowledged is lost.

use crate::{process::Up, support::text};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

impl Up {
    /// Makes a client of the token service.
    async fn make(&self, id: &str) -> Response {
        self.admin(Method::POST, "/api/v1/clients").json(&json!({"id": id, "role": "provisioner"})).send().await.unwrap()
    }

    async fn readiness(&self) -> (StatusCode, String) {
        let answer = self.http.get(format!("{}/api/check/readiness", text(&self.line, "ops"))).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}

/// A limit on the size of files stands for the full disk; the first start is over by then, since it makes journals of 64 MiB.
#[tokio::test]
async fn a_full_disk_fails_readiness_and_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let first = Up::start(dir.path(), "", None).await;
    let secret = text(&first.line, "clientSecret");
    assert_eq!(first.readiness().await.0, StatusCode::OK);
    first.kill().await;

    // 1024 blocks of 512 bytes or of 1 KiB, by shell.
    let mut full = Up::start(dir.path(), "ulimit -f 1024;", Some(&secret)).await;
    assert_eq!(full.readiness().await.0, StatusCode::OK);
    let mut made = Vec::new();
    let refused = loop {
        let id = format!("client-{}", made.len());
        let answer = full.make(&id).await;
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
    assert!(full.process.runs(), "and the process goes on to say so");
    full.kill().await;

    let room = Up::start(dir.path(), "", Some(&secret)).await;
    assert_eq!(room.readiness().await.0, StatusCode::OK);
    for id in made {
        assert_eq!(room.make(&id).await.status(), StatusCode::CONFLICT, "{id} is there");
    }
    assert_eq!(room.make("one-more").await.status(), StatusCode::CREATED);
}
