//! Promises of [`WakeIndex`] (invariant TIMER rests on them).

use super::turn::{Turn, partition};
use crate::{DueRow, PartitionKey, Partitions, Slot, Slots, Wake, WakeIndex};
use cellspace_schemas::Timestamp;

/// Runs all checks. Expects a store in which nothing else is awake or due.
pub async fn all(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    awake_follows_the_commits(partitions, wake).await;
    due_follows_the_commits(partitions, wake).await;
    only_what_is_asked_for_is_read(partitions, wake).await;
    many_of_one_slot_are_all_read(partitions, wake).await;
}

/// All that are awake, read in pages of `page`, sorted.
pub async fn awake(wake: &dyn WakeIndex, page: usize) -> Vec<PartitionKey> {
    awake_of(wake, &Slots::All, page).await
}

async fn awake_of(wake: &dyn WakeIndex, of: &Slots, page: usize) -> Vec<PartitionKey> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let read = wake.awake(of, from, page).await.unwrap();
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
    due_of(wake, &Slots::All, until, page).await
}

async fn due_of(wake: &dyn WakeIndex, of: &Slots, until: i64, page: usize) -> Vec<DueRow> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let read = wake.due(of, Timestamp(until), from, page).await.unwrap();
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

/// Slots are read one by one, however many entries the others have: also those that lie beside each other.
async fn only_what_is_asked_for_is_read(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    let all: Vec<PartitionKey> = (0..200).map(|n| partition(&format!("tk-slot-{n}"), "k", "")).collect();
    let mut claims = Vec::new();
    for key in &all {
        let claim = partitions.claim(key, 1).await.unwrap();
        Turn::after(key, claim).awake().due(7).applied(partitions).await;
        claims.push(claim);
    }
    let of = |key: &PartitionKey| Slot::of(&key.owner);
    let mut in_order = all.clone();
    in_order.sort_by_key(of);
    let neighbours: Vec<&PartitionKey> =
        in_order.windows(2).min_by_key(|pair| of(&pair[1]).number() - of(&pair[0]).number()).unwrap().iter().collect();
    for wanted in
        [vec![], vec![neighbours[0]], vec![neighbours[1]], vec![&in_order[0], &in_order[99], &in_order[199]], in_order.iter().collect()]
    {
        let slots: Slots = wanted.iter().map(|key| of(key)).collect();
        let mut expected: Vec<PartitionKey> = all.iter().filter(|key| slots.have(&key.owner)).cloned().collect();
        expected.sort();
        assert!(expected.len() >= wanted.len());
        for page in [1, 3, 1_000] {
            assert_eq!(awake_of(wake, &slots, page).await, expected);
            assert_eq!(due_of(wake, &slots, 7, page).await.into_iter().map(|row| row.partition).collect::<Vec<_>>(), expected);
        }
    }
    for (key, claim) in all.iter().zip(claims) {
        Turn::after(key, claim).numbered(2).applied(partitions).await;
    }
    assert_eq!((awake(wake, 100).await, due(wake, 7, 100).await), (vec![], vec![]));
}

/// However many entries of one moment and one slot there are, and wherever a page ends among them.
async fn many_of_one_slot_are_all_read(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    let all: Vec<PartitionKey> = (0..300).map(|n| partition("tk-many", "k", &format!("{n:03}"))).collect();
    let mut claims = Vec::new();
    for key in &all {
        let claim = partitions.claim(key, 1).await.unwrap();
        Turn::after(key, claim).awake().due(7).applied(partitions).await;
        claims.push(claim);
    }
    for page in [100, 255, 256, 257, 300, 1_000] {
        assert_eq!(awake(wake, page).await, all, "{page}");
        assert_eq!(due(wake, 7, page).await.into_iter().map(|row| row.partition).collect::<Vec<_>>(), all, "{page}");
    }
    for (key, claim) in all.iter().zip(claims) {
        Turn::after(key, claim).numbered(2).applied(partitions).await;
    }
    assert_eq!((awake(wake, 100).await, due(wake, 7, 100).await), (vec![], vec![]));
}
