//! Promises of [`Partitions`].

use super::turn::{Turn, partition, rows};
use crate::{APART, AuditRow, ClaimError, CommitOutcome, Head, PartitionKey, Partitions, Row, RowKey, Rows, Seq};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Runs all checks.
pub async fn all(store: &dyn Partitions) {
    unknown_ids_leave_nothing(store).await;
    one_commit_per_seq(store).await;
    a_claim_fences_what_is_in_flight(store).await;
    a_released_claim_writes_nothing(store).await;
    scans_are_ordered_and_paged(store).await;
    partitions_do_not_mix(store).await;
    audit_rows_are_apart(store).await;
    tables_that_are_apart_are_found_by_name(store).await;
    many_reads_at_once(store).await;
    a_fenced_batch_leaves_nothing(store).await;
    health_is_good(store);
}

/// What a store promises beside that is shared by nodes: claims are ordered by the views they are made under.
pub async fn of_many_nodes(store: &dyn Partitions) {
    let key = partition("tk-views", "k", "");
    let first = store.claim(&key, 5).await.unwrap();
    assert_eq!(first.epoch.view, 5);
    Turn::after(&key, first).put("t", "a", "1").applied(store).await;
    let newer = store.claim(&key, 7).await.unwrap();
    assert_eq!((newer.epoch.view, newer.head), (7, Some(Head { epoch: first.epoch, seq: Seq(1) })));
    for older in [5, 6] {
        let refused = store.claim(&key, older).await;
        assert!(matches!(refused, Err(ClaimError::Newer { held }) if held.view == 7), "{older}: {refused:?}");
    }
    assert_eq!(Turn::after(&key, first).numbered(2).put("t", "a", "late").commit(store).await, CommitOutcome::Fenced);
    let again = store.claim(&key, 7).await.unwrap();
    assert!(again.epoch > newer.epoch, "within a view they are counted");
    assert_eq!(Turn::after(&key, newer).put("t", "a", "late").commit(store).await, CommitOutcome::Fenced);
    Turn::after(&key, again).put("t", "a", "2").applied(store).await;
    assert_eq!(rows(store, &key, None).await, [("t".into(), "a".into(), "2".into())]);
}

fn health_is_good(store: &dyn Partitions) {
    store.health().unwrap();
}

async fn unknown_ids_leave_nothing(store: &dyn Partitions) {
    let key = partition("tk-unknown", "k", "");
    assert!(!store.exists(&key).await.unwrap());
    let claim = store.claim(&key, 1).await.unwrap();
    assert_eq!(claim.head, None);
    assert_eq!(rows(store, &key, None).await, []);
    assert_eq!(store.get(&key, &RowKey::new("t", "x")).await.unwrap(), None);
    assert_eq!(store.audit(&key, 10).await.unwrap(), []);
    store.release(&key, claim.epoch);
    assert!(!store.exists(&key).await.unwrap(), "a claim alone registers nobody");
}

/// Invariant FENCE: one commit per (partition, seq).
async fn one_commit_per_seq(store: &dyn Partitions) {
    let key = partition("tk-seq", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    for wrong in [0, 2, 3, u64::MAX] {
        let turn = Turn::after(&key, claim).numbered(wrong).put("t", "wrong", "x");
        assert_eq!(turn.commit(store).await, CommitOutcome::Fenced, "{wrong}");
    }
    assert!(!store.exists(&key).await.unwrap());
    for seq in 1..=5 {
        Turn::after(&key, claim).numbered(seq).put("t", "row", &seq.to_string()).applied(store).await;
        let again = Turn::after(&key, claim).numbered(seq).put("t", "row", "twice");
        assert_eq!(again.commit(store).await, CommitOutcome::Fenced);
    }
    assert!(store.exists(&key).await.unwrap());
    assert_eq!(rows(store, &key, None).await, [("t".into(), "row".into(), "5".into())]);
    let next = store.claim(&key, 1).await.unwrap();
    assert_eq!(next.head, Some(Head { epoch: claim.epoch, seq: Seq(5) }));
}

async fn a_claim_fences_what_is_in_flight(store: &dyn Partitions) {
    let key = partition("tk-claim", "k", "");
    let first = store.claim(&key, 1).await.unwrap();
    Turn::after(&key, first).put("t", "a", "1").applied(store).await;
    // The commit is on its way when the claim comes: either it landed and the claim sees it, or it is fenced for ever.
    let (outcome, second) = futures::join!(Turn::after(&key, first).numbered(2).put("t", "b", "2").commit(store), store.claim(&key, 1));
    let second = second.unwrap();
    assert!(second.epoch > first.epoch);
    let landed = match outcome {
        CommitOutcome::Applied => 2,
        CommitOutcome::Fenced => 1,
        CommitOutcome::Refused(reason) | CommitOutcome::NotSent(reason) | CommitOutcome::Unknown(reason) => panic!("{reason}"),
    };
    assert_eq!(second.head.unwrap().seq, Seq(landed));
    assert_eq!(rows(store, &key, None).await.len() as u64, landed);
    let late = Turn::after(&key, first).numbered(landed + 1).put("t", "late", "x");
    assert_eq!(late.commit(store).await, CommitOutcome::Fenced);
    Turn::after(&key, second).put("t", "c", "3").applied(store).await;
    // Releasing the old claim does not touch the new one.
    store.release(&key, first.epoch);
    Turn::after(&key, second).numbered(landed + 2).put("t", "d", "4").applied(store).await;
    assert_eq!(rows(store, &key, None).await.len() as u64, landed + 2);
}

async fn a_released_claim_writes_nothing(store: &dyn Partitions) {
    let key = partition("tk-release", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    Turn::after(&key, claim).put("t", "a", "1").applied(store).await;
    store.release(&key, claim.epoch);
    let after = Turn::after(&key, claim).numbered(2).put("t", "a", "2");
    assert_eq!(after.commit(store).await, CommitOutcome::Fenced);
    assert_eq!(rows(store, &key, None).await, [("t".into(), "a".into(), "1".into())]);
    let unclaimed = Turn::after(&partition("tk-release", "k", "never"), claim).put("t", "a", "1");
    assert_eq!(unclaimed.commit(store).await, CommitOutcome::Fenced);
}

async fn scans_are_ordered_and_paged(store: &dyn Partitions) {
    let key = partition("tk-scan", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    let mut turn = Turn::after(&key, claim);
    for table in ["b", "a", "ab", "a\u{1}"] {
        for id in ["2", "", "10", "1", "é", "1\u{1}", "~"] {
            turn = turn.put(table, id, &format!("{table}/{id}"));
        }
    }
    turn.applied(store).await;
    let ids = ["", "1", "1\u{1}", "10", "2", "~", "é"];
    let expect = |tables: &[&str]| -> Vec<(String, String, String)> {
        let row = |t: &str, id: &str| (t.to_owned(), id.to_owned(), format!("{t}/{id}"));
        tables.iter().flat_map(|table| ids.map(|id| row(table, id))).collect()
    };
    assert_eq!(rows(store, &key, Some("a")).await, expect(&["a"]));
    assert_eq!(rows(store, &key, Some("ab")).await, expect(&["ab"]));
    assert_eq!(rows(store, &key, Some("none")).await, []);
    assert_eq!(rows(store, &key, None).await, expect(&["a", "a\u{1}", "ab", "b"]));

    // A page that ends with the last row says so; a start beyond the table finds nothing, one before it finds all.
    let page = store.scan(&key, Some("a"), None, 7).await.unwrap();
    assert!(page.rows.len() == 7 && !page.more);
    let page = store.scan(&key, Some("a"), None, 6).await.unwrap();
    assert!(page.rows.len() == 6 && page.more);
    let page = store.scan(&key, Some("a"), Some(&RowKey::new("b", "")), 9).await.unwrap();
    assert!(page.rows.is_empty() && !page.more);
    let page = store.scan(&key, Some("b"), Some(&RowKey::new("a", "zz")), 9).await.unwrap();
    assert_eq!(page.rows.len(), 7);

    let value = Bytes::from_static(b"a/10");
    assert_eq!(store.get(&key, &RowKey::new("a", "10")).await.unwrap(), Some(Row { key: RowKey::new("a", "10"), value }));
    assert_eq!(store.get(&key, &RowKey::new("a", "100")).await.unwrap(), None);
    Turn::after(&key, claim).numbered(2).delete("a", "10").delete("a", "missing").put("a", "1", "new").applied(store).await;
    assert_eq!(store.get(&key, &RowKey::new("a", "10")).await.unwrap(), None);
    assert_eq!(rows(store, &key, Some("a")).await.len(), 6);
}

/// Invariant ISOLATION: also when names are prefixes of each other, are empty or hold separators.
async fn partitions_do_not_mix(store: &dyn Partitions) {
    let names = ["", "a", "a\0", "a\0b", "a\0\u{1}", "a\u{1}", "ab", "a/b", "\0", "\u{1}", "\u{2}"];
    let mut all: Vec<PartitionKey> = Vec::new();
    for owner in ["tk-iso", "tk-iso-1", "tk-iso/1"] {
        for kind in ["k", "k1", "k\0"] {
            all.extend(names.map(|name| partition(owner, kind, name)));
        }
    }
    for key in &all {
        let claim = store.claim(key, 1).await.unwrap();
        assert_eq!(claim.head, None, "{key:?}");
        Turn::after(key, claim).put("t", "me", &format!("{key:?}")).put("\u{1}", "", "").applied(store).await;
    }
    for key in &all {
        let mine = [("\u{1}".into(), String::new(), String::new()), ("t".into(), "me".into(), format!("{key:?}"))];
        assert_eq!(rows(store, key, None).await, mine, "{key:?}");
        assert_eq!(store.audit(key, 10).await.unwrap().len(), 1, "{key:?}");
    }
}

async fn audit_rows_are_apart(store: &dyn Partitions) {
    let key = partition("tk-audit", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    for seq in 1..=300 {
        Turn::after(&key, claim).numbered(seq).put("t", "one", &seq.to_string()).applied(store).await;
    }
    assert_eq!(rows(store, &key, None).await.len(), 1, "no audit row among the rows");
    let audit = store.audit(&key, 3).await.unwrap();
    let expect = [300, 299, 298].map(|seq| (Seq(seq), AuditRow(format!("audit {seq}").into())));
    assert_eq!(audit, expect);
    assert_eq!(store.witness(&key, Seq(299)).await.unwrap(), Some(AuditRow("audit 299".into())));
    for never in [0, 301] {
        assert_eq!(store.witness(&key, Seq(never)).await.unwrap(), None);
    }
}

async fn tables_that_are_apart_are_found_by_name(store: &dyn Partitions) {
    let key = partition("tk-apart", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    let apart = format!("{APART}x");
    Turn::after(&key, claim).put(&apart, "1", "a").put("~last", "1", "b").put(&apart, "2", "c").applied(store).await;
    assert_eq!(rows(store, &key, None).await, [("~last".into(), "1".into(), "b".into())]);
    let page = store.scan(&key, None, None, 1).await.unwrap();
    assert!(page.rows.len() == 1 && !page.more, "{page:?}");
    let found = [("1", "a"), ("2", "c")].map(|(id, value)| (apart.clone(), id.to_owned(), value.to_owned()));
    assert_eq!(rows(store, &key, Some(&apart)).await, found);
    assert!(store.get(&key, &RowKey::new(&apart, "2")).await.unwrap().is_some());
}

async fn many_reads_at_once(store: &dyn Partitions) {
    type Seen = (Vec<(String, String)>, Vec<String>, Vec<Vec<String>>, Vec<Option<Bytes>>, Vec<bool>);
    async fn seen(store: &dyn Partitions, key: &PartitionKey) -> Seen {
        let (tell, told) = std::sync::mpsc::channel();
        let read = move |rows: &dyn Rows| {
            let mut all = Vec::new();
            let each = rows.each("a", None, &mut |id, value| {
                all.push((id.to_owned(), String::from_utf8(value.to_vec()).unwrap()));
                ControlFlow::Continue(())
            });
            let mut two_behind = Vec::new();
            let behind = rows.each("a", Some("1"), &mut |id, _| {
                two_behind.push(id.to_owned());
                if two_behind.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            each.and(behind).unwrap();
            let back = |before: &str, most: usize| {
                let mut ids = Vec::new();
                let back = rows.each_back("a", before, &mut |id, value| {
                    assert!(all.contains(&(id.to_owned(), String::from_utf8(value.to_vec()).unwrap())));
                    ids.push(id.to_owned());
                    if ids.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                back.unwrap();
                ids
            };
            let backwards =
                [("\u{10ffff}", 99), ("2", 99), ("10", 2), ("é", 2), ("1", 99), ("", 99)].map(|(before, most)| back(before, most));
            let keys = [("a", "2"), ("a", "20"), ("b", "2"), ("a", "10")].map(|(table, id)| RowKey::new(table, id));
            tell.send((all, two_behind, backwards.to_vec(), rows.values(&keys).unwrap(), rows.has(&keys).unwrap())).unwrap();
        };
        store.read(key, Box::new(read)).await.unwrap();
        told.recv().unwrap()
    }
    // Neighbours that begin alike have rows of the same tables.
    let key = partition("tk-read", "k", "");
    for neighbour in [partition("tk-read", "k", "1"), partition("tk-read", "k\0", "")] {
        let claim = store.claim(&neighbour, 1).await.unwrap();
        Turn::after(&neighbour, claim).put("a", "0", "other").put("a", "~", "other").applied(store).await;
    }
    assert_eq!(seen(store, &key).await, (vec![], vec![], vec![vec![]; 6], vec![None; 4], vec![false; 4]));
    let claim = store.claim(&key, 1).await.unwrap();
    let mut turn = Turn::after(&key, claim).put("", "9", "other").put("b", "3", "other").put("a\u{1}", "3", "other");
    for id in ["2", "10", "1", "é"] {
        turn = turn.put("a", id, id);
    }
    turn.applied(store).await;
    let all = ["1", "10", "2", "é"].map(|id| (id.to_owned(), id.to_owned()));
    let values = vec![Some(Bytes::from_static(b"2")), None, None, Some(Bytes::from_static(b"10"))];
    let has = vec![true, false, false, true];
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let backwards = [&["é", "2", "10", "1"][..], &["10", "1"], &["1"], &["2", "10"], &[], &[]].map(ids).to_vec();
    assert_eq!(seen(store, &key).await, (all.to_vec(), ids(&["10", "2"]), backwards, values, has));
}

/// All or nothing: nothing of a refused batch is to be seen, in no part of the store.
async fn a_fenced_batch_leaves_nothing(store: &dyn Partitions) {
    let key = partition("tk-nothing", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    Turn::after(&key, claim).put("t", "kept", "1").applied(store).await;
    let refused = Turn::after(&key, claim).numbered(3).put("t", "new", "1").delete("t", "kept").awake().due(7);
    assert_eq!(refused.commit(store).await, CommitOutcome::Fenced);
    assert_eq!(rows(store, &key, None).await, [("t".into(), "kept".into(), "1".into())]);
    assert_eq!(store.audit(&key, 10).await.unwrap().len(), 1);
    assert_eq!(store.claim(&key, 1).await.unwrap().head.unwrap().seq, Seq(1));
}
