//! Promises of [`WakeIndex`] (invariant TIMER rests on them).

use super::turn::{Turn, partition};
use crate::{Partitions, Wake, WakeIndex};
use cellspace_schemas::Timestamp;

/// Runs all checks. Expects a store in which nothing else is awake or due.
pub async fn all(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    awake_follows_the_commits(partitions, wake).await;
    due_is_in_order(partitions, wake).await;
}

async fn awake_follows_the_commits(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    let keys = ["", "a", "a\0", "b", "c"].map(|name| partition("tk-awake", "k", name));
    let mut claims = Vec::new();
    for key in &keys {
        let claim = partitions.claim(key, 1).await.unwrap();
        Turn::after(key, claim).awake().applied(partitions).await;
        claims.push(claim);
    }
    let mut found = Vec::new();
    loop {
        let page = wake.awake(found.last().cloned(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, keys, "all, once, in key order, in pages");
    for (key, claim) in keys.iter().zip(&claims) {
        Turn::after(key, *claim).numbered(2).awake().applied(partitions).await;
    }
    assert_eq!(wake.awake(None, 100).await.unwrap().len(), 5, "still awake, once each");
    // Another activation finds what the last one left, and clears it.
    for key in &keys {
        let claim = partitions.claim(key, 1).await.unwrap();
        assert_eq!(claim.wake, Wake { awake: true, due: None });
        Turn::after(key, claim).applied(partitions).await;
    }
    assert_eq!(wake.awake(None, 100).await.unwrap(), []);
}

async fn due_is_in_order(partitions: &dyn Partitions, wake: &dyn WakeIndex) {
    let times = [("x", 50), ("y", -3), ("a", 50), ("z", 0), ("w", 7_200_000), ("v", 51)];
    let mut claims = Vec::new();
    for (name, due) in times {
        let key = partition("tk-due", "k", name);
        let claim = partitions.claim(&key, 1).await.unwrap();
        Turn::after(&key, claim).due(1).applied(partitions).await;
        Turn::after(&key, claim).numbered(2).due(due).applied(partitions).await;
        claims.push((key, claim));
    }
    let upto = |until: i64| async move {
        let mut found = Vec::new();
        loop {
            let page = wake.due(Timestamp(until), found.last().cloned(), 2).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        found.into_iter().map(|row| (row.partition.name, row.due.0)).collect::<Vec<_>>()
    };
    let expect = |rows: &[(&str, i64)]| rows.iter().map(|(name, due)| ((*name).to_owned(), *due)).collect::<Vec<_>>();
    assert_eq!(upto(-4).await, []);
    assert_eq!(upto(50).await, expect(&[("y", -3), ("z", 0), ("a", 50), ("x", 50)]));
    assert_eq!(upto(i64::MAX).await, expect(&[("y", -3), ("z", 0), ("a", 50), ("x", 50), ("v", 51), ("w", 7_200_000)]));
    assert_eq!(wake.due(Timestamp(i64::MIN), None, 9).await.unwrap(), []);
    for (key, claim) in claims {
        Turn::after(&key, claim).numbered(3).applied(partitions).await;
    }
    assert_eq!(upto(i64::MAX).await, []);
}
