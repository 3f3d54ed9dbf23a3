//! Agents that come back by themselves: after a kill, a failure, an operator's word; and their deadlines.

use crate::{
    fresh,
    support::{CounterCommand::*, *},
};
use cellspace_cluster::*;
use cellspace_storage::RowKey;
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

/// What the wake index says of an agent.
fn due(store: &MemoryStore, name: &str) -> Option<i64> {
    let disk = store.0.lock();
    let found = disk.partitions.iter().find(|(key, _)| key.owner.as_str() == name);
    found.unwrap().1.wake.due.map(|at| at.0)
}

/// The first life of a node ends with its runtime: nothing of it goes on.
fn killed(life: impl AsyncFnOnce() + std::marker::Send + 'static) {
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(life());
    });
    thread.join().unwrap();
}

/// Not even the store, whose directory the next node opens; no matter whether its agents had the time to end.
#[test]
fn nothing_of_a_drained_node_outlives_its_runtime() {
    for limit in [Duration::from_secs(1), Duration::ZERO] {
        let store = MemoryStore::default();
        let first = store.clone();
        killed(async move || {
            let (cluster, _) = node(&first, Counter::default(), Options::default()).await;
            for name in ["a", "b", "c"] {
                cluster.ask::<Counter>(&counter(name), Add(1), call()).await.unwrap();
            }
            cluster.drain(limit).await;
        });
        assert_eq!(Arc::strong_count(&store.0), 1, "{limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn undelivered_rows_and_deadlines_come_back_after_a_kill() {
    let store = MemoryStore::default();
    let first = store.clone();
    killed(async move || {
        let stuck = Counter { gate: Some(Arc::new(tokio::sync::Semaphore::new(0))), ..Counter::default() };
        let (cluster, agent) = node(&first, stuck, Options::default()).await;
        let at = cluster.now().plus(Duration::from_secs(5 * 3600));
        cluster.ask::<Counter>(&counter("a"), Send { lane: "x".into(), effect: "x1".into() }, call()).await.unwrap();
        cluster.ask::<Counter>(&counter("b"), Alarm { at }, call()).await.unwrap();
        agent.started.notified().await;
    });
    store.restart();
    assert!(due(&store, "b").is_some());
    let (_cluster, agent) = node(&store, Counter::default(), Options::default()).await;
    // Nobody asks for either of them: the wake index alone brings them back.
    agent.started.notified().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(agent.sent.lock().len(), 1);
    assert!(!store.0.lock().partitions.iter().any(|(_, stored)| stored.wake.awake));
    tokio::time::sleep(Duration::from_secs(4 * 3600)).await;
    assert!(due(&store, "b").is_some());
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(due(&store, "b"), None, "it rang");
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_loading_fails_comes_back_until_it_succeeds() {
    let (store, cluster, _) = fresh().await;
    let at = cluster.now().plus(Duration::from_secs(60));
    cluster.ask::<Counter>(&counter("a"), Alarm { at }, call()).await.unwrap();
    cluster.drain(Duration::from_secs(1)).await;
    store.restart();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    store.0.lock().broken_scans = 7;
    // The pauses between the failures are half a second, one, two, ...: the seventh is 31.5 s after the deadline, the success 32 s later.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(store.0.lock().broken_scans, 0);
    assert!(due(&store, "a").is_some());
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(due(&store, "a"), None, "it rang");
    assert_eq!(cluster.resident::<Counter>(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_unparked_goes_on_with_its_work() {
    let (_, cluster, agent) = fresh().await;
    let a = counter("a");
    agent.failures.store(u32::MAX, SeqCst);
    cluster.ask::<Counter>(&a, Send { lane: "x".into(), effect: "x1".into() }, call()).await.unwrap();
    agent.started.notified().await;
    for _ in 0..3 {
        assert!(cluster.ask::<Counter>(&a, Panic, call()).await.is_err());
    }
    assert!(cluster.explain(&a).await.unwrap().parked.is_some());
    agent.failures.store(0, SeqCst);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(agent.sent.lock().is_empty(), "parked");
    assert!(cluster.unpark(&a));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(agent.sent.lock().len(), 1);
    assert!(!cluster.unpark(&a));
}

/// Whatever is overlooked otherwise; and a store forgets what of its index is over when that is read.
#[tokio::test(start_paused = true)]
async fn those_that_are_awake_are_read_every_half_hour() {
    let store = MemoryStore::default();
    let held = Counter { gate: Some(Arc::new(tokio::sync::Semaphore::new(0))), ..Counter::default() };
    let (cluster, _) = node(&store, held, Options::default()).await;
    for name in ["a", "b"] {
        tokio::time::sleep(Duration::from_secs(1_798)).await;
        cluster.ask::<Counter>(&counter(name), Send { lane: "x".into(), effect: "x1".into() }, call()).await.unwrap();
        store.0.lock().woken.clear();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(store.0.lock().woken.contains(&counter(name).partition()), "{name}: {:?}", store.0.lock().woken);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_nothing_is_done_about_is_written_off() {
    let (store, cluster, _) = fresh().await;
    let at = cluster.now().plus(Duration::from_secs(60));
    cluster.ask::<Counter>(&counter("a"), Ignore { at }, call()).await.unwrap();
    assert_eq!(due(&store, "a"), Some(at.0));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(due(&store, "a"), None);
    assert_eq!(store.0.lock().commits, 2);
}

/// As rows do that an earlier version of the program has written, when they have a deadline for this one alone.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_the_wake_index_does_not_know_is_written_once_its_agent_is_loaded() {
    let (store, cluster, _) = fresh().await;
    let at = cluster.now().plus(Duration::from_secs(20 * 3600));
    cluster.ask::<Counter>(&counter("a"), Alarm { at }, call()).await.unwrap();
    cluster.drain(Duration::from_secs(1)).await;
    store.restart();
    store.0.lock().partitions.values_mut().next().unwrap().wake.due = None;
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    assert_eq!(cluster.read::<Counter, _>(&counter("a"), |s| s.alarms).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((due(&store, "a"), store.0.lock().commits), (Some(at.0), 2));
    tokio::time::sleep(Duration::from_secs(21 * 3600)).await;
    assert_eq!(due(&store, "a"), None, "it rang");
}

#[tokio::test(start_paused = true)]
async fn a_later_entry_of_the_wake_index_does_not_hide_an_earlier_deadline() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    // Half an hour from now the index is read; the entry that it finds is older than what the agent has decided since.
    let late = cluster.now().plus(Duration::from_secs(2 * 3600));
    cluster.ask::<Counter>(&a, Ignore { at: late }, call()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1799)).await;
    let soon = cluster.now().plus(Duration::from_secs(10));
    cluster.ask::<Counter>(&a, Alarm { at: soon }, call()).await.unwrap();
    store.0.lock().partitions.values_mut().next().unwrap().wake.due = Some(soon.plus(Duration::from_secs(600)));
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(cluster.read::<Counter, _>(&a, |s| s.alarms).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn memory_is_counted_by_what_is_there() {
    let (_, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    let one = cluster.explain(&a).await.unwrap().bytes;
    for n in 0..50 {
        cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
        cluster.ask::<Counter>(&a, Send { lane: "x".into(), effect: format!("plain {n}") }, call()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let many = cluster.explain(&a).await.unwrap().bytes;
    assert!(one > 20 && many < one + 10, "{one} bytes after one commit, {many} after a hundred");
}

#[tokio::test(start_paused = true)]
async fn loading_much_holds_up_no_thread_of_the_executor() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(3), call()).await.unwrap();
    cluster.drain(Duration::from_secs(1)).await;
    for (rows, aside) in [(1, false), (2_000, true)] {
        store.restart();
        if let Some(stored) = store.0.lock().partitions.values_mut().next() {
            let value = stored.rows.get(RowKey::new("counter", "value").as_bytes()).unwrap().clone();
            stored.rows.extend((1..rows).map(|n| (RowKey::new("counter", &format!("value-{n}")).as_bytes().to_vec(), value.clone())));
        }
        let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
        let (value, by) = cluster.read::<Counter, _>(&a, |s| (s.value, s.taken_in_by)).await.unwrap();
        assert_eq!((value, by != Some(std::thread::current().id())), (3, aside), "{rows}");
        cluster.drain(Duration::from_secs(1)).await;
    }
}
