//! Data on their way: whole, in ranges, cut, and no faster than their reader.

use super::{all, is_cut, next};
use crate::{
    node::{Asked, Node, PROVIDER, flow_id, participant},
    source::{FILE_BYTES, LARGE_BYTES, Source, file_bytes},
};
use cellspace_actors::data_plane::{DataPlane, DataPlaneState, FlowSignal, PullError};
use cellspace_cluster::Address;
use cellspace_schemas::{dps::DataFlowState, management::ParticipantContextState};
use cellspace_storage::VaultPath;
use http::{Method, StatusCode, header};
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};

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
