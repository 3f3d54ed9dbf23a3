//! Work at the cell for as long as it is wanted: negotiations and transfers, catalogs, changes and questions, each at times that do not depend on the answers.

use super::{
    book::{Book, Invariant, Kind, Sample, is_last},
    contracts::Contracts,
    patient::{Honours, Patient},
    world::World,
};
use crate::{
    cell::{Cell, GATEWAY},
    transcript::Tape,
};
use anyhow::Result;
use cellspace_client::{Client, sharing};
use http::Method;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet, time};

/// Between two renewals of the tokens, which last for an hour.
const RENEW: Duration = Duration::from_secs(20 * 60);
/// The asset that is changed again and again.
const REGISTER: &str = "register";

/// How much of each, a second in all.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    pub negotiations: f64,
    /// Of those that were FINALIZED, which part leads to a transfer.
    pub transfers: f64,
    pub catalogs: f64,
    /// Of each participant.
    pub writes: f64,
    /// Of each participant, by way of the gateway.
    pub reads: f64,
    /// By way of each node, whoever serves what is asked for.
    pub looks: f64,
}

/// What all who work know.
pub struct Place {
    pub world: World,
    pub book: Book,
    /// Admin listener of the gateway.
    gateway: String,
    /// Takes samples of what is said.
    tape: Option<Arc<Tape>>,
    honours: Honours,
    registers: Vec<Register>,
}

/// A value that grows.
#[derive(Default)]
struct Register {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

impl Place {
    /// Every participant has its register.
    pub async fn open(cell: &Cell, world: World, honours: Honours, tape: Option<Arc<Tape>>) -> Result<Arc<Self>> {
        let registers = world.parties.iter().map(|_| Register::default()).collect();
        let place = Arc::new(Self { world, book: Book::default(), gateway: cell.admin(GATEWAY), tape, honours, registers });
        let mut client = place.client()?;
        for party in &place.world.parties {
            let made = client.send(party.call(Method::POST, "assets", register(0))).await?;
            anyhow::ensure!(made.status == 200, "a register is answered {}", made.told());
        }
        Ok(place)
    }

    /// A client by way of the gateway.
    pub fn client(&self) -> Result<Patient> {
        Patient::new(&self.gateway, self.honours, self.tape.clone())
    }

    fn good(&self, kind: Kind, party: usize, due: Instant) {
        self.book.sample(Sample { kind, party, other: None, due, took: due.elapsed() });
    }
}

fn register(value: u64) -> String {
    Client::typed("Asset", json!({ "@id": REGISTER, "properties": { "value": value } })).to_string()
}

/// Work that goes on until it is ended.
pub struct Load {
    pub place: Arc<Place>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// When somebody's operations are due.
struct Beat {
    next: Instant,
    period: Duration,
    stop: watch::Receiver<bool>,
}

impl Beat {
    /// Waits for the next one; `None` when there is none. One that is late counts from when it was due.
    async fn next(&mut self) -> Option<Instant> {
        let due = self.next;
        self.next += self.period;
        tokio::select! {
            () = time::sleep_until(due.into()) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        if *self.stop.borrow() { None } else { Some(due) }
    }

    /// What was missed by now is not made up for.
    fn leave_out_missed(&mut self, now: Instant) {
        while self.next < now {
            self.next += self.period;
        }
    }
}

impl Load {
    /// Begins to work.
    ///
    /// # Errors
    /// When there can be no connections.
    pub fn begin(cell: &Cell, place: &Arc<Place>, rates: Rates, seed: u64) -> Result<Self> {
        let mut load = Self { place: place.clone(), stop: watch::Sender::new(false), tasks: JoinSet::new() };
        load.tasks.spawn(renew(place.clone(), cell.subject()?.silent(), load.stop.subscribe()));
        let mut random = StdRng::seed_from_u64(seed);
        let mut seeds = move || random.random::<u64>();
        let parties = place.world.parties.len();
        // Each of so many workers has its part of a rate; one that waits long keeps no other.
        for (beat, n) in load.beats(rates.negotiations, 4.0) {
            let contracts = Contracts::new(place, n)?;
            load.tasks.spawn(negotiate(contracts, beat, rates.transfers, seeds()));
        }
        for (beat, _) in load.beats(rates.catalogs, 8.0) {
            load.tasks.spawn(catalogs(place.clone(), place.client()?, beat, seeds()));
        }
        for party in 0..parties {
            for (beat, _) in load.beats(rates.writes, 0.0) {
                load.tasks.spawn(write(place.clone(), place.client()?, party, beat));
            }
            for (beat, _) in load.beats(rates.reads, 0.0) {
                load.tasks.spawn(read(place.clone(), place.client()?, party, beat));
            }
        }
        for node in crate::cell::NODES {
            for (beat, _) in load.beats(rates.looks, 0.0) {
                // Who is refused looks somewhere else the next time.
                let client = Patient::new(&cell.admin(node), Honours::Once, place.tape.clone())?;
                load.tasks.spawn(look(place.clone(), client, beat, seeds()));
            }
        }
        Ok(load)
    }

    /// Beats that are so many a second together, each of which takes about as long as this many seconds may keep it busy; one where that is 0.
    fn beats(&self, rate: f64, busy: f64) -> Vec<(Beat, usize)> {
        if rate <= 0.0 {
            return Vec::new();
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a few dozens
        let count = ((rate * busy).ceil() as usize).clamp(1, 256);
        #[allow(clippy::cast_precision_loss)] // a few dozens
        let (period, now) = (Duration::from_secs_f64(count as f64 / rate), Instant::now());
        let phase = rand::random_range(0.0..1.0);
        #[allow(clippy::cast_precision_loss)] // a few dozens
        let first = |n: usize| now + period.mul_f64((n as f64 + phase) / count as f64);
        (0..count).map(|n| (Beat { next: first(n), period, stop: self.stop.subscribe() }, n)).collect()
    }

    /// Ends what is under way, and nothing new begins.
    ///
    /// # Errors
    /// When somebody did not end as it must.
    pub async fn end(mut self) -> Result<Arc<Place>> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(self.place.clone())
    }
}

/// Renews the tokens.
async fn renew(place: Arc<Place>, mut client: Client, mut stop: watch::Receiver<bool>) {
    while time::timeout(RENEW, stop.wait_for(|stop| *stop)).await.is_err() {
        if let Err(error) = place.world.renew(&mut client).await {
            place.book.failed(format!("tokens: {error:#}"));
        }
    }
}

async fn negotiate(mut contracts: Contracts, mut beat: Beat, transfers: f64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while let Some(due) = beat.next().await {
        contracts.one(due, transfers, &mut random).await;
    }
}

async fn catalogs(place: Arc<Place>, mut client: Patient, mut beat: Beat, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let world = &place.world;
    while let Some(due) = beat.next().await {
        let consumer = random.random_range(world.providers..world.parties.len());
        let provider = random.random_range(0..world.providers);
        let (Some(who), Some(of)) = (world.party(consumer), world.party(provider)) else { continue };
        let body = sharing::catalog_request(of.participant()).to_string();
        loop {
            let answer = client.send(who.call(Method::POST, "catalog/request", body.clone())).await;
            match answer {
                Ok(answer) if answer.status == 200 => {
                    let catalog = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
                    match sharing::offers(&catalog).len() {
                        // One is shown to those alone of whom a second credential is known: after a negotiation that did not need it, not for some seconds.
                        2 | 3 => {
                            let other = Some(provider);
                            place.book.sample(Sample { kind: Kind::Catalog, party: consumer, other, due, took: due.elapsed() });
                        }
                        offers => {
                            place.book.violated(Invariant::Ack, format!("{offers} offers of {}, and not 2 or 3", of.participant().did))
                        }
                    }
                }
                // The other participant's node may be away although this one's answers.
                Ok(answer) if answer.status == 502 && lasts(client.honours(), due) => {
                    time::sleep(PAUSE).await;
                    continue;
                }
                Ok(answer) => place.book.failed(format!("a catalog is answered {}", answer.told())),
                Err(error) => place.book.failed(format!("a catalog is not answered: {error:#}")),
            }
            break;
        }
    }
}

/// Whether one who comes back so long comes back once more.
fn lasts(honours: Honours, since: Instant) -> bool {
    matches!(honours, Honours::For(limit) if since.elapsed() < limit)
}

async fn write(place: Arc<Place>, mut client: Patient, party: usize, mut beat: Beat) {
    let (Some(who), Some(register_of)) = (place.world.party(party), place.registers.get(party)) else { return };
    while let Some(due) = beat.next().await {
        let value = register_of.sent.fetch_add(1, Ordering::SeqCst) + 1;
        match client.send(who.call(Method::PUT, "assets", register(value))).await {
            Ok(answer) if answer.status.is_success() => {
                register_of.acknowledged.store(value, Ordering::SeqCst);
                place.good(Kind::Write, party, due);
            }
            Ok(answer) => place.book.failed(format!("a change is answered {}", answer.told())),
            Err(error) => place.book.failed(format!("a change is not answered: {error:#}")),
        }
    }
}

/// What is read is not older than what was acknowledged before the question, nor newer than what was sent.
fn judge(place: &Place, party: usize, floor: u64, by: &str, body: &[u8]) -> bool {
    let Some(register) = place.registers.get(party) else { return false };
    let ceiling = register.sent.load(Ordering::SeqCst);
    let found = serde_json::from_slice::<Value>(body).ok().and_then(|asset| asset["properties"]["value"].as_u64());
    match found {
        Some(value) if (floor..=ceiling).contains(&value) => true,
        Some(value) if value < floor => {
            place.book.violated(Invariant::Lease, format!("{by} answers {value} after {floor} was acknowledged"));
            false
        }
        found => {
            place.book.violated(Invariant::Ack, format!("{by} answers {found:?}, sent was at most {ceiling}"));
            false
        }
    }
}

async fn read(place: Arc<Place>, mut client: Patient, party: usize, mut beat: Beat) {
    let (Some(who), Some(register)) = (place.world.party(party), place.registers.get(party)) else { return };
    while let Some(due) = beat.next().await {
        let floor = register.acknowledged.load(Ordering::SeqCst);
        match client.send(who.get(&format!("assets/{REGISTER}"))).await {
            Ok(answer) if answer.status == 200 => {
                if judge(&place, party, floor, "the gateway", &answer.body) {
                    place.good(Kind::Read, party, due);
                }
            }
            Ok(answer) => place.book.failed(format!("a question is answered {}", answer.told())),
            Err(error) => place.book.failed(format!("a question is not answered: {error:#}")),
        }
    }
}

/// Looks at registers and processes by way of one node, which may be away.
async fn look(place: Arc<Place>, mut client: Patient, mut beat: Beat, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while beat.next().await.is_some() {
        let party = random.random_range(0..place.world.parties.len());
        let (Some(who), Some(register)) = (place.world.party(party), place.registers.get(party)) else { continue };
        let floor = register.acknowledged.load(Ordering::SeqCst);
        match client.send(who.get(&format!("assets/{REGISTER}"))).await {
            Ok(answer) if answer.status == 200 => {
                judge(&place, party, floor, "a node", &answer.body);
            }
            Ok(answer) if !answer.is_shed() => place.book.failed(format!("a node answers a question with {}", answer.told())),
            Ok(_) | Err(_) => {}
        }
        look_again(&place, &mut client, &mut random).await;
        // Who waited for a node that is gone would ask as fast as it can from then on, as no client does.
        beat.leave_out_missed(Instant::now());
    }
}

/// A process that is known, as one of its sides has it.
async fn look_again(place: &Place, client: &mut Patient, random: &mut StdRng) {
    let count = place.book.count();
    if count == 0 {
        return;
    }
    let number = random.random_range(0..count);
    let Some(process) = place.book.process(number) else { return };
    let side = random.random_range(0..2);
    let (party, id) = if side == 0 { (process.consumer, Some(process.ours)) } else { (process.provider, process.theirs) };
    let (Some(who), Some(id), [consumer, provider]) = (place.world.party(party), id, &process.seen) else { return };
    let floor = if side == 0 { consumer } else { provider };
    let Ok(answer) = client.send(who.get(&format!("{}/{id}", process.resource))).await else { return };
    match answer.status.as_u16() {
        _ if answer.is_shed() => {}
        200 => {
            let found = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
            place.book.saw(number, side, floor, found["state"].as_str().unwrap_or_default());
            let agreed = &found["contractAgreementId"];
            if let Some(agreement) = process.agreement.filter(|_| process.resource == super::contracts::NEGOTIATIONS && is_last(floor))
                && *agreed != agreement.as_str()
            {
                place.book.violated(Invariant::Ack, format!("the agreement {agreement} is {agreed} now"));
            }
        }
        404 => place.book.violated(Invariant::Ack, format!("{} {id} is not there any more: {}", process.resource, answer.told())),
        _ => place.book.failed(format!("a node answers a question for {} {id} with {}", process.resource, answer.told())),
    }
}

/// Between two tries of the same thing where nobody said how long to wait.
pub const PAUSE: Duration = Duration::from_millis(200);

/// Registers at the end hold what was acknowledged last; asked by way of the gateway.
pub async fn registers(place: &Place) -> Result<()> {
    let mut client = place.client()?;
    for party in 0..place.world.parties.len() {
        let (Some(who), Some(register)) = (place.world.party(party), place.registers.get(party)) else { continue };
        let floor = register.acknowledged.load(Ordering::SeqCst);
        let answer = client.send(who.get(&format!("assets/{REGISTER}"))).await?;
        if answer.status == 200 {
            judge(place, party, floor, "at the end the gateway", &answer.body);
        } else {
            place.book.violated(Invariant::Live, format!("a register is answered {} at the end", answer.told()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_missed_is_left_out_where_nobody_makes_up_for_it() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let (_going_on, stop) = watch::channel(false);
        let mut beat = Beat { next: now - second * 3, period: second, stop };
        assert_eq!(beat.next().await, Some(now - second * 3), "one that is late counts");
        beat.leave_out_missed(now + second / 2);
        assert_eq!(beat.next, now + second);
    }
}
