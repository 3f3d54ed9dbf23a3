//! Partitions on their way to the keyspace of another cell.

use super::{Keyspace, PLACES};
use crate::{
    CellName, Claim, ClaimError, CommitOutcome, Home, Homes, Movable, PartitionKey, Partitions, Phase, ScyllaStore, Seal, Seq, Slots,
    Standing, StoreError, Swap, WakeIndex,
    relocation::copying::{Moment, Progress},
    testkit::{
        Turn,
        turn::{partition, rows},
    },
};
use cellspace_schemas::{Owner, testkit::seed};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use scylla::statement::Consistency;
use std::future::Future;

/// A table that is apart.
const APART: &str = "\u{7f}a";

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

/// Commits of anything to few rows, so that they are put, replaced and deleted again.
async fn written(store: &ScyllaStore, key: &PartitionKey, claim: Claim, from: u64, count: u64, random: &mut StdRng) -> u64 {
    for seq in from..from + count {
        let mut turn = Turn::after(key, claim).numbered(seq);
        for _ in 0..random.random_range(1..4) {
            let (table, id) = (["t", APART][random.random_range(0..2)], random.random_range(0..90).to_string());
            turn = if random.random_bool(0.6) { turn.put(table, &id, &format!("{seq}")) } else { turn.delete(table, &id) };
        }
        turn.applied(store).await;
    }
    from + count
}

/// What somebody has sent before it was stopped may land later than a look.
async fn until_done(step: impl AsyncFn() -> Result<(), StoreError>) {
    let mut tries = 0;
    while let Err(error) = step().await {
        tries += 1;
        assert!(tries < 10, "{error}");
    }
}

/// Of all tables, and whatever the rows' generation.
async fn everything(store: &ScyllaStore, key: &PartitionKey) -> (Vec<(String, String, String)>, Vec<(String, String, String)>) {
    (rows(store, key, None).await, rows(store, key, Some(APART)).await)
}

/// How far the copy is that is made there.
async fn progress(store: &ScyllaStore, key: &PartitionKey) -> Progress {
    store.inner().progress(key).await.unwrap().unwrap_or_default()
}

/// Makes a copy, and stops it once it has come on within a look; whether it was.
async fn stopped(to: &ScyllaStore, key: &PartitionKey, copy: impl Future<Output = Result<(), StoreError>>) -> bool {
    let before = progress(to, key).await.passed();
    let comes_on = async {
        loop {
            let now = progress(to, key).await;
            if now.after().is_some() && now.passed() > before {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = comes_on => true,
        _ = copy => false,
    }
}

#[tokio::test]
async fn what_was_copied_ahead_is_brought_up_to_the_seal_whatever_is_written_or_stops_meanwhile() {
    let Some(mut here) = Keyspace::new("what_was_copied_ahead").await else { return };
    let Some(there) = Keyspace::new("is_brought_up").await else { return };
    // Rows move to other generations often.
    here.0.deleted_rows = 20;
    let (a, b, mut random, mut cut) = (here.open().await, there.open().await, StdRng::seed_from_u64(seed()), 0);
    for (n, version) in (0..4).zip([4_u64, 9, 14, 19]) {
        let key = partition("o", "k", &n.to_string());
        let claim = claim(&a, &key, 1).await;
        let mut next = written(&a, &key, claim, 1, 150, &mut random).await;
        for n in 0..6 {
            let more = random.random_range(0..40);
            let copy = async {
                // The last of them are not stopped.
                if n < 4 && stopped(&b, &key, a.copy_ahead(&b, &key, at(&b, &key).await, version)).await {
                    return 1;
                }
                until_done(async || a.copy_ahead(&b, &key, at(&b, &key).await, version).await).await;
                0
            };
            let (was_cut, last) = tokio::join!(copy, written(&a, &key, claim, next, more, &mut random));
            (next, cut) = (last, cut + was_cut);
        }
        let ahead = at(&b, &key).await;
        assert!(ahead.seq.is_none() && ahead.ahead.is_some_and(|ahead| ahead.version == version && ahead.looks > 0), "{ahead:?}");
        assert!(b.exists(&key).await.is_err() && b.unseal(&key, Seal::over(claim.epoch, 1).unwrap()).await.is_err(), "nobody serves it");
        let seal = sealed(&a, &key, version + 1).await;
        // Whoever copies what is left may be stopped as well.
        cut += i32::from(stopped(&b, &key, a.copy_sealed(&b, &key, ahead)).await);
        if at(&b, &key).await.seq.is_none() {
            until_done(async || a.copy_sealed(&b, &key, at(&b, &key).await).await).await;
        }
        let copy = at(&b, &key).await;
        assert_eq!((copy.seq, copy.ahead), (Some(Seq(next - 1)), None));
        b.unseal(&key, copy.seal.unwrap()).await.unwrap();
        assert_eq!(everything(&b, &key).await, everything(&a, &key).await, "partition {n}");
        assert_eq!(b.audit(&key, 1_000).await.unwrap(), a.audit(&key, 1_000).await.unwrap());
        // It goes on there, and nothing is left of how far the copy was.
        let second = self::claim(&b, &key, 1).await;
        written_there(&b, &key, second).await;
        a.clear(&key, seal).await.unwrap();
    }
    assert!(cut >= 4, "{cut} copies were stopped");
    here.remove().await;
    there.remove().await;
}

#[tokio::test]
async fn a_look_that_is_stopped_goes_on_where_it_was_also_where_nothing_is_new() {
    let Some(here) = Keyspace::new("a_look_that_is_stopped").await else { return };
    let Some(there) = Keyspace::new("goes_on_where_it_was").await else { return };
    let (a, b, key) = (here.open().await, there.open().await, partition("o", "k", ""));
    let mut turn = Turn::after(&key, claim(&a, &key, 1).await);
    for n in 0..7 * PLACES {
        turn = turn.put(["t", APART][usize::from(n % 3 == 0)], &n.to_string(), "x");
    }
    turn.applied(&a).await;
    let rows = 7 * PLACES + 1;
    a.copy_ahead(&b, &key, Standing::default(), 4).await.unwrap();
    assert_eq!(progress(&b, &key).await.passed(), rows);
    let mut cuts = 0;
    while stopped(&b, &key, a.copy_ahead(&b, &key, at(&b, &key).await, 4)).await {
        cuts += 1;
        assert!(cuts < 100, "it begins anew each time");
    }
    // What was on its way when a look was stopped may have ended it.
    let ahead = at(&b, &key).await.ahead.unwrap();
    assert!(cuts > 0 && ahead.looks > 1, "{cuts} {ahead:?}");
    assert_eq!(ahead.passed, u64::from(ahead.looks) * rows, "nothing was looked at twice: {cuts} {ahead:?}");
    here.remove().await;
    there.remove().await;
}

#[tokio::test]
async fn a_look_begins_with_the_last_commit_that_was_decided() {
    let Some(keyspace) = Keyspace::new("a_look_begins_with_the_last_commit").await else { return };
    let (store, key) = (keyspace.open().await, partition("o", "k", ""));
    // By a read that ends what is on its way, or a row of an older commit is taken for one of the last.
    assert_eq!(store.inner().statements.last_commit_now.get_consistency(), Some(Consistency::LocalSerial));
    assert_eq!(store.inner().now(&key).await.unwrap(), Moment::default());
    let claim = claim(&store, &key, 1).await;
    assert_eq!(store.inner().now(&key).await.unwrap(), Moment::default());
    let mut before = None;
    for seq in 1..=300 {
        Turn::after(&key, claim).numbered(seq).put("t", "1", "x").applied(&store).await;
        let now = store.inner().now(&key).await.unwrap();
        assert!(now.seq == Seq(seq) && now.written > before, "{now:?} {before:?}");
        before = now.written;
    }
    keyspace.remove().await;
}

/// Row by row they would leave a trace each, and the database refuses to read over many of them.
#[tokio::test]
async fn what_was_copied_of_a_generation_that_is_left_behind_goes_at_once() {
    let Some(mut here) = Keyspace::new("what_was_copied_of_a_generation").await else { return };
    let Some(there) = Keyspace::new("goes_at_once").await else { return };
    here.0.deleted_rows = 10;
    let (a, b, key) = (here.open().await, there.open().await, partition("o", "k", ""));
    let claim = claim(&a, &key, 1).await;
    (0..1_500).fold(Turn::after(&key, claim), |turn, n| turn.put("t", &n.to_string(), "x")).applied(&a).await;
    a.copy_ahead(&b, &key, Standing::default(), 4).await.unwrap();
    let first = at(&b, &key).await;
    (0..10).fold(Turn::after(&key, claim).numbered(2), |turn, n| turn.delete("t", &n.to_string())).applied(&a).await;
    Turn::after(&key, claim).numbered(3).put("t", "last", "x").applied(&a).await;
    assert_eq!((first.ahead.map(|ahead| ahead.generation), at(&a, &key).await.generation), (Some(0), 1));
    assert!(stopped(&b, &key, a.copy_ahead(&b, &key, first, 4)).await, "it was over before it was to be");
    let old = "SELECT key FROM partitions WHERE owner = 'o' AND kind = 'k' AND name = '' AND part = 0 AND generation = 0";
    let left = b.inner().session.query_unpaged(old, ()).await.unwrap().into_rows_result().unwrap();
    assert_eq!(left.rows_num(), 0);
    until_done(async || a.copy_ahead(&b, &key, at(&b, &key).await, 4).await).await;
    let ahead = at(&b, &key).await;
    assert_eq!(ahead.ahead.map(|ahead| (ahead.seq, ahead.generation, ahead.looks)), Some((Seq(3), 1, 2)));
    sealed(&a, &key, 5).await;
    until_done(async || a.copy_sealed(&b, &key, at(&b, &key).await).await).await;
    let copy = at(&b, &key).await.seal.unwrap();
    b.unseal(&key, copy).await.unwrap();
    assert_eq!(everything(&b, &key).await, everything(&a, &key).await);
    here.remove().await;
    there.remove().await;
}

#[tokio::test]
async fn a_removal_that_is_late_hides_nothing_that_came_after_its_seal() {
    let Some(here) = Keyspace::new("a_removal_that_is_late").await else { return };
    let Some(there) = Keyspace::new("hides_nothing").await else { return };
    let (a, b, key) = (here.open().await, there.open().await, partition("o", "k", ""));
    Turn::after(&key, claim(&a, &key, 1).await).put("t", "1", "x").applied(&a).await;
    let late = sealed(&b, &key, 2).await;
    sealed(&a, &key, 3).await;
    // Who has put this seal to remove what is under it stops before that, and others go on.
    a.copy_sealed(&b, &key, at(&b, &key).await).await.unwrap();
    assert!(b.inner().remove_under(&key, late).await.is_err());
    let copy = at(&b, &key).await.seal.unwrap();
    b.unseal(&key, copy).await.unwrap();
    assert!(b.inner().remove_under(&key, late).await.is_err() && b.inner().remove_under(&key, copy).await.is_err());
    assert_eq!(everything(&b, &key).await, everything(&a, &key).await);
    let seal = sealed(&b, &key, 7).await;
    b.inner().remove_under(&key, seal).await.unwrap();
    assert!(everything(&b, &key).await == (vec![], vec![]), "all that was there before its seal goes");
    here.remove().await;
    there.remove().await;
}

async fn written_there(store: &ScyllaStore, key: &PartitionKey, claim: Claim) {
    Turn::after(key, claim).put("t", "last", "x").applied(store).await;
    let (now, seq) = (at(store, key).await, claim.head.map(|head| head.seq.next()));
    assert_eq!(now, Standing { seq, generation: now.generation, holds: true, ..Standing::default() });
}

#[tokio::test]
async fn what_was_copied_ahead_for_another_time_counts_for_nothing() {
    let Some(here) = Keyspace::new("copied_ahead_for_another_time").await else { return };
    let Some(there) = Keyspace::new("counts_for_nothing").await else { return };
    let (a, b) = (here.open().await, there.open().await);
    let key = partition("o", "k", "");
    Turn::after(&key, claim(&a, &key, 7).await).put("t", "1", "x").put("t", "2", "x").applied(&a).await;
    a.copy_ahead(&b, &key, Standing::default(), 1).await.unwrap();
    let stale = at(&b, &key).await;
    assert_eq!(stale.ahead.map(|ahead| (ahead.version, ahead.seq, ahead.looks)), Some((1, Seq(1), 1)));
    assert!(a.copy_ahead(&b, &key, Standing::default(), 1).await.is_err(), "who has not seen it goes on with nothing");
    // It was away meanwhile, and has come back as another one.
    Turn::after(&key, claim(&a, &key, 7).await).delete("t", "1").applied(&a).await;
    a.copy_ahead(&b, &key, stale, 5).await.unwrap();
    let ahead = at(&b, &key).await;
    assert_eq!(ahead.ahead.map(|ahead| (ahead.version, ahead.seq, ahead.looks)), Some((5, Seq(2), 1)));
    // Removed like any other half of a copy.
    b.clear(&key, ahead.seal.unwrap()).await.unwrap();
    let left = at(&b, &key).await;
    assert!(!left.holds && left.ahead.is_none() && left.seal.is_some(), "{left:?}");
    sealed(&a, &key, 9).await;
    a.copy_sealed(&b, &key, left).await.unwrap();
    let copy = at(&b, &key).await;
    b.unseal(&key, copy.seal.unwrap()).await.unwrap();
    assert_eq!(everything(&b, &key).await, everything(&a, &key).await);
    here.remove().await;
    there.remove().await;
}

#[tokio::test]
async fn of_those_who_change_a_home_at_the_same_time_one_does() {
    let Some(keyspace) = Keyspace::new("of_those_who_change_a_home").await else { return };
    let (store, owner) = (keyspace.open().await, Owner::new("p/1").unwrap());
    let cell = |name: &str| CellName(name.to_owned());
    let home = |to: &str, version| Home { cell: cell("a"), version, came: None, phase: Phase::Moving { to: cell(to), since: None } };
    assert_eq!(Homes::of(&store, &owner).await.unwrap(), None);
    assert!(matches!(store.put(&owner, &home("b", 2)).await, Swap::Refused));
    assert!(matches!(store.put(&owner, &home("b", 1)).await, Swap::Applied));
    assert!(matches!(store.put(&owner, &home("c", 1)).await, Swap::Refused));
    assert!(matches!(store.put(&owner, &home("c", 2)).await, Swap::Applied));
    assert_eq!(Homes::of(&store, &owner).await.unwrap(), Some(home("c", 2)));
    keyspace.remove().await;
}
