//! One agent in memory: what callers hold, beside the actor that runs its turns.

use crate::{
    Address, Agent, Track,
    idempotency::Replies,
    inbox::{Inbox, Item, PushError},
    watched::Watched,
};
use cellspace_storage::Epoch;
use metrics::gauge;
use parking_lot::Mutex;
use ractor::ActorRef;
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Deliveries of one agent under way at once; those that pause or wait for their host do not count.
const LANES: usize = 64;
/// Of these to one host: one that is silent takes not all of them.
const LANES_TO_HOST: usize = 32;
/// Deliveries aside of one agent under way at once.
const LANES_ASIDE: usize = 32;
/// Of these to one host.
const LANES_ASIDE_TO_HOST: usize = 8;
/// Deliveries in the background of one agent under way at once: an eighth of the node's, so that a few agents whose receivers are slow leave room.
const LANES_BACKGROUND: usize = 2;
/// Of these to one host.
const LANES_BACKGROUND_TO_HOST: usize = 1;
/// Hosts remembered without a delivery on its way to them.
const KEPT_HOSTS: usize = 64;

/// The actor's only message: something waits in the inbox.
pub(crate) struct Wakeup;

/// Where an activation stands in its life.
pub(crate) enum Phase<A: Agent> {
    Loading,
    Ready { state: Arc<A::State>, registered: bool },
    Gone(String),
}

impl<A: Agent> Clone for Phase<A> {
    fn clone(&self) -> Self {
        match self {
            Self::Loading => Self::Loading,
            Self::Ready { state, registered } => Self::Ready { state: state.clone(), registered: *registered },
            Self::Gone(reason) => Self::Gone(reason.clone()),
        }
    }
}

pub(crate) struct Activation<A: Agent> {
    pub(crate) address: Address,
    /// The view since which its slot is served here; once that has ended it is worth nothing.
    pub(crate) since: u64,
    pub(crate) inbox: Inbox<A>,
    pub(crate) phase: Watched<Phase<A>>,
    pub(crate) actor: OnceLock<ActorRef<Wakeup>>,
    /// The epoch of its claim, once it has one.
    pub(crate) epoch: OnceLock<Epoch>,
    pub(crate) replies: Mutex<Replies>,
    /// Ends with the activation: deliveries and pauses of it stop.
    pub(crate) ended: CancellationToken,
    /// Callers that prepare, wait or watch; while there are any it is not passivated.
    pub(crate) users: AtomicUsize,
    /// Room for its deliveries.
    pub(crate) lanes: Arc<Semaphore>,
    /// Whether it may have outbox rows or deadlines: it must come back after a failure. Not so only while the last commit is known to have left none.
    pub(crate) may_have_work: AtomicBool,
    pub(crate) last_used: AtomicI64,
    pub(crate) bytes: AtomicUsize,
    undelivered: AtomicUsize,
    /// Of these aside.
    aside: AtomicUsize,
    /// Room for its deliveries to each host, by track; what a track but the main one has in all stands under no name.
    to_hosts: Mutex<HashMap<(Track, String), Arc<Semaphore>>>,
}

/// Keeps an activation from being passivated.
pub(crate) struct InUse<A: Agent>(pub(crate) Arc<Activation<A>>);

impl<A: Agent> Drop for InUse<A> {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<A: Agent> Activation<A> {
    pub(crate) fn new(address: Address, since: u64, inbox: usize, now: i64) -> Self {
        Self {
            address,
            since,
            inbox: Inbox::new(inbox),
            phase: Watched::new(Phase::Loading),
            actor: OnceLock::new(),
            epoch: OnceLock::new(),
            replies: Mutex::new(Replies::default()),
            ended: CancellationToken::new(),
            users: AtomicUsize::new(0),
            lanes: Arc::new(Semaphore::new(LANES)),
            may_have_work: AtomicBool::new(true),
            last_used: AtomicI64::new(now),
            bytes: AtomicUsize::new(0),
            undelivered: AtomicUsize::new(0),
            aside: AtomicUsize::new(0),
            to_hosts: Mutex::default(),
        }
    }

    pub(crate) fn in_use(self: &Arc<Self>, now: i64) -> InUse<A> {
        self.users.fetch_add(1, Ordering::AcqRel);
        self.last_used.store(now, Ordering::Relaxed);
        InUse(self.clone())
    }

    pub(crate) fn is_loading(&self) -> bool {
        matches!(*self.phase.read(), Phase::Loading)
    }

    /// Nobody uses it, and it has nothing to deliver.
    pub(crate) fn is_unused(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0 && self.undelivered.load(Ordering::Acquire) == 0
    }

    /// Room for its deliveries on this track; few agents have any but the main one.
    pub(crate) fn room(&self, track: Track) -> Arc<Semaphore> {
        // No host has the empty name.
        match track {
            Track::Main => self.lanes.clone(),
            Track::Aside => self.share(track, "", LANES_ASIDE),
            Track::Background => self.share(track, "", LANES_BACKGROUND),
        }
    }

    /// Room for its deliveries to this host.
    pub(crate) fn lanes_to(&self, host: &str, track: Track) -> Arc<Semaphore> {
        let lanes = match track {
            Track::Main => LANES_TO_HOST,
            Track::Aside => LANES_ASIDE_TO_HOST,
            Track::Background => LANES_BACKGROUND_TO_HOST,
        };
        self.share(track, host, lanes)
    }

    fn share(&self, track: Track, host: &str, lanes: usize) -> Arc<Semaphore> {
        let mut hosts = self.to_hosts.lock();
        if hosts.len() >= KEPT_HOSTS {
            hosts.retain(|_, room| Arc::strong_count(room) > 1);
        }
        hosts.entry((track, host.to_owned())).or_insert_with(|| Arc::new(Semaphore::new(lanes))).clone()
    }

    /// Rows that are delivered aside and wait for it.
    pub(crate) fn aside(&self) -> usize {
        self.aside.load(Ordering::Acquire)
    }

    /// So many outbox rows are undelivered now, and so many of them aside.
    pub(crate) fn set_undelivered(&self, rows: usize, aside: usize) {
        self.aside.store(aside, Ordering::Release);
        let before = self.undelivered.swap(rows, Ordering::AcqRel);
        if before != rows {
            #[allow(clippy::cast_precision_loss, reason = "a metric")]
            gauge!("cellspace_outbox_rows", "kind" => A::KIND.0).increment(rows as f64 - before as f64);
        }
    }

    pub(crate) fn push(&self, item: Item<A>) -> Result<(), (PushError, Item<A>)> {
        if self.inbox.push(item)? {
            self.wake_actor();
        }
        Ok(())
    }

    /// Closes it when its slot was not served without a break since then.
    pub(crate) fn close_unless(&self, since: u64) {
        if self.since != since {
            let _ = self.push(Item::Close);
        }
    }

    pub(crate) fn wake_actor(&self) {
        // Before the actor runs there is no one to wake: it looks into the inbox when it starts. A send to one that has stopped is
        // answered by `end`, which gets what was in the inbox.
        if let Some(actor) = self.actor.get() {
            let _ = actor.cast(Wakeup);
        }
    }

    /// The last words: nobody is left waiting. `leftovers` were in the inbox, which is shut: none of them was executed.
    pub(crate) fn end(&self, reason: &str, leftovers: Vec<Item<A>>) {
        self.set_undelivered(0, 0);
        self.phase.set(Phase::Gone(reason.to_owned()));
        self.ended.cancel();
        for item in leftovers {
            if let Item::Command(waiting) = item {
                waiting.reply.give_up(reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Idle, address};

    /// Between the look for agents to passivate and the closing a turn may have left a row, or somebody may have come.
    #[test]
    fn what_came_into_use_is_not_closed() {
        let activation = Arc::new(Activation::<Idle>::new(address(), 0, 8, 5));
        let close = || activation.inbox.close_if_idle(|| activation.is_unused());
        assert!(!close(), "a turn is still to run");
        assert!(activation.inbox.rest());
        activation.set_undelivered(1, 0);
        assert!(!close(), "a row is undelivered");
        activation.set_undelivered(0, 0);
        let user = activation.in_use(6);
        assert!(!close(), "somebody uses it");
        drop(user);
        assert!(activation.push(Item::Tick).is_ok());
        assert!(!close(), "something waits");
        assert!(activation.inbox.take().is_some() && activation.inbox.rest());
        assert!(close());
        assert!(matches!(activation.push(Item::Tick), Err((PushError::Closing, _))));
    }
}
