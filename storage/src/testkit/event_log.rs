//! Promises of [`EventLog`].

use super::turn::{Turn, partition};
use crate::{
    DeadLetter, EventLog, EventRecord, Group, Offset, Partitions, Publication, Topic,
    event_log::{Replayed, replay},
};

/// Runs all checks.
pub async fn all(log: &dyn EventLog) {
    topics_keep_their_order(log).await;
    waiting_ends_with_the_event(log).await;
    groups_only_move_forward(log).await;
    events_stay_until_all_groups_have_passed(log).await;
    dead_letters_say_why(log).await;
    dead_letters_are_published_again_once(log).await;
}

/// What commits promise of their events: those of a commit that landed come, in order, and no others.
pub async fn commits_publish(partitions: &dyn Partitions, log: &dyn EventLog) {
    let (t, key) = (topic("tk.commits"), partition("tk-log", "k", "one"));
    let claim = partitions.claim(&key, 1).await.unwrap();
    Turn::after(&key, claim)
        .publish("tk.commits", "a", "1")
        .publish("tk.commits.x", "a", "x")
        .publish("tk.commits", "a", "2")
        .applied(partitions)
        .await;
    let refused = Turn::after(&key, claim).numbered(99).publish("tk.commits", "a", "never");
    assert_eq!(refused.commit(partitions).await, crate::CommitOutcome::Fenced);
    Turn::after(&key, claim).numbered(2).publish("tk.commits", "a", "3").applied(partitions).await;
    // One after the other: nobody waits beyond the end of what is there.
    for after in 0..3 {
        log.wait(&t, Offset(after)).await.unwrap();
    }
    assert_eq!(payloads(log, &t, 0).await, [(1, "1".into()), (2, "2".into()), (3, "3".into())]);
}

fn topic(name: &str) -> Topic {
    Topic(name.to_owned())
}

async fn payloads(log: &dyn EventLog, topic: &Topic, after: u64) -> Vec<(u64, String)> {
    let events = log.fetch(topic, Offset(after), 1_000).await.unwrap();
    let text = |event: EventRecord| (event.offset.0, String::from_utf8(event.payload.to_vec()).unwrap());
    events.into_iter().map(text).collect()
}

async fn publish(log: &dyn EventLog, key: &str, events: &[(&str, &str)]) {
    let event = |(topic, payload): &(&str, &str)| Publication {
        topic: Topic((*topic).to_owned()),
        key: key.to_owned(),
        payload: (*payload).to_owned().into(),
    };
    log.publish(events.iter().map(event).collect()).await.unwrap();
}

async fn topics_keep_their_order(log: &dyn EventLog) {
    let (a, ab) = (topic("tk.order.a"), topic("tk.order.ab"));
    assert_eq!(payloads(log, &a, 0).await, []);
    publish(log, "one", &[("tk.order.a", "1"), ("tk.order.ab", "x"), ("tk.order.a", "2")]).await;
    publish(log, "two", &[("tk.order.a", "3")]).await;
    assert_eq!(payloads(log, &a, 0).await, [(1, "1".into()), (2, "2".into()), (3, "3".into())]);
    assert_eq!(payloads(log, &a, 1).await, [(2, "2".into()), (3, "3".into())]);
    assert_eq!(payloads(log, &a, 3).await, []);
    assert_eq!(payloads(log, &a, u64::MAX).await, []);
    assert_eq!(payloads(log, &ab, 0).await, [(1, "x".into())]);
    let first = log.fetch(&a, Offset(0), 1).await.unwrap();
    assert_eq!(first.iter().map(|event| event.key.as_str()).collect::<Vec<_>>(), ["one"]);
}

async fn waiting_ends_with_the_event(log: &dyn EventLog) {
    let t = topic("tk.wait");
    let waiting = async {
        log.wait(&t, Offset(0)).await.unwrap();
        payloads(log, &t, 0).await
    };
    let (seen, ()) = futures::join!(waiting, publish(log, "wait", &[("tk.wait", "now")]));
    assert_eq!(seen, [(1, "now".into())], "what was waited for can be fetched");
    log.wait(&t, Offset(0)).await.unwrap();
    let (second, ()) = futures::join!(log.wait(&t, Offset(1)), publish(log, "wait", &[("tk.wait", "again")]));
    second.unwrap();
}

async fn groups_only_move_forward(log: &dyn EventLog) {
    let t = topic("tk.groups");
    let (g, other) = (Group("g".into()), Group("g2".into()));
    publish(log, "groups", &[("tk.groups", "1"), ("tk.groups", "2"), ("tk.groups", "3")]).await;
    assert_eq!(log.committed(&t, &g).await.unwrap(), Offset(0));
    assert_eq!(log.committed(&t, &other).await.unwrap(), Offset(0));
    for (commit, expect) in [(2, 2), (1, 2), (0, 2), (3, 3), (u64::MAX, 3)] {
        log.commit(&t, &g, Offset(commit)).await.unwrap();
        assert_eq!(log.committed(&t, &g).await.unwrap(), Offset(expect), "after {commit}");
    }
    assert_eq!(log.committed(&t, &other).await.unwrap(), Offset(0));
}

async fn events_stay_until_all_groups_have_passed(log: &dyn EventLog) {
    let t = topic("tk.trim");
    let (fast, slow) = (Group("fast".into()), Group("slow".into()));
    assert_eq!(log.committed(&t, &slow).await.unwrap(), Offset(0));
    assert_eq!(log.committed(&t, &fast).await.unwrap(), Offset(0));
    publish(log, "trim", &[("tk.trim", "1"), ("tk.trim", "2"), ("tk.trim", "3")]).await;
    log.commit(&t, &fast, Offset(3)).await.unwrap();
    assert_eq!(payloads(log, &t, 0).await.len(), 3, "the slow group needs them");
    log.commit(&t, &slow, Offset(2)).await.unwrap();
    assert_eq!(payloads(log, &t, 2).await, [(3, "3".into())]);
    log.commit(&t, &slow, Offset(3)).await.unwrap();
    publish(log, "trim", &[("tk.trim", "4")]).await;
    assert_eq!(payloads(log, &t, 3).await, [(4, "4".into())], "offsets go on after everything was trimmed");
}

async fn dead_letters_say_why(log: &dyn EventLog) {
    let (t, dead) = (topic("tk.poison"), topic("tk.poison.dead"));
    publish(log, "poison", &[("tk.poison", r#"{"a":1}"#), ("tk.poison", "not json")]).await;
    for event in log.fetch(&t, Offset(0), 10).await.unwrap() {
        log.dead_letter(&t, event, "cannot read it".to_owned()).await.unwrap();
    }
    let before = log.topics_with_dead_letters().await.unwrap();
    assert!(before.contains(&t) && !before.contains(&dead), "{before:?}");
    let letters = log.dead_letters(&t, Offset(0), 10).await.unwrap();
    let expected = [(1, serde_json::json!({ "a": 1 })), (2, "not json".into())];
    let expected: Vec<DeadLetter> = expected
        .into_iter()
        .map(|(offset, event)| DeadLetter {
            position: Offset(offset),
            key: "poison".to_owned(),
            topic: t.clone(),
            offset: Offset(offset),
            reason: "cannot read it".to_owned(),
            event,
        })
        .collect();
    assert_eq!(letters, expected);
    assert_eq!(log.dead_letters(&t, Offset(1), 10).await.unwrap(), expected[1..]);
    assert_eq!(log.dead_letters(&t, Offset(0), 1).await.unwrap(), expected[..1]);
    assert_eq!(log.dead_letters(&dead, Offset(0), 10).await.unwrap(), [], "a letter has none itself");
    assert_eq!(log.fetch(&dead, Offset(0), 10).await.unwrap().len(), 2);
}

async fn dead_letters_are_published_again_once(log: &dyn EventLog) {
    let t = topic("tk.again");
    publish(log, "again", &[("tk.again", r#"{"b": 1, "a": 2}"#), ("tk.again", "not json")]).await;
    let events = log.fetch(&t, Offset(0), 10).await.unwrap();
    for event in &events {
        log.dead_letter(&t, event.clone(), "not now".to_owned()).await.unwrap();
    }
    let published = |published: u64| Replayed { published, gone: 0 };
    assert_eq!(replay(log, &t).await.unwrap(), published(2));
    let again = log.fetch(&t, Offset(2), 10).await.unwrap();
    let content = |events: &[EventRecord]| events.iter().map(|event| (event.key.clone(), event.payload.clone())).collect::<Vec<_>>();
    assert_eq!(content(&again), content(&events), "they come as they were");
    assert_eq!(replay(log, &t).await.unwrap(), published(0), "and once");
    log.dead_letter(&t, again[0].clone(), "still not".to_owned()).await.unwrap();
    assert_eq!(replay(log, &t).await.unwrap(), published(1));
    // One that never came to its topic, and one that was too long for a letter and is gone.
    let never = EventRecord { offset: Offset(0), key: "again".to_owned(), payload: "never".into() };
    log.dead_letter(&t, never, "not taken".to_owned()).await.unwrap();
    let gone = EventRecord { offset: Offset(9_999), key: "again".to_owned(), payload: "null".into() };
    log.dead_letter(&t, gone, "too long".to_owned()).await.unwrap();
    // Another event stands where these stood: the topic was made anew.
    let other = |key: &str, payload| EventRecord { offset: Offset(1), key: key.to_owned(), payload };
    log.dead_letter(&t, other("again", "another".into()), "of a topic of before".to_owned()).await.unwrap();
    log.dead_letter(&t, other("another", "null".into()), "too long, of a topic of before".to_owned()).await.unwrap();
    let before = log.fetch(&t, Offset(0), 100).await.unwrap().len() as u64;
    assert_eq!(replay(log, &t).await.unwrap(), Replayed { published: 2, gone: 2 });
    let last: Vec<_> = log.fetch(&t, Offset(before), 10).await.unwrap().into_iter().map(|event| event.payload).collect();
    assert_eq!(last, ["never", "another"]);
}
