//! What the runtime promises, over a store in memory with faults on demand and paused time.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod answers;
mod cells;
mod follow;
mod outbox;
mod simulation;
mod store;
mod support;
mod wakeups;

use cellspace_cluster::*;
use std::{sync::Arc, time::Duration};
use support::{CounterCommand::*, *};

type Runtime = (MemoryStore, Cluster, Arc<Counter>);

async fn fresh() -> Runtime {
    let store = MemoryStore::default();
    let (cluster, agent) = node(&store, Counter::default(), Options::default()).await;
    (store, cluster, agent)
}

async fn until(cluster: &Cluster, name: &str, reached: impl Fn(&CounterState) -> bool) {
    let found = cluster.wait::<Counter, ()>(&counter(name), Duration::from_secs(600), |s| reached(s).then_some(())).await.unwrap();
    assert!(found.is_some(), "not reached in time");
}

#[tokio::test(start_paused = true)]
async fn a_turn_absorbs_what_waits_and_loses_nothing() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    let asks = (0..200).map(|_| cluster.ask::<Counter>(&a, Add(1), call()));
    let replies = futures::future::join_all(asks).await;
    let mut values: Vec<i64> = replies.into_iter().map(Result::unwrap).collect();
    values.sort_unstable();
    assert_eq!(values, (1..=200).collect::<Vec<_>>());
    let commits = store.0.lock().commits;
    assert!(commits < 50, "{commits} commits for 200 commands that waited together");
    assert!(commits >= 4, "a turn takes at most 64 commands");
}

#[tokio::test(start_paused = true)]
async fn ids_that_were_never_written_activate_nothing() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    assert!(matches!(cluster.ask::<Counter>(&a, Refuse, call()).await, Err(AskError::NotRegistered)));
    assert!(matches!(cluster.read::<Counter, _>(&a, |s| s.value).await, Err(AskError::NotRegistered)));
    assert!(store.0.lock().partitions.is_empty());
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    assert!(matches!(cluster.ask::<Counter>(&a, Refuse, call()).await, Err(AskError::Refused(_))));
}

/// Its event may reach a consumer that asks back before the agent itself has heard that its first commit landed.
#[tokio::test(start_paused = true)]
async fn an_agent_is_known_from_its_first_commit_on() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    let answers = Arc::new(tokio::sync::Semaphore::new(0));
    store.0.lock().answers = Some(answers.clone());
    let creating = tokio::spawn({
        let (cluster, a) = (cluster.clone(), a.clone());
        async move { cluster.ask::<Counter>(&a, Add(1), call()).await }
    });
    while store.0.lock().partitions.is_empty() {
        tokio::task::yield_now().await;
    }
    let asking = tokio::spawn(async move { cluster.ask::<Counter>(&a, Refuse, call()).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    answers.add_permits(1);
    assert!(matches!(asking.await.unwrap(), Err(AskError::Refused(_))));
    assert_eq!(creating.await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_under_the_same_key_gets_the_first_answer_also_after_a_restart() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    assert_eq!(cluster.ask::<Counter>(&a, Add(2), keyed("k")).await.unwrap(), 2);
    assert_eq!(cluster.ask::<Counter>(&a, Add(2), keyed("k")).await.unwrap(), 2);
    assert!(matches!(cluster.ask::<Counter>(&a, Add(3), keyed("k")).await, Err(AskError::KeyReused)));
    store.restart();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    assert_eq!(cluster.ask::<Counter>(&a, Add(2), keyed("k")).await.unwrap(), 2);
    assert_eq!(cluster.read::<Counter, _>(&a, |s| s.value).await.unwrap(), 2);
    let both = (0..2).map(|_| cluster.ask::<Counter>(&a, Add(5), keyed("both")));
    for reply in futures::future::join_all(both).await {
        assert_eq!(reply.unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_turn_is_executed_again_by_the_next_activation() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(3), call()).await.unwrap();
    store.0.lock().faults.push_back(Fault::Fenced);
    assert_eq!(cluster.ask::<Counter>(&a, Add(5), call()).await.unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn lanes_keep_their_order_and_run_beside_each_other() {
    let store = MemoryStore::default();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (cluster, agent) = node(&store, Counter { gate: Some(gate.clone()), ..Counter::default() }, Options::default()).await;
    let a = counter("a");
    for (lane, effect) in [("x", "x1"), ("x", "x2"), ("x", "x3"), ("y", "y1")] {
        cluster.ask::<Counter>(&a, Send { lane: lane.into(), effect: effect.into() }, call()).await.unwrap();
    }
    gate.add_permits(2);
    until(&cluster, "a", |s| s.delivered == 2).await;
    let mut first: Vec<String> = agent.sent.lock().iter().map(|(e, _)| e.clone()).collect();
    first.sort();
    assert_eq!(first, ["x1", "y1"]);
    gate.add_permits(2);
    until(&cluster, "a", |s| s.delivered == 4).await;
    let order: Vec<String> = agent.sent.lock().iter().map(|(e, _)| e.clone()).filter(|e| e.starts_with('x')).collect();
    assert_eq!(order, ["x1", "x2", "x3"]);
    assert!(!store.0.lock().partitions.values().next().unwrap().wake.awake);
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_tried_again_and_given_up_with_a_reason() {
    let (store, cluster, agent) = fresh().await;
    let a = counter("a");
    agent.failures.store(2, std::sync::atomic::Ordering::SeqCst);
    cluster.ask::<Counter>(&a, Send { lane: "x".into(), effect: "x1".into() }, call()).await.unwrap();
    until(&cluster, "a", |s| s.delivered == 1).await;
    assert_eq!(*agent.sent.lock(), [("x1".to_owned(), 3)]);
    agent.failures.store(3, std::sync::atomic::Ordering::SeqCst);
    cluster.ask::<Counter>(&a, Send { lane: "x".into(), effect: "x2".into() }, call()).await.unwrap();
    until(&cluster, "a", |s| s.given_up == 1).await;
    cluster.ask::<Counter>(&a, Send { lane: "x".into(), effect: "bad".into() }, call()).await.unwrap();
    until(&cluster, "a", |s| s.given_up == 2).await;
    let disk = store.0.lock();
    let rows = &disk.partitions.values().next().unwrap().rows;
    let dead: Vec<String> =
        rows.iter().filter(|(k, _)| k.starts_with(b"\x7fdead")).map(|(_, v)| String::from_utf8_lossy(v).into_owned()).collect();
    assert_eq!(dead.len(), 2);
    assert!(dead[0].contains("not yet (after 3 attempts)") && dead[1].contains("\"bad\""), "{dead:?}");
    assert!(!rows.keys().any(|k| k.starts_with(b"~outbox")));
}

#[tokio::test(start_paused = true)]
async fn a_plain_delivery_costs_one_late_commit_or_none() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Send { lane: "x".into(), effect: "plain".into() }, call()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.0.lock().commits, 1);
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    assert!(!store.0.lock().partitions.values().next().unwrap().rows.keys().any(|k| k.starts_with(b"~outbox")), "the deletion rode along");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.0.lock().commits, 2);
    cluster.ask::<Counter>(&a, Send { lane: "x".into(), effect: "plain".into() }, call()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.0.lock().commits, 4, "flushed by itself");
}

#[tokio::test(start_paused = true)]
async fn a_failing_agent_is_parked_and_its_neighbours_go_on() {
    let (_, cluster, _) = fresh().await;
    let (bad, good) = (counter("bad"), counter("good"));
    for a in [&bad, &good] {
        cluster.ask::<Counter>(a, Add(1), call()).await.unwrap();
    }
    for _ in 0..3 {
        assert!(matches!(cluster.ask::<Counter>(&bad, Panic, call()).await, Err(AskError::Unavailable { .. })));
    }
    assert!(matches!(cluster.ask::<Counter>(&bad, Add(1), call()).await, Err(AskError::Parked { .. })));
    assert_eq!(cluster.ask::<Counter>(&good, Add(1), call()).await.unwrap(), 2);
    assert_eq!(cluster.parked().len(), 1);
    assert!(cluster.unpark(&bad));
    assert_eq!(cluster.ask::<Counter>(&bad, Add(1), call()).await.unwrap(), 2);
}

/// What a newer build has written is not guessed at: nothing is served, nothing is changed, and a build that reads it goes on with it.
#[tokio::test(start_paused = true)]
async fn a_row_of_a_newer_level_is_refused_and_left_as_it_is() {
    let (store, first, _) = fresh().await;
    let (newer, good) = (counter("newer"), counter("good"));
    for a in [&newer, &good] {
        first.ask::<Counter>(a, Add(1), call()).await.unwrap();
    }
    first.drain(Duration::from_secs(1)).await;
    let written = |level: &str, by: &str| {
        let mut disk = store.0.lock();
        let (_, stored) = disk.partitions.iter_mut().find(|(key, _)| key.owner.as_str() == "newer").unwrap();
        for value in stored.rows.values_mut() {
            let text = String::from_utf8(value.to_vec()).unwrap();
            assert!(text.contains(level), "{text}");
            *value = text.replacen(level, by, 1).into();
        }
    };
    let rows = || {
        let disk = store.0.lock();
        disk.partitions.iter().find(|(key, _)| key.owner.as_str() == "newer").map(|(_, stored)| stored.rows.clone())
    };
    written("\"v\":1", "\"v\":2");
    let before = rows();
    store.restart();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    for _ in 0..5 {
        let told = cluster.ask::<Counter>(&newer, Add(1), call()).await.unwrap_err();
        assert!(matches!(told, AskError::Unavailable { .. } | AskError::Parked { .. }), "{told:?}");
        let told = cluster.read::<Counter, _>(&newer, |s| s.value).await.unwrap_err();
        assert!(told.to_string().contains("level 2, this node reads up to 1"), "{told}");
    }
    assert_eq!(cluster.ask::<Counter>(&good, Add(1), call()).await.unwrap(), 2);
    assert_eq!(rows(), before);
    written("\"v\":2", "\"v\":1");
    assert!(cluster.unpark(&newer));
    assert_eq!(cluster.ask::<Counter>(&newer, Add(1), call()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn idle_agents_leave_memory_and_come_back() {
    let store = MemoryStore::default();
    let options = Options { idle_after: Duration::from_secs(10), ..Options::default() };
    let (cluster, _) = node(&store, Counter::default(), options).await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    let mut gone = cluster.resident::<Counter>();
    assert_eq!(gone, 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    gone = cluster.resident::<Counter>();
    assert_eq!(gone, 0);
    assert_eq!(cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_that_leave_let_others_through() {
    let store = MemoryStore::default();
    let options = Options { idle_after: Duration::from_secs(10), ..Options::default() };
    let (cluster, _) = node(&store, Counter::default(), options).await;
    for n in 0..400 {
        cluster.ask::<Counter>(&counter(&format!("p{n}")), Add(1), call()).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(13)).await;
    let (mut before, mut most) = (cluster.resident::<Counter>(), 0);
    assert_eq!(before, 400);
    for _ in 0..100_000 {
        tokio::task::yield_now().await;
        let now = cluster.resident::<Counter>();
        (before, most) = (now, most.max(before - now));
    }
    assert_eq!(before, 0);
    assert!(most <= 100, "{most} left between two turns of somebody else");
}

#[tokio::test(start_paused = true)]
async fn what_is_soon_idle_soon_leaves() {
    let store = MemoryStore::default();
    let options = Options { idle_after: Duration::from_millis(20), ..Options::default() };
    let (cluster, _) = node(&store, Counter::default(), options).await;
    for value in 1..4 {
        assert_eq!(cluster.ask::<Counter>(&counter("p"), Add(1), call()).await.unwrap(), value);
        assert_eq!(cluster.resident::<Counter>(), 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(cluster.resident::<Counter>(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_pressure_passivates_the_least_recently_used() {
    let store = MemoryStore::default();
    let options = Options { resident_bytes: 2_000, idle_after: Duration::from_secs(100_000), ..Options::default() };
    let (cluster, _) = node(&store, Counter::default(), options).await;
    for n in 0..100 {
        cluster.ask::<Counter>(&counter(&format!("p{n}")), Add(1), call()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(cluster.resident::<Counter>() < 50, "{} agents in memory", cluster.resident::<Counter>());
    assert_eq!(cluster.ask::<Counter>(&counter("p0"), Add(1), call()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_inbox_is_bounded() {
    let store = MemoryStore::default();
    let (cluster, _) = node(&store, Counter::default(), Options { inbox: 4, ..Options::default() }).await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    let replies = futures::future::join_all((0..100).map(|_| cluster.ask::<Counter>(&a, Add(1), call()))).await;
    let (done, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(Result::is_ok);
    assert!(refused.iter().all(|r| matches!(r, Err(AskError::TooMany { .. }))));
    assert!(!refused.is_empty());
    let value = cluster.read::<Counter, _>(&a, |s| s.value).await.unwrap();
    assert_eq!(value, 1 + i64::try_from(done.len()).unwrap(), "what was refused was not executed");
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_refuses_and_another_goes_on() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    cluster.drain(Duration::from_secs(5)).await;
    assert!(matches!(cluster.ask::<Counter>(&a, Add(1), call()).await, Err(AskError::Unavailable { .. })));
    assert_eq!(cluster.resident::<Counter>(), 0);
    store.restart();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    assert_eq!(cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn facts_and_audit_are_part_of_the_commit() {
    let (store, cluster, _) = fresh().await;
    let trace = cellspace_schemas::TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    cluster.ask::<Counter>(&counter("a"), Fact("k".into()), Call { trace, ..call() }).await.unwrap();
    let disk = store.0.lock();
    let event: serde_json::Value = serde_json::from_slice(&disk.published[0].payload).unwrap();
    assert_eq!((event["id"].as_str(), event["subject"].as_str()), (Some("counter/a#1.0"), Some("k")));
    assert!(event["traceparent"].as_str().unwrap().contains("4bf92f3577b34da6a3ce929d0e0e4736"));
    let audit = String::from_utf8_lossy(&disk.partitions.values().next().unwrap().audit[0].1.0).into_owned();
    assert!(audit.contains("counter.fact") && audit.contains("\"actor\":\"test\""), "{audit}");
}
