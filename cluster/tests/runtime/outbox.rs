//! Outbox rows: order, hosts that do not answer, dead letters, message ids.

use crate::{
    fresh,
    support::{CounterCommand::*, *},
    until,
};
use cellspace_cluster::*;
use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

async fn send(cluster: &Cluster, to: &str, lane: &str, effect: &str) {
    cluster.ask::<Counter>(&counter(to), Send { lane: lane.into(), effect: effect.into() }, call()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_silent_stops_nobody_else() {
    let store = MemoryStore::default();
    let (cluster, agent) = node(&store, Counter::default(), Options { deliveries: 40, ..Options::default() }).await;
    for n in 0..200 {
        send(&cluster, "a", &format!("s{n}"), &format!("silent/{n}")).await;
    }
    let began = tokio::time::Instant::now();
    // Before the breaker opens the silent host has all the room that a host can have.
    for (owner, effect) in [("a", "good/1"), ("b", "good/2"), ("a", "inside")] {
        send(&cluster, owner, "x", effect).await;
        until(&cluster, owner, |s| s.delivered > 0).await;
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Afterwards it is probed by one row at a time, and no row waits longer than its attempts would have taken.
    until(&cluster, "a", |s| s.given_up == 200).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let attempts = agent.silent.load(Ordering::SeqCst);
    assert!(attempts < 50, "{attempts} attempts at a host that never answers");
}

/// Who is told to come again at once does so; whoever says it again and again is not called without end for that.
#[tokio::test(start_paused = true)]
async fn who_may_come_again_at_once_does_so_once() {
    let (_, cluster, agent) = fresh().await;
    let began = tokio::time::Instant::now();
    send(&cluster, "a", "x", "at-once").await;
    until(&cluster, "a", |s| s.delivered == 1).await;
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    let before = agent.messages.lock().len();
    send(&cluster, "b", "x", "never").await;
    tokio::time::sleep(Duration::from_millis(90)).await;
    assert_eq!(agent.messages.lock().len() - before, 2);
    until(&cluster, "b", |s| s.given_up == 1).await;
    assert_eq!(agent.messages.lock().len() - before, 3);
}

/// More deliveries than an agent has lanes, to hosts that are slow but answer: all get their turn.
#[tokio::test(start_paused = true)]
async fn many_slow_hosts_are_all_served() {
    let (_, cluster, _) = fresh().await;
    for n in 0..200 {
        send(&cluster, "a", &format!("s{n}"), &format!("slow-{}/{n}", n % 100)).await;
    }
    let began = tokio::time::Instant::now();
    until(&cluster, "a", |s| s.delivered == 200).await;
    // 64 at once, 9 s each.
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

/// Hosts that answer, each in its own time, take no room from what is not delivered aside: not of the agent, and not of the node.
#[tokio::test(start_paused = true)]
async fn what_is_delivered_aside_stops_nothing_else() {
    let store = MemoryStore::default();
    let (cluster, _) = node(&store, Counter::default(), Options { deliveries: 80, ..Options::default() }).await;
    for n in 0..200 {
        send(&cluster, "a", &format!("s{n}"), &format!("aside-{}/{n}", n % 100)).await;
    }
    let began = tokio::time::Instant::now();
    for (owner, effect) in [("a", "good/1"), ("b", "good/2"), ("a", "inside")] {
        send(&cluster, owner, "x", effect).await;
        until(&cluster, owner, |s| s.delivered > 0).await;
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    until(&cluster, "a", |s| s.delivered == 202).await;
}

/// Of what is delivered aside one host that is slow has a part of the room only.
#[tokio::test(start_paused = true)]
async fn one_slow_host_aside_leaves_room_for_others() {
    let (_, cluster, _) = fresh().await;
    for n in 0..100 {
        send(&cluster, "a", &format!("s{n}"), &format!("aside-slow/{n}")).await;
    }
    let began = tokio::time::Instant::now();
    send(&cluster, "a", "x", "aside-other/bad").await;
    until(&cluster, "a", |s| s.given_up == 1).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// What nobody waits for takes no room from anything else, a few at once have theirs on the node, and fewer at one host.
#[tokio::test(start_paused = true)]
async fn what_is_delivered_in_the_background_stops_nothing_else() {
    let store = MemoryStore::default();
    let (cluster, _) = node(&store, Counter::default(), Options { deliveries: 640, ..Options::default() }).await;
    for n in 0..40 {
        send(&cluster, &format!("a{}", n % 10), &format!("s{n}"), &format!("background-{}/{n}", n % 20)).await;
    }
    let began = tokio::time::Instant::now();
    for (owner, effect) in [("a0", "good/1"), ("b", "aside-x/bad"), ("a0", "inside")] {
        send(&cluster, owner, "x", effect).await;
        until(&cluster, owner, |s| s.delivered + s.given_up > 0).await;
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    for n in 0..10 {
        until(&cluster, &format!("a{n}"), |s| s.delivered >= 4).await;
    }
    // Ten at once on this node, 9 s each.
    assert!((Duration::from_secs(36)..Duration::from_secs(60)).contains(&began.elapsed()), "{:?}", began.elapsed());
    // Of many agents, four at once to one host.
    let began = tokio::time::Instant::now();
    for n in 0..16 {
        send(&cluster, &format!("c{n}"), "x", &format!("background-one/{n}")).await;
    }
    for n in 0..16 {
        until(&cluster, &format!("c{n}"), |s| s.delivered > 0).await;
    }
    assert!((Duration::from_secs(36)..Duration::from_secs(45)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

/// A few agents whose receivers are slow, whatever they have to tell, leave the background to others.
#[tokio::test(start_paused = true)]
async fn a_few_agents_leave_room_in_the_background() {
    let (_, cluster, _) = fresh().await;
    for agent in 0..7 {
        for n in 0..20 {
            send(&cluster, &format!("a{agent}"), &format!("s{n}"), &format!("background-{agent}-{n}/{n}")).await;
        }
    }
    let began = tokio::time::Instant::now();
    send(&cluster, "b", "x", "background-other/bad").await;
    until(&cluster, "b", |s| s.given_up == 1).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// More hosts that are silent than there are lanes: their breakers come due together, and those who wait for a lane and those who wait for their turn at a
/// host do not pass them round among themselves.
#[tokio::test(start_paused = true)]
async fn more_silent_hosts_than_lanes_are_all_given_up() {
    let (_, cluster, _) = fresh().await;
    for n in 0..600 {
        send(&cluster, "a", &format!("s{n}"), &format!("aside-silent-{}/{n}", n % 60)).await;
    }
    // By hand: time would stand still as long as anything is passed round.
    for _ in 0..600 {
        tokio::time::advance(Duration::from_millis(500)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(cluster.read::<Counter, _>(&counter("a"), |s| s.given_up).await.unwrap(), 600);
}

/// A receiver that takes nothing fills the store up to a bound, and stops nothing that is not aside.
#[tokio::test(start_paused = true)]
async fn undelivered_rows_aside_are_bounded() {
    let (store, cluster, _) = fresh().await;
    for n in 0..10_050 {
        send(&cluster, "a", "x", &format!("aside-1/{n}")).await;
    }
    let kept = cluster.outbox(&counter("a")).await.unwrap().len();
    assert!((9_990..=10_000).contains(&kept), "{kept}");
    send(&cluster, "a", "y", "good/1").await;
    until(&cluster, "a", |s| s.delivered > 0).await;
    // They are counted after a restart too.
    store.restart();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    for n in 0..50 {
        send(&cluster, "a", "x", &format!("aside-1/{n}")).await;
    }
    let kept = cluster.outbox(&counter("a")).await.unwrap().len();
    assert!((9_990..=10_000).contains(&kept), "{kept}");
}

#[tokio::test(start_paused = true)]
async fn message_ids_are_the_same_on_every_attempt_and_never_used_again() {
    let mut all = HashSet::new();
    for _ in 0..2 {
        // Two data directories: commits and rows are numbered alike.
        let (store, cluster, agent) = fresh().await;
        agent.failures.store(1, Ordering::SeqCst);
        send(&cluster, "a", "x", "1").await;
        until(&cluster, "a", |s| s.delivered == 1).await;
        agent.failures.store(u32::MAX, Ordering::SeqCst);
        send(&cluster, "a", "x", "2").await;
        agent.started.notified().await;
        agent.started.notified().await;
        cluster.drain(Duration::from_secs(1)).await;
        store.restart();
        let (cluster, next) = node(&store, Counter::default(), Options::default()).await;
        until(&cluster, "a", |s| s.delivered == 2).await;
        let ids: Vec<_> = agent.messages.lock().iter().chain(next.messages.lock().iter()).copied().collect();
        assert_eq!(ids[0], ids[1], "two attempts");
        assert!(ids.len() >= 4 && ids[2..].iter().all(|id| *id == ids[2]), "also after a restart: {ids:?}");
        all.extend(ids);
    }
    assert_eq!(all.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_what_waits() {
    let (store, cluster, agent) = fresh().await;
    let a = counter("a");
    agent.failures.store(1, Ordering::SeqCst);
    send(&cluster, "a", "x", "1").await;
    send(&cluster, "a", "x", "2").await;
    agent.started.notified().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let rows = cluster.outbox(&a).await.unwrap();
    let seen: Vec<_> = rows.iter().map(|r| (r.lane.as_str(), r.attempts, r.reason.as_deref(), r.next_attempt.is_some())).collect();
    assert_eq!(seen, [("x", 1, Some("not yet"), true), ("x", 0, None, false)]);
    let stand = cluster.explain(&a).await.unwrap();
    assert_eq!((stand.registered, stand.resident, stand.outbox, stand.seq.map(|s| s.0)), (true, true, 2, Some(2)));
    cluster.drain(Duration::from_secs(1)).await;
    store.restart();
    let (cluster, _) =
        (Cluster::new(std::sync::Arc::new(store.clone()), std::sync::Arc::new(store.clone()), TestClock::new(), Options::default()), ());
    cluster.register(agent);
    let stored = cluster.outbox(&a).await.unwrap();
    assert_eq!(stored.iter().map(|r| r.message_id).collect::<Vec<_>>(), rows.iter().map(|r| r.message_id).collect::<Vec<_>>());
    let stand = cluster.explain(&a).await.unwrap();
    assert_eq!((stand.registered, stand.resident, stand.outbox, stand.seq.map(|s| s.0)), (true, false, 2, Some(2)));
    assert!(stand.epoch.is_some() && stand.parked.is_none());
    let audited: Vec<_> = stand.audit.iter().map(|row| (row.seq.0, row.changes.as_slice())).collect();
    let [(2, [last]), (1, [_])] = audited[..] else { panic!("{audited:?}") };
    assert_eq!((last.action.as_str(), last.actor.as_str()), ("counter.sent", call().actor.as_str()));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_bounded_and_hold_no_secrets() {
    let (store, cluster, _) = fresh().await;
    let a = counter("a");
    for n in 0..105 {
        send(&cluster, "a", "x", &format!("bad secret {n}")).await;
    }
    until(&cluster, "a", |s| s.given_up == 105).await;
    let letters = cluster.dead_letters(&a).await.unwrap();
    assert_eq!(letters.len(), 100);
    assert_eq!((letters[0].effect.as_str(), letters[99].effect.as_str()), (Some("bad - 5"), Some("bad - 104")));
    let letter = &letters[0];
    assert_eq!((letter.lane.as_str(), letter.attempts, letter.reason.as_str(), letter.redacted), ("x", 1, "bad", true));
    let disk = format!("{:?}", store.0.lock().partitions.values().next().unwrap().rows);
    assert!(!disk.contains("secret"));
    assert_eq!(cluster.redrive(&a, letter.id, "admin").await, Err(AdminError::Redacted));
    // Also after a restart no more than so many are kept.
    store.restart();
    let (cluster, _) = node(&store, Counter::default(), Options::default()).await;
    send(&cluster, "a", "x", "bad one more").await;
    until(&cluster, "a", |s| s.given_up == 106).await;
    assert_eq!(cluster.dead_letters(&a).await.unwrap().len(), 100);
    assert_eq!(cluster.explain(&a).await.unwrap().dead_letters, 100);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_aside_take_no_place_of_others() {
    let (_, cluster, _) = fresh().await;
    let a = counter("a");
    let mut sent = 0;
    for (effect, count, kept) in [("bad", 10, (10, 0)), ("aside-x/bad", 60, (10, 40)), ("bad", 90, (90, 10)), ("aside-x/bad", 10, (90, 10))]
    {
        for _ in 0..count {
            send(&cluster, "a", "x", effect).await;
        }
        sent += count;
        until(&cluster, "a", |s| s.given_up == sent).await;
        let letters = cluster.dead_letters(&a).await.unwrap();
        let aside = letters.iter().filter(|letter| letter.effect != "bad").count();
        assert_eq!((letters.len() - aside, aside), kept, "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_sent_again_or_thrown_away() {
    let (store, cluster, agent) = fresh().await;
    let a = counter("a");
    agent.failures.store(6, Ordering::SeqCst);
    send(&cluster, "a", "x", "1").await;
    send(&cluster, "a", "x", "2").await;
    until(&cluster, "a", |s| s.given_up == 2).await;
    let letters = cluster.dead_letters(&a).await.unwrap();
    assert_eq!(letters.iter().map(|l| l.reason.as_str()).collect::<Vec<_>>(), ["not yet (after 3 attempts)"; 2]);
    cluster.redrive(&a, letters[0].id, "admin").await.unwrap();
    until(&cluster, "a", |s| s.delivered == 1).await;
    assert_eq!(agent.messages.lock().last(), Some(&letters[0].message_id), "the same message");
    cluster.discard(&a, letters[1].id, "admin").await.unwrap();
    assert!(cluster.dead_letters(&a).await.unwrap().is_empty());
    for letter in &letters {
        assert_eq!(cluster.redrive(&a, letter.id, "admin").await, Err(AdminError::NotFound));
        assert_eq!(cluster.discard(&a, letter.id, "admin").await, Err(AdminError::NotFound));
    }
    let audit = format!("{:?}", store.0.lock().partitions.values().next().unwrap().audit);
    assert!(audit.contains("outbox.redriven") && audit.contains("outbox.discarded") && audit.contains("admin"));
}
