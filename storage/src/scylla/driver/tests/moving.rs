//! Partitions on their way to the keyspace of another cell.

use super::Keyspace;
use crate::{
    CellName, Claim, ClaimError, CommitOutcome, Home, Homes, Movable, PartitionKey, Partitions, Phase, ScyllaStore, Seal, Seq, Slots,
    Standing, StoreError, Swap, WakeIndex,
    testkit::{
        Turn,
        turn::{partition, rows},
    },
};
use cellspace_schemas::Owner;

async fn claim(store: &ScyllaStore, key: &PartitionKey, view: u64) -> Claim {
    store.claim(key, view).await.unwrap()
}

async fn at(store: &ScyllaStore, key: &PartitionKey) -> Standing {
    store.standing(key).await.unwrap()
}

async fn sealed(store: &ScyllaStore, key: &PartitionKey, version: u64) -> Seal {
    store.seal(key, version).await.unwrap();
    at(store, key).await.seal.unwrap()
}

#[tokio::test]
async fn a_partition_is_sealed_copied_and_removed_and_may_come_back() {
    let Some(here) = Keyspace::new("a_partition_is_sealed").await else { return };
    let Some(there) = Keyspace::new("a_partition_is_copied").await else { return };
    let (a, b) = (here.open().await, there.open().await);
    let key = partition("o", "k", "");
    // Views of the two cells have nothing to do with each other.
    let first = claim(&a, &key, 500).await;
    Turn::after(&key, first).put("t", "1", "x").put("t", "2", "y").awake().applied(&a).await;
    assert!(a.copy_sealed(&b, &key, Standing::default()).await.is_err(), "nothing is copied that may change");
    let seal = sealed(&a, &key, 1).await;
    assert_eq!(sealed(&a, &key, 1).await, seal);
    // Neither the activation that was there nor another one writes any more, and nobody takes it for one that is not there.
    let late = Turn::after(&key, first).numbered(2);
    assert_eq!(late.put("t", "3", "z").commit(&a).await, CommitOutcome::Fenced);
    assert!(matches!(a.claim(&key, 501).await, Err(ClaimError::Store(StoreError::Sealed(_)))));
    assert!(a.exists(&key).await.is_err());
    let before = rows(&a, &key, None).await;
    let audit = a.audit(&key, 10).await.unwrap();
    a.copy_sealed(&b, &key, Standing::default()).await.unwrap();
    let copy = at(&b, &key).await;
    assert_eq!((copy.seq, copy.holds), (Some(Seq(1)), true));
    assert!(a.copy_sealed(&b, &key, Standing::default()).await.is_err(), "who has not seen this copy makes none over it");
    // Whoever has seen it may copy over it; who is late takes off neither seal.
    a.copy_sealed(&b, &key, copy).await.unwrap();
    let again = at(&b, &key).await;
    assert_ne!(again.seal, copy.seal);
    assert!(b.unseal(&key, copy.seal.unwrap()).await.is_err() && b.clear(&key, copy.seal.unwrap()).await.is_err());
    b.unseal(&key, again.seal.unwrap()).await.unwrap();
    assert_eq!((rows(&b, &key, None).await, b.audit(&key, 10).await.unwrap()), (before.clone(), audit));
    let second = claim(&b, &key, 3).await;
    assert!(second.head.map(|head| head.seq) == Some(Seq(1)) && second.wake.awake);
    let awake = b.awake(&Slots::All, None, 10).await.unwrap();
    assert_eq!(awake.entries, std::slice::from_ref(&key), "what is undelivered is found there");
    Turn::after(&key, second).put("t", "3", "z").applied(&b).await;
    assert!(a.copy_sealed(&b, &key, again).await.is_err(), "what goes on there is not copied over");
    assert_eq!(rows(&b, &key, None).await.len(), before.len() + 1);
    a.clear(&key, seal).await.unwrap();
    let left = at(&a, &key).await;
    assert!(left.seal.is_some() && left.seal != Some(seal) && left.seq.is_none() && !left.holds, "{left:?}");
    assert!(rows(&a, &key, None).await.is_empty() && a.audit(&key, 10).await.unwrap().is_empty());
    assert!(a.clear(&key, seal).await.is_err(), "it has another seal by now");
    // A commit whose answer was lost may have gone with it.
    let unknown = Turn::after(&key, first).numbered(2).put("t", "3", "z").commit(&a).await;
    assert!(matches!(unknown, CommitOutcome::Unknown(_) | CommitOutcome::Fenced), "{unknown:?}");
    // Back again, under views that go on where they were, and with what was removed there.
    Turn::after(&key, second).numbered(3).delete("t", "1").applied(&b).await;
    sealed(&b, &key, 4).await;
    b.copy_sealed(&a, &key, left).await.unwrap();
    a.unseal(&key, at(&a, &key).await.seal.unwrap()).await.unwrap();
    let third = claim(&a, &key, 500).await;
    assert!(third.epoch > first.epoch && third.epoch.count > first.epoch.count, "no epoch comes twice");
    assert_eq!(third.head.map(|head| head.seq), Some(Seq(3)));
    Turn::after(&key, third).put("t", "4", "z").applied(&a).await;
    assert_eq!(rows(&a, &key, None).await.len(), 3, "2, 3 and 4");
    here.remove().await;
    there.remove().await;
}

#[tokio::test]
async fn half_a_copy_and_an_older_one_are_copied_over_and_leave_nothing() {
    let Some(here) = Keyspace::new("half_a_copy").await else { return };
    let Some(there) = Keyspace::new("and_an_older_one").await else { return };
    let (a, b) = (here.open().await, there.open().await);
    let key = partition("o", "k", "");
    Turn::after(&key, claim(&a, &key, 7).await).put("t", "1", "x").applied(&a).await;
    // A relocation that is given up, with its copy left behind.
    let seal = sealed(&a, &key, 1).await;
    a.copy_sealed(&b, &key, Standing::default()).await.unwrap();
    let stale = at(&b, &key).await;
    a.unseal(&key, seal).await.unwrap();
    Turn::after(&key, claim(&a, &key, 7).await).delete("t", "1").put("t", "2", "y").applied(&a).await;
    // One that was to be continued under the seal of before copies nothing, nor removes it.
    assert!(a.copy_sealed(&b, &key, stale).await.is_err());
    assert!(a.clear(&key, seal).await.is_err());
    sealed(&a, &key, 3).await;
    a.copy_sealed(&b, &key, stale).await.unwrap();
    let copy = at(&b, &key).await;
    assert_eq!(copy.seq, Some(Seq(2)));
    b.unseal(&key, copy.seal.unwrap()).await.unwrap();
    assert_eq!(rows(&b, &key, None).await, rows(&a, &key, None).await, "nothing of the older one is left");
    here.remove().await;
    there.remove().await;
}

#[tokio::test]
async fn of_those_who_change_a_home_at_the_same_time_one_does() {
    let Some(keyspace) = Keyspace::new("of_those_who_change_a_home").await else { return };
    let (store, owner) = (keyspace.open().await, Owner::new("p/1").unwrap());
    let cell = |name: &str| CellName(name.to_owned());
    let home = |to: &str, version| Home { cell: cell("a"), version, came: None, phase: Phase::Moving { to: cell(to) } };
    assert_eq!(Homes::of(&store, &owner).await.unwrap(), None);
    assert!(matches!(store.put(&owner, &home("b", 2)).await, Swap::Refused));
    assert!(matches!(store.put(&owner, &home("b", 1)).await, Swap::Applied));
    assert!(matches!(store.put(&owner, &home("c", 1)).await, Swap::Refused));
    assert!(matches!(store.put(&owner, &home("c", 2)).await, Swap::Applied));
    assert_eq!(Homes::of(&store, &owner).await.unwrap(), Some(home("c", 2)));
    keyspace.remove().await;
}
