//! One life of a node: the product's cell and runtime, and what it has of the world around it. A process that is paused says nothing and hears nothing; one
//! that died never again.

use super::{
    agent::{Clerk, Look, Order, Parcel, Steps},
    bug::Bug,
    dice::Dice,
    store::{Disk, key},
    world::{World, ms, terms},
};
use cellspace_cluster::{
    membership::{Answer, Moment},
    remote::What,
    *,
};
use cellspace_schemas::Timestamp;
use cellspace_storage::*;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, timeout},
};

/// After so long, in milliseconds, a node hears no answer of the store any more.
const TIMEOUT: u64 = 1_000;
/// The time of day at the beginning.
pub const DAWN: i64 = 1_800_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    Paused(Instant),
    Dead,
}

/// Through which everything goes that a process says or hears.
pub struct Gate {
    life: Mutex<Life>,
    changed: Notify,
    /// Milliseconds that it was paused.
    slept: AtomicU64,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { life: Mutex::new(Life::Runs), changed: Notify::new(), slept: AtomicU64::new(0) })
    }

    /// Waits while it is paused; for ever when it is dead.
    pub async fn pass(&self) {
        loop {
            let changed = self.changed.notified();
            match *self.life.lock() {
                Life::Runs => return,
                Life::Paused(_) | Life::Dead => {}
            }
            changed.await;
        }
    }

    pub async fn died(&self) {
        loop {
            let changed = self.changed.notified();
            if *self.life.lock() == Life::Dead {
                return;
            }
            changed.await;
        }
    }

    pub fn pause(&self) {
        let mut life = self.life.lock();
        if *life == Life::Runs {
            *life = Life::Paused(Instant::now());
        }
    }

    pub fn resume(&self) {
        let mut life = self.life.lock();
        if let Life::Paused(since) = *life {
            self.slept.fetch_add(u64::try_from(since.elapsed().as_millis()).unwrap(), Relaxed);
            *life = Life::Runs;
        }
        drop(life);
        self.changed.notify_waiters();
    }

    pub fn die(&self) {
        *self.life.lock() = Life::Dead;
        self.changed.notify_waiters();
    }

    /// How long it was paused, until now.
    fn slept(&self) -> Duration {
        let now = match *self.life.lock() {
            Life::Paused(since) => since.elapsed(),
            Life::Runs | Life::Dead => Duration::ZERO,
        };
        now + ms(self.slept.load(Relaxed))
    }
}

/// A node's clocks: they run a little fast or slow, and began at some time of their own.
struct Clocks {
    began: Instant,
    offset: Duration,
    /// In thousandths.
    rate: u32,
    /// Of the time of day, in milliseconds.
    skew: i64,
    /// Whose sleep is not counted.
    sleeps: Option<Arc<Gate>>,
}

impl fmt::Debug for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clocks").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl Uptime for Clocks {
    fn now(&self) -> Moment {
        let slept = self.sleeps.as_ref().map(|gate| gate.slept()).unwrap_or_default();
        Moment(self.offset + (self.began.elapsed().saturating_sub(slept)) * self.rate / 1_000)
    }
}

impl Clock for Clocks {
    fn now(&self) -> Timestamp {
        Timestamp(DAWN + self.skew).plus(self.began.elapsed())
    }
}

/// What one life of a node has of the world.
pub struct Access {
    world: Arc<World>,
    pub seat: usize,
    life: u64,
    gate: Arc<Gate>,
}

pub struct Process {
    pub cluster: Cluster,
    pub cell: Arc<Cell>,
    pub gate: Arc<Gate>,
}

impl Process {
    pub async fn start(world: &Arc<World>, seat: usize, life: u64, level: u16) -> Arc<Self> {
        let gate = Gate::new();
        let access = Arc::new(Access { world: world.clone(), seat, life, gate: gate.clone() });
        let mut dice = world.dice(&format!("clocks {seat} {life}"));
        let rates = if world.is(Bug::WildClocks) { 200..2_000 } else { 950..1_051 };
        let clocks = Arc::new(Clocks {
            began: world.at_time(0),
            offset: ms(dice.within(0..10_000_000)),
            rate: u32::try_from(dice.within(rates)).unwrap(),
            skew: i64::try_from(dice.within(0..100)).unwrap(),
            sleeps: world.is(Bug::SleepingClock).then(|| gate.clone()),
        });
        let cell = Cell::new(CellOptions {
            node: NodeName(format!("n{seat}")),
            level,
            endpoint: format!("n{seat}"),
            terms: terms(),
            membership: access.clone(),
            peers: access.clone(),
            uptime: clocks.clone(),
        });
        let options = Options { idle_after: Duration::from_secs(2), ..Options::default() };
        let cluster = Cluster::in_cell(access.clone(), access.clone(), clocks, options, cell.clone());
        cluster.register(Arc::new(Clerk(access)));
        cluster.start().await.unwrap();
        Arc::new(Self { cluster, cell, gate })
    }
}

impl Access {
    /// Chance for this request. Who asks for the same at once, in whatever order, has the same luck.
    fn dice(&self, what: &str) -> Dice {
        self.world.dice(&format!("{} {} {} {what}", self.seat, self.life, self.world.now()))
    }

    /// A request to the store: `None` when no answer came.
    async fn request<T: Send + 'static>(&self, what: &str, act: impl FnOnce(&World, &mut Disk) -> T + Send + 'static) -> Option<T> {
        self.gate.pass().await;
        let (world, seat) = (&self.world, self.seat);
        let named = self.world.named(|| format!("n{seat} {what}"));
        self.world.note(|| format!("{named} is sent"));
        let mut dice = self.dice(what);
        let key = dice.number();
        if world.is_cut_from_store(seat) || world.fault(&mut dice, 10) {
            sleep(ms(if dice.chance(500) { 1 } else { TIMEOUT })).await;
            self.gate.pass().await;
            return None;
        }
        let (there, back) = (world.delay(&mut dice), world.delay(&mut dice));
        let heard = !world.fault(&mut dice, 10);
        let (tell, told) = oneshot::channel();
        let done = named.clone();
        world.at(there, key, move |world| {
            world.note(|| format!("{done} is done"));
            let answer = act(world, &mut world.disk.lock());
            let back = if heard && !world.is_cut_from_store(seat) { back } else { TIMEOUT * 10 };
            world.at(back, key, move |_| drop(tell.send(answer)));
        });
        let answer = timeout(ms(TIMEOUT), told).await.ok().and_then(Result::ok);
        self.gate.pass().await;
        world.note(|| format!("{named} is answered: {}", answer.is_some()));
        answer
    }

    async fn read<T: Send + 'static>(&self, what: &str, act: impl FnOnce(&mut Disk) -> T + Send + 'static) -> Result<T, StoreError> {
        self.request(what, |_, disk| act(disk)).await.ok_or_else(|| StoreError::Unavailable("no answer".into()))
    }

    async fn swap(&self, what: &str, act: impl FnOnce(&mut Disk) -> Swap + Send + 'static) -> Swap {
        self.request(what, |_, disk| act(disk)).await.unwrap_or_else(|| Swap::Unknown("no answer".into()))
    }

    /// Says something to a peer, which does it whether it is waited for or not. News and questions may come twice; nobody sends a command twice.
    async fn say<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        peer: &Peer,
        what: &str,
        repeats: bool,
        act: impl Fn(Arc<Process>) -> F + Send + Sync + 'static,
    ) -> Result<T, PeerError> {
        self.gate.pass().await;
        let (world, from) = (&self.world, self.seat);
        let to: usize = peer.endpoint.trim_start_matches('n').parse().unwrap();
        let named = world.named(|| format!("n{from} to n{to}: {what}"));
        world.note(|| format!("{named} is said"));
        let mut dice = self.dice(&format!("{what} to {to}"));
        let key = dice.number();
        let lost = || PeerError::Lost("no answer".into());
        if world.is_cut(from, to) || world.fault(&mut dice, 10) {
            let refused = dice.chance(300);
            sleep(ms(if refused { 1 } else { dice.within(100..800) })).await;
            self.gate.pass().await;
            return Err(if refused { PeerError::NotDone("no connection".into()) } else { lost() });
        }
        let (there, back) = (world.delay(&mut dice), world.delay(&mut dice));
        let unheard = world.fault(&mut dice, 10);
        let again = (world.fault(&mut dice, 50) && repeats).then(|| dice.within(1..3_000));
        let (tell, told) = oneshot::channel();
        let comes = named.clone();
        world.at(there, key, move |world| {
            world.note(|| format!("{comes} comes"));
            let Some(process) = world.process(to) else { return drop(tell.send(Err(PeerError::NotDone("nobody listens".into())))) };
            let world = world.clone();
            tokio::spawn(async move {
                let done = async {
                    process.gate.pass().await;
                    let done = act(process.clone()).await;
                    process.gate.pass().await;
                    done
                };
                tokio::select! {
                    biased;
                    () = process.gate.died() => {}
                    done = done => {
                        if !unheard && !world.is_cut(to, from) {
                            world.at(back, key, move |_| drop(tell.send(Ok(done))));
                        }
                        // Comes once more, late.
                        if let Some(again) = again {
                            sleep(ms(again)).await;
                            process.gate.pass().await;
                            act(process.clone()).await;
                        }
                    }
                }
            });
        });
        let answer = told.await;
        if answer.is_err() {
            sleep(ms(dice.within(1..500))).await;
        }
        self.gate.pass().await;
        world.note(|| format!("{named} is answered: {}", matches!(answer, Ok(Ok(_)))));
        answer.unwrap_or_else(|_| Err(lost()))
    }

    /// Comes back at a time that no other order of the same owner has: who waited for the same thing goes on in an order that repeats.
    pub async fn prepare(&self, owner: String, order: Order) -> (String, Order, bool) {
        let id = match &order {
            Order::Note { id } | Order::Send { id, .. } | Order::Alarm { id, .. } | Order::Cancel { of: id } => *id,
        };
        sleep(ms(1 + u64::from(id / 1_000 % 32))).await;
        let mixed = self.world.is(Bug::MixesOwners) && id % 7 == 0;
        let owner = if mixed { "somebody-else".to_owned() } else { owner };
        if let (true, Order::Send { lane, .. }) = (self.world.is(Bug::SendsEarly), &order) {
            let _ = self.deliver(Parcel { id, owner: owner.clone(), lane: lane.clone() }).await;
        }
        (owner, order, self.world.is(Bug::LawlessAgent))
    }

    /// An effect goes out to others.
    pub async fn deliver(&self, parcel: Parcel) -> Result<(), DeliveryError> {
        self.gate.pass().await;
        let world = &self.world;
        let (attempt, sent) = {
            let mut disk = world.disk.lock();
            let attempt = disk.receivers.attempts.entry(key(&parcel)).or_default();
            *attempt += 1;
            (*attempt, disk.sent(&parcel))
        };
        world.hold(sent);
        world.note(|| format!("n{} sends {parcel:?}, attempt {attempt}", self.seat));
        let mut dice = world.dice(&format!("effect {parcel:?} {attempt}"));
        let order = dice.number();
        let there = world.delay(&mut dice) + dice.within(0..30);
        let back = world.delay(&mut dice);
        let fate = if world.is_calm() { 999 } else { dice.within(0..1_000) };
        let (tell, told) = oneshot::channel();
        world.at(there, order, move |world| {
            let answer = match fate {
                0..80 => Err(DeliveryError::Retry("later".into())),
                80..130 => Err(DeliveryError::Unreachable("lost on its way".into())),
                130..170 => Err(DeliveryError::Refused("never".into())),
                170..200 => Err(DeliveryError::Unreachable("its answer is lost".into())),
                _ => Ok(()),
            };
            if !(80..130).contains(&fate) {
                let arrived = world.disk.lock().arrived(&parcel, fate >= 130);
                world.hold(arrived);
            }
            world.at(back, order, move |_| drop(tell.send(answer)));
        });
        let answer = told.await;
        self.gate.pass().await;
        answer.unwrap_or_else(|_| Err(DeliveryError::Unreachable("gone".into())))
    }
}

/// Rows as they were.
struct Copied(BTreeMap<Vec<u8>, bytes::Bytes>);

impl Rows for Copied {
    fn values(&self, keys: &[RowKey]) -> Result<Vec<Option<bytes::Bytes>>, StoreError> {
        Ok(keys.iter().map(|key| self.0.get(key.as_bytes()).cloned()).collect())
    }

    fn has(&self, keys: &[RowKey]) -> Result<Vec<bool>, StoreError> {
        Ok(keys.iter().map(|key| self.0.contains_key(key.as_bytes())).collect())
    }

    fn each(&self, _: &str, _: Option<&str>, _: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("nobody asks here".into()))
    }

    fn each_back(&self, _: &str, _: &str, _: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("nobody asks here".into()))
    }
}

impl Partitions for Access {
    fn exists<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        let key = partition.clone();
        async move { self.read(&format!("exists {key}"), move |disk| disk.exists(&key)).await }.boxed()
    }

    fn claim<'a>(&'a self, partition: &'a PartitionKey, view: u64) -> BoxFuture<'a, Result<Claim, ClaimError>> {
        let (key, seat) = (partition.clone(), self.seat);
        async move {
            let claim = move |world: &World, disk: &mut Disk| {
                let claim = disk.claim(key.clone(), view);
                world.note(|| format!("n{seat} claims {key} under {view}: {claim:?}"));
                claim
            };
            let answer = self.world.loads(self.request(&format!("claim {partition}"), claim)).await;
            answer.unwrap_or_else(|| Err(StoreError::Unavailable("no answer".into()).into()))
        }
        .boxed()
    }

    fn scan<'a>(
        &'a self,
        partition: &'a PartitionKey,
        table: Option<&'a str>,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        let (key, table, after) = (partition.clone(), table.map(str::to_owned), after.cloned());
        async move {
            let what = format!("scan {partition}");
            let scan = self.read(&what, move |disk| disk.scan(&key, table.as_deref(), after.as_ref(), limit));
            self.world.loads(scan).await
        }
        .boxed()
    }

    fn get<'a>(&'a self, partition: &'a PartitionKey, row: &'a RowKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        let (key, row) = (partition.clone(), row.clone());
        async move { self.read(&format!("get {partition}"), move |disk| disk.get(&key, &row)).await }.boxed()
    }

    fn read<'a>(&'a self, partition: &'a PartitionKey, read: ReadRows) -> BoxFuture<'a, Result<(), StoreError>> {
        let key = partition.clone();
        let rows = move |disk: &mut Disk| disk.partitions.get(&key).map(|stored| stored.rows.clone()).unwrap_or_default();
        async move { Access::read(self, &format!("read {partition}"), rows).await.map(|rows| read(&Copied(rows))) }.boxed()
    }

    fn audit<'a>(&'a self, partition: &'a PartitionKey, limit: usize) -> BoxFuture<'a, Result<Vec<(Seq, AuditRow)>, StoreError>> {
        let key = partition.clone();
        async move { Access::read(self, &format!("audit {partition}"), move |disk| disk.audit(&key, limit)).await }.boxed()
    }

    fn witness<'a>(&'a self, partition: &'a PartitionKey, seq: Seq) -> BoxFuture<'a, Result<Option<AuditRow>, StoreError>> {
        let key = partition.clone();
        async move { Access::read(self, &format!("witness {partition} {seq:?}"), move |disk| disk.witness(&key, seq)).await }.boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitOutcome> {
        let (what, seat) = (format!("commit {}", batch.partition), self.seat);
        async move {
            let commit = move |world: &World, disk: &mut Disk| {
                let named = world.named(|| format!("n{seat} commits {batch:?}"));
                let outcome = disk.commit(batch);
                world.note(|| format!("{named}: {outcome:?}"));
                outcome.unwrap_or_else(|broken| {
                    world.broke(broken);
                    CommitOutcome::Fenced
                })
            };
            let unknown = || match self.world.bug {
                Some(Bug::UnknownIsFenced) => CommitOutcome::Fenced,
                _ => CommitOutcome::Unknown("no answer".into()),
            };
            self.request(&what, commit).await.unwrap_or_else(unknown)
        }
        .boxed()
    }

    /// Nothing that is in flight is stopped by it.
    fn release(&self, _: &PartitionKey, _: Epoch) {}

    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl WakeIndex for Access {
    fn awake(&self, of: &Slots, _: Option<WakeCursor>, _: usize) -> ReadWake<'_, PartitionKey> {
        let of = of.clone();
        async move { Ok(WakePage { entries: Access::read(self, "awake", move |disk| disk.awake(&of)).await?, next: None }) }.boxed()
    }

    fn due(&self, of: &Slots, until: Timestamp, _: Option<WakeCursor>, _: usize) -> ReadWake<'_, DueRow> {
        let of = of.clone();
        async move { Ok(WakePage { entries: Access::read(self, "due", move |disk| disk.due(&of, until)).await?, next: None }) }.boxed()
    }
}

impl Membership for Access {
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        async move { Access::read(self, "view", |disk| disk.view.clone()).await }.boxed()
    }

    fn change_view(&self, next: View) -> BoxFuture<'_, Swap> {
        let (seat, version, mark) = (self.seat, next.version, next.deal.mark);
        async move {
            let outcome = self.swap("change", move |disk| disk.change_view(next)).await;
            self.world.note(|| format!("n{seat} puts view {version} to {mark}: {outcome:?}"));
            outcome
        }
        .boxed()
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        async move { Access::read(self, "leases", |disk| disk.leases()).await }.boxed()
    }

    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap> {
        let what = format!("lease {}", next.node);
        async move { self.swap(&what, move |disk| disk.put_lease(before.as_ref(), next)).await }.boxed()
    }
}

impl PeerLink for Access {
    fn show<'a>(&'a self, to: &'a Peer, view: &'a View) -> BoxFuture<'a, Result<(), PeerError>> {
        let view = view.clone();
        async move {
            let shown = move |process: Arc<Process>| {
                let view = view.clone();
                async move { process.cell.shown(view).map_err(|ended| PeerError::NotDone(ended.to_string())) }
            };
            self.say(to, "view", true, shown).await?
        }
        .boxed()
    }

    fn ask<'a>(&'a self, to: &'a Peer, slots: &'a [u16], version: u64) -> BoxFuture<'a, Result<Vec<Told>, PeerError>> {
        let (member, slots, lies) = (to.member.clone(), slots.to_vec(), self.world.is(Bug::PeersLie));
        async move {
            let asked = move |process: Arc<Process>| {
                let mut answers = process.cell.asked(&member, &slots, version);
                if lies {
                    answers.iter_mut().flatten().for_each(|told| *told = Answer::Released.into());
                }
                async move { answers.ok_or_else(|| PeerError::NotDone("another life".into())) }
            };
            self.say(to, "slots", true, asked).await?
        }
        .boxed()
    }

    fn announce<'a>(&'a self, to: &'a Peer, _: &'a str) -> BoxFuture<'a, Result<(), PeerError>> {
        async move { self.say(to, "news", true, |_| async {}).await }.boxed()
    }

    fn call<'a>(&'a self, to: &'a Peer, call: &'a AgentCall) -> BoxFuture<'a, Result<AgentAnswer, PeerError>> {
        let (sent, world) = (serde_json::to_vec(call).unwrap(), self.world.clone());
        let said = match &call.what {
            What::Command { command, .. } => command,
            What::Query { query, .. } => query,
        };
        let what = format!("call {} {said}", call.owner);
        async move {
            let called = move |process: Arc<Process>| {
                let (call, world): (AgentCall, _) = (serde_json::from_slice(&sent).unwrap(), world.clone());
                async move {
                    let owner = call.owner.to_string();
                    // Then here is where it is read.
                    let reads =
                        matches!(call.what, What::Query { .. }) && process.cluster.serves(&Address::of::<Clerk>(call.owner.clone()));
                    let answer = process.cluster.called(call).await;
                    if let (true, AgentAnswer::Done(found)) = (reads, &answer) {
                        world.hold(world.known.lock().read(&owner, &serde_json::from_str(found.get()).unwrap()));
                    }
                    serde_json::from_slice(&serde_json::to_vec(&answer).unwrap()).unwrap()
                }
            };
            self.say(to, &what, false, called).await
        }
        .boxed()
    }
}

impl World {
    /// Part of loading an agent.
    async fn loads<T>(&self, work: impl Future<Output = T>) -> T {
        self.most_loading.fetch_max(self.loading.fetch_add(1, Relaxed) + 1, Relaxed);
        let done = work.await;
        self.loading.fetch_sub(1, Relaxed);
        done
    }
}

impl super::world::Known {
    /// What a node reads is not older than what any node has acknowledged (invariants LEASE and ISOLATION).
    pub fn read(&mut self, owner: &str, found: &Steps) -> Result<(), String> {
        self.reads += 1;
        let known = self.steps.get(owner).copied().unwrap_or(0);
        if found.steps < known {
            return Err(format!("LEASE: a read of {owner} sees {} steps, {known} were acknowledged before", found.steps));
        }
        if found.steps > 0 && found.owner != owner {
            return Err(format!("ISOLATION: a read of {owner} sees what is {}'s", found.owner));
        }
        Ok(())
    }
}

/// What a process answers by itself: the read, wherever the agent is, and whether it was read here.
pub async fn look(process: &Process, address: &Address, by: u32, anywhere: bool) -> Option<Steps> {
    let look = Look(by);
    if anywhere {
        process.cluster.query::<Clerk, _>(address, &look).await.ok()
    } else {
        process.cluster.read::<Clerk, _>(address, |desk| look.answer(desk)).await.ok()
    }
}
