//! What went through flows, as it is told.

use super::{all, life, next};
use crate::{
    node::{Asked, CONSUMER, Node, did},
    source::{FILE_BYTES, LARGE_BYTES, Source},
};
use cellspace_storage::{EventLog, Offset, Topic};
use serde_json::{Value, json};
use std::time::Duration;

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
