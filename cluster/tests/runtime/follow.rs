//! Following an agent: all that happens, in order, once, whatever ends meanwhile; or word that it is not known any more.

use crate::{
    fresh,
    support::{CounterCommand::*, *},
};
use cellspace_cluster::{follow::MAX_BEHIND, *};
use cellspace_schemas::EventPosition;
use std::time::Duration;

async fn add(cluster: &Cluster, n: i64) {
    cluster.ask::<Counter>(&counter("a"), Add(n), call()).await.unwrap();
}

/// The next `count` happenings.
async fn next(following: &mut Following<Counter>, count: usize) -> Vec<(String, String, String)> {
    let mut told = Vec::new();
    while told.len() < count {
        let happened = following.next().await.unwrap().unwrap();
        assert_eq!(happened.position, following.position());
        told.push((happened.position.to_string(), happened.happening.kind.into_owned(), happened.happening.subject));
    }
    told
}

fn line(position: &str, kind: &str, subject: i64) -> (String, String, String) {
    (position.to_owned(), kind.to_owned(), subject.to_string())
}

#[tokio::test(start_paused = true)]
async fn all_that_happens_is_told_in_order() {
    let (_, cluster, _) = fresh().await;
    assert!(matches!(cluster.follow::<Counter>(&counter("a"), None).await, Err(AskError::NotRegistered)));
    add(&cluster, 1).await;
    let mut following = cluster.follow::<Counter>(&counter("a"), None).await.unwrap();
    assert_eq!((following.position(), following.is_lost()), (EventPosition { seq: 2, n: 0 }, false));
    // What was before is not told; a commit in which nothing happens is passed over.
    cluster.ask::<Counter>(&counter("a"), Fact("x".into()), call()).await.unwrap();
    let (told, ()) = futures::future::join(next(&mut following, 4), async {
        add(&cluster, 2).await;
        add(&cluster, 3).await;
    })
    .await;
    let expected =
        [line("3.1", "counter.added", 2), line("3.2", "counter.is", 3), line("4.1", "counter.added", 3), line("4.2", "counter.is", 6)];
    assert_eq!(told, expected);
    assert!(tokio::time::timeout(Duration::from_secs(60), following.next()).await.is_err(), "nothing more");
    // Whoever comes back with a position misses nothing and hears nothing twice.
    for (n, (position, ..)) in expected.iter().enumerate().take(3) {
        let mut again = cluster.follow::<Counter>(&counter("a"), Some(position.parse().unwrap())).await.unwrap();
        assert_eq!(next(&mut again, 3 - n).await, expected[n + 1..], "{position}");
    }
    // It ends when the node is told so.
    let (end, ()) = futures::future::join(following.next(), async { cluster.stop_waiting() }).await;
    assert_eq!(end.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn what_happened_meanwhile_is_told_after_a_restart() {
    let (store, cluster, _) = fresh().await;
    add(&cluster, 1).await;
    let following = cluster.follow::<Counter>(&counter("a"), None).await.unwrap();
    let position = following.position();
    drop(following);
    add(&cluster, 2).await;
    cluster.drain(Duration::from_secs(1)).await;
    store.restart();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    let mut following = cluster.follow::<Counter>(&counter("a"), Some(position)).await.unwrap();
    assert!(!following.is_lost());
    assert_eq!(next(&mut following, 2).await, [line("2.1", "counter.added", 2), line("2.2", "counter.is", 3)]);
    // Also when its activation fails meanwhile.
    store.0.lock().faults.push_back(Fault::Fenced);
    let (told, _) = futures::future::join(next(&mut following, 2), cluster.ask::<Counter>(&counter("a"), Add(3), call())).await;
    assert_eq!(told, [line("3.1", "counter.added", 3), line("3.2", "counter.is", 6)]);
}

#[tokio::test(start_paused = true)]
async fn who_follows_keeps_the_agent_and_nobody_else_does() {
    let store = MemoryStore::default();
    let (cluster, _) = node(&store, Counter::default(), Options { idle_after: Duration::from_secs(10), ..Options::default() }).await;
    add(&cluster, 1).await;
    let following = cluster.follow::<Counter>(&counter("a"), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.resident::<Counter>(), 1);
    drop(following);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.resident::<Counter>(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_said_to_be_lost() {
    let (store, cluster, _) = fresh().await;
    add(&cluster, 1).await;
    let after = async |seq: u64, n: u32| {
        let following = cluster.follow::<Counter>(&counter("a"), Some(EventPosition { seq, n })).await.unwrap();
        (following.is_lost(), following.position())
    };
    let known = |seq, n| (false, EventPosition { seq, n });
    let lost = |head: u64| (true, EventPosition { seq: head + 1, n: 0 });
    assert_eq!(after(1, 1).await, known(1, 1));
    assert_eq!(after(2, 0).await, known(2, 0));
    // Of another store, or of what a backup took back.
    assert_eq!((after(2, 1).await, after(9, 0).await, after(u64::MAX, 0).await), (lost(1), lost(1), lost(1)));
    // Too far behind, or thrown away.
    let rows: Vec<_> = (2..=MAX_BEHIND + 2)
        .map(|seq| (cellspace_storage::Seq(seq), store.0.lock().partitions.values().next().unwrap().audit[0].1.clone()))
        .collect();
    let head = MAX_BEHIND + 2;
    {
        let mut disk = store.0.lock();
        let stored = disk.partitions.values_mut().next().unwrap();
        stored.audit.extend(rows);
        stored.audit.remove(5);
    }
    assert_eq!(
        (after(1, 2).await, after(2, 2).await, after(6, 0).await, after(7, 0).await),
        (lost(head), known(2, 2), lost(head), known(7, 0))
    );
}
