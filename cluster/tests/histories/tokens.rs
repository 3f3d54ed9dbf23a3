//! What nodes know of a slot beside the store: which tokens were used, as the product's nodes remember them. A token is shown with a command, and counts once.

use super::{bug::Bug, gate::Clocks, world::World};
use cellspace_cluster::{CallId, Clock, Opening, Slot, SlotMemory, Told as Answered, membership::Answer};
use cellspace_schemas::Timestamp;
use cellspace_storage::Member;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// How long a token counts.
pub const VALID: Duration = Duration::from_secs(20);
/// By which the clocks of two nodes may differ.
const SKEW: Duration = Duration::from_secs(1);

/// A client's token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// Its own among those of all clients.
    pub number: u32,
    pub issued: Timestamp,
}

#[derive(Default)]
struct Used {
    /// By slot and number: until when the token counts, and the call that used it.
    tokens: BTreeMap<(Slot, u32), (Timestamp, Option<CallId>)>,
    /// Slots of which the node before has told: since when all used tokens are known.
    told: BTreeMap<Slot, Option<Timestamp>>,
    /// Each slot's last opening here.
    openings: BTreeMap<Slot, Opened>,
    /// What was heard of slots, and first from whom, for the bugs that take it at the wrong time.
    heard: BTreeMap<u16, Box<RawValue>>,
    heard_from: BTreeMap<(Member, u16), Box<RawValue>>,
    /// [`Bug::TrustsDeadOwners`]
    trusts_dead_owners: bool,
}

/// An opening of a slot.
struct Opened {
    /// Its number among those of all nodes.
    number: u64,
    /// That of the opening of which was told.
    told: Option<u64>,
    /// Whether anything was served since.
    serves: bool,
}

impl Used {
    fn known_since(&self, slot: Opening) -> Option<Timestamp> {
        let others = |others: Timestamp| if self.trusts_dead_owners { Timestamp(0) } else { others };
        let served = slot.before.map(|before| others(before.others).max(before.owner.minus(SKEW)));
        self.told.get(&slot.slot).map_or(Some(served.map_or(slot.at, |served| served.min(slot.at))), |told| *told)
    }
}

#[derive(Serialize, Deserialize)]
struct Told {
    /// The number of its last opening at the node that tells.
    opening: u64,
    since: Option<Timestamp>,
    used: Vec<(u32, Timestamp)>,
}

/// The used tokens that one life of a node knows.
pub struct Tokens {
    seat: usize,
    used: Mutex<Used>,
    clocks: Arc<Clocks>,
    world: Arc<World>,
}

impl Tokens {
    pub fn new(world: &Arc<World>, seat: usize, clocks: Arc<Clocks>) -> Arc<Self> {
        let used = Used { trusts_dead_owners: world.is(Bug::TrustsDeadOwners), ..Used::default() };
        Arc::new(Self { seat, used: Mutex::new(used), clocks, world: world.clone() })
    }

    /// Whether a call may use the token; it is used with that.
    pub fn admit(&self, token: &Token, call: CallId, slot: Opening) -> bool {
        let (now, mut used) = (Clock::now(&*self.clocks), self.used.lock());
        if !self.counts(token, &used, slot, now) {
            return false;
        }
        used.tokens.retain(|_, (until, _)| *until >= now.minus(SKEW));
        let (_, by) = used.tokens.entry((slot.slot, token.number)).or_insert((token.issued.plus(VALID), Some(call)));
        if *by != Some(call) {
            self.world.repeats.fetch_add(1, Relaxed);
        }
        *by == Some(call)
    }

    /// Whether a token is taken that was not used.
    fn counts(&self, token: &Token, used: &Used, slot: Opening, now: Timestamp) -> bool {
        let opened = used.known_since(slot).map(|known| known.plus(SKEW).plus(SKEW));
        // It may have been used where nobody has told of it.
        let early = opened.is_some_and(|opened| token.issued <= opened) && !self.world.is(Bug::TrustsOpenings);
        // Whoever opens the slot later counts on it.
        let late = token.issued > now.plus(SKEW) || slot.until.is_some_and(|until| token.issued > until.plus(SKEW));
        !early && !late && now <= token.issued.plus(VALID)
    }

    /// This node serves the slot: what was told of it is of who served it last, and what was used of it there would not be taken again. Who opens a slot without a
    /// lease, behind the others, may have been told of an earlier time, and serves nothing.
    pub fn serves(&self, opening: Opening) {
        let slot = opening.slot;
        let mut used = self.used.lock();
        let Some(opened) = used.openings.get_mut(&slot).filter(|opened| !opened.serves) else { return };
        opened.serves = true;
        let Opened { number, told, .. } = *opened;
        let now = Clock::now(&*self.clocks);
        self.world.hold(self.world.openings.lock().serves(slot, number, told));
        let disk = self.world.disk.lock();
        let again =
            disk.used(slot).find(|token| self.counts(token, &used, opening, now) && !used.tokens.contains_key(&(slot, token.number)));
        if let Some(token) = again {
            self.world.broke(format!("TOKEN: slot {} is served where {token:?} would be taken again", slot.number()));
        }
    }
}

/// Openings of slots, of all nodes.
#[derive(Default)]
pub struct Openings {
    count: u64,
    /// The last one of each slot that was served.
    served: BTreeMap<Slot, u64>,
}

impl Openings {
    fn serves(&mut self, slot: Slot, number: u64, told: Option<u64>) -> Result<(), String> {
        let last = self.served.insert(slot, number).unwrap_or_default();
        match told {
            Some(told) if told < last => Err(format!(
                "MEMORY: slot {} is served with what was known of its opening {told}, and was served since {last}",
                slot.number()
            )),
            _ => Ok(()),
        }
    }
}

/// Rules of what is told and heard, where they are broken.
impl Tokens {
    pub fn tells(&self, slots: &[u16], answers: &mut [Answered]) {
        for (slot, answer) in slots.iter().zip(answers).filter(|_| self.world.is(Bug::TellsOfOthers)) {
            if answer.answer == Answer::Released {
                answer.memory = Slot::numbered(*slot).and_then(|slot| {
                    self.tell(Opening { slot, at: Clock::now(&*self.clocks).minus(VALID), before: None, came: None, until: None })
                });
            }
        }
    }

    pub fn hears(&self, from: &Member, slots: &[u16], answers: &mut [Answered]) {
        let mut used = self.used.lock();
        for (slot, answer) in slots.iter().zip(answers).filter(|(_, answer)| answer.answer == Answer::Released) {
            let Some(memory) = answer.memory.clone() else { continue };
            if self.world.is(Bug::TakesLateAnswers) {
                answer.memory = Some(used.heard_from.entry((from.clone(), *slot)).or_insert(memory).clone());
            } else if self.world.is(Bug::KeepsWhatItHeard) {
                used.heard.insert(*slot, memory);
            }
        }
    }
}

impl SlotMemory for Tokens {
    fn tell(&self, opening: Opening) -> Option<Box<RawValue>> {
        let slot = opening.slot;
        let used = self.used.lock();
        let of_slot = used.tokens.iter().filter(|((of, _), _)| *of == slot);
        let all = of_slot.map(|((_, number), (until, _))| (*number, *until)).collect();
        let since = used.known_since(opening);
        to_raw_value(&Told { opening: used.openings.get(&slot).map_or(0, |opened| opened.number), since, used: all }).ok()
    }

    fn hear(&self, slot: Slot, told: Option<&RawValue>) {
        let mut used = self.used.lock();
        used.told.remove(&slot);
        let kept = used.heard.get(&slot.number()).cloned();
        let told: Option<Told> = told.or(kept.as_deref()).map(|told| serde_json::from_str(told.get()).unwrap());
        let number = {
            let mut openings = self.world.openings.lock();
            openings.count += 1;
            openings.count
        };
        let opened = Opened { number, told: told.as_ref().map(|told| told.opening), serves: false };
        self.world.note(|| format!("n{} opens slot {} as opening {number}, told of {:?}", self.seat, slot.number(), opened.told));
        used.openings.insert(slot, opened);
        if let Some(Told { since, used: all, .. }) = told {
            self.world.told.fetch_add(1, Relaxed);
            used.told.insert(slot, since);
            if !self.world.is(Bug::ForgetsTokens) {
                used.tokens.extend(all.into_iter().map(|(number, until)| ((slot, number), (until, None))));
            }
        }
    }
}
