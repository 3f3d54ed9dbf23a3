//! The data plane on a real node: flows, tokens, streaming from a local HTTP source.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod node;
mod source;
mod sources;
mod streams;
mod tokens;
mod usage;

use bytes::Bytes;
use cellspace_actors::data_plane::{Command, Refusal, Reply, address, pump::Body};
use cellspace_schemas::{
    dps::{DataAddress, EndpointProperty},
    management::ParticipantContextState,
};
use futures::StreamExt;
use node::{CONSUMER, Node, PROVIDER, did, flow_id};
use serde_json::{Value, json};
use source::Source;
use std::io;

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
