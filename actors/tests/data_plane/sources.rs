//! Sources: what they open and see, where they may be, and what their failures tell.

use super::all;
use crate::{
    node::{Asked, Node, PROVIDER, participant},
    source::Source,
};
use cellspace_actors::{
    data_plane::{Command, PullError, Refusal, TargetError},
    records,
};
use cellspace_cluster::{Clock, SystemClock};
use cellspace_schemas::Timestamp;
use cellspace_storage::VaultPath;
use http::{Method, header};
use serde_json::json;
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_source_opens_what_it_says_and_sees_what_it_may() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    let document = json!({"baseUrl": source.url("/echo"), "methods": ["GET"], "pathPrefixes": ["/open"], "allowQuery": true,
        "authorization": {"vaultAlias": "store", "header": "X-Api-Key", "secret": "s3cret-value"}});
    node.source("echo", document).await.unwrap();
    let token = node.running("t-1", "echo").await;
    let pull = async |path, query, method| node.pull("t-1", Some(&token), Asked { path, query, method, ..Asked::default() }).await;

    let headers = [("cookie", "a=b"), ("authorization", "Bearer x"), ("accept", "text/plain"), ("x-forwarded-for", "1.2.3.4")];
    let asked = Asked { path: "/open/a", query: Some("x=1"), headers: &headers, ..Asked::default() };
    let answer = node.pull("t-1", Some(&token), asked).await.unwrap();
    for hidden in ["x-internal", "set-cookie"] {
        assert!(!answer.headers.contains_key(hidden), "{hidden}");
    }
    assert_eq!(answer.headers[header::CACHE_CONTROL], "private, no-store");
    let seen = String::from_utf8(all(answer.body).await.unwrap()).unwrap();
    assert!(seen.starts_with("GET /echo/open/a key=s3cret-value query=x=1 "), "{seen}");
    for hidden in ["cookie", "authorization", "forwarded"] {
        assert!(!seen.contains(hidden), "{seen}");
    }

    assert_eq!(pull("/open", None, Method::HEAD).await.unwrap_err(), PullError::Method);
    assert_eq!(pull("/shut", None, Method::GET).await.unwrap_err(), PullError::Target(TargetError::Closed));
    for path in ["/open/../shut", "/open/%2e%2e/shut", "/open/..%2fshut", "/%2e%2e", "//127.0.0.1:1/"] {
        assert_eq!(pull(path, None, Method::GET).await.unwrap_err(), PullError::Target(TargetError::Path), "{path}");
    }
    // What changes at the source holds for running flows, and a secret that was stored stays.
    let closed = json!({"baseUrl": source.url("/echo"), "authorization": {"vaultAlias": "store", "header": "x-api-key"}});
    node.source("echo", closed).await.unwrap();
    assert_eq!(pull("/open", None, Method::GET).await.unwrap_err(), PullError::Target(TargetError::Closed));
    assert_eq!(pull("", Some("x=1"), Method::GET).await.unwrap_err(), PullError::Target(TargetError::Query));
    let seen = all(pull("", None, Method::GET).await.unwrap().body).await.unwrap();
    assert!(String::from_utf8(seen).unwrap().contains("key=s3cret-value"));
    node.ask(PROVIDER, Command::DeleteSource("echo".parse().unwrap())).await.unwrap();
    assert!(matches!(pull("", None, Method::GET).await.unwrap_err(), PullError::Source(_)));
    let again = json!({"baseUrl": source.url("/echo"), "authorization": {"vaultAlias": "store"}});
    assert_eq!(
        node.source("echo", again).await,
        Err(Refusal::UnknownSecret("store".parse().unwrap())),
        "the secret went with its last source"
    );
    node.stop().await;
}

/// The machine's clock, an hour ahead: the time of all that was begun before is over.
#[derive(Debug)]
struct Later;

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(3_600))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_in_the_vault_goes_and_what_rows_name_stays() {
    let dir = tempfile::tempdir().unwrap();
    let with_secret = |alias: &str| json!({"baseUrl": "http://localhost:1/x", "authorization": {"vaultAlias": alias, "secret": "s3cret"}});
    let node = Node::start(dir.path()).await;
    node.source("a", with_secret("a")).await.unwrap();
    let left =
        VaultPath { owner: (&participant(PROVIDER)).into(), alias: format!("source-secret/{}", uuid::Uuid::new_v4()).parse().unwrap() };
    // As it is when the process dies between the vault and the commit.
    node.ask(PROVIDER, Command::Record(records::Command::Begin(left.alias.clone()))).await.unwrap();
    node.services.vault.put_secret(&left, "s3cret".into()).await.unwrap();
    node.source("b", with_secret("b")).await.unwrap();
    node.stop().await;
    let node = Node::start_at(dir.path(), true, Arc::new(Later)).await;
    let gone = async {
        while node.services.vault.secret(&left).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    let named: Vec<_> = node.state(PROVIDER, |state| state.secrets.values().cloned().collect()).await;
    assert_eq!(named.len(), 2);
    for alias in named {
        assert!(node.services.vault.secret(&VaultPath { alias, ..left.clone() }).await.is_ok());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_source_stay_between_us() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    node.source("any", json!({"baseUrl": source.url(""), "pathPrefixes": ["/"]})).await.unwrap();
    node.source("gone", json!({"baseUrl": "http://127.0.0.1:1/"})).await.unwrap();
    let (any, gone) = (node.running("t-1", "any").await, node.running("t-2", "gone").await);
    for path in ["/error", "/moved", "/denied"] {
        let error = node.pull("t-1", Some(&any), Asked { path, ..Asked::default() }).await.unwrap_err();
        assert!(matches!(error, PullError::Source(_)), "{path}: {error:?}");
    }
    assert_eq!(node.pull("t-1", Some(&any), Asked { path: "/nothing", ..Asked::default() }).await.unwrap_err(), PullError::NotFound);
    assert!(matches!(node.pull("t-2", Some(&gone), Asked::default()).await.unwrap_err(), PullError::Source(_)));
    let broken = node.pull("t-1", Some(&any), Asked { path: "/broken", ..Asked::default() }).await.unwrap();
    source.breaks.add_permits(1);
    assert_eq!(all(broken.body).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "half of the data is not a whole answer");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_within_the_own_networks_are_refused_where_they_are_set_and_where_they_are_read() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    // Set while it was allowed.
    let node = Node::start(dir.path()).await;
    node.source("inside", json!({"baseUrl": source.url("/file.bin")})).await.unwrap();
    node.source("name", json!({"baseUrl": format!("https://localhost.:{}/file.bin", source.address.port())})).await.unwrap();
    let (inside, name) = (node.running("t-1", "inside").await, node.running("t-2", "name").await);
    node.stop().await;

    let node = Node::start_with(dir.path(), false).await;
    for url in [
        source.url("/file.bin"),
        "https://localhost/".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://[::1]/".to_owned(),
        "https://169.254.169.254/latest".to_owned(),
        "http://example.com/".to_owned(),
    ] {
        assert_eq!(node.source("other", json!({"baseUrl": url})).await, Err(Refusal::Target), "{url}");
    }
    for (flow, token) in [("t-1", inside), ("t-2", name)] {
        assert!(matches!(node.pull(flow, Some(&token), Asked::default()).await.unwrap_err(), PullError::Source(_)), "{flow}");
    }
    assert_eq!(source.requests.load(Ordering::SeqCst), 0, "nothing was asked of the source");
    node.stop().await;
}
