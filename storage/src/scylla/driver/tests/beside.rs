//! What a crash leaves beside the partitions.

use super::{Keyspace, SOON, log};
use crate::{
    Batch, CommitOutcome, DueRow, EventLog, Movable, Offset, PartitionKey, Partitions, Permit, Seq, Standing, Topic,
    scylla::driver::{heads::Position, marks::Mark},
    testkit::{Turn, turn::partition, wake_index},
};
use cellspace_schemas::Timestamp;
use std::sync::Arc;
use tokio::time::timeout;

/// Writes what lies beside the partition for a turn, and not the turn.
async fn begin(store: &super::ScyllaStore, batch: &Batch) {
    let mark = Mark { hour: store.inner().hour(), epoch: batch.epoch, seq: batch.seq };
    let next = Position {
        seq: batch.seq,
        awake: batch.wake.awake.then_some(mark),
        due: batch.wake.due.map(|due| (due, mark)),
        ..Position::default()
    };
    store.inner().write_beside(batch, &mark, &Position::default(), &next).await.unwrap();
}

#[tokio::test]
async fn wake_rows_of_commits_that_never_came_go_with_the_next_claim() {
    let Some(keyspace) = Keyspace::new("wake_rows_of_commits_that_never_came").await else { return };
    let (store, key) = (keyspace.open().await, partition("o", "k", ""));
    let claim = store.claim(&key, 1).await.unwrap();
    begin(&store, &Turn::after(&key, claim).awake().due(7).batch()).await;
    // The commit may be on its way: the agent is woken, which settles it.
    assert_eq!(wake_index::awake(&store, 9).await, std::slice::from_ref(&key));
    assert_eq!(wake_index::due(&store, 7, 9).await, [DueRow { due: Timestamp(7), partition: key.clone() }]);
    let next = keyspace.open().await;
    next.claim(&key, 1).await.unwrap();
    for _ in 0..2 {
        assert_eq!(wake_index::awake(&next, 9).await, []);
        assert_eq!(wake_index::due(&next, 7, 9).await, []);
    }
    keyspace.remove().await;
}

/// Whoever lost the lease while it told the index does not commit: the next one may have read the index before.
#[tokio::test]
async fn a_commit_whose_permit_is_gone_by_the_time_the_index_names_it_is_not_sent() {
    let Some(keyspace) = Keyspace::new("a_commit_whose_permit_is_gone").await else { return };
    let (store, key) = (keyspace.open().await, partition("o", "k", ""));
    let claim = store.claim(&key, 1).await.unwrap();
    let batch = Batch {
        permit: Permit::while_so(|| false),
        ..Turn::after(&key, claim).awake().put("t", "1", "v").publish("a", "k", "never").batch()
    };
    assert_eq!(store.commit(batch).await, CommitOutcome::Fenced);
    assert_eq!(wake_index::awake(&store, 9).await, std::slice::from_ref(&key), "asked after the index was told");
    assert!(!store.exists(&key).await.unwrap());
    assert_eq!(store.standing(&key).await.unwrap().publishing, None, "nobody waits for its events");
    let claim = store.claim(&key, 1).await.unwrap();
    Turn::after(&key, claim).put("t", "1", "v").applied(&store).await;
    keyspace.remove().await;
}

/// A copy's index rows come before its head: whoever reads the index meanwhile leaves them.
#[tokio::test]
async fn index_rows_of_what_is_sealed_stay() {
    let Some(keyspace) = Keyspace::new("index_rows_of_what_is_sealed_stay").await else { return };
    let (store, key) = (keyspace.open().await, partition("o", "k", ""));
    let claim = store.claim(&key, 1).await.unwrap();
    begin(&store, &Turn::after(&key, claim).awake().due(7).batch()).await;
    store.seal(&key, 1).await.unwrap();
    assert_eq!((wake_index::awake(&store, 9).await, wake_index::due(&store, 7, 9).await), (vec![], vec![]), "nobody serves it");
    for table in ["awake", "due"] {
        let rows = store.inner().session.query_unpaged(format!("SELECT owner FROM {table}"), ()).await.unwrap().into_rows_result().unwrap();
        assert_eq!(rows.rows_num(), 1, "{table}");
    }
    keyspace.remove().await;
}

/// Nobody claims what nobody serves: the commit of a dead node would stay open.
#[tokio::test]
async fn what_dead_nodes_have_left_of_commits_is_settled_by_who_publishes_it() {
    let Some(keyspace) = Keyspace::new("what_dead_nodes_have_left_of_commits").await else { return };
    let (store, key, topic, dir) = (keyspace.open().await, partition("o", "k", ""), Topic("a".to_owned()), tempfile::tempdir().unwrap());
    let log = log(&dir);
    let payloads =
        async || log.fetch(&topic, Offset::default(), 9).await.unwrap().into_iter().map(|event| event.payload).collect::<Vec<_>>();
    let claim = store.claim(&key, 1).await.unwrap();
    Turn::after(&key, claim).put("t", "1", "v").publish("a", "k", "landed").applied(&store).await;
    let late = Turn::after(&key, claim).numbered(2).put("t", "2", "v").publish("a", "k", "never").batch();
    begin(&store, &late).await;
    assert_eq!(store.standing(&key).await.unwrap().publishing, Some(Seq(1)), "the first of them");
    store.publish_left(&key, &log).await.unwrap();
    assert_eq!(store.standing(&key).await.unwrap().publishing, None, "nothing is left");
    assert_eq!(payloads().await, ["landed"]);
    assert_eq!(store.commit(late).await, CommitOutcome::Fenced, "what was taken for never is so");
    // Under a seal it is known already, and the seal stays.
    begin(&store, &Turn::after(&key, store.claim(&key, 1).await.unwrap()).publish("a", "k", "never").batch()).await;
    store.seal(&key, 7).await.unwrap();
    let Standing { seal, publishing, .. } = store.standing(&key).await.unwrap();
    assert_eq!(publishing, Some(Seq(2)));
    store.publish_left(&key, &log).await.unwrap();
    let standing = store.standing(&key).await.unwrap();
    assert!(standing.publishing.is_none() && standing.seal == seal && seal.is_some(), "{standing:?}");
    assert_eq!(payloads().await, ["landed"]);
    keyspace.remove().await;
}

#[tokio::test]
async fn events_go_out_after_a_crash_if_their_commit_landed() {
    let Some(keyspace) = Keyspace::new("events_go_out_after_a_crash").await else { return };
    let (store, dir) = (keyspace.open().await, tempfile::tempdir().unwrap());
    let (landed, lost) = (partition("o", "k", "landed"), partition("o", "k", "lost"));
    let publish = |key: &PartitionKey, claim, seq: u64| Turn::after(key, claim).numbered(seq).publish("t", &key.name, &seq.to_string());
    // Nobody brings them away before the end.
    let claim = store.claim(&landed, 1).await.unwrap();
    for seq in 1..=30 {
        publish(&landed, claim, seq).applied(&store).await;
    }
    let claim = store.claim(&lost, 1).await.unwrap();
    begin(&store, &publish(&lost, claim, 1).batch()).await;
    drop(store);

    let (store, log) = (keyspace.open().await, log(&dir));
    store.claim(&lost, 1).await.unwrap();
    store.publish_to(Arc::new(log.clone()));
    let topic = Topic("t".into());
    timeout(SOON, log.wait(&topic, Offset(29))).await.unwrap().unwrap();
    // What is committed from now on comes after them.
    let claim = store.claim(&landed, 1).await.unwrap();
    publish(&landed, claim, 31).applied(&store).await;
    timeout(SOON, log.wait(&topic, Offset(30))).await.unwrap().unwrap();
    let events = log.fetch(&topic, Offset(0), 100).await.unwrap();
    let events: Vec<_> = events.into_iter().map(|event| (event.key, String::from_utf8(event.payload.to_vec()).unwrap())).collect();
    assert_eq!(events, (1..=31).map(|seq| ("landed".to_owned(), seq.to_string())).collect::<Vec<_>>());
    keyspace.remove().await;
}

/// With a queue of one, most wait in the database.
#[tokio::test]
async fn more_events_than_fit_in_memory_come_in_order() {
    let Some(mut keyspace) = Keyspace::new("more_events_than_fit_in_memory").await else { return };
    keyspace.0.publications = 1;
    let (store, key, dir) = (keyspace.open().await, partition("o", "k", ""), tempfile::tempdir().unwrap());
    let (log, topic) = (log(&dir), Topic("t".into()));
    store.publish_to(Arc::new(log.clone()));
    let claim = store.claim(&key, 1).await.unwrap();
    for seq in 1..=100 {
        Turn::after(&key, claim).numbered(seq).publish("t", "k", &seq.to_string()).applied(&store).await;
    }
    timeout(SOON, log.wait(&topic, Offset(99))).await.unwrap().unwrap();
    let events = log.fetch(&topic, Offset(0), 200).await.unwrap();
    let numbers: Vec<String> = events.iter().map(|event| String::from_utf8(event.payload.to_vec()).unwrap()).collect();
    assert_eq!(numbers, (1..=100).map(|seq: u32| seq.to_string()).collect::<Vec<_>>());
    keyspace.remove().await;
}

/// A process that runs beside it brings them away when it is told that the other one is gone, and not only at its own next start.
#[tokio::test]
async fn events_of_a_process_that_is_gone_are_adopted() {
    let Some(keyspace) = Keyspace::new("events_are_adopted").await else { return };
    let (gone, store, dir) = (keyspace.open().await, keyspace.open().await, tempfile::tempdir().unwrap());
    let (log, topic) = (log(&dir), Topic("t".to_owned()));
    store.publish_to(Arc::new(log.clone()));
    let own = partition("o", "k", "own");
    let claim = store.claim(&own, 1).await.unwrap();
    Turn::after(&own, claim).publish("t", "own", "1").applied(&store).await;
    // It has looked through the database by then.
    timeout(SOON, log.wait(&topic, Offset(0))).await.unwrap().unwrap();
    let others = partition("o", "k", "others");
    let claim = gone.claim(&others, 1).await.unwrap();
    Turn::after(&others, claim).publish("t", "others", "2").applied(&gone).await;
    drop(gone);
    store.adopt_publications();
    timeout(SOON, log.wait(&topic, Offset(1))).await.unwrap().unwrap();
    let found = log.fetch(&topic, Offset(0), 10).await.unwrap();
    assert_eq!(found.iter().map(|event| event.key.as_str()).collect::<Vec<_>>(), ["own", "others"]);
    keyspace.remove().await;
}
