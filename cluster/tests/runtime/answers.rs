//! What callers are told is true: not executed is not, unknown is settled where it can be.

use crate::{
    Runtime, fresh,
    support::{CounterCommand::*, *},
};
use cellspace_cluster::*;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};
use tokio::time::Instant;

async fn added(cluster: &Cluster, a: &Address) -> i64 {
    cluster.read::<Counter, _>(a, |s| s.value).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_lost_is_executed_again() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(3), call()).await.unwrap();
    store.0.lock().faults.push_back(Fault::LostUnknown);
    assert_eq!(cluster.ask::<Counter>(&a, Add(5), call()).await.unwrap(), 8);
    assert_eq!(added(&cluster, &a).await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_landed_unheard_is_not_executed_twice() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(3), call()).await.unwrap();
    store.0.lock().faults.push_back(Fault::LandedUnknown);
    assert_eq!(cluster.ask::<Counter>(&a, Add(5), keyed("k")).await.unwrap(), 8, "the kept reply");
    store.0.lock().faults.push_back(Fault::LandedUnknown);
    match cluster.ask::<Counter>(&a, Add(7), call()).await {
        Err(AskError::Unknown { reason }) => assert!(reason.contains("it was executed"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(added(&cluster, &a).await, 15);
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_its_neighbours_nothing() {
    let (_, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    let command = |n: usize| if n == 5 { Panic } else { Add(1) };
    let answers = futures::future::join_all((0..10).map(|n| cluster.ask::<Counter>(&a, command(n), call()))).await;
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Err(AskError::Unavailable { .. }) => assert_eq!(n, 5, "the one that panicked, once"),
            Ok(_) => assert_ne!(n, 5),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(added(&cluster, &a).await, 10);
    assert!(cluster.parked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_not_sent_for_ever() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    for n in 0..3 {
        store.0.lock().faults.push_back(Fault::Refused);
        assert!(matches!(cluster.ask::<Counter>(&a, Add(1), call()).await, Err(AskError::Unavailable { .. })), "{n}");
    }
    assert!(store.0.lock().faults.is_empty(), "each was sent once");
    assert_eq!(cluster.parked().len(), 1);
    assert!(cluster.unpark(&a));
    assert_eq!(added(&cluster, &a).await, 1);
}

/// Who was served while the store became one that can be read alone is told so, is to blame for nothing, and is not in doubt: what was not written is written when it is asked for again.
#[tokio::test(start_paused = true)]
async fn what_a_store_does_not_take_is_refused_and_written_later() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    store.0.lock().reads_only = true;
    for n in 0..5 {
        match cluster.ask::<Counter>(&a, Add(2), keyed("k")).await {
            Err(AskError::Unavailable { reason, .. }) => assert!(reason.contains("it can be read alone"), "{n}: {reason}"),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert!(cluster.parked().is_empty());
    store.0.lock().reads_only = false;
    assert_eq!(cluster.ask::<Counter>(&a, Add(2), keyed("k")).await.unwrap(), 3);
    assert_eq!(added(&cluster, &a).await, 3);
}

#[tokio::test(start_paused = true)]
async fn all_preparations_of_a_call_know_its_id() {
    let (_, cluster, agent) = fresh().await;
    for _ in 0..2 {
        assert!(matches!(cluster.ask::<Counter>(&counter("a"), Stale, call()).await, Err(AskError::Unavailable { .. })));
    }
    let calls = agent.prepared.lock();
    assert_eq!(calls.len(), 8);
    assert!(calls.iter().take(4).all(|id| id == &calls[0]) && calls.iter().skip(4).all(|id| id == &calls[4]));
    assert_ne!(calls[0], calls[4]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_expired_keeps_its_new_reply() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    assert_eq!(cluster.ask::<Counter>(&a, Add(2), keyed("k")).await.unwrap(), 2);
    tokio::time::sleep(Duration::from_secs(25 * 3600)).await;
    assert_eq!(cluster.ask::<Counter>(&a, Add(2), keyed("k")).await.unwrap(), 4);
    assert_eq!(cluster.ask::<Counter>(&a, Add(2), keyed("k")).await.unwrap(), 4);
    let rows = |table: &[u8]| store.0.lock().partitions.values().next().unwrap().rows.keys().filter(|k| k.starts_with(table)).count();
    assert_eq!(rows(b"~idempotency"), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_state_any_longer_when_the_node_is_to_stop() {
    let (_, cluster, _) = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    let began = tokio::time::Instant::now();
    let never = |s: &CounterState| (s.value > 9).then_some(());
    let (waited, ()) = tokio::join!(cluster.wait::<Counter, ()>(&a, Duration::from_secs(60), never), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.stop_waiting();
    });
    assert_eq!((waited.unwrap(), began.elapsed()), (None, Duration::from_secs(1)));
    assert_eq!(cluster.wait::<Counter, ()>(&a, Duration::from_secs(60), never).await.unwrap(), None);
    assert_eq!(cluster.wait::<Counter, i64>(&a, Duration::from_secs(60), |s| Some(s.value)).await.unwrap(), Some(1));
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap(), 2, "turns go on");
}

#[tokio::test(start_paused = true)]
async fn made_up_ids_are_looked_up_once_in_a_while() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    for _ in 0..100 {
        assert!(matches!(cluster.read::<Counter, _>(&a, |s| s.value).await, Err(AskError::NotRegistered)));
    }
    assert_eq!(store.0.lock().lookups, 1);
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    assert!(cluster.exists(&a).await.unwrap(), "known from its first commit on");
    assert_eq!(added(&cluster, &a).await, 1);
}

#[tokio::test(start_paused = true)]
async fn one_participant_cannot_take_all_places() {
    let store = MemoryStore::default();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let options = Options { owner_inbox: 10, counterparty_inbox: 4, node_inbox: 15, ..Options::default() };
    let (cluster, _): (Cluster, _) = node(&store, Counter { prepares: Some(gate.clone()), ..Counter::default() }, options).await;
    let slow = |owner: &str, of: String| {
        let (cluster, a) = (cluster.clone(), counter(owner));
        tokio::spawn(async move { cluster.ask::<Counter>(&a, Slow(of), call()).await })
    };
    // Of six messages of one counterparty four are taken, and of eight of others the six that are left to the participant.
    let of_one: Vec<_> = (0..6).map(|_| slow("a", "x".into())).collect();
    let of_others: Vec<_> = (0..8).map(|n| slow("a", format!("y{n}"))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(matches!(cluster.ask::<Counter>(&counter("a"), Add(1), call()).await, Err(AskError::TooMany { .. })));
    assert_eq!(cluster.ask::<Counter>(&counter("b"), Add(1), call()).await.unwrap(), 1);
    // The node's places: ten of a, and five of b.
    let more: Vec<_> = (0..6).map(|n| slow("b", format!("z{n}"))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let cold = cluster.read::<Counter, _>(&counter("c"), |s| s.value).await;
    assert!(matches!(cold, Err(AskError::Unavailable { .. })), "reads that must load need a place too");
    assert_eq!(added(&cluster, &counter("b")).await, 1, "those that need not do not");
    gate.add_permits(100);
    let mut taken = Vec::new();
    for asks in [of_one, of_others, more] {
        let answers = futures::future::join_all(asks).await;
        taken.push(answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count());
    }
    assert_eq!(taken, [4, 6, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_caller_holds_whatever_the_store_does() {
    let (store, cluster, _): Runtime = fresh().await;
    let a = counter("a");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    store.0.lock().answers = Some(Arc::new(tokio::sync::Semaphore::new(0)));
    let began = tokio::time::Instant::now();
    let short = Call { timeout: Duration::from_secs(2), ..call() };
    assert!(matches!(cluster.ask::<Counter>(&a, Add(1), short).await, Err(AskError::Unknown { .. })));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

/// What a preparation has done elsewhere is taken back as often as nothing came of it, and never when something did or may have.
#[tokio::test(start_paused = true)]
async fn preparations_that_nothing_came_of_are_taken_back() {
    let store = MemoryStore::default();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let agent = Counter { prepares: Some(gate.clone()), ..Counter::default() };
    let (cluster, agent) = node(&store, agent, Options { inbox: 4, ..Options::default() }).await;
    let a = counter("a");
    let expect = |what: &str, count: u32| assert_eq!(agent.taken_back.swap(0, SeqCst), count, "{what}");
    cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    expect("executed", 0);
    assert!(cluster.ask::<Counter>(&a, Refuse, call()).await.is_err());
    expect("refused", 1);
    assert!(cluster.ask::<Counter>(&a, Stale, call()).await.is_err());
    expect("stale in each round", 4);
    // Both are prepared before either is decided.
    let both = (0..2).map(|_| cluster.ask::<Counter>(&a, Slow("x".into()), keyed("both")));
    let (replies, ()) = tokio::join!(futures::future::join_all(both), async { gate.add_permits(2) });
    assert!(replies.iter().all(|reply| matches!(reply, Ok(2))), "{replies:?}");
    expect("answered by the reply of another", 1);
    let replies = futures::future::join_all((0..100).map(|_| cluster.ask::<Counter>(&a, Add(1), call()))).await;
    let full = replies.iter().filter(|reply| matches!(reply, Err(AskError::TooMany { .. }))).count();
    assert!(full > 0);
    expect("no room", u32::try_from(full).unwrap());
    let short = Call { timeout: Duration::from_secs(1), ..call() };
    assert!(cluster.ask::<Counter>(&a, Slow("x".into()), short).await.is_err());
    expect("given up while it was prepared", 1);
    for (fault, what, count) in [
        (Fault::Fenced, "fenced, and then executed", 1),
        (Fault::Refused, "not to be written", 1),
        (Fault::NotSent, "not sent, and then executed", 1),
        (Fault::LandedUnknown, "landed", 0),
        (Fault::LostUnknown, "lost, and then executed: nobody knew", 0),
    ] {
        store.0.lock().faults.push_back(fault);
        let _ = cluster.ask::<Counter>(&a, Add(1), call()).await;
        assert!(store.0.lock().faults.is_empty());
        expect(what, count);
    }
    assert!(cluster.ask::<Counter>(&a, Panic, call()).await.is_err());
    expect("panicked", 1);
}

/// After a cold start all are asked for at once: so many are loaded at a time, in their order, and whoever waits too long is told to come again.
#[tokio::test(start_paused = true)]
async fn a_storm_of_cold_agents_is_loaded_a_part_at_a_time() {
    const ALL: usize = 300;
    const AT_ONCE: usize = 64;
    let store = MemoryStore::default();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    for n in 0..ALL {
        cluster.ask::<Counter>(&counter(&format!("a{n}")), Add(1), call()).await.unwrap();
    }
    store.restart();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    {
        let mut disk = store.0.lock();
        (disk.scans, disk.scanned) = (Some(gate.clone()), 0);
    }
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    let addresses: Vec<Address> = (0..ALL).map(|n| counter(&format!("a{n}"))).collect();
    let ask = |timeout| addresses.iter().map(move |address| (address, Call { timeout, ..call() }));
    let hasty = ask(Duration::from_secs(1)).map(|(address, call)| cluster.ask::<Counter>(address, Add(1), call));
    let hasty = futures::future::join_all(hasty).await;
    assert!(hasty.iter().all(|answer| matches!(answer, Err(AskError::Unavailable { .. }))), "nothing was executed");
    assert_eq!(store.0.lock().scanned, AT_ONCE);
    gate.add_permits(ALL);
    let patient = ask(Duration::from_secs(10)).map(|(address, call)| cluster.ask::<Counter>(address, Add(1), call));
    let patient = futures::future::join_all(patient).await;
    assert!(patient.iter().all(|answer| matches!(answer, Ok(2))), "all came: {patient:?}");
    assert_eq!(store.0.lock().scanned, ALL);
}

/// Who is not loaded in time is told when there is time, not all for the same second; who comes while that is known to be in vain hears it at once.
#[tokio::test(start_paused = true)]
async fn who_is_told_to_come_again_comes_when_there_is_time() {
    const ALL: usize = 1_000;
    let store = MemoryStore::default();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    for n in 0..=ALL {
        cluster.ask::<Counter>(&counter(&format!("a{n}")), Add(1), call()).await.unwrap();
    }
    store.restart();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    store.0.lock().scans = Some(gate.clone());
    // A store that reads a hundred agents a second.
    let reads = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            gate.add_permits(1);
        }
    });
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    let until = Call { timeout: Duration::from_secs(2), ..call() };
    let asked = (0..ALL).map(|n| {
        let (cluster, until) = (cluster.clone(), until.clone());
        async move { (n, cluster.ask::<Counter>(&counter(&format!("a{n}")), Add(1), until).await) }
    });
    let (mut answered, mut again) = (0, BTreeMap::<u64, Vec<usize>>::new());
    for (n, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(value) => answered += i64::from(value == 2),
            Err(AskError::Unavailable { retry_after, .. }) => again.entry(retry_after.as_secs()).or_default().push(n),
            Err(other) => panic!("{other}"),
        }
    }
    let told: usize = again.values().map(Vec::len).sum();
    assert!(answered > 150 && told > 600, "{answered} {told}");
    // Some eight hundred wait still.
    assert!(again.keys().all(|second| (5..20).contains(second)), "{again:?}");
    assert!(again.values().all(|all| all.len() < told / 4), "{again:?}");
    let began = Instant::now();
    let newcomer = cluster.ask::<Counter>(&counter(&format!("a{ALL}")), Add(1), until.clone()).await;
    assert!(matches!(newcomer, Err(AskError::Unavailable { retry_after, .. }) if retry_after >= Duration::from_secs(5)), "{newcomer:?}");
    assert!(began.elapsed().is_zero(), "nobody waits in vain");
    for (second, all) in again {
        tokio::time::sleep_until(began + Duration::from_secs(second)).await;
        for n in all {
            assert_eq!(cluster.ask::<Counter>(&counter(&format!("a{n}")), Add(1), until.clone()).await.unwrap(), 2);
        }
    }
    reads.abort();
}

/// What others have spent of a budget does not make a list of all its owners fail.
#[tokio::test(start_paused = true)]
async fn who_asks_patiently_waits_until_the_budget_has_room() {
    let store = MemoryStore::default();
    let one = || Options { owner_inbox: 1, ..Options::default() };
    let (first, _) = node(&store, Counter::default(), one()).await;
    let a = counter("a");
    first.ask::<Counter>(&a, Add(1), call()).await.unwrap();
    first.drain(Duration::from_secs(1)).await;
    store.restart();
    let (cluster, _) = node(&store, Counter::default(), one()).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    store.0.lock().scans = Some(gate.clone());
    let spends = async { cluster.ask::<Counter>(&a, Add(1), call()).await.unwrap() };
    let asks = async {
        let refused = cluster.query::<Counter, _>(&a, &ValueAnd(0)).await;
        assert!(matches!(refused, Err(AskError::TooMany { .. })), "{refused:?}");
        cluster.query_patiently::<Counter, _>(&a, &ValueAnd(0)).await.unwrap()
    };
    let loads = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        gate.add_permits(10);
    };
    let (added, found, ()) = tokio::join!(spends, asks, loads);
    assert_eq!((added, found), (2, 2));
}
