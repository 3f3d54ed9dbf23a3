//! Tokens: what they open, and when they end.

use super::{life, received};
use crate::{
    node::{Asked, CONSUMER, Node, PROVIDER, did, flow_id, participant},
    source::Source,
};
use cellspace_actors::data_plane::{DataPlane, FlowSignal, PullError, Refusal, Reply, address};
use cellspace_cluster::Address;
use cellspace_schemas::{
    dps::{DataAddress, DataFlowState},
    management::ParticipantContextState,
};
use cellspace_storage::Partitions;
use serde_json::json;

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
