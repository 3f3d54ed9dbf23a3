//! The log against a real Kafka: the shared checks, and what only a log that is elsewhere promises.

mod groups;
mod installation;

use super::{KafkaLog, KafkaOptions};
use crate::{
    EmbeddedOptions, EmbeddedStore, EventLog, Publication, StoreError, Topic,
    testkit::{self, services},
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use std::{sync::Arc, time::Duration};

/// A prefix of a test, fresh in each run.
pub(super) fn options(test: &str) -> Option<KafkaOptions> {
    let servers = services::kafka(&format!("kafka::driver::tests::{test}"))?;
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    Some(KafkaOptions::new(servers.split(',').map(str::to_owned).collect(), format!("t{run}.")))
}

pub(super) fn open(options: &KafkaOptions) -> KafkaLog {
    KafkaLog::new(options.clone(), None).unwrap()
}

pub(super) fn topic(name: &str) -> Topic {
    Topic(name.to_owned())
}

pub(super) fn event(topic: &str, payload: &str) -> Publication {
    Publication { topic: self::topic(topic), key: "k".to_owned(), payload: payload.to_owned().into() }
}

#[tokio::test]
async fn keeps_the_promises_of_all_backends() {
    let Some(options) = options("keeps_the_promises_of_all_backends") else { return };
    testkit::event_log::all(&open(&options)).await;
}

/// What the store of a process by itself keeps until it is in the log.
#[tokio::test]
async fn commits_publish_here() {
    let Some(options) = options("commits_publish_here") else { return };
    let (log, dir) = (open(&options), tempfile::tempdir().unwrap());
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let publishing = store.publish_to(Arc::new(log.clone()));
    testkit::event_log::commits_publish(&store, &log).await;
    drop(publishing);
}

/// Any consumer of the broker finds what it is told of Kafka's records: the topic's name, the event's key, and that it is a CloudEvent.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_what_others_expect_of_one() {
    let Some(options) = options("a_record_is_what_others_expect_of_one") else { return };
    let log = open(&options);
    log.publish(vec![event("t", "{}")]).await.unwrap();
    let found = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", options.servers.join(",")).set("group.id", "others").create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&format!("{}t", options.prefix), 0, Offset::Beginning).unwrap();
        consumer.assign(&from).unwrap();
        consumer.poll(Duration::from_secs(60)).unwrap().unwrap().detach()
    });
    let found = found.await.unwrap();
    assert_eq!((found.key(), found.payload()), (Some(&b"k"[..]), Some(&b"{}"[..])));
    let headers: Vec<_> = found.headers().unwrap().iter().map(|header| (header.key.to_owned(), header.value)).collect();
    assert_eq!(headers, [("content-type".to_owned(), Some(&b"application/cloudevents+json"[..]))]);
}

/// Nothing hangs, and nothing is taken for published, while no broker is there.
#[tokio::test]
async fn a_kafka_out_of_reach_is_told_in_time() {
    let options = KafkaOptions { answer: Duration::from_millis(300), ..KafkaOptions::new(vec!["127.0.0.1:1".to_owned()], "") };
    let log = open(&options);
    let told = async {
        log.publish(vec![event("t", "1")]).await.unwrap_err();
        log.committed(&topic("t"), &crate::Group("g".to_owned())).await.unwrap_err();
        log.fetch(&topic("t"), crate::Offset(0), 1).await.unwrap_err();
        log.begin().await.unwrap_err();
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    assert!(log.health().is_err());
}

/// One topic out of order says nothing of another, which is of use meanwhile.
#[tokio::test]
async fn health_is_each_topics_own() {
    let Some(options) = options("health_is_each_topics_own") else { return };
    let log = open(&options);
    log.publish(vec![event("t", "1")]).await.unwrap();
    let long = "x".repeat(250);
    log.publish(vec![event(&long, "1")]).await.unwrap_err();
    log.publish(vec![event("t", "2")]).await.unwrap();
    let told = log.health().unwrap_err().to_string();
    assert!(told.contains(&long) && !told.contains(" t:"), "{told}");
}

/// A broker that takes less than what comes refuses it for good, and that is said.
#[tokio::test]
async fn an_event_that_is_too_long_for_its_topic_is_refused() {
    let Some(options) = options("an_event_that_is_too_long") else { return };
    let log = open(&options);
    let admin: rdkafka::admin::AdminClient<rdkafka::client::DefaultClientContext> = log.clients().config().create().unwrap();
    let name = format!("{}t", options.prefix);
    let small = rdkafka::admin::NewTopic::new(&name, 1, rdkafka::admin::TopicReplication::Fixed(1)).set("max.message.bytes", "1000");
    admin.create_topics([&small], &rdkafka::admin::AdminOptions::new()).await.unwrap().pop().unwrap().unwrap();
    let refused = log.publish(vec![event("t", &"x".repeat(10_000))]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    log.publish(vec![event("t", "1")]).await.unwrap();
}
