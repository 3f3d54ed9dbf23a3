//! One history: a storm of faults, then calm, in which all that was promised comes true.

use super::{
    agent::{Job, Order, Step, Steps},
    bug::Bug,
    clients::{Client, IDS, tell},
    node::look,
    waver::waver,
    world::{NODES, OWNED, Outcome, World, ms},
};
use cellspace_cluster::{Address, membership::finalized};
use cellspace_schemas::Owner;
use cellspace_storage::{PartitionKey, Wake};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// How long faults happen, in milliseconds.
const STORM: u64 = 10_000;
/// By so long after the last fault all nodes have their slots, and every agent answers on whichever node it is asked (invariant LIVE).
const SERVED: u64 = 40_000;
/// By so long after it nothing is left to do: the longest pauses of breakers and of agents that failed are a minute.
const DONE: u64 = 240_000;
/// Clients of each owner.
const CLIENTS: u32 = 2;

/// What a history came to.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    pub acks: u64,
    pub reads: u64,
    pub commits: u64,
    pub views: u64,
    /// Used tokens that were refused.
    pub repeats: u64,
    /// Slots that opened with what was told of them.
    pub told: u64,
    pub trace: Vec<String>,
}

/// One history, from its seed: the first invariant that did not hold is the error.
pub fn history(seed: u64, bug: Option<Bug>, traced: bool) -> (Result<(), String>, Figures) {
    let (outcome, world) = run(
        || World::new(seed, bug, traced),
        |world| async move {
            let outcome = tokio::select! {
                biased;
                () = world.stop.notified() => Ok(()),
                outcome = story(&world) => outcome,
            };
            (world.broken().map_or(outcome, Err), world)
        },
    );
    let (known, disk) = (world.known.lock(), world.disk.lock());
    let views = disk.view.as_ref().map_or(0, |view| view.version);
    let (repeats, told) = (world.repeats.load(Relaxed), world.told.load(Relaxed));
    (outcome, Figures { acks: known.acks, reads: known.reads, commits: disk.commits, views, repeats, told, trace: world.trace() })
}

/// Something that happens in a world of its own.
pub fn run<F: Future<Output = (Result<(), String>, Arc<World>)>>(
    world: impl FnOnce() -> Arc<World>,
    happens: impl FnOnce(Arc<World>) -> F,
) -> (Result<(), String>, Arc<World>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (outcome, world) = runtime.block_on(async {
        let world = world();
        tokio::spawn(world.clone().run());
        happens(world).await
    });
    // With its end every task ends.
    drop(runtime);
    world.clear();
    (outcome, world)
}

async fn story(world: &Arc<World>) -> Result<(), String> {
    let mut dice = world.dice("story");
    for seat in 0..world.nodes {
        if seat == 0 || dice.chance(700) {
            world.start(seat).await;
        }
    }
    let mut clients = Vec::new();
    for (n, owner) in (0..).zip(OWNED.iter()) {
        for client in 0..CLIENTS {
            let number = 1 + n * CLIENTS + client;
            let dice = world.dice(&format!("client {number}"));
            clients.push(tokio::spawn(Client { world: world.clone(), number, owner: owner.clone(), dice }.run()));
        }
    }
    sleep(ms(2_000)).await;
    while world.now() < STORM {
        fault(world).await;
        sleep(ms(world.dice(&format!("pause {}", world.now())).within(50..1_500))).await;
    }
    heal(world).await;
    let calm = world.now();
    until(world, calm + SERVED, "LIVE: ", || async { settled(world) }).await?;
    // What they asked for last may be an alarm that is yet to ring.
    for client in clients {
        client.await.map_err(|error| error.to_string())?;
    }
    // Nobody asks for anything: what is left is done all the same.
    until(world, calm + DONE, "", || async { left(world) }).await?;
    until(world, world.now() + SERVED, "LIVE: ", || served(world)).await?;
    // Whoever was asked last has answered.
    sleep(ms(5_000)).await;
    kept(world)?;
    for owner in OWNED.iter() {
        shown(world, owner).await?;
    }
    Ok(())
}

/// The agent shows what is stored.
async fn shown(world: &Arc<World>, owner: &Owner) -> Result<(), String> {
    let (address, end) = (Address::of::<super::agent::Clerk>(owner.clone()), world.now() + SERVED);
    let expected = Steps { owner: owner.to_string(), steps: steps(world, owner) };
    loop {
        let up = world.up().pop();
        let found = match &up {
            Some((_, process)) => look(process, &address, 0, true).await,
            None => None,
        };
        match found {
            Some(found) if found == expected => return Ok(()),
            // One that was told to drain before the faults stopped may end by now.
            None if world.now() < end => sleep(ms(500)).await,
            found => return Err(format!("ACK: {found:?} is shown of {owner} by {:?}, stored is {expected:?}", up.map(|(seat, _)| seat))),
        }
    }
}

/// Comes true by then.
async fn until<F: Future<Output = Result<(), String>>>(world: &World, end: u64, name: &str, check: impl Fn() -> F) -> Result<(), String> {
    loop {
        match check().await {
            Ok(()) => return Ok(()),
            Err(_) if world.now() < end => sleep(ms(500)).await,
            Err(broken) => return Err(format!("{name}{broken}")),
        }
    }
}

async fn fault(world: &Arc<World>) {
    let mut dice = world.dice(&format!("fault {}", world.now()));
    let (seat, other) = (dice.index(world.nodes), dice.index(world.nodes));
    let process = world.process(seat);
    let kind = if world.restless && dice.chance(400) { 92 } else { dice.within(0..100) };
    world.note(|| format!("fault {kind} of n{seat} and n{other}"));
    match (kind, process) {
        (0..15, Some(_)) => world.crash(seat),
        (0..40, None) => {
            if dice.chance(300) {
                world.seats.lock()[seat].level = 2;
            }
            world.start(seat).await;
        }
        (15..32, Some(process)) => {
            process.gate.pause();
            let time = dice.within(100..7_000);
            world.at(time, dice.number(), move |_| process.gate.resume());
        }
        (32..40, _) => {
            let cut = &mut world.net.lock().cut_from_store;
            if !cut.remove(&seat) {
                cut.insert(seat);
            }
        }
        (40..55, _) => {
            // One way; the other way is another fault.
            let cut = &mut world.net.lock().cut;
            if !cut.remove(&(seat, other)) {
                cut.insert((seat, other));
            }
        }
        (55..65, _) => *world.net.lock() = Default::default(),
        (65..72, Some(process)) => {
            let (world, life) = (world.clone(), world.seats.lock()[seat].lives);
            tokio::spawn(async move {
                process.cluster.drain(Duration::from_secs(10)).await;
                process.gate.pass().await;
                world.end(seat, life);
            });
        }
        (72..77, _) => {
            // As an operator does it.
            let mut disk = world.disk.lock();
            let leases = disk.leases();
            if let Some(next) = disk.view.as_ref().and_then(|view| finalized(view, &leases)) {
                disk.change_view(next);
            }
        }
        (77..81, _) => (0..world.nodes).filter(|_| dice.chance(700)).for_each(|seat| world.crash(seat)),
        (81..88, _) => {
            for seat in 0..world.nodes {
                world.start(seat).await;
            }
        }
        (88..92, _) => world.outage.store(world.now() + dice.within(200..3_000), Relaxed),
        (92..99, _) => waver(world, &mut dice),
        _ => {}
    }
}

/// No more faults, and everybody is there, but sometimes one.
async fn heal(world: &Arc<World>) {
    world.calm.store(true, Relaxed);
    *world.net.lock() = Default::default();
    world.outage.store(0, Relaxed);
    world.note(|| "calm".to_owned());
    let mut dice = world.dice("heal");
    for (_, process) in world.up() {
        process.gate.resume();
        for (address, _) in process.cluster.parked() {
            let _ = process.cluster.unpark(&address);
        }
    }
    let gone = (world.nodes > 2 && dice.chance(300)).then(|| dice.index(world.nodes));
    if let Some(gone) = gone {
        world.bury(gone);
    }
    for seat in (0..world.nodes).filter(|seat| Some(*seat) != gone) {
        world.seats.lock()[seat].level = 2;
        // Whoever speaks an older version than all others by now comes back in the newest.
        if world.process(seat).is_some_and(|process| process.wire < world.wire_of(2)) {
            world.crash(seat);
        }
        world.start(seat).await;
    }
}

/// All that are to run are the members, and nothing is handed over.
fn settled(world: &World) -> Result<(), String> {
    let up = world.up();
    let view = world.disk.lock().view.clone().ok_or("there is no view")?;
    let members: BTreeSet<String> = view.deal.to.iter().map(|member| member.node.to_string()).collect();
    let expected: BTreeSet<String> = up.iter().map(|(seat, _)| format!("n{seat}")).collect();
    if view.deal.from != view.deal.to || members != expected {
        return Err(format!("not settled: {:?}, up are {expected:?}", view.deal));
    }
    let missing = world.nodes - up.len();
    if missing == 0 || (missing == 1 && world.nodes > 2) { Ok(()) } else { Err(format!("only {expected:?} run")) }
}

/// Every agent takes a command and shows it, by way of every node.
async fn served(world: &Arc<World>) -> Result<(), String> {
    let up = world.up();
    for (n, owner) in (0..).zip(OWNED.iter()) {
        for (seat, process) in &up {
            // Ids that no client has.
            let id = (900 + n) * IDS + u32::try_from(world.now() / 500 * NODES as u64 + *seat as u64).unwrap() % IDS;
            let told = timeout(Duration::from_secs(5), tell(world, *seat, process, owner, &Order::Note { id }, None, true)).await;
            if told != Ok(Outcome::Done) {
                return Err(format!("{owner} takes nothing by way of n{seat}: {told:?}"));
            }
        }
    }
    Ok(())
}

/// Nothing is left to do.
fn left(world: &World) -> Result<(), String> {
    let disk = world.disk.lock();
    for (key, stored) in &disk.partitions {
        if !stored.outbox.is_empty() {
            return Err(format!("OUTBOX: {key} has {} rows left: {:?}", stored.outbox.len(), stored.outbox.values().next()));
        }
        if let Some(job) = stored.jobs.values().find(|job| job.early) {
            return Err(format!("TIMER: {key} was rung before it was due: {job:?}"));
        }
        if let Some(job) = stored.jobs.values().find(|job| job.due.is_some()) {
            return Err(format!("TIMER: {key} has a deadline left: {job:?}"));
        }
        if stored.wake != Wake::default() {
            return Err(format!("TIMER: {key} is still to wake: {:?}", stored.wake));
        }
    }
    Ok(())
}

fn partition(owner: &Owner) -> PartitionKey {
    Address::of::<super::agent::Clerk>(owner.clone()).partition()
}

fn steps(world: &World, owner: &Owner) -> u64 {
    let disk = world.disk.lock();
    disk.partitions.get(&partition(owner)).map_or(0, |stored| stored.jobs.values().map(|job| job.path.len() as u64).sum())
}

/// What clients were told is what is stored.
fn kept(world: &World) -> Result<(), String> {
    let (disk, known) = (world.disk.lock(), world.known.lock());
    let job = |owner: &str, id: u32| -> Option<&Job> {
        disk.partitions.get(&partition(&Owner::new(owner).unwrap())).and_then(|stored| stored.jobs.get(&id))
    };
    for ((owner, id), outcome) in &known.outcomes {
        match (outcome, job(owner, *id)) {
            (Outcome::Done, None) => return Err(format!("ACK: command {id} of {owner} is lost")),
            (Outcome::NotExecuted, Some(job)) => {
                return Err(format!("ACK: command {id} of {owner} was executed, its client was told that it was not: {job:?}"));
            }
            _ => {}
        }
    }
    for (owner, id) in &known.alarms {
        let path = job(owner, *id).map(|job| job.path.as_slice()).unwrap_or_default();
        if path.iter().filter(|step| **step == Step::Rung).count() != 1 {
            return Err(format!("TIMER: alarm {id} of {owner} has {path:?}"));
        }
    }
    Ok(())
}

impl World {
    /// A client has an answer: what it says is stored by now (invariant ACK).
    pub fn acknowledged(&self, owner: &Owner, order: &Order, done: &Steps) {
        let disk = self.disk.lock();
        let jobs = disk.partitions.get(&partition(owner)).map(|stored| &stored.jobs);
        let path = |id: &u32| jobs.and_then(|jobs| jobs.get(id)).map(|job| job.path.as_slice()).unwrap_or_default();
        let stored = match order {
            Order::Note { id } | Order::Show { id, .. } | Order::Send { id, .. } | Order::Alarm { id, .. } => !path(id).is_empty(),
            Order::Cancel { of } => path(of).contains(&Step::Cancelled),
        };
        if !stored {
            self.broke(format!("ACK: {order:?} of {owner} is acknowledged and not stored"));
        }
        if done.owner != owner.as_str() {
            self.broke(format!("ISOLATION: {order:?} of {owner} is answered by {}", done.owner));
        }
        let mut known = self.known.lock();
        known.acks += 1;
        let steps = known.steps.entry(owner.to_string()).or_default();
        *steps = done.steps.max(*steps);
        if let Order::Alarm { id, .. } = order {
            known.alarms.insert((owner.to_string(), *id));
        }
    }
}
