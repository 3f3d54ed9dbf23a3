//! Rows that come and go: what of them is read over, and that nothing is lost while others move on.

use super::{
    EmbeddedOptions, EmbeddedStore,
    failure_tests::{copy, open_moving},
    keys,
    rows::{END, SyncedRows},
    values::LEVEL,
};
use crate::{
    APART, Partitions, RowKey,
    testkit::{
        self, Turn,
        turn::{partition, rows},
    },
};
use cellspace_schemas::testkit::seed;
use fjall::{AbstractTree, Database, KeyspaceCreateOptions};
use std::{
    ops::{Bound, RangeBounds},
    path::Path,
};

fn open(dir: &Path) -> EmbeddedStore {
    open_moving(dir).unwrap()
}

#[tokio::test]
async fn promises_hold_while_rows_move() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    testkit::partitions::all(&store).await;
    testkit::wake_index::all(&store, &store).await;
}

#[tokio::test]
async fn random_operations_agree_with_the_model_while_rows_move() {
    let dir = tempfile::tempdir().unwrap();
    testkit::random::run(seed(), 1_500, async || open(dir.path()), |store| Some(store)).await;
}

/// Entries of the database that an activation of the partition reads: rows, each of their versions, and traces of deleted ones. All of it is in memory still.
fn entries(store: &EmbeddedStore, key: &crate::PartitionKey) -> usize {
    let rows = SyncedRows::read(store.shared(), keys::partition(key)).unwrap();
    let bounds = rows.bounds(Bound::Included(&[]), &END);
    let tree = &store.shared().tables.rows.tree;
    assert_eq!(tree.table_count(), 0, "nothing is in tables");
    let read = |key: &[u8]| bounds.iter().any(|(_, bounds)| bounds.contains(&key.to_vec()));
    tree.active_memtable().iter().filter(|entry| read(&entry.key.user_key)).count()
}

#[tokio::test]
async fn an_activation_reads_what_is_there_however_much_has_gone() {
    const KEPT: u64 = 200;
    const DELETED: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { deleted_rows: DELETED, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let key = partition("o", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    let first = (0..KEPT).fold(Turn::after(&key, claim), |turn, n| turn.put("stays", &n.to_string(), "v"));
    first.applied(&store).await;
    let mut most = 0;
    for seq in 2..=2_000 {
        // One comes and another goes, before and behind what stays; what moves apart goes too.
        let (new, old) = (format!("{seq:05}"), format!("{:05}", seq - 1));
        let turn = Turn::after(&key, claim).numbered(seq);
        let turn = turn.put("a", &new, "v").put("z", &new, "v").put(&format!("{APART}x"), &old, "v").delete("a", &old).delete("z", &old);
        turn.applied(&store).await;
        if seq % 20 == 0 {
            most = most.max(entries(&store, &key));
        }
    }
    // Of two generations, each with as many traces as rows, and a version of each deleted row.
    let bound = 2 * (KEPT + 2 * KEPT.max(DELETED));
    assert!(most as u64 <= bound, "{most} entries were read for {KEPT} rows");
    assert_eq!(rows(&store, &key, None).await.len() as u64, KEPT + 2);
    assert_eq!(rows(&store, &key, Some(&format!("{APART}x"))).await.len(), 1_999);
}

#[tokio::test]
async fn what_moves_is_there_whenever_the_process_is_killed() {
    let (dir, key) = (tempfile::tempdir().unwrap(), partition("o", "k", ""));
    let store = open(dir.path());
    let claim = store.claim(&key, 1).await.unwrap();
    let first = (0..12).fold(Turn::after(&key, claim), |turn, n| turn.put("t", &format!("{n:02}"), "v"));
    first.applied(&store).await;
    for seq in 2..=31 {
        // Some that have moved are changed, some that have not.
        let (id, gone) = (format!("{:02}", seq * 5 % 12), format!("{:02}", seq * 7 % 12));
        Turn::after(&key, claim).numbered(seq).put("t", &id, &seq.to_string()).delete("t", &gone).applied(&store).await;
        if seq % 4 > 0 {
            continue;
        }
        let killed = tempfile::tempdir().unwrap();
        copy(dir.path(), killed.path());
        let after = open(killed.path());
        assert_eq!(rows(&after, &key, None).await, rows(&store, &key, None).await, "{seq}");
        // And it goes on from there.
        let claim = after.claim(&key, 1).await.unwrap();
        Turn::after(&key, claim).put("t", "more", "v").applied(&after).await;
        assert_eq!(rows(&after, &key, None).await.len(), rows(&store, &key, None).await.len() + 1);
    }
    assert!(SyncedRows::read(store.shared(), keys::partition(&key)).unwrap().generation().number > 1);
}

/// As the builds before wrote it: heads say nothing of generations, and nobody knows what was deleted.
#[tokio::test]
async fn rows_of_earlier_builds_are_read_and_move_on() {
    let (dir, key) = (tempfile::tempdir().unwrap(), partition("o", "k", ""));
    let ids: Vec<String> = (0..150).map(|n| format!("{n:03}")).collect();
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let claim = store.claim(&key, 1).await.unwrap();
    ids.iter().fold(Turn::after(&key, claim), |turn, id| turn.put("t", id, id)).applied(&store).await;
    drop(store);
    let database = Database::builder(dir.path().join("store")).open().unwrap();
    let heads = database.keyspace("heads", KeyspaceCreateOptions::default).unwrap();
    let head = heads.get(keys::partition(&key)).unwrap().unwrap();
    let mut before = head.get(..35).unwrap().to_vec();
    before[0] = LEVEL;
    heads.insert(keys::partition(&key), before).unwrap();
    drop((heads, database));

    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let generation = || SyncedRows::read(store.shared(), keys::partition(&key)).unwrap().generation().clone();
    let there = || async { rows(&store, &key, None).await.into_iter().map(|(_, id, _)| id).collect::<Vec<_>>() };
    assert_eq!(there().await, ids);
    let claim = store.claim(&key, 1).await.unwrap();
    assert_eq!(claim.head.unwrap().seq.0, 1);
    let mut commits = 1;
    while (generation().number, generation().moving.is_some()) != (1, false) {
        commits += 1;
        Turn::after(&key, claim).numbered(commits).put("t", "000", "000").applied(&store).await;
        assert_eq!(there().await, ids);
    }
    assert_eq!(commits, 4, "150 rows, 64 with a commit");
    assert_eq!((generation().traces.kept, generation().traces.deleted), (150, 0));
    assert_eq!(store.get(&key, &RowKey::new("t", "149")).await.unwrap().unwrap().value, "149");
}
