//! One life of a node: the product's cell and runtime, and what it has of the world around it. A process that is paused says nothing and hears nothing; one
//! that died never again.

use super::{
    agent::{Clerk, Look, Order, Parcel, Steps},
    bug::Bug,
    dice::Dice,
    gate::{Clocks, Gate},
    store::{Disk, key},
    tokens::{Token, Tokens},
    world::{World, ms, terms},
};
use cellspace_cluster::*;
use cellspace_schemas::Owner;
use cellspace_storage::{StoreError, Swap};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

/// After so long, in milliseconds, a node hears no answer of the store any more.
const TIMEOUT: u64 = 1_000;

/// What one life of a node has of the world.
pub struct Access {
    pub world: Arc<World>,
    pub seat: usize,
    life: u64,
    gate: Arc<Gate>,
    /// Version of the link that it speaks.
    pub wire: u16,
    pub tokens: Arc<Tokens>,
    cluster: OnceLock<Box<Handle>>,
}

/// The node's runtime, while it is there.
type Handle = dyn Fn() -> Option<Cluster> + Send + Sync;

pub struct Process {
    pub cluster: Cluster,
    pub cell: Arc<Cell>,
    pub gate: Arc<Gate>,
    /// Version of the link that it speaks.
    pub wire: u16,
    /// What it knows beside the store.
    pub tokens: Arc<Tokens>,
}

impl Process {
    pub async fn start(world: &Arc<World>, seat: usize, life: u64, level: u16) -> Arc<Self> {
        let gate = Gate::new();
        let mut dice = world.dice(&format!("clocks {seat} {life}"));
        let rates = if world.is(Bug::WildClocks) { 200..2_000 } else { 950..1_051 };
        let clocks = Arc::new(Clocks {
            began: world.at_time(0),
            offset: ms(dice.within(0..10_000_000)),
            rate: u32::try_from(dice.within(rates)).unwrap(),
            skew: i64::try_from(dice.within(0..1_000)).unwrap() - 500,
            sleeps: world.is(Bug::SleepingClock).then(|| gate.clone()),
        });
        let (tokens, wire) = (Tokens::new(world, seat, clocks.clone()), world.wire_of(level));
        let cluster = OnceLock::new();
        let access = Arc::new(Access { world: world.clone(), seat, life, gate: gate.clone(), wire, tokens: tokens.clone(), cluster });
        let cell = Cell::new(CellOptions {
            node: NodeName(format!("n{seat}")),
            level,
            endpoint: format!("n{seat}"),
            terms: terms(),
            membership: access.clone(),
            peers: access.clone(),
            uptime: clocks.clone(),
            clock: clocks.clone(),
        });
        cell.remember(tokens.clone());
        let options = Options { idle_after: Duration::from_secs(2), ..Options::default() };
        let cluster = Cluster::in_cell(access.clone(), access.clone(), clocks, options, cell.clone());
        let _ = access.cluster.set(Box::new(cluster.downgrade()));
        cluster.register(Arc::new(Clerk(access)));
        cluster.start().await.unwrap();
        Arc::new(Self { cluster, cell, gate, wire, tokens })
    }
}

impl Access {
    /// Chance for this request. Who asks for the same at once, in whatever order, has the same luck.
    fn dice(&self, what: &str) -> Dice {
        self.world.dice(&format!("{} {} {} {what}", self.seat, self.life, self.world.now()))
    }

    /// A request to the store: `None` when no answer came.
    pub async fn request<T: Send + 'static>(&self, what: &str, act: impl FnOnce(&World, &mut Disk) -> T + Send + 'static) -> Option<T> {
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

    pub async fn read<T: Send + 'static>(&self, what: &str, act: impl FnOnce(&mut Disk) -> T + Send + 'static) -> Result<T, StoreError> {
        self.request(what, |_, disk| act(disk)).await.ok_or_else(|| StoreError::Unavailable("no answer".into()))
    }

    pub async fn swap(&self, what: &str, act: impl FnOnce(&mut Disk) -> Swap + Send + 'static) -> Swap {
        self.request(what, |_, disk| act(disk)).await.unwrap_or_else(|| Swap::Unknown("no answer".into()))
    }

    /// Says something to a peer, which does it whether it is waited for or not. News and questions may come twice; nobody sends a command twice.
    pub async fn say<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
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
        let wire = self.wire;
        let comes = named.clone();
        world.at(there, key, move |world| {
            world.note(|| format!("{comes} comes"));
            let Some(process) = world.process(to) else { return drop(tell.send(Err(PeerError::NotDone("nobody listens".into())))) };
            if process.wire != wire && !world.is(Bug::GuessesAtWires) {
                return drop(tell.send(Err(PeerError::NotDone("it speaks another version".into()))));
            }
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
            Order::Note { id } | Order::Show { id, .. } | Order::Send { id, .. } | Order::Alarm { id, .. } | Order::Cancel { of: id } => {
                *id
            }
        };
        sleep(ms(1 + u64::from(id / 1_000 % 32))).await;
        let mixed = self.world.is(Bug::MixesOwners) && id % 7 == 0;
        let owner = if mixed { "somebody-else".to_owned() } else { owner };
        if let (true, Order::Send { lane, .. }) = (self.world.is(Bug::SendsEarly), &order) {
            let _ = self.deliver(Parcel { id, owner: owner.clone(), lane: lane.clone() }).await;
        }
        (owner, order, self.world.is(Bug::LawlessAgent))
    }

    /// Whether the call may use the token for an agent of this owner.
    pub fn admits(&self, token: &Token, call: &Call, owner: &Owner) -> bool {
        let Some(cluster) = self.cluster.get().and_then(|cluster| cluster()) else { return false };
        let Some(opening) = cluster.opened(owner.clone()) else { return false };
        // Of a call that is under way when its slot goes nothing comes.
        if cluster.serves(&Address::of::<Clerk>(owner.clone())) {
            self.tokens.serves(opening);
        }
        self.tokens.admit(token, call.id, opening)
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

/// What a process answers by itself: the read, wherever the agent is, and whether it was read here.
pub async fn look(process: &Process, address: &Address, by: u32, anywhere: bool) -> Option<Steps> {
    let look = Look(by);
    if anywhere {
        process.cluster.query::<Clerk, _>(address, &look).await.ok()
    } else {
        process.cluster.read::<Clerk, _>(address, |desk| look.answer(desk)).await.ok()
    }
}
