//! Consumers on a log in memory, in paused time: what groups promise about repeats, poison, panics, order and restarts.

use super::*;
use cellspace_schemas::{EventPosition, Timestamp};
use cellspace_storage::Publication;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
};
use tokio::task::JoinHandle;

/// A topic in memory.
pub(in crate::fabric) struct MemoryLog {
    events: Mutex<Vec<EventRecord>>,
    newest: watch::Sender<u64>,
    position: watch::Sender<Offset>,
    dead: Mutex<Vec<(Offset, String)>>,
    /// How many fetches panic.
    pub(in crate::fabric) panics: AtomicU32,
    longest_fetch: AtomicU32,
    /// Whether positions are taken but not stored.
    stalled: watch::Sender<bool>,
    /// Told when another process takes the group's place.
    taken: watch::Sender<()>,
}

impl MemoryLog {
    pub(in crate::fabric) fn new() -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::default(),
            newest: watch::Sender::new(0),
            position: watch::Sender::new(Offset(0)),
            dead: Mutex::default(),
            panics: AtomicU32::new(0),
            longest_fetch: AtomicU32::new(0),
            stalled: watch::Sender::new(false),
            taken: watch::Sender::new(()),
        })
    }

    pub(in crate::fabric) fn publish(&self, key: &str, data: Value) {
        let mut events = self.events.lock();
        let offset = events.len() as u64 + 1;
        let event = CloudEvent::new("a/b", EventPosition { seq: offset, n: 0 }, "test", Timestamp(0), data);
        self.push(&mut events, key, serde_json::to_vec(&event).unwrap());
    }

    fn push(&self, events: &mut Vec<EventRecord>, key: &str, payload: Vec<u8>) {
        let offset = Offset(events.len() as u64 + 1);
        events.push(EventRecord { offset, key: key.to_owned(), payload: payload.into() });
        self.newest.send_replace(offset.0);
    }

    /// Waits until the group has come this far.
    pub(in crate::fabric) async fn reached(&self, offset: u64) {
        self.position.subscribe().wait_for(|position| position.0 >= offset).await.unwrap();
    }

    fn at(&self) -> u64 {
        self.position.borrow().0
    }
}

impl EventLog for MemoryLog {
    fn publish(&self, events: Vec<Publication>) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut stored = self.events.lock();
        for event in events {
            self.push(&mut stored, &event.key, event.payload.to_vec());
        }
        Box::pin(async { Ok(()) })
    }
    fn fetch<'a>(&'a self, _: &'a Topic, after: Offset, limit: usize) -> BoxFuture<'a, Result<Vec<EventRecord>, StoreError>> {
        Box::pin(async move {
            let left = self.panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            assert!(left.is_err(), "the log fails");
            self.longest_fetch.fetch_max(limit as u32, Ordering::Relaxed);
            Ok(self.events.lock().iter().filter(|event| event.offset > after).take(limit).cloned().collect())
        })
    }
    fn wait<'a>(&'a self, _: &'a Topic, after: Offset) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.newest.subscribe().wait_for(|newest| *newest > after.0).await.unwrap();
            Ok(())
        })
    }
    fn committed<'a>(&'a self, _: &'a Topic, _: &'a Group) -> BoxFuture<'a, Result<Offset, StoreError>> {
        Box::pin(async move { Ok(*self.position.borrow()) })
    }
    fn commit<'a>(&'a self, _: &'a Topic, _: &'a Group, offset: Offset) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.stalled.subscribe().wait_for(|stalled| !stalled).await.unwrap();
            self.position.send_if_modified(|position| std::mem::replace(position, offset.max(*position)) < offset);
            Ok(())
        })
    }
    fn lost<'a>(&'a self, _: &'a Topic, _: &'a Group) -> BoxFuture<'a, ()> {
        let mut taken = self.taken.subscribe();
        Box::pin(async move { taken.changed().await.unwrap() })
    }
    fn dead_letter<'a>(&'a self, _: &'a Topic, event: EventRecord, reason: String) -> BoxFuture<'a, Result<(), StoreError>> {
        self.dead.lock().push((event.offset, reason));
        Box::pin(async { Ok(()) })
    }
    fn topics_with_dead_letters(&self) -> BoxFuture<'_, Result<Vec<Topic>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// What is done with an event's data; the number counts its tries from 1.
type Act = Box<dyn Fn(&Value, u32) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

struct Acting {
    act: Act,
    tries: Mutex<HashMap<String, u32>>,
    /// Data of events in the order of their effects.
    done: Mutex<Vec<Value>>,
}

impl Acting {
    fn new(act: impl Fn(&Value, u32) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { act: Box::new(act), tries: Mutex::default(), done: Mutex::default() })
    }

    fn tries_of(&self, data: &Value) -> u32 {
        self.tries.lock().get(&data.to_string()).copied().unwrap_or(0)
    }
}

impl Handler for Acting {
    fn handle<'a>(&'a self, event: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>> {
        let tries = {
            let mut all = self.tries.lock();
            let tries = all.entry(event.data.to_string()).or_default();
            *tries += 1;
            *tries
        };
        let acting = (self.act)(&event.data, tries);
        Box::pin(async move {
            acting.await?;
            self.done.lock().push(event.data.clone());
            Ok(())
        })
    }
}

fn now(outcome: Result<(), Failure>) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async { outcome })
}

fn retry(reason: &str) -> Result<(), Failure> {
    Err(Failure::Retry(reason.to_owned()))
}

pub(in crate::fabric) fn consumer(log: &Arc<MemoryLog>, handler: Arc<dyn Handler>, settings: Settings) -> Consumer {
    Consumer { log: log.clone(), topic: Topic("t".to_owned()), group: Group("g".to_owned()), handler, settings }
}

fn run(log: &Arc<MemoryLog>, handler: Arc<dyn Handler>, settings: Settings) -> (watch::Sender<bool>, JoinHandle<()>) {
    let consumer = consumer(log, handler, settings);
    let (stop, stopped) = watch::channel(false);
    (stop, tokio::spawn(async move { consumer.run(stopped).await }))
}

#[tokio::test(start_paused = true)]
async fn failed_events_are_repeated_and_events_of_one_key_keep_their_order() {
    let log = MemoryLog::new();
    for n in 1..=3 {
        log.publish("a", json!({ "a": n }));
    }
    log.publish("b", json!({ "b": 1 }));
    let handler = Acting::new(|data, tries| now(if data["a"] == 1 && tries < 3 { retry("not yet") } else { Ok(()) }));
    let (stop, task) = run(&log, handler.clone(), Settings::default());
    log.reached(4).await;
    let done = handler.done.lock().clone();
    assert_eq!(done, [json!({"b": 1}), json!({"a": 1}), json!({"a": 2}), json!({"a": 3})], "another key does not wait");
    assert_eq!(handler.tries_of(&json!({"a": 1})), 3);
    assert!(log.dead.lock().is_empty());
    stop.send_replace(true);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_handled_goes_to_the_dead_letters_with_the_reason() {
    let log = MemoryLog::new();
    log.push(&mut log.events.lock(), "x", b"not json".to_vec());
    for n in ["poison", "hopeless", "good"] {
        log.publish(n, json!(n));
    }
    let handler = Acting::new(|data, _| {
        now(match data.as_str() {
            Some("poison") => Err(Failure::Poison("never".to_owned())),
            Some("hopeless") => retry("not today"),
            _ => Ok(()),
        })
    });
    let (_stop, _task) = run(&log, handler.clone(), Settings::default());
    log.reached(4).await;
    let mut dead = log.dead.lock().clone();
    dead.sort();
    assert!(dead[0].1.starts_with("not a cloud event"), "{dead:?}");
    let rest: Vec<_> = dead[1..].iter().map(|(offset, reason)| (offset.0, reason.as_str())).collect();
    assert_eq!(rest, [(2, "never"), (3, "gave up after 20 tries: not today")]);
    assert_eq!(handler.tries_of(&json!("poison")), 1);
    assert_eq!(*handler.done.lock(), [json!("good")]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_try_whether_or_not_the_future_exists() {
    let log = MemoryLog::new();
    for n in ["before", "within", "good"] {
        log.publish(n, json!(n));
    }
    let handler = Acting::new(|data, _| match data.as_str() {
        Some("before") => panic!("before its future exists"),
        Some("within") => Box::pin(async { panic!("within its future") }),
        _ => now(Ok(())),
    });
    let (_stop, _task) = run(&log, handler.clone(), Settings { tries: 3, ..Settings::default() });
    log.reached(3).await;
    assert_eq!(*handler.done.lock(), [json!("good")]);
    assert_eq!((handler.tries_of(&json!("before")), handler.tries_of(&json!("within"))), (3, 3));
    assert!(log.dead.lock().iter().all(|(_, reason)| reason.contains("the handler failed")), "{:?}", log.dead.lock());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_holds_up_its_key_alone_and_is_never_given_up() {
    let log = MemoryLog::new();
    log.publish("stuck", json!("stuck"));
    log.publish("stuck", json!("behind"));
    for n in 0..50 {
        log.publish(&format!("key-{n}"), json!(n));
    }
    let (away, back) = watch::channel(true);
    let handler = Acting::new(move |data, _| {
        now(if *data == "stuck" && *back.borrow() { Err(Failure::Unavailable("parked".to_owned())) } else { Ok(()) })
    });
    let (_stop, _task) = run(&log, handler.clone(), Settings { window: 4, ..Settings::default() });
    // Paused time moves when all others have had their effect; long after the tries of a mere failure it is still tried.
    tokio::time::timeout(Duration::from_secs(3600), log.reached(1)).await.unwrap_err();
    assert_eq!(handler.done.lock().len(), 50);
    assert!(handler.tries_of(&json!("stuck")) > Settings::default().tries);
    assert_eq!((log.at(), log.dead.lock().len()), (0, 0));
    away.send_replace(false);
    log.reached(52).await;
    assert_eq!(handler.done.lock()[50..], [json!("stuck"), json!("behind")]);
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_position_to_be_stored() {
    let log = MemoryLog::new();
    log.stalled.send_replace(true);
    for n in 0..3 {
        log.publish(&format!("key-{n}"), json!(n));
    }
    let handler = Acting::new(|_, _| now(Ok(())));
    let (_stop, _task) = run(&log, handler.clone(), Settings::default());
    tokio::time::timeout(Duration::from_secs(1), log.reached(1)).await.unwrap_err();
    assert_eq!((handler.done.lock().len(), log.at()), (3, 0));
    log.stalled.send_replace(false);
    log.reached(3).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_known_at_once_is_bounded() {
    let log = MemoryLog::new();
    for n in 0..50 {
        log.publish(&format!("key-{n}"), json!(n));
    }
    let handler = Acting::new(|data, _| now(if *data == 0 { Err(Failure::Unavailable("parked".to_owned())) } else { Ok(()) }));
    let settings = Settings { window: 4, span: 10, ..Settings::default() };
    let (_stop, _task) = run(&log, handler.clone(), settings);
    tokio::time::timeout(Duration::from_secs(3600), log.reached(1)).await.unwrap_err();
    assert_eq!(handler.done.lock().len(), settings.span - 1);
    assert!(log.longest_fetch.load(Ordering::Relaxed) <= 4);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_what_had_no_effect_is_handled_and_nothing_else() {
    let log = MemoryLog::new();
    for n in 1..=4 {
        log.publish(&format!("key-{n}"), json!(n));
    }
    let first = Acting::new(|data, _| if *data == 3 { Box::pin(std::future::pending()) } else { now(Ok(())) });
    let (stop, task) = run(&log, first.clone(), Settings::default());
    log.reached(2).await;
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(log.at(), 2);
    let second = Acting::new(|_, _| now(Ok(())));
    let (_stop, _task) = run(&log, second.clone(), Settings::default());
    log.reached(4).await;
    // The fourth is repeated, since the third had not had its effect.
    assert_eq!(*second.done.lock(), [json!(3), json!(4)]);
}

#[tokio::test(start_paused = true)]
async fn one_whose_place_was_taken_begins_again_where_the_other_one_came_to() {
    let log = MemoryLog::new();
    for n in 1..=3 {
        log.publish("a", json!(n));
    }
    let handler = Acting::new(|data, tries| match (data.as_u64(), tries) {
        // It waits for the other one.
        (Some(1), 1) => std::future::pending().boxed(),
        _ => now(Ok(())),
    });
    let (_stop, _task) = run(&log, handler.clone(), Settings::default());
    while handler.tries_of(&json!(1)) == 0 {
        tokio::task::yield_now().await;
    }
    log.position.send_replace(Offset(2));
    log.taken.send_replace(());
    log.reached(3).await;
    assert_eq!(*handler.done.lock(), [json!(3)]);
}
