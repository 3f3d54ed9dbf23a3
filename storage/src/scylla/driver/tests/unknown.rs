//! Commits whose answer is lost.

use super::{
    Keyspace, SOON, log,
    proxy::{Passage, Proxy},
};
use crate::{
    AuditRow, Claim, CommitOutcome, EventLog, Offset, PartitionKey, Partitions, Seq, StoreError, Topic,
    scylla::driver::ScyllaStore,
    testkit::{
        Turn,
        turn::{partition, rows},
    },
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::timeout;

/// A partition with one commit, under a claim of a store behind a proxy; another store is beside it.
struct Served {
    proxy: Proxy,
    store: ScyllaStore,
    beside: ScyllaStore,
    key: PartitionKey,
    claim: Claim,
}

async fn served(keyspace: &Keyspace) -> Served {
    let proxy = Proxy::new(&keyspace.0.contact_points[0]).await;
    let mut options = keyspace.0.clone();
    options.contact_points = vec![proxy.address.clone()];
    options.request_timeout = Duration::from_millis(500);
    let (store, beside, key) = (ScyllaStore::open(options).await.unwrap(), keyspace.open().await, partition("o", "k", ""));
    let claim = store.claim(&key, 1).await.unwrap();
    Turn::after(&key, claim).put("t", "1", "one").applied(&store).await;
    Served { proxy, store, beside, key, claim }
}

/// The claim of a store that finds its connections again.
async fn claimed(store: &ScyllaStore, key: &PartitionKey) -> Claim {
    let again = async {
        loop {
            if let Ok(claim) = store.claim(key, 1).await {
                return claim;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, again).await.unwrap()
}

#[tokio::test]
async fn what_landed_unanswered_has_a_witness() {
    let Some(keyspace) = Keyspace::new("what_landed_unanswered_has_a_witness").await else { return };
    let Served { proxy, store, key, claim, .. } = served(&keyspace).await;
    store.health().unwrap();
    proxy.set(Passage::NoAnswers);
    let outcome = Turn::after(&key, claim).numbered(2).put("t", "2", "two").commit(&store).await;
    assert!(matches!(outcome, CommitOutcome::Unknown(_)), "{outcome:?}");
    assert!(matches!(store.health(), Err(StoreError::Unavailable(_))));
    // Nothing more under this claim, whatever became of it.
    let next = Turn::after(&key, claim).numbered(3).put("t", "3", "three");
    assert_eq!(next.commit(&store).await, CommitOutcome::Fenced);
    proxy.set(Passage::Open);
    let claim = claimed(&store, &key).await;
    assert_eq!(claim.head.unwrap().seq, Seq(2));
    assert_eq!(store.witness(&key, Seq(2)).await.unwrap(), Some(AuditRow("audit 2".into())));
    store.health().unwrap();
    Turn::after(&key, claim).put("t", "3", "three").applied(&store).await;
    assert_eq!(rows(&store, &key, None).await.len(), 3);
    keyspace.remove().await;
}

/// Before a commit is sent what it names lies beside it: where that fails nothing was done, and nothing will be.
#[tokio::test]
async fn what_was_not_sent_was_not_done() {
    let Some(keyspace) = Keyspace::new("what_was_not_sent_was_not_done").await else { return };
    let Served { proxy, store, beside, key, .. } = served(&keyspace).await;
    for passage in [Passage::NoAnswers, Passage::Held] {
        proxy.set(Passage::Open);
        let claim = claimed(&store, &key).await;
        proxy.set(passage);
        let outcome = Turn::after(&key, claim).put("t", "2", "two").publish("t", "k", "never").awake().commit(&store).await;
        assert!(matches!(outcome, CommitOutcome::NotSent(_)), "{passage:?}: {outcome:?}");
    }
    proxy.set(Passage::Open);
    let claim = claimed(&store, &key).await;
    assert_eq!((claim.head.unwrap().seq, beside.witness(&key, Seq(2)).await.unwrap()), (Seq(1), None));
    // Of its events none is told, whether one lies there still or not.
    let (dir, topic) = (tempfile::tempdir().unwrap(), Topic("t".into()));
    let log = log(&dir);
    beside.publish_to(Arc::new(log.clone()));
    Turn::after(&key, claim).publish("t", "k", "told").applied(&store).await;
    drop(store);
    let again = keyspace.open().await;
    again.publish_to(Arc::new(log.clone()));
    timeout(SOON, log.wait(&topic, Offset(0))).await.unwrap().unwrap();
    let told: BTreeSet<_> = log.fetch(&topic, Offset(0), 10).await.unwrap().into_iter().map(|event| event.payload).collect();
    assert_eq!(told, ["told".into()].into());
    keyspace.remove().await;
}

#[tokio::test]
async fn what_was_held_up_cannot_land_after_a_claim() {
    let Some(keyspace) = Keyspace::new("what_was_held_up_cannot_land").await else { return };
    let Served { proxy, store, beside, key, claim } = served(&keyspace).await;
    proxy.set(Passage::Held);
    let outcome = Turn::after(&key, claim).numbered(2).put("t", "2", "late").commit(&store).await;
    assert!(matches!(outcome, CommitOutcome::Unknown(_)), "{outcome:?}");
    let other = beside.claim(&key, 1).await.unwrap();
    assert_eq!(other.head.unwrap().seq, Seq(1));
    assert_eq!(beside.witness(&key, Seq(2)).await.unwrap(), None);
    // It arrives now. That it has is known by an answer to what was sent after it.
    proxy.set(Passage::Open);
    timeout(SOON, async { while store.exists(&key).await.is_err() {} }).await.unwrap();
    assert_eq!(beside.witness(&key, Seq(2)).await.unwrap(), None);
    Turn::after(&key, other).put("t", "2", "mine").applied(&beside).await;
    assert_eq!(rows(&beside, &key, None).await[1].2, "mine");
    keyspace.remove().await;
}

/// The coordinator may send a write again that has landed, and then finds the condition untrue.
#[tokio::test]
async fn a_refusal_of_what_has_landed_is_no_refusal() {
    let Some(keyspace) = Keyspace::new("a_refusal_of_what_has_landed").await else { return };
    let (store, key) = (keyspace.open().await, partition("o", "k", ""));
    let claim = store.claim(&key, 1).await.unwrap();
    // The same turn twice, as if the first were the same request on its way again.
    let held = store.inner().claims.take(&key, claim.epoch, Seq(1)).unwrap();
    store.inner().claims.put(&key, claim.epoch, held);
    Turn::after(&key, claim).put("t", "1", "one").applied(&store).await;
    store.inner().claims.put(&key, claim.epoch, held);
    Turn::after(&key, claim).put("t", "1", "one").applied(&store).await;
    // Another's commit under that number is none of ours.
    let later = store.claim(&key, 1).await.unwrap();
    store.inner().claims.put(&key, later.epoch, held);
    let other = Turn::after(&key, later).numbered(1).put("t", "1", "other");
    assert_eq!(other.commit(&store).await, CommitOutcome::Fenced);
    assert_eq!(rows(&store, &key, None).await[0].2, "one");
    keyspace.remove().await;
}
