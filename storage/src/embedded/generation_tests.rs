//! Rows that come and go: what of them is read over, and that nothing is lost while others move on.

use super::{
    EmbeddedOptions, EmbeddedStore,
    failure_tests::{copy, is_moving, open_moving},
    keys,
    rows::{END, SyncedRows},
    values::{LEVEL, decode_number, encode_number},
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
    collections::BTreeMap,
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
    // Of each row that is deleted there is a trace and the row itself, in the generation that is left and in the next one while rows move.
    let bound = 2 * (KEPT + 2 * DELETED);
    assert!(most as u64 <= bound, "{most} entries were read for {KEPT} rows");
    assert_eq!(rows(&store, &key, None).await.len() as u64, KEPT + 2);
    assert_eq!(rows(&store, &key, Some(&format!("{APART}x"))).await.len(), 1_999);
}

/// Rows move faster than a commit can put others behind them, however big they are.
#[tokio::test]
async fn moving_ends_also_when_each_commit_changes_many_big_rows() {
    const EACH: u64 = 32;
    const LIVE: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { deleted_rows: EACH, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let (key, value, id) = (partition("o", "k", ""), "v".repeat(4 << 10), |n: u64| format!("{n:06}"));
    let claim = store.claim(&key, 1).await.unwrap();
    (0..LIVE).fold(Turn::after(&key, claim), |turn, n| turn.put("t", &id(n), &value)).applied(&store).await;
    let (mut generation, mut under_way, mut longest) = (0, 0, 0);
    for seq in 2..=40_u64 {
        let first = (seq - 2) * EACH;
        let turn = (first..first + EACH).fold(Turn::after(&key, claim).numbered(seq), |turn, n| turn.delete("t", &id(n)));
        (first..first + EACH).fold(turn, |turn, n| turn.put("t", &id(n + LIVE), &value)).applied(&store).await;
        let rows = SyncedRows::read(store.shared(), keys::partition(&key)).unwrap();
        generation = rows.generation().number;
        under_way = if is_moving(&store, &key) { under_way + 1 } else { 0 };
        longest = longest.max(under_way);
    }
    assert!(
        (1..=3).contains(&longest) && generation > 2,
        "rows were on their way for {longest} commits, and now are in generation {generation}"
    );
    let there: Vec<_> = rows(&store, &key, None).await.into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(there, (39 * EACH..39 * EACH + LIVE).map(id).collect::<Vec<_>>());
}

/// With one commit few rows move when they are big, and one at least.
#[tokio::test]
async fn big_rows_move_by_their_bytes() {
    for (bytes, with_each) in [(40 << 10, 2), (70 << 10, 2), (1 << 10, 64)] {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), EmbeddedOptions { deleted_rows: 1, ..EmbeddedOptions::default() }).unwrap();
        let (key, value) = (partition("o", "k", ""), "v".repeat(bytes));
        let claim = store.claim(&key, 1).await.unwrap();
        let first = (0..200).fold(Turn::after(&key, claim), |turn, n| turn.put("t", &format!("{n:03}"), &value));
        first.delete("gone", "").applied(&store).await;
        Turn::after(&key, claim).numbered(2).put("u", "", "").applied(&store).await;
        let moved = SyncedRows::read(store.shared(), keys::partition(&key)).unwrap();
        assert_eq!(moved.generation().moving.as_ref().map(|moving| moving.traces.kept), Some(with_each), "rows of {bytes} bytes");
        assert_eq!(rows(&store, &key, None).await.len(), 201);
    }
}

#[tokio::test]
async fn what_moves_is_there_whenever_the_process_is_killed() {
    type Rows = Vec<(String, String, String)>;
    let (dir, key) = (tempfile::tempdir().unwrap(), partition("o", "k", ""));
    let store = open(dir.path());
    let claim = store.claim(&key, 1).await.unwrap();
    let mut model: BTreeMap<String, String> = (0..41).map(|n| (format!("{n:02}"), "v".to_owned())).collect();
    let there = |model: &BTreeMap<String, String>| -> Rows {
        model.iter().map(|(id, value)| ("t".to_owned(), id.clone(), value.clone())).collect()
    };
    model.iter().fold(Turn::after(&key, claim), |turn, (id, value)| turn.put("t", id, value)).applied(&store).await;
    let mut between = 0;
    for seq in 2..=50 {
        // Some that have moved are changed, some that have not; never one twice.
        let (id, gone) = (format!("{:02}", seq * 5 % 41), format!("{:02}", (seq * 5 + 4) % 41));
        Turn::after(&key, claim).numbered(seq).put("t", &id, &seq.to_string()).delete("t", &gone).applied(&store).await;
        model.insert(id, seq.to_string());
        model.remove(&gone);
        if seq % 5 > 0 {
            continue;
        }
        let killed = tempfile::tempdir().unwrap();
        copy(dir.path(), killed.path());
        let after = open(killed.path());
        between += usize::from(is_moving(&after, &key));
        assert_eq!(rows(&after, &key, None).await, there(&model), "{seq}");
        // And it goes on from there.
        let claim = after.claim(&key, 1).await.unwrap();
        Turn::after(&key, claim).put("t", "more", "v").applied(&after).await;
        let mut more = model.clone();
        more.insert("more".to_owned(), "v".to_owned());
        assert_eq!(rows(&after, &key, None).await, there(&more), "{seq}");
    }
    assert!(between > 0, "none was killed while rows move");
    assert!(SyncedRows::read(store.shared(), keys::partition(&key)).unwrap().generation().number > 0);
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
    let meta = database.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
    meta.insert("format", encode_number(1)).unwrap();
    drop((heads, meta, database));

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
    assert_eq!(
        decode_number(&store.shared().tables.meta.get("format").unwrap().unwrap(), "format").unwrap(),
        2,
        "no earlier build opens it"
    );
    assert_eq!(store.get(&key, &RowKey::new("t", "149")).await.unwrap().unwrap().value, "149");
}
