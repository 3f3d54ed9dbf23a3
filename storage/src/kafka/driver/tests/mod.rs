//! The log against a real Kafka: the shared checks, and what only a log that is elsewhere promises.

mod groups;
mod installation;

use super::{KafkaLog, KafkaOptions};
use crate::{
    EventLog, Publication, Topic,
    testkit::{self, services},
};
use std::time::Duration;

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
