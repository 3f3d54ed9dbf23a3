//! The embedded store: the shared checks, and what only a store in files promises.

use super::{EmbeddedOptions, EmbeddedStore, EmbeddedVault, OpenError, SyncObserver, failure_tests::copy, synced_view::DISK_TIMEOUT};
use crate::{
    CommitOutcome, Epoch, EventLog, Group, KeyAlgorithm, Lease, MasterKey, Membership, Offset, PartitionKey, Partitions, RowKey, Seq,
    Slots, StoreError, Swap, Topic, Vault, View, WakeIndex,
    testkit::{
        self, Turn,
        turn::{partition, rows},
        vault::path,
    },
};
use cellspace_schemas::{Timestamp, testkit::seed};
use fjall::{AbstractTree, KeyspaceCreateOptions};
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

fn open(dir: &tempfile::TempDir) -> EmbeddedStore {
    EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap()
}

#[tokio::test]
async fn keeps_the_promises_of_all_backends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    testkit::wake_index::all(&store, &store).await;
    testkit::partitions::all(&store).await;
    testkit::event_log::all(&store).await;
    testkit::event_log::commits_publish(&store, &store).await;
}

#[tokio::test]
async fn random_operations_agree_with_the_model() {
    let dir = tempfile::tempdir().unwrap();
    testkit::random::run(seed(), 800, async || open(&dir), |store| Some(store)).await;
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (partition("o", "k", "a"), partition("o", "k", "b"));
    let (topic, group) = (Topic("t".into()), Group("g".into()));
    let store = open(&dir);
    assert_eq!(store.boot(), 1);
    let first = store.claim(&a, 1).await.unwrap();
    assert_eq!(first.epoch, Epoch { view: 1, count: 1 });
    Turn::after(&a, first).put("t", "1", "one").publish("t", "k", "p1").publish("t", "k", "p2").awake().applied(&store).await;
    Turn::after(&a, first).numbered(2).put("t", "2", "two").due(77).applied(&store).await;
    EventLog::commit(&store, &topic, &group, Offset(2)).await.unwrap();
    store.put_meta("public-url", "http://localhost:1").await.unwrap();
    store.put_meta("public-url", "http://localhost:2").await.unwrap();
    drop(store);

    let store = open(&dir);
    assert_eq!(store.boot(), 2);
    assert_eq!(store.meta("public-url").unwrap().as_deref(), Some("http://localhost:2"));
    assert_eq!(store.meta("boot").unwrap(), None, "settings are apart from the store's own keys");
    assert_eq!(store.awake(&Slots::All, None, 9).await.unwrap().entries, []);
    assert_eq!(store.due(&Slots::All, Timestamp(77), None, 9).await.unwrap().entries.len(), 1);
    assert_eq!(EventLog::committed(&store, &topic, &group).await.unwrap(), Offset(2));
    assert_eq!(rows(&store, &a, None).await.len(), 2);
    // What an activation of the last run still wanted to write cannot land, and a new one goes on where it stopped.
    let late = Turn::after(&a, first).numbered(3).put("t", "3", "late");
    assert_eq!(late.commit(&store).await, CommitOutcome::Fenced);
    let second = store.claim(&a, 1).await.unwrap();
    assert_eq!((second.epoch, second.head.unwrap().seq), (Epoch { view: 2, count: 1 }, Seq(2)));
    Turn::after(&a, second).applied(&store).await;
    assert_eq!(store.due(&Slots::All, Timestamp(i64::MAX), None, 9).await.unwrap().entries, [], "the deadline of the last run is cleared");
    // Offsets go on although every event was trimmed.
    let claim = store.claim(&b, 1).await.unwrap();
    Turn::after(&b, claim).publish("t", "k", "p3").applied(&store).await;
    store.wait(&topic, Offset(2)).await.unwrap();
    let events = store.fetch(&topic, Offset(0), 9).await.unwrap();
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), [Offset(3)]);
}

/// Bytes of rows that the database holds in memory: those not yet in tables, and those that are, as long as it keeps them.
fn in_memory(store: &EmbeddedStore) -> u64 {
    let database = &store.shared().tables.database;
    let names = database.list_keyspace_names();
    let keyspaces = names.iter().map(|name| database.keyspace(name, KeyspaceCreateOptions::default).unwrap());
    keyspaces.map(|keyspace| keyspace.tree.version_memtable_size_sum()).sum()
}

/// Forty turns of 100 KB each: nothing of them is in tables by itself.
async fn fill(store: &EmbeddedStore, key: &PartitionKey) {
    let (claim, value) = (store.claim(key, 1).await.unwrap(), "x".repeat(100_000));
    for seq in 1..=40 {
        Turn::after(key, claim).numbered(seq).put("t", &seq.to_string(), &value).applied(store).await;
    }
    assert!(in_memory(store) > 4_000_000, "{}", in_memory(store));
}

#[tokio::test]
async fn what_recovery_brings_back_does_not_stay_in_memory() {
    let (dir, killed, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), partition("o", "k", ""));
    let store = open(&dir);
    fill(&store, &key).await;
    // As a kill would leave it: all is synced, nothing is closed.
    copy(dir.path(), killed.path());
    drop(store);
    for _ in 0..2 {
        let store = open(&killed);
        assert!(in_memory(&store) < 100_000, "{}", in_memory(&store));
        assert_eq!(rows(&store, &key, None).await.len(), 40);
        assert_eq!(store.claim(&key, 1).await.unwrap().head.unwrap().seq, Seq(40));
    }
}

/// Little is in journals alone, as soon as a busy disk has it.
pub(super) fn settles(in_journals: impl Fn() -> u64) {
    let until = Instant::now() + Duration::from_secs(60);
    while in_journals() >= 100_000 {
        assert!(Instant::now() < until, "{} bytes are in journals alone", in_journals());
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_close_leaves_little_to_bring_back() {
    let (dir, key) = (tempfile::tempdir().unwrap(), partition("o", "k", ""));
    let store = open(&dir);
    fill(&store, &key).await;
    store.close();
    settles(|| store.shared().tables.database.write_buffer_size());
    drop(store);
    let store = open(&dir);
    assert_eq!(rows(&store, &key, None).await.len(), 40);
    assert_eq!(store.claim(&key, 1).await.unwrap().head.unwrap().seq, Seq(40));
}

/// Rows that fill many blocks, with those that find them in several parts.
#[tokio::test]
async fn rows_in_tables_are_found_one_by_one_and_in_order() {
    const ROWS: u64 = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let keys = ["a", "b", "c"].map(|name| partition("o", "k", name));
    let (name, value) = (|n: u64| format!("{n:06}"), |n: u64| format!("{n}").repeat(60));
    let store = open(&dir);
    for key in &keys {
        let claim = store.claim(key, 1).await.unwrap();
        for seq in 1..=ROWS / 100 {
            let turn = Turn::after(key, claim).numbered(seq).publish("t", "k", "p");
            // Only even numbers are there.
            let rows = (0..100).map(|n| 2 * ((seq - 1) * 100 + n));
            rows.fold(turn, |turn, n| turn.put("t", &name(n), &value(n))).applied(&store).await;
        }
    }
    drop(store);

    let store = open(&dir);
    assert!(in_memory(&store) < 100_000, "{}", in_memory(&store));
    for key in &keys {
        for n in (0..2 * ROWS).step_by(37) {
            let row = store.get(key, &RowKey::new("t", &name(n))).await.unwrap();
            assert_eq!(row.map(|row| row.value), n.is_multiple_of(2).then(|| value(n).into()), "{n}");
            let page = store.scan(key, Some("t"), Some(&RowKey::new("t", &name(n))), 70).await.unwrap();
            let expected: Vec<_> = (n + 1..2 * ROWS).filter(|n| n.is_multiple_of(2)).map(|n| RowKey::new("t", &name(n))).take(70).collect();
            assert_eq!(page.rows.into_iter().map(|row| row.key).collect::<Vec<_>>(), expected, "after {n}");
        }
        assert_eq!(rows(&store, key, None).await.len() as u64, ROWS);
        let audit = store.audit(key, 1_000).await.unwrap();
        assert!(audit.iter().map(|(seq, _)| seq.0).eq((1..=ROWS / 100).rev()));
    }
    assert_eq!(store.fetch(&Topic("t".into()), Offset(0), 1_000).await.unwrap().len() as u64, 3 * ROWS / 100);
}

#[tokio::test]
async fn a_second_start_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let error = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    let clone = store.clone();
    drop(store);
    assert!(EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).is_err(), "a clone still uses it");
    drop(clone);
    open(&dir);
}

#[tokio::test]
async fn closing_answers_all_that_waits_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let key = partition("o", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    let commits: Vec<_> = (1..=50).map(|seq| Partitions::commit(&store, Turn::after(&key, claim).numbered(seq).batch())).collect();
    let topic = Topic("t".into());
    let (outcomes, closed, waited) = futures::join!(
        futures::future::join_all(commits),
        async {
            let store = store.clone();
            tokio::task::spawn_blocking(move || store.close()).await
        },
        store.wait(&topic, Offset(0))
    );
    closed.unwrap();
    assert!(waited.is_err());
    assert!(store.health().is_err());
    assert!(store.put_meta("a", "b").await.is_err());
    let applied = outcomes.iter().take_while(|outcome| **outcome == CommitOutcome::Applied).count();
    assert!(
        outcomes.iter().skip(applied).all(|outcome| matches!(outcome, CommitOutcome::NotSent(_) | CommitOutcome::Unknown(_))),
        "{outcomes:?}"
    );
    assert!(applied > 0);
    drop(store);
    let head = open(&dir).claim(&key, 1).await.unwrap().head.unwrap();
    assert_eq!(head.seq, Seq(applied as u64), "what was answered is there, and nothing else");
}

/// Whoever has the data directory is alone, for as long as the process lives.
#[tokio::test]
async fn membership_is_a_constant() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let store = open(&dir);
    let view = store.view().await.unwrap().unwrap();
    assert_eq!((view.version, view.deal.members().len()), (2, 1), "numbered as the epochs are");
    assert_eq!(store.claim(&partition("o", "k", "a"), 1).await.unwrap().epoch.view, 2);
    let lease = store.leases().await.unwrap().pop().unwrap();
    assert!(view.deal.members().iter().all(|member| (&member.node, member.incarnation) == (&lease.node, lease.incarnation)));
    assert_eq!(store.change_view(View { version: 3, ..view.clone() }).await, Swap::Refused);
    assert_eq!(store.put_lease(Some(lease.clone()), Lease { counter: 1, ..lease.clone() }).await, Swap::Refused);
    assert_eq!((store.view().await.unwrap(), store.leases().await.unwrap()), (Some(view), vec![lease]));
}

#[tokio::test]
async fn claims_cost_nothing_once_released() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let syncs = store.counters().read().1;
    for n in 0..200 {
        let key = partition("o", "k", &n.to_string());
        let claim = store.claim(&key, 1).await.unwrap();
        store.release(&key, claim.epoch);
    }
    assert_eq!(store.shared().claims.len(), 0);
    assert_eq!(store.counters().read().1, syncs, "a claim writes nothing");
}

/// A disk that answers when it is told to.
struct SlowDisk {
    /// Told when a write has arrived.
    arrived: mpsc::UnboundedReceiver<()>,
    /// Nothing is answered before this is dropped.
    held: std::sync::mpsc::Sender<()>,
}

impl SlowDisk {
    fn open(dir: &tempfile::TempDir, disk_timeout: Duration) -> (EmbeddedStore, Self) {
        let (arrives, arrived) = mpsc::unbounded_channel();
        let (held, released) = std::sync::mpsc::channel();
        let released = Mutex::new(released);
        let on_sync: SyncObserver = Arc::new(move |_| {
            let _ = arrives.send(());
            let _ = released.lock().recv();
        });
        let options = EmbeddedOptions { on_sync: Some(on_sync), disk_timeout, ..EmbeddedOptions::default() };
        (EmbeddedStore::open(dir.path(), options).unwrap(), Self { arrived, held })
    }
}

#[tokio::test]
async fn a_claim_given_up_while_it_waits_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut disk) = SlowDisk::open(&dir, DISK_TIMEOUT);
    let key = partition("o", "k", "");
    let turn = Turn::after(&key, store.claim(&key, 1).await.unwrap());
    let commit = tokio::spawn({
        let store = store.clone();
        async move { turn.commit(&store).await }
    });
    disk.arrived.recv().await.unwrap();
    let mut claim = store.claim(&key, 1);
    assert!(futures::poll!(&mut claim).is_pending(), "the commit is in flight");
    assert_eq!(store.shared().claims.len(), 1);
    drop(claim);
    assert_eq!(store.shared().claims.len(), 0);
    drop(disk.held);
    assert_eq!(commit.await.unwrap(), CommitOutcome::Applied);
    assert_eq!(store.claim(&key, 1).await.unwrap().head.unwrap().seq, Seq(1));
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_told_and_holds_up_neither_probes_nor_closing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut disk) = SlowDisk::open(&dir, Duration::ZERO);
    let key = partition("o", "k", "");
    let turn = Turn::after(&key, store.claim(&key, 1).await.unwrap());
    store.health().unwrap();
    let commit = tokio::spawn({
        let store = store.clone();
        async move { turn.commit(&store).await }
    });
    disk.arrived.recv().await.unwrap();
    for _ in 0..3 {
        let error = store.health().unwrap_err();
        assert!(matches!(&error, StoreError::Unavailable(reason) if reason.contains("has not answered")), "{error}");
    }
    store.close();
    drop(disk.held);
    assert_eq!(commit.await.unwrap(), CommitOutcome::Applied, "late, and still true");
}

/// With the one thread for blocking work taken, what may touch the disk waits, and nothing else does.
#[test]
fn reads_of_the_disk_take_no_thread_of_the_executor() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let vault = EmbeddedVault::open(dir.path(), &MasterKey::Bytes(Zeroizing::new([1; 32]))).unwrap();
    let (key, row) = (partition("o", "k", ""), RowKey::new("t", "1"));
    let (topic, group) = (Topic("t".into()), Group("g".into()));
    let (warm, cold) = (path("o", "warm"), path("o", "cold"));
    runtime.block_on(async {
        let claim = store.claim(&key, 1).await.unwrap();
        Turn::after(&key, claim).put("t", "1", "v").applied(&store).await;
        vault.generate_key(&warm, KeyAlgorithm::Ed25519).await.unwrap();
        vault.generate_key(&cold, KeyAlgorithm::Ed25519).await.unwrap();
        vault.sign(&warm, b"m").await.unwrap();
        let (free, taken) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || taken.recv());
        assert!(store.exists(&key).now_or_never().is_none());
        assert!(store.claim(&key, 1).now_or_never().is_none());
        assert!(store.get(&key, &row).now_or_never().is_none());
        assert!(store.scan(&key, None, None, 1).now_or_never().is_none());
        assert!(store.committed(&topic, &group).now_or_never().is_none());
        assert!(vault.secret(&cold).now_or_never().is_none());
        assert!(vault.sign(&cold, b"m").now_or_never().is_none());
        assert!(vault.sign(&warm, b"m").now_or_never().unwrap().is_ok(), "a key in memory needs no thread");
        assert!(vault.public_key(&warm).now_or_never().unwrap().is_ok());
        store.health().unwrap();
        vault.health().unwrap();
        drop(free);
        assert!(busy.await.unwrap().is_err());
    });
}

#[tokio::test]
async fn counters_count_commits_and_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (commits, syncs, bytes) = store.counters().read();
    let keys: Vec<_> = (0..64).map(|n| partition("o", "k", &n.to_string())).collect();
    let commits_made = keys.iter().map(|key| async {
        let claim = store.claim(key, 1).await.unwrap();
        Turn::after(key, claim).put("t", "x", "0123456789").applied(&store).await;
    });
    futures::future::join_all(commits_made).await;
    let after = store.counters().read();
    assert_eq!(after.0 - commits, 64);
    assert!((1..=64).contains(&(after.1 - syncs)));
    assert!(after.2 - bytes >= 64 * 10);
}

#[tokio::test]
async fn a_key_too_long_is_refused_and_hurts_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let key = partition("o", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    let long = "x".repeat(70_000);
    assert!(matches!(Turn::after(&key, claim).put("t", &long, "v").commit(&store).await, CommitOutcome::Refused(_)));
    assert!(matches!(Turn::after(&key, claim).publish(&long, "k", "v").commit(&store).await, CommitOutcome::Refused(_)));
    assert!(store.put_meta(&long, "v").await.is_err());
    store.health().unwrap();
    Turn::after(&key, claim).put("t", "x", "v").applied(&store).await;
}

#[tokio::test]
async fn a_topic_that_nobody_reads_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions { unread_events: 5, ..EmbeddedOptions::default() }).unwrap();
    let (topic, group) = (Topic("t".into()), Group("g".into()));
    let key = partition("o", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    let publish = |turn: Turn, count: u64| (0..count).fold(turn, |turn, _| turn.publish("t", "k", "p"));
    publish(Turn::after(&key, claim), 8).applied(&store).await;
    let offsets = || async { store.fetch(&topic, Offset(0), 100).await.unwrap().iter().map(|e| e.offset.0).collect::<Vec<_>>() };
    assert_eq!(offsets().await, [4, 5, 6, 7, 8], "the newest");
    // With a reader nothing is dropped any more.
    assert_eq!(store.committed(&topic, &group).await.unwrap(), Offset(0));
    publish(Turn::after(&key, claim).numbered(2), 4).applied(&store).await;
    assert_eq!(offsets().await, [4, 5, 6, 7, 8, 9, 10, 11, 12]);
}

#[tokio::test]
async fn events_lost_unread_are_told_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (bill, facts) = (Topic("bill".into()), Topic("facts".into()));
    let options = EmbeddedOptions { unread_events: 2, unread_events_of: [(bill.clone(), 6)].into(), ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options.clone()).unwrap();
    let key = partition("o", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    let publish = |seq: u64, count: u64| {
        let turn = Turn::after(&key, claim).numbered(seq);
        (0..count).fold(turn, |turn, _| turn.publish("bill", "k", "p").publish("facts", "k", "p"))
    };
    let report = |store: &EmbeddedStore, topic: &Topic| {
        let report = store.topics().into_iter().find(|report| report.topic == *topic).unwrap();
        (report.kept, report.lost)
    };
    publish(1, 6).applied(&store).await;
    assert_eq!((report(&store, &bill), report(&store, &facts)), ((6, 0), (2, 4)));
    publish(2, 3).applied(&store).await;
    assert_eq!((report(&store, &bill), report(&store, &facts)), ((6, 3), (2, 7)));
    drop(store);
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    assert_eq!((report(&store, &bill), report(&store, &facts)), ((6, 3), (2, 7)));
    // What a reader has passed was not lost.
    let group = Group("g".into());
    store.committed(&bill, &group).await.unwrap();
    EventLog::commit(&store, &bill, &group, Offset(8)).await.unwrap();
    assert_eq!(report(&store, &bill), (1, 0));
}

#[tokio::test]
async fn many_events_are_trimmed_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (topic, group) = (Topic("t".into()), Group("g".into()));
    let key = partition("o", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    for seq in 1..=5 {
        let turn = (0..1_000).fold(Turn::after(&key, claim).numbered(seq), |turn, _| turn.publish("t", "k", "p"));
        turn.applied(&store).await;
    }
    let first = || async { store.fetch(&topic, Offset(0), 1).await.unwrap().first().map(|event| event.offset.0) };
    EventLog::commit(&store, &topic, &group, Offset(4_999)).await.unwrap();
    assert_eq!(first().await, Some(4_097));
    EventLog::commit(&store, &topic, &group, Offset(5_000)).await.unwrap();
    assert_eq!(first().await, None);
}

/// A log that cannot be reached now and then, and that never takes what is called poison.
struct Shaky {
    log: EmbeddedStore,
    failures: Mutex<u32>,
}

impl EventLog for Shaky {
    fn publish(&self, events: Vec<crate::Publication>) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut failures = self.failures.lock();
        if *failures > 0 {
            *failures -= 1;
            return Box::pin(async { Err(StoreError::Unavailable("not now".to_owned())) });
        }
        if events.iter().any(|event| event.payload == "poison") {
            return Box::pin(async { Err(StoreError::Refused("too long".to_owned())) });
        }
        self.log.publish(events)
    }
    fn fetch<'a>(&'a self, topic: &'a Topic, after: Offset, limit: usize) -> BoxFuture<'a, Result<Vec<crate::EventRecord>, StoreError>> {
        self.log.fetch(topic, after, limit)
    }
    fn wait<'a>(&'a self, topic: &'a Topic, after: Offset) -> BoxFuture<'a, Result<(), StoreError>> {
        self.log.wait(topic, after)
    }
    fn committed<'a>(&'a self, topic: &'a Topic, group: &'a Group) -> BoxFuture<'a, Result<Offset, StoreError>> {
        self.log.committed(topic, group)
    }
    fn commit<'a>(&'a self, topic: &'a Topic, group: &'a Group, offset: Offset) -> BoxFuture<'a, Result<(), StoreError>> {
        EventLog::commit(&self.log, topic, group, offset)
    }
    fn dead_letter<'a>(&'a self, topic: &'a Topic, event: crate::EventRecord, reason: String) -> BoxFuture<'a, Result<(), StoreError>> {
        self.log.dead_letter(topic, event, reason)
    }
    fn topics_with_dead_letters(&self) -> BoxFuture<'_, Result<Vec<Topic>, StoreError>> {
        self.log.topics_with_dead_letters()
    }
}

#[tokio::test]
async fn events_wait_for_a_log_that_is_elsewhere() {
    let [own, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (topic, key) = (Topic("t".into()), partition("o", "k", ""));
    let store = open(&own);
    let claim = store.claim(&key, 1).await.unwrap();
    Turn::after(&key, claim).publish("t", "k", "1").publish("t", "k", "2").applied(&store).await;
    drop(store);
    // They have waited since the process before.
    let (store, log) = (open(&own), open(&elsewhere));
    let shaky = Arc::new(Shaky { log: log.clone(), failures: Mutex::new(2) });
    let publishing = store.publish_to(shaky.clone());
    log.wait(&topic, Offset(1)).await.unwrap();
    // A topic that comes later, and one more event.
    let claim = store.claim(&key, 1).await.unwrap();
    Turn::after(&key, claim).numbered(2).publish("late", "k", "x").publish("t", "k", "3").applied(&store).await;
    log.wait(&Topic("late".into()), Offset(0)).await.unwrap();
    log.wait(&topic, Offset(2)).await.unwrap();
    let there: Vec<_> = log.fetch(&topic, Offset(0), 10).await.unwrap().into_iter().map(|event| event.payload).collect();
    assert_eq!(there, ["1", "2", "3"]);
    assert_eq!(*shaky.failures.lock(), 0);
    // Nothing waits twice.
    while store.topics().iter().any(|report| report.kept > 0) {
        tokio::task::yield_now().await;
    }
    drop(publishing);
}

#[tokio::test]
async fn an_event_that_the_log_never_takes_is_put_aside_and_the_others_pass() {
    let [own, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (topic, key) = (Topic("t".into()), partition("o", "k", ""));
    let (store, log) = (open(&own), open(&elsewhere));
    let claim = store.claim(&key, 1).await.unwrap();
    let turn = Turn::after(&key, claim).publish("t", "k", "1").publish("t", "k", "2").publish("t", "k", "poison").publish("t", "k", "3");
    turn.applied(&store).await;
    let _publishing = store.publish_to(Arc::new(Shaky { log: log.clone(), failures: Mutex::new(0) }));
    log.wait(&topic, Offset(2)).await.unwrap();
    let there: Vec<_> = log.fetch(&topic, Offset(0), 10).await.unwrap().into_iter().map(|event| event.payload).collect();
    assert_eq!(there, ["1", "2", "3"]);
    let letters = log.dead_letters(&topic, Offset(0), 10).await.unwrap();
    let said: Vec<_> = letters.iter().map(|letter| (letter.offset, letter.reason.as_str(), letter.event.as_str())).collect();
    assert_eq!(said, [(Offset(0), "too long", Some("poison"))]);
}

#[tokio::test]
async fn facts_that_wait_for_too_long_go_and_what_is_promised_stays() {
    let [own, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [facts, requests] = ["facts", "requests"].map(|name| Topic(name.into()));
    let options = EmbeddedOptions { unread_events: 5, facts: [facts.clone()].into(), ..EmbeddedOptions::default() };
    let (store, log) = (EmbeddedStore::open(own.path(), options).unwrap(), open(&elsewhere));
    for topic in [&facts, &requests] {
        store.committed(topic, &Group("elsewhere".into())).await.unwrap();
    }
    let shaky = Arc::new(Shaky { log: log.clone(), failures: Mutex::new(u32::MAX) });
    let publishing = store.publish_to(shaky.clone());
    let key = partition("o", "k", "");
    let claim = store.claim(&key, 1).await.unwrap();
    let turn = (1..=8).fold(Turn::after(&key, claim), |turn, n| {
        let n = n.to_string();
        turn.publish("facts", "k", &n).publish("requests", "k", &n)
    });
    turn.applied(&store).await;
    let report = |topic: &Topic| store.topics().into_iter().find(|report| report.topic == *topic).map(|report| (report.kept, report.lost));
    assert_eq!((report(&facts), report(&requests)), (Some((5, 3)), Some((8, 0))));
    *shaky.failures.lock() = 0;
    for (topic, first) in [(&facts, 4), (&requests, 1)] {
        log.wait(topic, Offset(8 - first)).await.unwrap();
        let there: Vec<_> = log.fetch(topic, Offset(0), 10).await.unwrap().into_iter().map(|event| event.payload).collect();
        assert_eq!(there, (first..=8).map(|n| n.to_string()).collect::<Vec<_>>(), "{topic}");
    }
    drop(publishing);
}
