//! The data plane on a real node: flows, tokens, streaming from a local HTTP source.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod node;
mod source;

use bytes::Bytes;
use cellspace_actors::data_plane::{
    Command, DataPlane, DataPlaneState, FlowSignal, PullError, Refusal, Reply, TargetError, address, pump::Body,
};
use cellspace_cluster::Address;
use cellspace_schemas::{
    dps::{DataAddress, DataFlowState, EndpointProperty},
    management::ParticipantContextState,
};
use cellspace_storage::{EventLog, Offset, Partitions, Topic, VaultPath};
use futures::StreamExt;
use http::{Method, StatusCode, header};
use node::{Asked, CONSUMER, Node, PROVIDER, did, flow_id, participant};
use serde_json::{Value, json};
use source::{FILE_BYTES, LARGE_BYTES, Source, file_bytes};
use std::{io, sync::atomic::Ordering, time::Duration};

async fn all(body: Option<Body>) -> Result<Vec<u8>, io::Error> {
    let mut bytes = Vec::new();
    let mut body = body.expect("a body");
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

async fn next(body: &mut Body) -> Option<Result<Bytes, io::Error>> {
    body.next().await
}

/// Reads on until the response is cut; what is under way may still come, an end may not.
async fn is_cut(body: &mut Body) -> bool {
    loop {
        match next(body).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.kind() == io::ErrorKind::ConnectionAborted,
            None => return false,
        }
    }
}

/// One life of a process: nothing of it is left when this returns.
fn life(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work);
}

fn received(token: &str) -> DataAddress {
    let property = |name: &str, value: &str| EndpointProperty { name: name.into(), value: value.into() };
    DataAddress {
        endpoint_type: address::ENDPOINT_TYPE.into(),
        endpoint: Some("https://provider.example/data/f".into()),
        endpoint_properties: vec![property("authorization", token), property("authType", "bearer")],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_come_whole_in_ranges_and_by_their_headers() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    node.source("file", json!({"baseUrl": source.url("/file.bin")})).await.unwrap();
    let token = node.running("t-1", "file").await;

    let whole = node.pull("t-1", Some(&token), Asked::default()).await.unwrap();
    assert_eq!((whole.status, whole.headers[header::CONTENT_LENGTH].to_str().unwrap()), (StatusCode::OK, FILE_BYTES.to_string().as_str()));
    assert_eq!(whole.headers[header::ETAG], "\"v1\"");
    assert!(all(whole.body).await.unwrap() == file_bytes(), "the bytes are those of the source");

    let asked = Asked { headers: &[("range", "bytes=1000-1999")], ..Asked::default() };
    let part = node.pull("t-1", Some(&token), asked).await.unwrap();
    assert_eq!(
        (part.status, part.headers[header::CONTENT_RANGE].to_str().unwrap()),
        (StatusCode::PARTIAL_CONTENT, "bytes 1000-1999/3000017")
    );
    assert_eq!(all(part.body).await.unwrap(), file_bytes()[1000..2000]);

    let head = node.pull("t-1", Some(&token), Asked { method: Method::HEAD, ..Asked::default() }).await.unwrap();
    assert_eq!(head.headers[header::CONTENT_LENGTH].to_str().unwrap(), FILE_BYTES.to_string());
    assert!(head.body.is_none());

    for (name, value, status) in
        [("range", "bytes=9000000-9000001", StatusCode::RANGE_NOT_SATISFIABLE), ("if-none-match", "\"v1\"", StatusCode::NOT_MODIFIED)]
    {
        let answer = node.pull("t-1", Some(&token), Asked { headers: &[(name, value)], ..Asked::default() }).await.unwrap();
        assert_eq!((answer.status, answer.body.is_none()), (status, true));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_and_suspend_cut_what_streams() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    node.source("endless", json!({"baseUrl": source.url("/endless")})).await.unwrap();

    let token = node.running("t-1", "endless").await;
    let mut body = node.pull("t-1", Some(&token), Asked::default()).await.unwrap().body.unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap().slice(..4), "more");
    node.signal(PROVIDER, "t-1", "m-2", FlowSignal::Terminate(Some("enough".into()))).await.unwrap();
    assert!(is_cut(&mut body).await);
    assert!(next(&mut body).await.is_none(), "nothing comes after the cut");
    source.left.acquire().await.unwrap().forget();
    let refused = node.pull("t-1", Some(&token), Asked::default()).await.unwrap_err();
    assert_eq!(refused, PullError::NotStarted);

    // A client that reads nothing does not keep the source busy after a suspension either.
    let token = node.running("t-2", "endless").await;
    let body = node.pull("t-2", Some(&token), Asked::default()).await.unwrap().body.unwrap();
    node.signal(PROVIDER, "t-2", "m-2", FlowSignal::Suspend(None)).await.unwrap();
    source.left.acquire().await.unwrap().forget();
    drop(body);
    assert_eq!(node.pull("t-2", Some(&token), Asked::default()).await.unwrap_err(), PullError::NotStarted);

    // After the suspension there is a new token, and the old one stays worthless.
    let flow = node.signal(PROVIDER, "t-2", "m-3", FlowSignal::Resume(None)).await.unwrap();
    let newer = node.token(&flow).await;
    assert_ne!(newer, token);
    assert_eq!(node.pull("t-2", Some(&token), Asked::default()).await.unwrap_err(), PullError::OtherToken);
    let mut body = node.pull("t-2", Some(&newer), Asked::default()).await.unwrap().body.unwrap();
    assert!(next(&mut body).await.unwrap().is_ok());
    // A client that leaves ends the reading at the source.
    drop(body);
    source.left.acquire().await.unwrap().forget();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_flows_own_token_opens_it() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    node.source("file", json!({"baseUrl": source.url("/file.bin")})).await.unwrap();
    let (one, two) = (node.running("t-1", "file").await, node.running("t-2", "file").await);

    let refused = async |flow, token: Option<&str>, owner| node.pull(flow, token, Asked { owner, ..Asked::default() }).await.unwrap_err();
    assert_eq!(refused("t-2", Some(&one), PROVIDER).await, PullError::OtherToken);
    assert_eq!(refused("t-1", Some(&two), PROVIDER).await, PullError::OtherToken);
    for (flow, owner) in [("t-1", PROVIDER), ("t-404", PROVIDER), ("t-1", CONSUMER), ("t-1", "nobody")] {
        let forged = format!("{}x", &one[..one.len() - 1]);
        for token in [None, Some(""), Some("a.b.c"), Some(forged.as_str())] {
            assert_eq!(refused(flow, token, owner).await, PullError::Token, "{flow} {owner} {token:?}");
        }
    }
    assert_eq!(refused("t-404", Some(&one), PROVIDER).await, PullError::OtherToken);
    assert_eq!(refused("t-1", Some(&one), CONSUMER).await, PullError::Token);
    node.participant(PROVIDER, ParticipantContextState::Deactivated).await;
    assert_eq!(refused("t-1", Some(&one), PROVIDER).await, PullError::Token, "a participant that is not active does not exist");
    node.participant(PROVIDER, ParticipantContextState::Activated).await;
    assert!(node.pull("t-1", Some(&one), Asked::default()).await.is_ok());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_time() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    node.source("file", json!({"baseUrl": source.url("/file.bin")})).await.unwrap();
    let Reply::Flow(flow) = node.begin("t-1", "m-1", "file").await.unwrap() else { panic!() };
    let token = node.token(&flow).await;
    let key = node.services.workers.signing_key(&*node.services.vault).await.unwrap();
    let end = flow.grant.unwrap().expires_at;
    let claims = key.verify(&token, cellspace_schemas::Timestamp(end.millis() - 1_000)).unwrap();
    assert_eq!((claims.iss.as_str(), claims.sub.as_str()), ("siglet-issuer", did(CONSUMER).as_str()));
    assert_eq!((claims.flow, claims.aud.as_str()), (flow_id("t-1"), "http://localhost:8080/api/data/acme/t-1"));
    assert!(key.verify(&token, end).is_err());
    node.stop().await;
}

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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_in_the_vault_goes_and_what_rows_name_stays() {
    let dir = tempfile::tempdir().unwrap();
    let with_secret = |alias: &str| json!({"baseUrl": "http://localhost:1/x", "authorization": {"vaultAlias": alias, "secret": "s3cret"}});
    let node = Node::start(dir.path()).await;
    node.source("a", with_secret("a")).await.unwrap();
    let left =
        VaultPath { owner: (&participant(PROVIDER)).into(), alias: format!("source-secret/{}", uuid::Uuid::new_v4()).parse().unwrap() };
    // As it is when the process dies between the vault and the commit.
    node.services.vault.put_secret(&left, "s3cret".into()).await.unwrap();
    node.stop().await;
    let node = Node::start(dir.path()).await;
    node.source("b", with_secret("b")).await.unwrap();
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
async fn a_slow_client_slows_the_source() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    node.source("large", json!({"baseUrl": source.url("/large.bin")})).await.unwrap();
    let token = node.running("t-1", "large").await;
    let mut body = node.pull("t-1", Some(&token), Asked::default()).await.unwrap().body.unwrap();
    let (mut taken, mut ahead) = (0, 0);
    while let Some(chunk) = next(&mut body).await {
        taken += chunk.unwrap().len();
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        ahead = ahead.max(source.produced.load(Ordering::SeqCst) - taken);
    }
    assert_eq!(taken, LARGE_BYTES);
    // Sockets hold up to about ten MiB; nobody holds the rest.
    assert!(ahead < 32 << 20, "{ahead} bytes were read ahead");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_are_checked_and_repeats_answered_alike() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    node.source("file", json!({"baseUrl": source.url("/file.bin")})).await.unwrap();
    let start = |change: fn(&mut Value)| {
        let mut body = json!({"messageId": "m-1", "participantId": did(PROVIDER), "counterPartyId": did(CONSUMER),
            "dataspaceContext": "http-dsp-profile-2025-1", "processId": "t-1", "agreementId": "ag-1", "datasetId": "set-1",
            "profile": "https://w3id.org/dspace-sig/profile/http-pull", "claims": {}, "metadata": {"source": "file"}});
        change(&mut body);
        Command::Start(Box::new(serde_json::from_value(body).unwrap()))
    };
    for (change, refusal) in [
        ((|b| b["metadata"] = json!({})) as fn(&mut Value), Refusal::NoSource),
        (|b| b["metadata"] = json!({"source": 7}), Refusal::NoSource),
        (|b| b["metadata"] = json!({"source": "other"}), Refusal::UnknownSource("other".parse().unwrap())),
        (|b| b["participantId"] = json!(did(CONSUMER)), Refusal::WrongParticipant),
        (|b| b["profile"] = json!("HttpData-PUSH"), Refusal::TransferType("HttpData-PUSH".parse().unwrap())),
        (|b| b["dataAddress"] = json!({"endpointType": "x"}), Refusal::AddressInPull),
        (|b| b["counterPartyId"] = json!(""), Refusal::BadId("counterPartyId")),
    ] {
        assert_eq!(node.ask(PROVIDER, start(change)).await, Err(refusal));
    }
    assert_eq!(node.ask("nobody", start(|_| {})).await, Err(Refusal::UnknownParticipant));

    let Reply::Flow(first) = node.ask(PROVIDER, start(|_| {})).await.unwrap() else { panic!() };
    let Reply::Flow(again) = node.ask(PROVIDER, start(|_| {})).await.unwrap() else { panic!() };
    assert_eq!(first, again, "the same message is answered again");
    assert_eq!(node.token(&first).await, node.token(&again).await);
    let other = node.ask(PROVIDER, start(|b| b["messageId"] = json!("m-2"))).await;
    assert_eq!(other, Err(Refusal::FlowExists(flow_id("t-1"))), "another start of the same process is refused");
    node.participant(PROVIDER, ParticipantContextState::Deactivated).await;
    assert_eq!(node.ask(PROVIDER, start(|b| b["processId"] = json!("t-2"))).await, Err(Refusal::NotActive));
    node.stop().await;
}

#[test]
fn a_consumers_token_is_sealed_and_goes_with_its_flow() {
    let dir = tempfile::tempdir().unwrap();
    life(async {
        let node = Node::start(dir.path()).await;
        let token = || async { address::received(&node.services, &participant(CONSUMER), &flow_id("t-1")).await };
        assert!(token().await.is_err());
        node.prepare("t-1", "m-1").await.unwrap();
        let bad = DataAddress { endpoint: Some("file:///etc".into()), ..received("x") };
        assert_eq!(node.signal(CONSUMER, "t-1", "m-2", FlowSignal::Started(Some(bad))).await, Err(Refusal::BadAddress));
        for _ in 0..2 {
            let flow = node.signal(CONSUMER, "t-1", "m-3", FlowSignal::Started(Some(received("token-one")))).await.unwrap();
            assert_eq!(flow.state, DataFlowState::Started);
        }
        let found = token().await.unwrap();
        assert_eq!(
            (found.token.as_str(), found.endpoint.as_str(), found.auth_type.as_str()),
            ("token-one", "https://provider.example/data/f", "bearer")
        );
        let agent = Address::of::<DataPlane>(&participant(CONSUMER)).partition();
        let page = node.store.scan(&agent, None, None, 1_000).await.unwrap();
        assert!(page.rows.iter().any(|row| row.key.table() == "flow"));
        let audit = node.store.audit(&agent, 100).await.unwrap();
        for bytes in page.rows.iter().map(|row| &row.value).chain(audit.iter().map(|(_, row)| &row.0)) {
            assert!(!String::from_utf8_lossy(bytes).contains("token-one"), "no row holds the token");
        }

        node.signal(CONSUMER, "t-1", "m-4", FlowSignal::Suspend(None)).await.unwrap();
        assert!(token().await.is_err(), "a suspended flow gives no token");
        node.signal(CONSUMER, "t-1", "m-5", FlowSignal::Resume(Some(received("token-two")))).await.unwrap();
        assert_eq!(token().await.unwrap().token, "token-two");
        node.stop().await;
    });

    // What is known outlives the process.
    life(async {
        let node = Node::start(dir.path()).await;
        let token = || async { address::received(&node.services, &participant(CONSUMER), &flow_id("t-1")).await };
        assert_eq!(token().await.unwrap().token, "token-two");
        let flow = node.signal(CONSUMER, "t-1", "m-6", FlowSignal::Completed).await.unwrap();
        assert!(flow.received.is_none() && token().await.is_err());
        node.stop().await;
    });
}

#[test]
fn flows_and_tokens_outlive_the_process_and_usage_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tokio::runtime::Runtime::new().unwrap();
    let source = elsewhere.block_on(Source::start());
    let mut token = String::new();
    life(async {
        let node = Node::start(dir.path()).await;
        node.source("file", json!({"baseUrl": source.url("/file.bin")})).await.unwrap();
        token = node.running("t-1", "file").await;
        node.stop().await;
    });

    life(async {
        let node = Node::start(dir.path()).await;
        for _ in 0..3 {
            all(node.pull("t-1", Some(&token), Asked::default()).await.unwrap().body).await.unwrap();
        }
        let asked = Asked { headers: &[("range", "bytes=0-99")], ..Asked::default() };
        all(node.pull("t-1", Some(&token), asked).await.unwrap().body).await.unwrap();
        // The end of a response is not seen before it is counted.
        let usage = node.usage("t-1").await;
        assert_eq!((usage.responses, usage.bytes), (4, 3 * FILE_BYTES as u64 + 100));
        node.services.workers.drain(Duration::from_secs(30)).await;

        let events = node.store.fetch(&Topic("usage".into()), Offset(0), 100).await.unwrap();
        let told: Vec<Value> = events.iter().map(|event| serde_json::from_slice::<Value>(&event.payload).unwrap()).collect();
        let bytes: u64 = told.iter().map(|event| event["data"]["bytes"].as_u64().unwrap()).sum();
        assert_eq!(bytes, usage.bytes, "the facts are the whole of it");
        assert_eq!((&told[0]["data"]["agreementId"], &told[0]["data"]["counterPartyId"]), (&json!("ag-1"), &json!(did(CONSUMER))));
        node.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_counted_on_its_way() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    node.source("large", json!({"baseUrl": source.url("/large.bin")})).await.unwrap();
    node.source("drop", json!({"baseUrl": source.url("/broken")})).await.unwrap();
    let (large, drop) = (node.running("t-1", "large").await, node.running("t-2", "drop").await);

    // Much has come: it is stored before the response ends, whatever becomes of the process.
    let mut body = node.pull("t-1", Some(&large), Asked::default()).await.unwrap().body.unwrap();
    let mut taken = 0;
    while taken < 8 << 20 {
        taken += next(&mut body).await.unwrap().unwrap().len() as u64;
    }
    let counted = node.counted("t-1", |usage| usage.bytes >= 4 << 20).await;
    assert_eq!(counted.responses, 0, "it still goes on");
    while let Some(chunk) = next(&mut body).await {
        chunk.unwrap();
    }
    assert_eq!((node.usage("t-1").await.responses, node.usage("t-1").await.bytes), (1, LARGE_BYTES as u64));

    // Little has come, and nothing more for a while.
    let mut body = node.pull("t-2", Some(&drop), Asked::default()).await.unwrap().body.unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "half");
    assert_eq!(node.counted("t-2", |usage| usage.bytes == 4).await.responses, 0);
    // Who leaves is counted, too, before the node ends.
    std::mem::drop(body);
    node.services.workers.drain(Duration::from_secs(30)).await;
    assert_eq!((node.usage("t-2").await.responses, node.usage("t-2").await.bytes), (1, 4));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_is_switched_off_or_gone_is_cut() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Source::start().await);
    let node = Node::start(dir.path()).await;
    let document = json!({"baseUrl": source.url("/endless"), "authorization": {"vaultAlias": "store", "secret": "s3cret"}});
    node.source("endless", document).await.unwrap();
    let token = node.running("t-1", "endless").await;
    let stream = async || node.pull("t-1", Some(&token), Asked::default()).await.unwrap().body.unwrap();

    let mut body = stream().await;
    assert!(next(&mut body).await.unwrap().is_ok());
    node.participant(PROVIDER, ParticipantContextState::Deactivated).await;
    assert!(is_cut(&mut body).await);
    node.participant(PROVIDER, ParticipantContextState::Activated).await;

    let mut body = stream().await;
    assert!(next(&mut body).await.unwrap().is_ok());
    let secret = node.state(PROVIDER, |state| state.secrets.values().next().cloned()).await.unwrap();
    let path = VaultPath { owner: (&participant(PROVIDER)).into(), alias: secret };
    assert!(node.services.vault.secret(&path).await.is_ok());
    node.delete(PROVIDER).await;
    assert!(is_cut(&mut body).await);
    let ended = |state: &DataPlaneState| (state.open_flows() == 0 && state.sources.is_empty()).then_some(());
    let agent = Address::of::<DataPlane>(&participant(PROVIDER));
    node.services.cluster.wait::<DataPlane, _>(&agent, Duration::from_secs(30), ended).await.unwrap().unwrap();
    let state = node.state(PROVIDER, |state| state.flows[&flow_id("t-1")].state).await;
    assert_eq!(state, DataFlowState::Terminated);
    // The vault's record goes with an outbox row.
    let forgotten = async {
        while node.services.vault.secret(&path).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), forgotten).await.unwrap();
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
