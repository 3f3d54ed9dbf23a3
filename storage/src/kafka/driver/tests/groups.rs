//! Two processes in one group.

use super::{KafkaLog, KafkaOptions, event, open, options, topic};
use crate::{EventLog, Group, Offset, Topic};
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
