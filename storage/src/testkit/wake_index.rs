//! Promises of [`WakeIndex`] (invariant TIMER rests on them).

use super::turn::{Turn, partition};
use crate::{DueRow, PartitionKey, Partitions, Wake, WakeIndex};
use cellspace_schemas::Timestamp;

/// Runs all checks. Expects a store in which nothing else is awake or due.
pub async fn all(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    awake_follows_the_commits(partitions, wake).await;
    due_follows_the_commits(partitions, wake).await;
}

/// All that are awake, read in pages of `page`, sorted.
pub async fn awake(wake: &dyn WakeIndex, page: usize) -> Vec<PartitionKey> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let read = wake.awake(from, page).await.unwrap();
        assert!(read.entries.len() <= page);
        found.extend(read.entries);
        from = read.next;
        if from.is_none() {
            break;
        }
    }
    found.sort();
    found
}

/// All deadlines up to `until`, read in pages of `page`, sorted.
pub async fn due(wake: &dyn WakeIndex, until: i64, page: usize) -> Vec<DueRow> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let read = wake.due(Timestamp(until), from, page).await.unwrap();
        assert!(read.entries.len() <= page);
        found.extend(read.entries);
        from = read.next;
        if from.is_none() {
            break;
        }
    }
    found.sort();
    found
}

async fn awake_follows_the_commits(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    let keys = [("tk-a", ""), ("tk-awake", ""), ("tk-awake", "a"), ("tk-awake", "a\0"), ("tk-awake", "b"), ("tk-b", "c")]
        .map(|(owner, name)| partition(owner, "k", name));
    let mut claims = Vec::new();
    for key in &keys {
        let claim = partitions.claim(key, 1).await.unwrap();
        Turn::after(key, claim).awake().applied(partitions).await;
        claims.push(claim);
    }
    assert_eq!(awake(wake, 2).await, keys, "all, once, in pages");
    for (key, claim) in keys.iter().zip(&claims) {
        Turn::after(key, *claim).numbered(2).awake().applied(partitions).await;
    }
    assert_eq!(awake(wake, 100).await, keys, "still awake, once each");
    // Another activation finds what the last one left, and clears it.
    for key in &keys {
        let claim = partitions.claim(key, 1).await.unwrap();
        assert_eq!(claim.wake, Wake { awake: true, due: None });
        Turn::after(key, claim).applied(partitions).await;
        // It can be awake again, and not.
        Turn::after(key, claim).numbered(4).awake().applied(partitions).await;
        Turn::after(key, claim).numbered(5).applied(partitions).await;
    }
    assert_eq!(awake(wake, 100).await, []);
}

async fn due_follows_the_commits(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    let times = [("y", -3), ("z", 0), ("a", 50), ("x", 50), ("v", 51), ("w", 7_200_000)];
    let mut claims = Vec::new();
    for (name, due) in times {
        let key = partition("tk-due", "k", name);
        let claim = partitions.claim(&key, 1).await.unwrap();
        Turn::after(&key, claim).due(1).applied(partitions).await;
        Turn::after(&key, claim).numbered(2).due(due).applied(partitions).await;
        claims.push((key, claim));
    }
    let upto = |until: i64| async move {
        let found = due(wake, until, 2).await;
        found.into_iter().map(|row| (row.partition.name, row.due.0)).collect::<Vec<_>>()
    };
    let expect = |rows: usize| times.iter().take(rows).map(|(name, due)| ((*name).to_owned(), *due)).collect::<Vec<_>>();
    assert_eq!(upto(-4).await, []);
    assert_eq!(upto(50).await, expect(4));
    assert_eq!(upto(i64::MAX).await, expect(6));
    assert_eq!(upto(i64::MIN).await, []);
    // Another activation knows the deadline, and takes it back.
    for (key, _) in claims {
        let claim = partitions.claim(&key, 1).await.unwrap();
        assert_eq!(claim.wake.due.map(|due| due.0), times.iter().find(|(name, _)| *name == key.name).map(|(_, due)| *due));
        Turn::after(&key, claim).applied(partitions).await;
    }
    assert_eq!(upto(i64::MAX).await, []);
}
