//! Slots that go from node to node, and what goes with them.

use super::*;

#[tokio::test(start_paused = true)]
async fn nodes_share_the_agents_and_hand_them_over_under_load() {
    let place = Place::default();
    place.start("a").await;
    assert!(place.add_to_all(1).await < Duration::from_secs(1), "a cell's first node has nobody to wait for");
    place.start("b").await;
    let mut rounds = 1;
    let loading = async {
        let mut longest = Duration::ZERO;
        while rounds < 40 {
            rounds += 1;
            longest = longest.max(place.add_to_all(rounds).await);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        longest
    };
    let (longest, ()) = tokio::join!(loading, async {
        place.settled(&["a", "b"]).await;
        place.start("c").await;
        place.settled(&["a", "b", "c"]).await;
    });
    // Who is asked for a slot answers when its last turn has ended: nobody asks again and again meanwhile.
    assert!(longest < Duration::from_millis(25), "{longest:?} for an agent that is handed over");
    place.add_to_all(41).await;
    let resident = place.resident();
    assert_eq!(resident.values().sum::<usize>(), OWNERS, "each is in memory once: {resident:?}");
    assert!(resident.values().all(|count| (8..=26).contains(count)), "{resident:?}");
    // Whoever leaves hands over what it has.
    let leaving = place.nodes.lock().get("b").cloned().unwrap();
    let (longest, ()) = tokio::join!(place.add_to_all(42), async {
        leaving.cluster.drain(Duration::from_secs(60)).await;
        place.nodes.lock().remove("b");
    });
    assert!(longest < Duration::from_millis(25), "{longest:?} for an agent of a node that leaves");
    place.settled(&["a", "c"]).await;
    place.add_to_all(43).await;
}

/// A turn that takes its time keeps a slot where it is; whoever takes the slot over hears at once when it has ended, and not when it asks again.
#[tokio::test(start_paused = true)]
async fn a_slot_opens_when_its_last_turn_has_ended_whenever_that_is() {
    for moment in 0..8 {
        let place = Place::default();
        let a = place.start("a").await;
        place.add_to_all(1).await;
        let answers = Arc::new(Semaphore::new(0));
        place.store.0.lock().answers = Some(answers.clone());
        let turns: Vec<_> = (0..OWNERS)
            .map(|n| {
                let cluster = a.cluster.clone();
                tokio::spawn(async move { cluster.ask::<Counter>(&counter(&format!("o{n}")), Add(1), call()).await })
            })
            .collect();
        let b = place.start("b").await;
        let leaving =
            || (0..OWNERS).map(|n| counter(&format!("o{n}"))).filter(|o| a.cell.is_elsewhere(Slot::of(&o.owner))).collect::<Vec<_>>();
        let begun = async {
            while leaving().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), begun).await.expect("slots are handed over");
        tokio::time::sleep(Duration::from_millis(100 + 7 * moment)).await;
        let leaving = leaving();
        let (released, asks) = (Instant::now(), leaving.iter().map(|owner| b.cluster.ask::<Counter>(owner, Add(1), call())));
        answers.add_permits(10 * OWNERS);
        for answer in futures::future::join_all(asks).await {
            assert_eq!(answer.unwrap(), 3);
        }
        assert!(released.elapsed() < Duration::from_millis(5), "{:?}", released.elapsed());
        for turn in turns {
            assert_eq!(turn.await.unwrap().unwrap(), 2);
        }
    }
}

/// Slots go many at a time. One whose agent is in the middle of a long turn stays for as long as that lasts, and keeps none of the others.
#[tokio::test(start_paused = true)]
async fn a_long_turn_keeps_its_own_slot_alone() {
    let place = Place::default();
    let a = place.start("a").await;
    place.add_to_all(1).await;
    // All are in the middle of a turn, each of which ends when it is told to.
    let mut turns = Vec::new();
    for n in 0..OWNERS {
        let (owner, ends) = (counter(&format!("o{n}")), Arc::new(Semaphore::new(0)));
        place.store.0.lock().answers = Some(ends.clone());
        let (cluster, address) = (a.cluster.clone(), owner.clone());
        let turn = tokio::spawn(async move { cluster.ask::<Counter>(&address, Add(1), call()).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
        turns.push((owner, ends, turn));
    }
    place.store.0.lock().answers = None;
    let b = place.start("b").await;
    let is_away = |owner: &Address| a.cell.is_elsewhere(Slot::of(&owner.owner));
    let begun = async {
        while turns.iter().filter(|(owner, ..)| is_away(owner)).count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), begun).await.expect("slots are handed over");
    let (leaving, staying): (Vec<_>, Vec<_>) = turns.into_iter().partition(|(owner, ..)| is_away(owner));
    let (long, short) = leaving.split_first().unwrap();
    let released = Instant::now();
    short.iter().for_each(|(_, ends, _)| ends.add_permits(1));
    for (owner, ..) in short {
        assert_eq!(b.cluster.ask::<Counter>(owner, Add(1), call()).await.unwrap(), 3, "{owner}");
    }
    assert!(released.elapsed() < Duration::from_millis(5), "{:?}", released.elapsed());
    assert!(!b.cluster.serves(&long.0), "its turn has not ended");
    long.1.add_permits(1);
    assert_eq!(b.cluster.ask::<Counter>(&long.0, Add(1), call()).await.unwrap(), 3);
    assert!(released.elapsed() < Duration::from_millis(5), "{:?}", released.elapsed());
    staying.iter().for_each(|(_, ends, _)| ends.add_permits(1));
    for (owner, _, turn) in leaving.into_iter().chain(staying) {
        assert_eq!(turn.await.unwrap().unwrap(), 2, "{owner}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_serves_nothing_and_the_others_go_on() {
    let place = Place::default();
    for name in ["a", "b", "c"] {
        place.start(name).await;
    }
    place.settled(&["a", "b", "c"]).await;
    place.add_to_all(1).await;
    let lost = place.nodes.lock().get("b").cloned().unwrap();
    let its: Vec<String> = (0..OWNERS).map(|n| format!("o{n}")).collect();
    let reads = |name: &String| {
        let (cluster, address) = (lost.cluster.clone(), counter(name));
        async move { cluster.read::<Counter, _>(&address, |s| s.value).await.ok().map(|_| address) }
    };
    let its: Vec<Address> = futures::future::join_all(its.iter().map(reads)).await.into_iter().flatten().collect();
    assert!(its.len() > 5);
    // Rows that it does not come to deliver.
    lost.agent.gate.as_ref().unwrap().forget_permits(DELIVERIES);
    let first = its[0].clone();
    lost.cluster.ask::<Counter>(&first, Send { lane: "x".into(), effect: "x1".into() }, call()).await.unwrap();
    lost.cut.store(true, Ordering::SeqCst);
    let longest = place.add_to_all(2).await;
    assert!(longest <= Duration::from_secs(5), "{longest:?} until the agents of a lost node answered");
    for address in &its {
        let read = lost.cluster.read::<Counter, _>(address, |s| s.value).await;
        assert!(matches!(read, Err(AskError::Unavailable { .. })), "it must not answer from what it has: {read:?}");
        assert!(lost.cluster.ask::<Counter>(address, Add(100), call()).await.is_err());
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sent: usize = ["a", "c"].iter().map(|name| place.nodes.lock()[*name].agent.sent.lock().len()).sum();
    assert_eq!(sent, 1, "its rows are delivered by whoever has the slot now");
    // It comes to know that it was given up, and its process ends.
    lost.cut.store(false, Ordering::SeqCst);
    lost.cell.over().await;
    place.nodes.lock().remove("b");
    place.add_to_all(3).await;
}

/// That the rows can be read is no reason to go on: who cannot renew serves nothing, and the others go on; when nobody can, nobody serves.
#[tokio::test(start_paused = true)]
async fn rows_that_can_be_read_alone_keep_nobody_serving() {
    let place = Place::default();
    for name in ["a", "b", "c"] {
        place.start(name).await;
    }
    place.settled(&["a", "b", "c"]).await;
    place.add_to_all(1).await;
    let lost = place.nodes.lock().remove("b").unwrap();
    lost.reads_only.store(true, Ordering::SeqCst);
    let longest = place.add_to_all(2).await;
    assert!(longest <= Duration::from_secs(5), "{longest:?} until the agents of a lost node answered");
    lost.cell.over().await;
    assert_eq!(lost.cell.why_over().map(ToString::to_string).as_deref(), Some("the other nodes have taken this node's lease away"));
    for n in 0..OWNERS {
        let (read, name) = (|s: &CounterState| s.value, format!("o{n}"));
        assert!(lost.cluster.read::<Counter, _>(&counter(&name), read).await.is_err(), "{name}");
    }

    let nodes = place.nodes.lock().clone();
    let all = |reads_only| nodes.values().for_each(|node| node.reads_only.store(reads_only, Ordering::SeqCst));
    all(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    for node in nodes.values() {
        for n in 0..OWNERS {
            let refused = node.cluster.ask::<Counter>(&counter(&format!("o{n}")), Add(100), call()).await;
            assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
        }
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    all(false);
    place.add_to_all(3).await;
}

/// Nobody else can have served its agents: what is in memory is still true.
#[tokio::test(start_paused = true)]
async fn without_the_rows_nobody_serves_and_all_go_on_when_they_are_back() {
    let place = Place::default();
    for name in ["a", "b"] {
        place.start(name).await;
    }
    place.settled(&["a", "b"]).await;
    place.add_to_all(1).await;
    let resident = place.resident();
    place.rows.set_out(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let nodes = place.nodes.lock().clone();
    for node in nodes.values() {
        let refused = node.cluster.ask::<Counter>(&counter("o1"), Add(1), call()).await;
        assert!(matches!(refused, Err(AskError::Unavailable { .. })), "{refused:?}");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    place.rows.set_out(false);
    let longest = place.add_to_all(2).await;
    assert!(longest <= Duration::from_secs(1), "{longest:?}");
    assert_eq!(place.resident(), resident, "what was in memory was kept");
    assert_eq!(place.rows.view().await.unwrap().unwrap().deal.to.len(), 2, "nobody was taken for dead");
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_handed_over_although_its_agents_wait_to_be_loaded() {
    let place = Place::default();
    let a = place.start("a").await;
    place.settled(&["a"]).await;
    let (all, gate) = sleepers(&place, &a, 400, Add(1)).await;
    let before = place.store.0.lock().scanned;
    let asking = all.iter().map(|address| {
        let (cluster, address) = (a.cluster.clone(), address.clone());
        tokio::spawn(async move { cluster.ask::<Counter>(&address, Add(1), call()).await })
    });
    let asking: Vec<_> = asking.collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let loading = place.store.0.lock().scanned - before;
    assert!(loading < all.len() && a.cluster.resident::<Counter>() == all.len(), "{loading} load, and the others wait for them");
    place.start("b").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let waiting = a.cluster.resident::<Counter>() - loading;
    assert!(waiting < (all.len() - loading) * 3 / 4, "{waiting} wait, of whom half are not this node's any more");
    gate.add_permits(10 * all.len());
    for answer in futures::future::join_all(asking).await {
        let answer = answer.unwrap();
        assert!(matches!(answer, Ok(2) | Err(AskError::Unavailable { .. })), "{answer:?}");
    }
}

/// Tells its node's name of every slot, and notes what it hears.
#[derive(Default)]
struct Note {
    name: String,
    heard: Mutex<BTreeMap<u16, Option<String>>>,
}

impl SlotMemory for Note {
    fn tell(&self, opening: Opening) -> Option<Box<RawValue>> {
        RawValue::from_string(format!("\"{} of {}\"", self.name, opening.slot.number())).ok()
    }

    fn hear(&self, slot: Slot, told: Option<&RawValue>) {
        self.heard.lock().insert(slot.number(), told.map(|told| told.get().trim_matches('"').to_owned()));
    }
}

/// What a node knows of a slot goes with it, from the one that had it last; of the dead nobody knows anything.
#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_slot_goes_where_it_goes() {
    let place = Place::default();
    let start = async |name: &str| {
        let node = place.start(name).await;
        let note = Arc::new(Note { name: name.to_owned(), ..Note::default() });
        node.cell.remember(note.clone());
        (node, note)
    };
    let (_, of_a) = start("a").await;
    place.settled(&["a"]).await;
    let (b, of_b) = start("b").await;
    place.settled(&["a", "b"]).await;
    let heard = of_b.heard.lock().clone();
    assert!(heard.len() > 1_000, "{}", heard.len());
    assert!(heard.iter().all(|(slot, told)| *told == Some(format!("a of {slot}"))), "{heard:?}");
    let (c, of_c) = start("c").await;
    place.settled(&["a", "b", "c"]).await;
    let of_others = of_c.heard.lock().clone();
    assert!(of_others.len() > 1_000 && of_others.values().all(Option::is_some), "{of_others:?}");
    c.cluster.leave(Duration::from_secs(60)).await;
    place.settled(&["a", "b"]).await;
    for (name, note) in [("a", &of_a), ("b", &of_b)] {
        let back = note.heard.lock().clone();
        let of_c = back.iter().filter(|(_, told)| told.as_ref().is_some_and(|told| told.starts_with('c'))).count();
        assert!(of_c > 300, "{name}: {of_c}");
    }
    let heard = of_b.heard.lock().clone();
    assert!(heard.values().all(Option::is_some));
    of_a.heard.lock().clear();
    b.cut.store(true, Ordering::SeqCst);
    place.settled(&["a"]).await;
    let back = of_a.heard.lock().clone();
    assert!(back.len() > 1_000 && back.keys().all(|slot| heard.contains_key(slot)) && back.values().all(Option::is_none), "{back:?}");
}

/// Whether an agent works that failed again and again is for the node to find out that has it now; when it comes back it is not given up still.
#[tokio::test(start_paused = true)]
async fn an_agent_is_parked_for_as_long_as_its_node_has_it() {
    let place = Place::default();
    let (a, b, its) = one_of_the_others(&place).await;
    for _ in 0..3 {
        assert!(b.cluster.ask::<Counter>(&its, Panic, call()).await.is_err());
    }
    assert_eq!(b.cluster.parked().into_iter().map(|(address, _)| address).collect::<Vec<_>>(), std::slice::from_ref(&its));
    assert!(matches!(b.cluster.ask::<Counter>(&its, Add(1), call()).await, Err(AskError::Parked { .. })));
    b.cluster.drain(Duration::from_secs(60)).await;
    assert_eq!(a.cluster.ask::<Counter>(&its, Add(1), call()).await.unwrap(), 2);
    // At the other one, for which it comes and goes while both live.
    for _ in 0..3 {
        assert!(a.cluster.ask::<Counter>(&its, Panic, call()).await.is_err());
    }
    assert_eq!(a.cluster.parked().len(), 1);
    place.nodes.lock().remove("b");
    place.start("b").await;
    place.settled(&["a", "b"]).await;
    assert!(a.cell.is_elsewhere(Slot::of(&its.owner)) && a.cluster.parked().is_empty());
    assert_eq!(a.cluster.ask_anywhere::<Counter>(&its, Add(1), call()).await.unwrap(), 3);
}
