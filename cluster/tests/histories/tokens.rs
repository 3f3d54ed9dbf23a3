//! What nodes know of a slot beside the store: which tokens were used, as the product's nodes remember them. A token is shown with a command, and counts once.

use super::{bug::Bug, gate::Clocks, world::World};
use cellspace_cluster::{CallId, Clock, Opening, Slot, SlotMemory};
use cellspace_schemas::Timestamp;
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
}

impl Used {
    fn known_since(&self, slot: Opening) -> Option<Timestamp> {
        self.told.get(&slot.slot).map_or(Some(slot.at), |told| *told)
    }
}

#[derive(Serialize, Deserialize)]
struct Told {
    since: Option<Timestamp>,
    used: Vec<(u32, Timestamp)>,
}

/// The used tokens that one life of a node knows.
pub struct Tokens {
    used: Mutex<Used>,
    clocks: Arc<Clocks>,
    world: Arc<World>,
}

impl Tokens {
    pub fn new(world: &Arc<World>, clocks: Arc<Clocks>) -> Arc<Self> {
        Arc::new(Self { used: Mutex::default(), clocks, world: world.clone() })
    }

    /// Whether a call may use the token; it is used with that.
    pub fn admit(&self, token: &Token, call: CallId, slot: Opening) -> bool {
        let (now, mut used) = (Clock::now(&*self.clocks), self.used.lock());
        let opened = used.known_since(slot).map(|known| known.plus(SKEW).plus(SKEW));
        // It may have been used where nobody has told of it.
        let early = opened.is_some_and(|opened| token.issued <= opened) && !self.world.is(Bug::TrustsOpenings);
        if early || now > token.issued.plus(VALID) {
            return false;
        }
        used.tokens.retain(|_, (until, _)| *until >= now.minus(SKEW));
        let (_, by) = used.tokens.entry((slot.slot, token.number)).or_insert((token.issued.plus(VALID), Some(call)));
        if *by != Some(call) {
            self.world.repeats.fetch_add(1, Relaxed);
        }
        *by == Some(call)
    }
}

impl SlotMemory for Tokens {
    fn tell(&self, slot: Slot, opened: Duration) -> Option<Box<RawValue>> {
        let used = self.used.lock();
        let of_slot = used.tokens.iter().filter(|((of, _), _)| *of == slot);
        let all = of_slot.map(|((_, number), (until, _))| (*number, *until)).collect();
        let since = used.known_since(Opening { slot, at: Clock::now(&*self.clocks).minus(opened), came: None });
        to_raw_value(&Told { since, used: all }).ok()
    }

    fn hear(&self, slot: Slot, told: Option<&RawValue>) {
        let mut used = self.used.lock();
        used.told.remove(&slot);
        let Some(told) = told.map(|told| serde_json::from_str::<Told>(told.get()).unwrap()) else { return };
        self.world.told.fetch_add(1, Relaxed);
        used.told.insert(slot, told.since);
        if !self.world.is(Bug::ForgetsTokens) {
            used.tokens.extend(told.used.into_iter().map(|(number, until)| ((slot, number), (until, None))));
        }
    }
}
