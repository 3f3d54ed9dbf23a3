//! Two processes in one group.

use super::{KafkaLog, KafkaOptions, event, open, options, topic};
use crate::{EventLog, Group, Offset, Topic};
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use std::time::Duration;

/// Brokers take no less.
const SILENCE: Duration = Duration::from_secs(6);

fn group() -> Group {
    Group("g".to_owned())
}

/// Two handles as two processes have them, and three events.
async fn two(test: &str) -> Option<(KafkaLog, KafkaLog, Topic)> {
    let options = KafkaOptions { silence: SILENCE, ..options(test)? };
    let (first, second) = (open(&options), open(&options));
    first.publish(vec![event("t", "1"), event("t", "2"), event("t", "3")]).await.unwrap();
    Some((first, second, topic("t")))
}

#[tokio::test]
async fn one_of_two_reads_and_the_other_goes_on_where_it_ends() {
    let Some((first, second, t)) = two("one_of_two_reads").await else { return };
    assert_eq!(first.committed(&t, &group()).await.unwrap(), Offset(0));
    first.commit(&t, &group(), Offset(2)).await.unwrap();
    let g = group();
    let mut next = Box::pin(second.committed(&t, &g));
    // Long enough for it to join, and to be given what is another's.
    assert!(tokio::time::timeout(SILENCE, &mut next).await.is_err(), "two read for one group");
    first.commit(&t, &group(), Offset(1)).await.unwrap();
    first.close();
    assert_eq!(next.await.unwrap(), Offset(2));
}

/// What was taken for dead has nothing to say when it comes back, and hears of it.
#[tokio::test]
async fn one_whose_place_was_taken_moves_the_position_no_more() {
    let Some((mut options, t)) = options("one_whose_place_was_taken").map(|options| (options, topic("t"))) else { return };
    // The same name: the second one is the same process, started again, while the first one is still about.
    options.member = Some("node".to_owned());
    let (first, second) = (open(&options), open(&options));
    first.publish(vec![event("t", "1"), event("t", "2")]).await.unwrap();
    assert_eq!(first.committed(&t, &group()).await.unwrap(), Offset(0));
    assert_eq!(second.committed(&t, &group()).await.unwrap(), Offset(0));
    second.commit(&t, &group(), Offset(1)).await.unwrap();
    first.lost(&t, &group()).await;
    first.commit(&t, &group(), Offset(2)).await.unwrap_err();
    assert_eq!(second.committed(&t, &group()).await.unwrap(), Offset(1));
    let report = second.report().await.unwrap();
    let standing = report.iter().find(|standing| standing.topic == t).unwrap();
    assert_eq!((standing.newest, standing.kept, standing.retention_ms), (Offset(2), 2, None));
    let groups: Vec<_> = standing.groups.iter().map(|group| (group.position, group.behind)).collect();
    assert_eq!(groups, [(Offset(1), 1)]);
}

/// Where the other one is by then, and not where the topic ended when the second one began to wait.
#[tokio::test]
async fn who_waits_for_a_place_goes_on_where_the_other_one_ends_much_later() {
    let Some((first, second, t)) = two("who_waits_for_a_place").await else { return };
    let g = group();
    assert_eq!(first.committed(&t, &g).await.unwrap(), Offset(0));
    let mut next = Box::pin(second.committed(&t, &g));
    assert!(tokio::time::timeout(SILENCE, &mut next).await.is_err(), "two read for one group");
    first.publish(vec![event("t", "4"), event("t", "5")]).await.unwrap();
    first.commit(&t, &g, Offset(5)).await.unwrap();
    first.close();
    assert_eq!(next.await.unwrap(), Offset(5));
}

/// What is there is read, though a position says that more was: by a group that comes back, and by one that is at work.
#[tokio::test]
async fn a_topic_that_ends_before_a_groups_position_is_read_from_its_beginning() {
    let Some((first, second, t)) = two("a_topic_that_ends_before").await else { return };
    let g = group();
    let mut place = TopicPartitionList::new();
    let name = format!("{}t", first.clients().options().prefix);
    place.add_partition_offset(&name, 0, rdkafka::Offset::Offset(50)).unwrap();
    let mut config = first.clients().config();
    config.set("group.id", format!("{}g", first.clients().options().prefix));
    let other: BaseConsumer = config.create().unwrap();
    other.commit(&place, CommitMode::Sync).unwrap();
    drop(other);
    assert_eq!(first.committed(&t, &g).await.unwrap(), Offset(0));
    assert_eq!(first.fetch(&t, Offset(0), 10).await.unwrap().len(), 3);
    first.commit(&t, &g, Offset(2)).await.unwrap();
    // As it is when the topic is cut short while somebody waits for its end.
    first.wait(&t, Offset(60)).await.unwrap_err();
    tokio::time::timeout(SILENCE, first.lost(&t, &g)).await.expect("the group looks anew where it stands");
    assert_eq!(first.committed(&t, &g).await.unwrap(), Offset(2));
    drop(second);
}
