//! What slots left undone, and what has to wait for a lease.

use super::*;

/// Whatever slots open, only what is in them is woken; the others' entries are not even read.
#[tokio::test(start_paused = true)]
async fn what_a_slot_left_undone_is_taken_up_with_it_and_nothing_else_is_read() {
    let place = Place::default();
    let a = place.start("a").await;
    place.settled(&["a"]).await;
    a.agent.gate.as_ref().unwrap().forget_permits(DELIVERIES);
    let all: Vec<Address> = (0..OWNERS).map(|n| counter(&format!("o{n}"))).collect();
    for address in &all {
        a.cluster.ask::<Counter>(address, Send { lane: "x".into(), effect: "x".into() }, call()).await.unwrap();
    }
    place.store.0.lock().woken.clear();
    let b = place.start("b").await;
    place.settled(&["a", "b"]).await;
    let its: Vec<_> = all.iter().filter(|address| b.cluster.serves(address)).map(Address::partition).collect();
    let began = Instant::now();
    while b.agent.sent.lock().len() < its.len() {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?} of {}", b.agent.sent.lock().len(), its.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut woken = std::mem::take(&mut place.store.0.lock().woken);
    woken.sort();
    let mut expected = its.clone();
    expected.sort();
    assert!(its.len() > 5 && woken == expected, "{woken:?}");
}

/// A deadline that passes while the node has lost its lease fires when it has it again.
#[tokio::test(start_paused = true)]
async fn a_deadline_outlives_a_lost_lease() {
    let place = Place::default();
    let a = place.start("a").await;
    let clock = TestClock::new();
    let at = clock.now().plus(Duration::from_secs(10));
    place.ask("o1", Alarm { at }).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    place.rows.set_out(true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(a.cluster.read::<Counter, _>(&counter("o1"), |s| s.alarms).await.is_err());
    place.rows.set_out(false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(a.cluster.read::<Counter, _>(&counter("o1"), |s| s.alarms).await.unwrap(), 1);
}

/// Nobody reads the index again within the half hour: what it said while the lease was gone counts.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_read_without_the_lease_is_kept() {
    let place = Place::default();
    let a = place.start("a").await;
    let began = Instant::now();
    // Too far to be held in memory when it is set and when its agent goes; and the two readings until then are without the lease.
    let at = a.cluster.now().plus(Duration::from_secs(4_600));
    place.ask("o1", Alarm { at }).await;
    tokio::time::sleep_until(began + Duration::from_secs(900)).await;
    assert_eq!(a.cluster.resident::<Counter>(), 0);
    for reading in [1_800, 3_600] {
        tokio::time::sleep_until(began + Duration::from_secs(reading - 10)).await;
        place.rows.set_out(true);
        tokio::time::sleep_until(began + Duration::from_secs(reading + 20)).await;
        assert!(!a.cluster.serves(&counter("o1")));
        place.rows.set_out(false);
    }
    assert_eq!((place.due(), a.cluster.resident::<Counter>()), (1, 0));
    tokio::time::sleep_until(began + Duration::from_secs(4_610)).await;
    assert_eq!(place.due(), 0, "it rang");
}

#[tokio::test(start_paused = true)]
async fn who_waits_to_be_woken_outlives_a_lost_lease() {
    let place = Place::default();
    let a = place.start("a").await;
    place.settled(&["a"]).await;
    let at = a.cluster.now().plus(Duration::from_secs(1_000));
    let (all, gate) = sleepers(&place, &a, 100, Alarm { at }).await;
    while a.cluster.now() < at.plus(Duration::from_secs(1)) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let waking = a.cluster.resident::<Counter>();
    assert!((1..all.len()).contains(&waking), "{waking} load, and the others wait for them");
    place.rows.set_out(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    gate.add_permits(10 * all.len());
    tokio::time::sleep(Duration::from_secs(5)).await;
    place.rows.set_out(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(place.due(), 0, "all rang");
}

/// A node that starts finds out what all agents need from those of one owner: whatever slots are open, nobody else's run before that is said.
#[tokio::test(start_paused = true)]
async fn agents_run_when_the_first_ones_have_told_what_they_need() {
    let place = Place::default();
    let a = place.start("a").await;
    let b = place.start("b").await;
    place.settled(&["a", "b"]).await;
    let all = (0..OWNERS).map(|n| counter(&format!("o{n}")));
    let its: Vec<Address> = all.filter(|address| b.cluster.serves(address)).collect();
    b.agent.gate.as_ref().unwrap().forget_permits(DELIVERIES);
    for address in &its {
        b.cluster.ask::<Counter>(address, Send { lane: "x".into(), effect: "x".into() }, call()).await.unwrap();
    }
    a.agent.gate.as_ref().unwrap().forget_permits(DELIVERIES);
    b.cluster.drain(Duration::from_secs(10)).await;
    place.settled(&["a"]).await;

    let [first, other] = [&its[0], &its[1]];
    place.store.0.lock().woken.clear();
    let b = place.start_as("b", |options| {
        let cell = Cell::new(options);
        cell.run_first(first.owner.clone());
        cell
    });
    let b = b.await;
    place.settled(&["a", "b"]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(b.cluster.serves(first) && !b.cluster.serves(other) && !b.cell.runs_all(Instant::now() + Duration::from_secs(1)).await);
    assert_eq!(a.cluster.ask_anywhere::<Counter>(first, Add(1), call()).await.unwrap(), 1);
    for node in [&a, &b] {
        let refused = node.cluster.ask_anywhere::<Counter>(other, Add(1), call()).await;
        assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
    }
    assert_eq!(b.cluster.resident::<Counter>(), 1);
    assert!(place.store.0.lock().woken.is_empty(), "nobody is looked for who may not run");

    let (waited, ()) = tokio::join!(b.cluster.ask::<Counter>(other, Add(1), call()), async { b.cell.run_all() });
    assert_eq!(waited.unwrap(), 1, "who came before that is answered");
    let began = Instant::now();
    while b.agent.sent.lock().len() < its.len() {
        assert!(began.elapsed() < Duration::from_secs(1), "{} of {}", b.agent.sent.lock().len(), its.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
