//! A store in memory with faults on demand, a counter agent, and a clock that follows tokio's (pausable) time.

use bytes::Bytes;
use cellspace_cluster::*;
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::*;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

#[derive(Default, Clone)]
pub struct Stored {
    pub head: Head,
    pub rows: BTreeMap<Vec<u8>, Bytes>,
    pub audit: Vec<(Seq, AuditRow)>,
    pub wake: Wake,
}

/// What a store says that can be read alone.
const READS_ONLY: &str = "it can be read alone";

#[derive(Default)]
pub struct Disk {
    pub partitions: BTreeMap<PartitionKey, Stored>,
    pub published: Vec<Publication>,
    pub faults: VecDeque<Fault>,
    pub commits: u32,
    /// How often the store was asked whether a partition exists.
    pub lookups: u32,
    /// Entries of the wake index of those that are awake, as they were read.
    pub woken: Vec<PartitionKey>,
    /// Scans that fail from now on.
    pub broken_scans: u32,
    /// Nothing can be claimed or written: what is there can be read alone.
    pub reads_only: bool,
    /// When set, a scan that has begun ends only with a permit.
    pub scans: Option<Arc<tokio::sync::Semaphore>>,
    /// Scans that have begun.
    pub scanned: usize,
    /// When set, a commit that landed answers only with a permit.
    pub answers: Option<Arc<tokio::sync::Semaphore>>,
    pub claims: HashMap<PartitionKey, Epoch>,
    boot: u64,
    activations: u64,
}

/// What the next commit does.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Lands, but says it does not know.
    LandedUnknown,
    /// Does not land, and says it does not know.
    LostUnknown,
    Fenced,
    /// Cannot be written.
    Refused,
    /// Is not taken now.
    NotSent,
}

#[derive(Clone, Default)]
pub struct MemoryStore(pub Arc<Mutex<Disk>>);

impl MemoryStore {
    /// The same disk after the process was killed.
    pub fn restart(&self) {
        let mut disk = self.0.lock();
        disk.boot += 1;
        disk.claims.clear();
    }
}

impl Partitions for MemoryStore {
    fn exists<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut disk = self.0.lock();
        disk.lookups += 1;
        let found = disk.partitions.contains_key(partition);
        async move { Ok(found) }.boxed()
    }
    fn claim<'a>(&'a self, partition: &'a PartitionKey, view: u64) -> BoxFuture<'a, Result<Claim, ClaimError>> {
        let mut disk = self.0.lock();
        if disk.reads_only {
            return async { Err(ClaimError::Store(StoreError::Unavailable(READS_ONLY.into()))) }.boxed();
        }
        disk.activations += 1;
        let epoch = Epoch { view: disk.boot + view, count: disk.activations };
        let stored = disk.partitions.get(partition);
        let held = disk.claims.get(partition).copied().max(stored.map(|stored| stored.head.epoch));
        if let Some(held) = held.filter(|held| held.view > epoch.view) {
            return async move { Err(ClaimError::Newer { held }) }.boxed();
        }
        let claim = Claim { epoch, head: stored.map(|stored| stored.head), wake: stored.map(|stored| stored.wake).unwrap_or_default() };
        disk.claims.insert(partition.clone(), epoch);
        async move { Ok(claim) }.boxed()
    }
    fn scan<'a>(
        &'a self,
        partition: &'a PartitionKey,
        table: Option<&'a str>,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        let mut disk = self.0.lock();
        if disk.broken_scans > 0 {
            disk.broken_scans -= 1;
            return async { Err(StoreError::Unavailable("as told".into())) }.boxed();
        }
        let all = disk.partitions.get(partition).map(|s| s.rows.clone()).unwrap_or_default();
        let mut rows: Vec<Row> = all
            .into_iter()
            .map(|(key, value)| Row { key: RowKey::from_bytes(key.into()), value })
            .filter(|row| {
                after.is_none_or(|after| row.key > *after)
                    && table.map_or(!row.key.table().starts_with(APART), |table| row.key.table() == table)
            })
            .collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        disk.scanned += 1;
        let gate = disk.scans.clone();
        async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            Ok(RowPage { rows, more })
        }
        .boxed()
    }
    fn get<'a>(&'a self, partition: &'a PartitionKey, key: &'a RowKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        let disk = self.0.lock();
        let value = disk.partitions.get(partition).and_then(|s| s.rows.get(key.as_bytes()).cloned());
        let row = value.map(|value| Row { key: key.clone(), value });
        async move { Ok(row) }.boxed()
    }
    fn read<'a>(&'a self, partition: &'a PartitionKey, read: ReadRows) -> BoxFuture<'a, Result<(), StoreError>> {
        let rows = self.0.lock().partitions.get(partition).map(|s| s.rows.clone()).unwrap_or_default();
        read(&Copied(rows));
        async move { Ok(()) }.boxed()
    }
    fn audit<'a>(&'a self, partition: &'a PartitionKey, limit: usize) -> BoxFuture<'a, Result<Vec<(Seq, AuditRow)>, StoreError>> {
        let disk = self.0.lock();
        let rows = disk.partitions.get(partition).map(|s| s.audit.iter().rev().take(limit).cloned().collect()).unwrap_or_default();
        async move { Ok(rows) }.boxed()
    }
    fn witness<'a>(&'a self, partition: &'a PartitionKey, seq: Seq) -> BoxFuture<'a, Result<Option<AuditRow>, StoreError>> {
        let disk = self.0.lock();
        let stored = disk.partitions.get(partition);
        let row = stored.and_then(|s| s.audit.iter().find_map(|(at, row)| (*at == seq).then(|| row.clone())));
        async move { Ok(row) }.boxed()
    }
    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitOutcome> {
        let mut disk = self.0.lock();
        let fault = disk.faults.pop_front();
        let seq = disk.partitions.get(&batch.partition).map(|s| s.head.seq).unwrap_or_default();
        let fenced = disk.claims.get(&batch.partition) != Some(&batch.epoch) || seq.next() != batch.seq;
        let outcome = match fault {
            Some(Fault::LostUnknown) => CommitOutcome::Unknown("lost".into()),
            Some(Fault::Fenced) => CommitOutcome::Fenced,
            Some(Fault::Refused) => CommitOutcome::Refused("as told".into()),
            Some(Fault::NotSent) => CommitOutcome::NotSent("as told".into()),
            _ if disk.reads_only => CommitOutcome::NotSent(READS_ONLY.into()),
            _ if fenced => CommitOutcome::Fenced,
            fault => {
                disk.commits += 1;
                let stored = disk.partitions.entry(batch.partition).or_default();
                stored.head = Head { epoch: batch.epoch, seq: batch.seq };
                stored.wake = batch.wake;
                stored.audit.push((batch.seq, batch.audit));
                for change in batch.rows {
                    match change {
                        RowChange::Put(key, value) => stored.rows.insert(key.as_bytes().to_vec(), value),
                        RowChange::Delete(key) => stored.rows.remove(key.as_bytes()),
                    };
                }
                disk.published.extend(batch.publish);
                if fault.is_some() { CommitOutcome::Unknown("landed".into()) } else { CommitOutcome::Applied }
            }
        };
        let answers = disk.answers.clone();
        async move {
            match answers {
                Some(answers) => answers.acquire().await.unwrap().forget(),
                None => tokio::task::yield_now().await,
            }
            outcome
        }
        .boxed()
    }
    fn release(&self, partition: &PartitionKey, epoch: Epoch) {
        let mut disk = self.0.lock();
        if disk.claims.get(partition) == Some(&epoch) {
            disk.activations += 1;
            let count = disk.activations;
            disk.claims.insert(partition.clone(), Epoch { count, ..epoch });
        }
    }
    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Rows as they were.
struct Copied(BTreeMap<Vec<u8>, Bytes>);

impl Rows for Copied {
    fn values(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        Ok(keys.iter().map(|key| self.0.get(key.as_bytes()).cloned()).collect())
    }
    fn has(&self, keys: &[RowKey]) -> Result<Vec<bool>, StoreError> {
        Ok(keys.iter().map(|key| self.0.contains_key(key.as_bytes())).collect())
    }
    fn each_back(&self, table: &str, before: &str, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        for (key, value) in self.0.iter().rev() {
            let key = RowKey::from_bytes(key.clone().into());
            if key.table() == table && key.id() < before && take(key.id(), value).is_break() {
                break;
            }
        }
        Ok(())
    }
    fn each(&self, table: &str, after: Option<&str>, take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        for (key, value) in &self.0 {
            let key = RowKey::from_bytes(key.clone().into());
            if key.table() == table && after.is_none_or(|after| key.id() > after) && take(key.id(), value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl WakeIndex for MemoryStore {
    fn awake(&self, of: &Slots, from: Option<WakeCursor>, limit: usize) -> ReadWake<'_, PartitionKey> {
        let mut disk = self.0.lock();
        let awake: Vec<_> =
            disk.partitions.iter().filter(|(key, s)| s.wake.awake && of.have(&key.owner)).map(|(key, _)| key.clone()).collect();
        disk.woken.extend(awake.iter().cloned());
        let awake = awake.into_iter().map(|key| (key.clone(), key));
        let page = wake_page(awake.collect(), from, limit);
        async move { Ok(page) }.boxed()
    }
    fn due(&self, of: &Slots, until: Timestamp, from: Option<WakeCursor>, limit: usize) -> ReadWake<'_, DueRow> {
        let disk = self.0.lock();
        let due = disk.partitions.iter().filter(|(key, _)| of.have(&key.owner));
        let due = due.filter_map(|(key, s)| s.wake.due.map(|due| DueRow { due, partition: key.clone() }));
        let due = due.filter(|row| row.due <= until).map(|row| ((row.due, row.partition.clone()), row));
        let page = wake_page(due.collect(), from, limit);
        async move { Ok(page) }.boxed()
    }
}

/// The entries behind a cursor, which is the key of the last one before.
fn wake_page<K: Ord + Serialize + DeserializeOwned, T>(mut all: Vec<(K, T)>, from: Option<WakeCursor>, limit: usize) -> WakePage<T> {
    let from: Option<K> = from.map(|from| serde_json::from_slice(from.place()).unwrap());
    all.retain(|(key, _)| from.as_ref().is_none_or(|from| key > from));
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|(key, _)| WakeCursor::new(serde_json::to_vec(key).unwrap()));
    WakePage { entries: all.into_iter().map(|(_, entry)| entry).collect(), next }
}

/// Wall clock that moves with tokio's time.
#[derive(Debug)]
pub struct TestClock {
    start: tokio::time::Instant,
}

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: tokio::time::Instant::now() })
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_800_000_000_000).plus(self.start.elapsed())
    }
}

/// Counts, sends what it is told to, and remembers deadlines.
#[derive(Default)]
pub struct Counter {
    /// `(effect, attempt)` as delivered, in order of completion.
    pub sent: Mutex<Vec<(String, u32)>>,
    /// How many first attempts of an effect fail.
    pub failures: AtomicU32,
    /// Deliveries wait for a permit when set.
    pub gate: Option<Arc<tokio::sync::Semaphore>>,
    pub started: tokio::sync::Notify,
    /// Message ids of all attempts.
    pub messages: Mutex<Vec<uuid::Uuid>>,
    /// Attempts at effects of each host that does not answer.
    pub silent: AtomicU32,
    /// Preparations of `Slow` wait for a permit when set.
    pub prepares: Option<Arc<tokio::sync::Semaphore>>,
    /// Which call each preparation of a stale command, or of one that waits, was for.
    pub prepared: Mutex<Vec<CallId>>,
    /// Preparations that were taken back.
    pub taken_back: Arc<AtomicU32>,
}

#[derive(Clone, Default)]
pub struct CounterState {
    pub value: i64,
    pub delivered: i64,
    pub given_up: i64,
    pub alarms: i64,
    /// Where its value was last taken in.
    pub taken_in_by: Option<ThreadId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CounterCommand {
    Add(i64),
    Send {
        lane: String,
        effect: String,
    },
    Alarm {
        at: Timestamp,
    },
    /// A deadline that nothing is done about.
    Ignore {
        at: Timestamp,
    },
    /// Adds 1, after a preparation that waits; of this counterparty.
    Slow(String),
    Fact(String),
    Panic,
    Stale,
    Refuse,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CounterEvent {
    Value(i64),
    Delivered(i64),
    GivenUp(i64),
    Alarm { at: Option<Timestamp>, rung: i64 },
    Ignored { at: Timestamp },
}

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("refused")]
pub struct Refused;

/// Its value, and this much.
#[derive(Debug, Serialize, Deserialize)]
pub struct ValueAnd(pub i64);

impl Query<Counter> for ValueAnd {
    const NAME: &'static str = "value-and";
    type Answer = i64;

    fn answer(&self, state: &CounterState) -> i64 {
        state.value + self.0
    }
}

impl Agent for Counter {
    const KIND: AgentKind = AgentKind("counter");
    type State = CounterState;
    type Command = CounterCommand;
    type Prepared = CounterCommand;
    type Event = CounterEvent;
    type Effect = String;
    type Outcome = u32;
    type Reply = i64;
    type Refusal = Refused;

    fn creates(command: &CounterCommand) -> bool {
        !matches!(command, CounterCommand::Refuse)
    }

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.commands().query::<ValueAnd>()
    }

    fn counterparty(command: &CounterCommand) -> Option<String> {
        match command {
            CounterCommand::Slow(who) => Some(who.clone()),
            _ => None,
        }
    }

    fn prepare<'a>(
        &'a self,
        _: &'a Address,
        _: Arc<CounterState>,
        command: CounterCommand,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<CounterCommand, PrepareError<Refused>>> {
        async move {
            let taken_back = self.taken_back.clone();
            call.undo.by(move || {
                taken_back.fetch_add(1, Ordering::SeqCst);
            });
            match (&command, &self.prepares) {
                (CounterCommand::Slow(_), Some(gate)) => {
                    self.prepared.lock().push(call.id);
                    gate.acquire().await.unwrap().forget();
                }
                (CounterCommand::Stale, _) => self.prepared.lock().push(call.id),
                _ => {}
            }
            Ok(command)
        }
        .boxed()
    }

    fn decide(state: &CounterState, input: &Input<Self>, _: Timestamp) -> Result<Decision<Self>, Rejection<Refused>> {
        match input {
            Input::Command(CounterCommand::Add(n)) => {
                let added = Decision::action("counter.added").event(CounterEvent::Value(state.value + n)).replying(state.value + n);
                // Twice, to be counted within one commit.
                Ok(added.happens("counter.added", n.to_string()).happens("counter.is", (state.value + n).to_string()))
            }
            Input::Command(CounterCommand::Slow(_)) => {
                Ok(Decision::action("counter.added").event(CounterEvent::Value(state.value + 1)).replying(state.value + 1))
            }
            Input::Command(CounterCommand::Ignore { at }) => {
                Ok(Decision::action("counter.ignore").event(CounterEvent::Ignored { at: *at }))
            }
            Input::Due(key) if key == "ignored" => Ok(Decision::nothing()),
            Input::Command(CounterCommand::Send { lane, effect }) => {
                Ok(Decision::action("counter.sent").effect(lane.clone(), effect.clone()))
            }
            Input::Command(CounterCommand::Alarm { at }) => {
                Ok(Decision::action("counter.alarm").event(CounterEvent::Alarm { at: Some(*at), rung: state.alarms }))
            }
            Input::Command(CounterCommand::Fact(key)) => Ok(Decision::action("counter.fact").fact(Fact {
                topic: "runtime.facts".into(),
                key: key.clone(),
                kind: "org.cellspace.test",
                data: serde_json::json!({ "value": state.value }),
            })),
            Input::Command(CounterCommand::Panic) => panic!("as told"),
            Input::Command(CounterCommand::Stale) => Err(Rejection::Stale),
            Input::Command(CounterCommand::Refuse) => Err(Refused.into()),
            Input::Delivered(effect, _) if effect.starts_with("plain") => Ok(Decision::nothing()),
            Input::Delivered(..) => Ok(Decision::action("counter.delivered").event(CounterEvent::Delivered(state.delivered + 1))),
            Input::Undeliverable(..) => Ok(Decision::action("counter.given-up").event(CounterEvent::GivenUp(state.given_up + 1))),
            Input::Due(_) => Ok(Decision::action("counter.rung").event(CounterEvent::Alarm { at: None, rung: state.alarms + 1 })),
        }
    }

    fn apply(state: &mut CounterState, event: &CounterEvent) {
        match event {
            CounterEvent::Value(value) => {
                state.value = *value;
                state.taken_in_by = Some(thread::current().id());
            }
            CounterEvent::Delivered(n) => state.delivered = *n,
            CounterEvent::GivenUp(n) => state.given_up = *n,
            CounterEvent::Alarm { rung, .. } => state.alarms = *rung,
            CounterEvent::Ignored { .. } => {}
        }
    }

    fn row(event: &CounterEvent) -> RowOf {
        RowOf::Put(RowKey::new(
            "counter",
            match event {
                CounterEvent::Value(_) => "value",
                CounterEvent::Delivered(_) => "delivered",
                CounterEvent::GivenUp(_) => "given-up",
                CounterEvent::Alarm { .. } => "alarm",
                CounterEvent::Ignored { .. } => "ignored",
            },
        ))
    }

    fn deadline(event: &CounterEvent) -> Option<(String, Option<Timestamp>)> {
        match event {
            CounterEvent::Alarm { at, .. } => Some(("alarm".into(), *at)),
            CounterEvent::Ignored { at } => Some(("ignored".into(), Some(*at))),
            _ => None,
        }
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<u32, DeliveryError>> {
        async move {
            self.started.notify_one();
            self.messages.lock().push(delivery.message_id);
            let (silent, bad) = (delivery.effect.contains("silent"), delivery.effect.contains("bad"));
            if silent {
                self.silent.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(10)).await;
                return Err(DeliveryError::Unreachable("silent".into()));
            }
            if !bad && ["aside-", "background-", "slow-"].iter().any(|kind| delivery.effect.starts_with(kind)) {
                tokio::time::sleep(Duration::from_secs(9)).await;
                return Ok(delivery.attempt);
            }
            if delivery.effect.contains("at-once") && delivery.attempt <= 1 || delivery.effect.contains("never") {
                return Err(DeliveryError::RetryAfter { reason: "at once".into(), after: Duration::ZERO });
            }
            if let Some(gate) = &self.gate {
                gate.acquire().await.map_err(|e| DeliveryError::Retry(e.to_string()))?.forget();
            }
            if bad {
                return Err(DeliveryError::Refused("bad".into()));
            }
            if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                return Err(DeliveryError::Retry("not yet".into()));
            }
            self.sent.lock().push((delivery.effect.to_string(), delivery.attempt));
            Ok(delivery.attempt)
        }
        .boxed()
    }

    /// What is before the slash.
    fn destination(effect: &String, _: &CounterState) -> Option<String> {
        effect.split_once('/').map(|(host, _)| host.to_owned())
    }

    fn track(effect: &String) -> Track {
        match effect.split_once('-').map(|(track, _)| track) {
            Some("aside") => Track::Aside,
            Some("background") => Track::Background,
            _ => Track::Main,
        }
    }

    fn redact(effect: &String) -> Option<String> {
        effect.contains("secret").then(|| effect.replace("secret", "-"))
    }

    fn retry_policy(_: &String) -> RetryPolicy {
        RetryPolicy { attempts: 3, ..RetryPolicy::default() }
    }
}

/// A node over the store.
pub async fn node(store: &MemoryStore, agent: Counter, options: Options) -> (Cluster, Arc<Counter>) {
    let agent = Arc::new(agent);
    let cluster = Cluster::new(Arc::new(store.clone()), Arc::new(store.clone()), TestClock::new(), options);
    cluster.register(agent.clone());
    cluster.start().await.unwrap();
    (cluster, agent)
}

pub fn counter(name: &str) -> Address {
    Address::of::<Counter>(Owner::new(name).unwrap())
}

pub fn call() -> Call {
    Call { timeout: Duration::from_secs(20), ..Call::by("test") }
}

pub fn keyed(key: &str) -> Call {
    Call { idempotency: IdempotencyKey::parse(key), ..call() }
}
