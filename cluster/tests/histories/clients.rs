//! Clients: each sends one command after the other to whichever node is there, and remembers what it was told.

use super::{
    agent::{Clerk, Order},
    dice::Dice,
    gate::DAWN,
    node::{Process, look},
    tokens::{Token, VALID},
    world::{Outcome, World, ms},
};
use cellspace_cluster::{Address, AskError, Call, IdempotencyKey};
use cellspace_schemas::{Owner, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// Commands that a client gives ids to.
pub const IDS: u32 = 1_000;

pub struct Client {
    pub world: Arc<World>,
    /// Its own among those of all owners.
    pub number: u32,
    pub owner: Owner,
    pub dice: Dice,
}

impl Client {
    /// Until the faults stop.
    pub async fn run(mut self) {
        let (mut alarm, mut shown) = (None, Vec::<Token>::new());
        for n in 0..IDS {
            if self.world.is_calm() {
                return;
            }
            // Now and then long enough for the agent to leave.
            let pause = if self.dice.chance(50) { self.dice.within(1_000..3_000) } else { self.dice.within(20..300) };
            sleep(ms(pause)).await;
            self.world.alone();
            let id = self.number * IDS + n;
            match self.dice.within(0..if self.world.restless { 160 } else { 100 }) {
                0..20 => self.order(id, Order::Note { id }).await,
                20..40 => {
                    let lane = format!("lane-{}", self.dice.within(0..2));
                    self.order(id, Order::Send { id, lane }).await;
                }
                40..55 => {
                    let after = i64::try_from(self.world.now() + self.dice.within(100..5_000)).unwrap();
                    alarm = Some(id);
                    self.order(id, Order::Alarm { id, at: Timestamp(DAWN + after) }).await;
                }
                55..60 if alarm.is_some() => {
                    let of = alarm.take().unwrap();
                    // From now on it may be.
                    self.world.known.lock().alarms.remove(&(self.owner.to_string(), of));
                    self.order(id, Order::Cancel { of }).await;
                }
                60..80 | 100.. => {
                    let now = Timestamp(DAWN + i64::try_from(self.world.now()).unwrap());
                    shown.retain(|token| token.issued.plus(VALID) > now);
                    // One that was used, as somebody does who has overheard it.
                    let again = (!shown.is_empty() && self.dice.chance(500)).then(|| shown[self.dice.index(shown.len())].clone());
                    let token = again.unwrap_or(Token { number: id, issued: now.plus(ms(self.dice.within(0..500))) });
                    shown.push(token.clone());
                    self.order(id, Order::Show { id, token }).await;
                }
                _ => self.look().await,
            }
        }
    }

    fn anybody(&mut self) -> Option<(usize, Arc<Process>)> {
        let up = self.world.up();
        (!up.is_empty()).then(|| up[self.dice.index(up.len())].clone())
    }

    async fn order(&mut self, id: u32, order: Order) {
        // A token is not shown again by who may use it.
        let keyed = self.dice.chance(500) && !matches!(order, Order::Show { .. });
        let key = if keyed { IdempotencyKey::parse(&format!("key-{id}")) } else { None };
        let mut outcome = Outcome::NotExecuted;
        // A client repeats under its key until it has an answer.
        for _ in 0..if keyed { 6 } else { 1 } {
            let Some((seat, process)) = self.anybody() else {
                sleep(ms(200)).await;
                continue;
            };
            let anywhere = self.dice.chance(700);
            let told = tell(&self.world, seat, &process, &self.owner, &order, key.clone(), anywhere).await;
            outcome = if told == Outcome::NotExecuted && outcome == Outcome::Unknown { outcome } else { told };
            if outcome == Outcome::Done {
                break;
            }
            sleep(ms(self.dice.within(100..400))).await;
        }
        if !matches!(order, Order::Cancel { .. }) {
            self.world.known.lock().outcomes.insert((self.owner.to_string(), id), outcome);
        }
    }

    async fn look(&mut self) {
        let Some((_, process)) = self.anybody() else { return };
        let (address, owner) = (Address::of::<Clerk>(self.owner.clone()), self.owner.to_string());
        let anywhere = self.dice.chance(500);
        let known = self.world.known.lock().steps.get(&owner).copied().unwrap_or(0);
        let looking = async {
            process.gate.pass().await;
            let found = look(&process, &address, self.number, anywhere).await?;
            if !anywhere {
                self.world.hold(self.world.known.lock().read(&owner, &found));
            }
            process.gate.pass().await;
            Some(found)
        };
        let found = tokio::select! {
            biased;
            () = process.gate.died() => None,
            found = timeout(Duration::from_secs(4), looking) => found.ok().flatten(),
        };
        if let Some(found) = found.filter(|found| found.steps < known) {
            self.world.broke(format!("LEASE: a read of {owner} that began after {known} steps were acknowledged sees {}", found.steps));
        }
    }
}

/// Gives an order to an agent by way of one process.
pub async fn tell(
    world: &Arc<World>,
    seat: usize,
    process: &Process,
    owner: &Owner,
    order: &Order,
    key: Option<IdempotencyKey>,
    anywhere: bool,
) -> Outcome {
    let address = Address::of::<Clerk>(owner.clone());
    let call = Call { timeout: Duration::from_secs(4), idempotency: key, ..Call::by("client") };
    let asking = async {
        process.gate.pass().await;
        let answer = if anywhere {
            process.cluster.ask_anywhere::<Clerk>(&address, order.clone(), call).await
        } else {
            process.cluster.ask::<Clerk>(&address, order.clone(), call).await
        };
        process.gate.pass().await;
        answer
    };
    let answer = tokio::select! {
        biased;
        () = process.gate.died() => Err(AskError::Unknown { reason: "the connection is gone".into() }),
        answer = timeout(Duration::from_secs(6), asking) =>
            answer.unwrap_or_else(|_| Err(AskError::Unknown { reason: "no answer".into() })),
    };
    world.note(|| format!("{order:?} of {owner} by n{seat}: {answer:?}"));
    match answer {
        Ok(done) => {
            world.acknowledged(owner, order, &done);
            Outcome::Done
        }
        Err(AskError::Unknown { .. }) => Outcome::Unknown,
        Err(AskError::KeyReused) => {
            world.broke(format!("ACK: {order:?} of {owner} has the key of another"));
            Outcome::Unknown
        }
        Err(_) => Outcome::NotExecuted,
    }
}
