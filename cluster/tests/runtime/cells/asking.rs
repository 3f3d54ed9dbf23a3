//! Agents that are asked by way of any node, and what is known of an answer that does not come.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_outside_finds_agents_wherever_they_are_and_is_no_member() {
    let place = Place::default();
    // It waits for a cell to be there.
    let gateway = place.start_as("gateway", Cell::outside).await;
    let a = place.start("a").await;
    gateway.cell.joined().await;
    add_by_way_of(&gateway, 1).await;
    place.start("b").await;
    for round in 2..10 {
        add_by_way_of(&gateway, round).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    place.settled(&["a", "b"]).await;
    add_by_way_of(&gateway, 10).await;
    assert!(!gateway.cell.is_member() && place.resident()["gateway"] == 0);
    assert_eq!(place.rows.leases().await.unwrap().into_iter().map(|lease| lease.node.0).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(gateway.cell.shares().values().sum::<usize>(), 4_096);
    assert!(matches!(gateway.cluster.prove().await, Err(Unproven::NoSlot)));
    a.cluster.prove().await.unwrap();
    // That it can read is not enough, nor that it has the lease.
    place.store.0.lock().reads_only = true;
    assert!(matches!(a.cluster.prove().await, Err(Unproven::Store(_))));
    place.store.0.lock().reads_only = false;
    a.cluster.prove().await.unwrap();
    place.store.0.lock().claims.values_mut().for_each(|held| held.view += 1_000);
    assert!(matches!(a.cluster.prove().await, Err(Unproven::Newer)));
    // Its end is nobody's business.
    gateway.cluster.drain(Duration::from_secs(1)).await;
    // Without its lease a node shows nothing.
    a.cut.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(a.cluster.prove().await, Err(Unproven::NoSlot)));
}

#[tokio::test(start_paused = true)]
async fn agents_are_asked_by_way_of_any_node_also_while_they_are_handed_over() {
    let place = Place::default();
    let a = place.start("a").await;
    add_by_way_of(&a, 1).await;
    let (b, c) = (place.start("b").await, place.start("c").await);
    let mut round = 1;
    let asking = async {
        while round < 60 {
            round += 1;
            add_by_way_of([&a, &b, &c][usize::try_from(round).unwrap() % 3], round).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    tokio::join!(asking, place.settled(&["a", "b", "c"]));
    add_by_way_of(&b, 61).await;
    let resident = place.resident();
    assert!(resident.values().all(|count| *count > 5) && resident.values().sum::<usize>() == OWNERS, "{resident:?}");
    assert!((1..=2).contains(&place.most_hops.load(Ordering::SeqCst)));
    // What is said of a command travels as it is: by way of every node the same.
    for node in [&a, &b, &c] {
        let key = || Call { idempotency: IdempotencyKey::parse("once"), ..call() };
        assert_eq!(node.cluster.ask_anywhere::<Counter>(&counter("o1"), Add(7), key()).await.unwrap(), 68, "a repeat");
        assert!(matches!(node.cluster.ask_anywhere::<Counter>(&counter("o1"), Add(8), key()).await, Err(AskError::KeyReused)));
        let refused = node.cluster.ask_anywhere::<Counter>(&counter("o1"), Refuse, call()).await;
        assert!(matches!(refused, Err(AskError::Refused(Refused))), "{refused:?}");
        let nobody = node.cluster.ask_anywhere::<Counter>(&counter("nobody"), Refuse, call()).await;
        assert!(matches!(nobody, Err(AskError::NotRegistered)), "{nobody:?}");
        assert!(matches!(node.cluster.query::<Counter, _>(&counter("nobody"), &ValueAnd(1)).await, Err(AskError::NotRegistered)));
    }
}

/// What a command brings about belongs to the trace of whoever asked, at whichever node it is executed.
#[tokio::test(start_paused = true)]
async fn a_trace_goes_along_to_another_node() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let place = Place::default();
    let a = place.start("a").await;
    place.start("b").await;
    place.settled(&["a", "b"]).await;
    let of_b = (0..OWNERS).map(|n| counter(&format!("o{n}"))).find(|address| !a.cluster.serves(address)).unwrap();
    let trace = cellspace_schemas::TraceContext::parse(&format!("00-{TRACE}-00f067aa0ba902b7-01"));
    a.cluster.ask_anywhere::<Counter>(&of_b, Fact("k".into()), Call { trace, ..call() }).await.unwrap();
    let event: serde_json::Value = serde_json::from_slice(&place.store.0.lock().published[0].payload).unwrap();
    assert!(event["traceparent"].as_str().unwrap().contains(TRACE), "{event}");
}

/// A command that may have been executed is unknown, whoever asks; a question is not, and goes on where the agent is then.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_unknown() {
    let place = Place::default();
    let a = place.start("a").await;
    place.start("b").await;
    place.settled(&["a", "b"]).await;
    add_by_way_of(&a, 1).await;
    let b = place.nodes.lock().get("b").cloned().unwrap();
    let its = (0..OWNERS).map(|n| counter(&format!("o{n}")));
    let its: Vec<Address> = its.filter(|address| b.cluster.serves(address)).collect();
    let (executed, given_up) = (its[0].clone(), its[1].clone());
    // It is cut off while it prepares: the command is executed, the answer does not come.
    let asking = tokio::spawn({
        let (a, executed) = (a.clone(), executed.clone());
        async move {
            a.cluster.ask_anywhere::<Counter>(&executed, Slow("x".into()), Call { idempotency: IdempotencyKey::parse("k"), ..call() }).await
        }
    });
    while b.agent.prepared.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    b.cut.store(true, Ordering::SeqCst);
    b.agent.prepares.as_ref().unwrap().add_permits(1);
    let lost = asking.await.unwrap();
    assert!(matches!(lost, Err(AskError::Unknown { .. })), "{lost:?}");
    let unsaid = a.cluster.ask_anywhere::<Counter>(&given_up, Add(1), call()).await;
    assert!(matches!(unsaid, Err(AskError::Unknown { .. })), "a link that lost what it was given does not know: {unsaid:?}");
    let (mut value, began) = (None, Instant::now());
    while value.is_none() && began.elapsed() < Duration::from_secs(10) {
        value = a.cluster.query::<Counter, _>(&executed, &ValueAnd(0)).await.ok();
    }
    let again =
        a.cluster.ask_anywhere::<Counter>(&executed, Slow("x".into()), Call { idempotency: IdempotencyKey::parse("k"), ..call() }).await;
    assert_eq!((value, again.unwrap()), (Some(2), 2), "it was executed once");
}

/// However many wait for a newer view, the rows are read at their own pace, and nothing is written for it.
#[tokio::test(start_paused = true)]
async fn who_looks_for_news_neither_renews_nor_reads_for_itself() {
    let place = Place::default();
    let a = place.start("a").await;
    place.settled(&["a"]).await;
    let renew = Terms::default().renew;
    let renewals = || async { place.rows.leases().await.unwrap()[0].counter };
    let (version, began) = (a.cell.version(), Instant::now());
    let (renewed, read) = (renewals().await, place.looks.load(Ordering::SeqCst));
    let until = began + renew * 20;
    let waiting = (0..100).map(|_| async {
        while Instant::now() < until {
            let asked = Instant::now();
            a.cell.news(version, until).await;
            assert!(asked.elapsed() == Duration::from_millis(500) || Instant::now() == until, "there is none: {:?}", asked.elapsed());
            a.cluster.ask::<Counter>(&counter("o1"), Add(1), call()).await.unwrap();
        }
    });
    futures::future::join_all(waiting).await;
    let (renewed, read) = (renewals().await - renewed, place.looks.load(Ordering::SeqCst) - read);
    assert!((19..=21).contains(&renewed), "{renewed} renewals");
    assert!((30..=84).contains(&read), "the view was read {read} times for {renewed} renewals");
    // One that comes is heard of at once.
    let mut next = a.cell.view().unwrap();
    next.version += 1;
    let asked = Instant::now();
    let shown = next.clone();
    let (a, change) = (&a, place.rows.change_view(next));
    tokio::join!(a.cell.news(version, asked + renew), async {
        assert_eq!(change.await, Swap::Applied);
        a.cell.shown(shown).unwrap();
    });
    assert_eq!((a.cell.version(), asked.elapsed()), (version + 1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_tried_again_for_as_long_as_a_node_may_take_to_be_found_dead() {
    let place = Place::default();
    let (a, _b, its) = one_of_the_others(&place).await;
    place.refusing.store(true, Ordering::SeqCst);
    let (value, ()) = tokio::join!(a.cluster.ask_anywhere::<Counter>(&its, Add(1), call()), async {
        tokio::time::sleep(Terms::default().patience() + Terms::default().renew).await;
        place.refusing.store(false, Ordering::SeqCst);
    });
    assert_eq!(value.unwrap(), 2);
    // Not for ever, and not longer than is waited for it.
    place.refusing.store(true, Ordering::SeqCst);
    for (timeout, longest) in [(Duration::from_secs(60), Terms::default().patience() * 2), (Duration::from_secs(1), Duration::from_secs(1))]
    {
        let began = Instant::now();
        let refused = a.cluster.ask_anywhere::<Counter>(&its, Add(1), Call { timeout, ..call() }).await;
        assert!(matches!(refused, Err(AskError::Unavailable { .. })) && began.elapsed() <= longest, "{refused:?} {:?}", began.elapsed());
    }
}

/// What the other node knows at the end of the time is not made unknown by its way back.
#[tokio::test(start_paused = true)]
async fn a_definite_answer_at_the_end_of_the_time_arrives() {
    let place = Place::default();
    let (a, b, its) = one_of_the_others(&place).await;
    place.far.store(200, Ordering::SeqCst);
    for timeout in [Duration::from_secs(20), Duration::from_secs(1)] {
        let began = Instant::now();
        // Its preparation does not end: nothing is executed.
        let answer = a.cluster.ask_anywhere::<Counter>(&its, Slow("x".into()), Call { timeout, ..call() }).await;
        assert!(matches!(answer, Err(AskError::Unavailable { .. })), "{answer:?}");
        assert!(began.elapsed() <= timeout);
    }
    b.agent.prepares.as_ref().unwrap().add_permits(1);
    assert_eq!(a.cluster.ask_anywhere::<Counter>(&its, Slow("x".into()), call()).await.unwrap(), 2);
}

/// Who is no member is shown nothing: it hears of each step of a hand-over as soon as somebody asks for it, however soon they follow each other.
#[tokio::test(start_paused = true)]
async fn one_that_only_follows_hears_of_each_step_when_it_looks() {
    let place = Place::default();
    place.start("a").await;
    place.settled(&["a"]).await;
    let gateway = place.start_as("g", Cell::outside).await;
    gateway.cell.joined().await;
    for _ in 0..40 {
        let mut next = place.rows.view().await.unwrap().unwrap();
        next.version += 1;
        let version = next.version;
        assert_eq!(place.rows.change_view(next).await, Swap::Applied);
        let asked = Instant::now();
        gateway.cell.news(version - 1, asked + Duration::from_secs(5)).await;
        assert_eq!(gateway.cell.version(), version);
        assert!(asked.elapsed() < Duration::from_millis(5), "{:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
