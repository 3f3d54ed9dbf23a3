//! Topics of Kafka: their names, what is known of them, making those that are missing.

use super::{
    clients::{Aside, Clients, Quiet, create, unavailable, within},
    log::INSTALLATION,
};
use crate::{StoreError, Topic};
use parking_lot::Mutex;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::Consumer,
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use std::{collections::HashSet, time::Duration};

/// The one partition of a topic.
pub(super) const PARTITION: i32 = 0;
/// Names remembered of topics that are there.
const KNOWN: usize = 4_096;
/// Pause between looks for a topic that was made.
const HEARD: Duration = Duration::from_millis(50);
/// Of every topic that is made: events stay, and are as large as they are published.
const SETTINGS: [(&str, &str); 5] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("compression.type", "producer"),
    // Some more than an event: what is around it.
    ("max.message.bytes", "17825792"),
];

/// The topics that this process has seen.
#[derive(Default)]
pub(super) struct Topics {
    known: Mutex<HashSet<Topic>>,
}

impl Topics {
    /// Makes the topic unless it is there; whether it had to.
    pub(super) async fn ensure(&self, clients: &Clients, topic: &Topic) -> Result<bool, StoreError> {
        if self.known.lock().contains(topic) {
            return Ok(false);
        }
        let made = match partitions(clients, topic).await? {
            None => make(clients, topic).await?,
            Some(1) => false,
            Some(many) => {
                return Err(StoreError::Unavailable(format!(
                    "the topic {} has {many} partitions, and an event log is one: make it anew with one, or choose another prefix",
                    name(clients, topic)
                )));
            }
        };
        let mut known = self.known.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(topic.clone());
        Ok(made)
    }

    /// Whether the topic is there; a missing one is not made.
    pub(super) async fn has(&self, clients: &Clients, topic: &Topic) -> Result<bool, StoreError> {
        Ok(self.known.lock().contains(topic) || partitions(clients, topic).await?.is_some())
    }

    /// Looks anew from now on: something failed.
    pub(super) fn forget(&self) {
        self.known.lock().clear();
    }
}

/// As Kafka knows it.
pub(super) fn name(clients: &Clients, topic: &Topic) -> String {
    format!("{}{topic}", clients.options().prefix)
}

/// All topics of this installation.
pub(super) async fn all(clients: &Clients) -> Result<Vec<Topic>, StoreError> {
    let prefix = clients.options().prefix.clone();
    clients
        .ask(move |asker, limit| {
            let metadata = asker.fetch_metadata(None, limit)?;
            Ok(own(&prefix, &metadata.topics().iter().map(|topic| topic.name()).collect::<Vec<_>>()))
        })
        .await
}

/// Those of all topics of Kafka that are of the installation with this prefix, by name: not those of another one whose prefix begins with it.
fn own(prefix: &str, names: &[&str]) -> Vec<Topic> {
    let others: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_suffix(INSTALLATION))
        .filter(|other| other.len() > prefix.len() && other.starts_with(prefix))
        .collect();
    // Two underscores: Kafka's own.
    let own = names.iter().filter(|name| !name.starts_with("__") && !others.iter().any(|other| name.starts_with(other)));
    let mut topics: Vec<_> = own.filter_map(|name| name.strip_prefix(prefix)).map(|name| Topic(name.to_owned())).collect();
    topics.sort();
    topics
}

/// Kafka's first number that is kept, and the one that the next event gets.
pub(super) async fn ends(clients: &Clients, topic: &Topic) -> Result<(u64, u64), StoreError> {
    let name = name(clients, topic);
    let (low, high) = clients.ask(move |asker, limit| asker.fetch_watermarks(&name, PARTITION, limit)).await?;
    let number = |end: i64| u64::try_from(end).map_err(|_| StoreError::Unavailable(format!("Kafka does not know the ends of {topic}")));
    Ok((number(low)?, number(high)?))
}

/// How many partitions the topic has; `None` when it is not there. An error when it is, and cannot be used now.
async fn partitions(clients: &Clients, topic: &Topic) -> Result<Option<usize>, StoreError> {
    let name = name(clients, topic);
    clients
        .ask(move |asker, limit| {
            let metadata = asker.fetch_metadata(Some(&name), limit)?;
            let Some(found) = metadata.topics().first() else { return Ok(None) };
            match found.error().map(RDKafkaErrorCode::from) {
                Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
                Some(code) => return Err(KafkaError::MetadataFetch(code)),
                None => {}
            }
            if found.partitions().iter().any(|partition| partition.leader() < 0) {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
            }
            Ok(Some(found.partitions().len()).filter(|count| *count > 0))
        })
        .await
}

/// Makes the topic; whether nobody else did before.
async fn make(clients: &Clients, topic: &Topic) -> Result<bool, StoreError> {
    let client: AdminClient<Quiet> = create(&clients.config(), Quiet).map_err(|e| StoreError::Unavailable(e.to_string()))?;
    let (client, name, limit) = (Aside::new(client), name(clients, topic), clients.options().answer);
    let Some(admin) = client.as_ref() else { return Ok(false) };
    let replicas = clients.options().replication.map_or(-1, i32::from);
    let new =
        SETTINGS.into_iter().fold(NewTopic::new(&name, 1, TopicReplication::Fixed(replicas)), |new, (key, value)| new.set(key, value));
    let options = AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit));
    let outcomes = admin.create_topics([&new], &options).await.map_err(|e| unavailable(&e))?;
    match outcomes.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code))) => Err(StoreError::Unavailable(format!(
            "the topic {name} is missing and cannot be made ({code}): make it with `cellspace admin topics --create`, or by hand with one partition"
        ))),
        Some(Ok(_)) | None => {
            tracing::info!(category = "app", action = "topic.made", topic = name, "topic made");
            within(limit, async {
                // Brokers hear of it one after the other.
                while !matches!(partitions(clients, topic).await, Ok(Some(_))) {
                    tokio::time::sleep(HEARD).await;
                }
                Ok(true)
            })
            .await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_others_are_not_ones_own() {
        let names = [
            "usage",
            "cellspace.installation",
            "a.usage",
            "a.cellspace.installation",
            "a.b.usage",
            "a.b.cellspace.installation",
            "__offsets",
        ];
        let of = |prefix: &str| own(prefix, &names).into_iter().map(|topic| topic.0).collect::<Vec<_>>();
        for prefix in ["", "a.", "a.b."] {
            assert_eq!(of(prefix), ["cellspace.installation", "usage"], "{prefix:?}");
        }
    }
}
