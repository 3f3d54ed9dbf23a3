//! Several stores on one keyspace: one commit for each number, whoever tries.

use super::Keyspace;
use crate::{
    ClaimError, CommitOutcome, Partitions, Seq,
    testkit::{
        Turn,
        turn::{partition, rows},
    },
};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_claim_and_one_commits_each_number() {
    let Some(keyspace) = Keyspace::new("many_claim_and_one_commits_each_number").await else { return };
    let key = partition("o", "k", "");
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(keyspace.open().await);
    }
    let racers = (0..32_usize).map(|n| {
        let (store, key) = (stores[n % stores.len()].clone(), key.clone());
        tokio::spawn(async move {
            let mut landed = Vec::new();
            for round in 0..4 {
                let claim = match store.claim(&key, 1).await {
                    Ok(claim) => claim,
                    // A newer opening is at work, or all others keep writing.
                    Err(ClaimError::Newer { .. } | ClaimError::Store(_)) => continue,
                };
                let seq = claim.head.unwrap_or_default().seq.next().0;
                let turn = Turn::after(&key, claim).put("t", &format!("{seq:04}"), &format!("{n} {round}"));
                match turn.commit(&store).await {
                    CommitOutcome::Applied => landed.push((seq, format!("{n} {round}"))),
                    CommitOutcome::Fenced | CommitOutcome::Unknown(_) => {}
                    CommitOutcome::Refused(reason) | CommitOutcome::NotSent(reason) => panic!("{reason}"),
                }
            }
            landed
        })
    });
    let mut landed = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        landed.extend(racer.await.unwrap());
    }
    let numbers: BTreeSet<u64> = landed.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers.len(), landed.len(), "one commit for each number");
    assert!(!landed.is_empty());
    let stored = rows(&stores[0], &key, None).await;
    for (seq, value) in landed {
        assert!(stored.contains(&("t".to_owned(), format!("{seq:04}"), value)), "what was acknowledged is there");
    }
    let newest = stores.last().unwrap().claim(&key, 1).await.unwrap().head.unwrap().seq;
    assert_eq!(stored.len() as u64, newest.0, "no number is left out");
    keyspace.remove().await;
}

/// Whoever holds a partition moves its rows without a commit.
#[tokio::test]
async fn rows_that_are_moved_while_others_claim_are_found() {
    let Some(mut keyspace) = Keyspace::new("rows_that_are_moved_while_others_claim").await else { return };
    keyspace.0.deleted_rows = 1;
    let (old, new, key) = (keyspace.open().await, keyspace.open().await, partition("o", "k", ""));
    let first = old.claim(&key, 1).await.unwrap();
    Turn::after(&key, first).put("t", "kept", "x").delete("t", "gone").applied(&old).await;
    // The head that the claim begins with, and what has become of the rows when it is made.
    let found = new.inner().head(&key).await.unwrap();
    old.inner().renew(&key, first.epoch, &mut found.at.clone()).await.unwrap();
    assert!(!new.inner().raise(&key, found.fence.claimed_under(1).unwrap(), &found).await.unwrap());
    let second = new.claim(&key, 1).await.unwrap();
    let kept = [("t".to_owned(), "kept".to_owned(), "x".to_owned())];
    assert_eq!(rows(&new, &key, None).await, kept);
    // The old one does not know yet that they are moved again.
    let mut at = new.inner().head(&key).await.unwrap().at;
    assert_eq!(at.rows.number, 1);
    at.rows.deleted = 2;
    new.inner().renew(&key, second.epoch, &mut at).await.unwrap();
    assert_eq!((at.rows.number, rows(&old, &key, None).await), (2, kept.to_vec()));
    assert_eq!(rows(&new, &key, None).await, kept);
    keyspace.remove().await;
}

#[tokio::test]
async fn an_older_opening_is_shut_out() {
    let Some(keyspace) = Keyspace::new("an_older_opening_is_shut_out").await else { return };
    let (old, new, key) = (keyspace.open().await, keyspace.open().await, partition("o", "k", ""));
    let first = old.claim(&key, 1).await.unwrap();
    Turn::after(&key, first).put("t", "1", "old").applied(&old).await;
    let second = new.claim(&key, 2).await.unwrap();
    assert!(second.epoch > first.epoch);
    assert_eq!(second.head.unwrap().seq, Seq(1));
    // It does not know yet.
    let late = Turn::after(&key, first).numbered(2).put("t", "1", "late").awake();
    assert_eq!(late.commit(&old).await, CommitOutcome::Fenced);
    assert!(matches!(old.claim(&key, 1).await, Err(ClaimError::Newer { held }) if held == second.epoch));
    Turn::after(&key, second).put("t", "1", "new").applied(&new).await;
    assert_eq!(rows(&old, &key, None).await, [("t".into(), "1".into(), "new".into())]);
    keyspace.remove().await;
}
