//! How the log stands, for operators.

use super::{
    clients::{Aside, Clients, Quiet, create, unavailable},
    log::KafkaLog,
    topics::{self, PARTITION},
};
use crate::{Group, Offset, StoreError, Topic};
use rdkafka::{
    TopicPartitionList,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    consumer::{BaseConsumer, Consumer},
};
use serde::Serialize;

/// Kafka's setting for how long events of a topic are kept.
const RETENTION: &str = "retention.ms";

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStanding {
    /// Which.
    pub topic: Topic,
    /// Position of the newest event; 0 before the first.
    pub newest: Offset,
    /// Events kept.
    pub kept: u64,
    /// How long they are kept, in milliseconds; for good when `None`. A group that is behind for longer loses events.
    pub retention_ms: Option<u64>,
    /// Its groups.
    pub groups: Vec<GroupStanding>,
}

/// A group on a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStanding {
    /// Which.
    pub group: Group,
    /// Everything up to it has taken effect.
    pub position: Offset,
    /// Events after it.
    pub behind: u64,
    /// Processes in it, on whatever topic.
    pub members: usize,
}

impl KafkaLog {
    /// All topics of the installation, by name.
    ///
    /// # Errors
    /// [`StoreError`] when Kafka does not answer.
    pub async fn report(&self) -> Result<Vec<TopicStanding>, StoreError> {
        let clients = self.clients();
        let (topics, groups) = (topics::all(clients).await?, groups(clients).await?);
        let mut report = Vec::new();
        for topic in topics {
            let (first, end) = topics::ends(clients, &topic).await?;
            let mut standing = TopicStanding {
                retention_ms: retention(clients, &topic).await?,
                newest: Offset(end),
                kept: end - first,
                groups: Vec::new(),
                topic,
            };
            for (group, members) in &groups {
                if let Some(position) = position(clients, &standing.topic, group).await? {
                    let (group, members) = (group.clone(), *members);
                    standing.groups.push(GroupStanding {
                        group,
                        position: Offset(position),
                        behind: end.saturating_sub(position.max(first)),
                        members,
                    });
                }
            }
            report.push(standing);
        }
        Ok(report)
    }
}

/// The installation's groups, and how many members they have.
async fn groups(clients: &Clients) -> Result<Vec<(Group, usize)>, StoreError> {
    let prefix = clients.options().prefix.clone();
    clients
        .ask(move |asker, limit| {
            let list = asker.fetch_group_list(None, limit)?;
            let own = list.groups().iter().filter_map(|group| Some((group.name().strip_prefix(&prefix)?, group.members().len())));
            Ok(own.map(|(name, members)| (Group(name.to_owned()), members)).collect())
        })
        .await
}

/// The group's position in the topic, when it has one.
async fn position(clients: &Clients, topic: &Topic, group: &Group) -> Result<Option<u64>, StoreError> {
    let mut config = clients.config();
    config.set("group.id", format!("{}{}", clients.options().prefix, group.0)).set("enable.auto.commit", "false");
    let consumer: BaseConsumer<Quiet> = create(&config, Quiet).map_err(|e| StoreError::Unavailable(e.to_string()))?;
    let (consumer, name, limit) = (Aside::new(consumer), topics::name(clients, topic), clients.options().answer);
    clients
        .off_the_executor(move || {
            let Some(consumer) = consumer.as_ref() else { return Ok(None) };
            let mut list = TopicPartitionList::new();
            list.add_partition(&name, PARTITION);
            let found = consumer.committed_offsets(list, limit)?;
            let place = found.find_partition(&name, PARTITION).and_then(|place| place.offset().to_raw());
            Ok(place.and_then(|position| u64::try_from(position).ok()))
        })
        .await
}

async fn retention(clients: &Clients, topic: &Topic) -> Result<Option<u64>, StoreError> {
    let client: AdminClient<Quiet> = create(&clients.config(), Quiet).map_err(|e| StoreError::Unavailable(e.to_string()))?;
    let (client, name, limit) = (Aside::new(client), topics::name(clients, topic), clients.options().answer);
    let Some(admin) = client.as_ref() else { return Ok(None) };
    let (asked, options) = (ResourceSpecifier::Topic(&name), AdminOptions::new().request_timeout(Some(limit)));
    let answers = admin.describe_configs([&asked], &options).await.map_err(|e| unavailable(&e))?;
    let Some(Ok(settings)) = answers.into_iter().next() else { return Ok(None) };
    // -1: for good.
    Ok(settings.get(RETENTION).and_then(|setting| setting.value.as_deref()?.parse().ok()))
}
