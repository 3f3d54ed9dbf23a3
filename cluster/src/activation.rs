//! One agent in memory: what callers hold, beside the actor that runs its turns.

use crate::{
    Address, Agent,
    idempotency::Replies,
    inbox::{Answer, Inbox, Item, PushError},
};
use parking_lot::Mutex;
use ractor::ActorRef;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
    pub(crate) inbox: Inbox<A>,
    pub(crate) phase: watch::Sender<Phase<A>>,
    pub(crate) actor: OnceLock<ActorRef<Wakeup>>,
    pub(crate) replies: Mutex<Replies>,
    /// Ends with the activation: deliveries and pauses of it stop.
    pub(crate) ended: CancellationToken,
    /// Callers that prepare, wait or watch; while there are any it is not passivated.
    pub(crate) users: AtomicUsize,
    /// Undelivered outbox rows; while there are any it is not passivated.
    pub(crate) undelivered: AtomicUsize,
    pub(crate) last_used: AtomicI64,
    pub(crate) bytes: AtomicUsize,
}

/// Keeps an activation from being passivated.
pub(crate) struct InUse<A: Agent>(pub(crate) Arc<Activation<A>>);

impl<A: Agent> Drop for InUse<A> {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<A: Agent> Activation<A> {
    pub(crate) fn new(address: Address, inbox: usize, now: i64) -> Self {
        Self {
            address,
            inbox: Inbox::new(inbox),
            phase: watch::Sender::new(Phase::Loading),
            actor: OnceLock::new(),
            replies: Mutex::new(Replies::default()),
            ended: CancellationToken::new(),
            users: AtomicUsize::new(0),
            undelivered: AtomicUsize::new(0),
            last_used: AtomicI64::new(now),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn in_use(self: &Arc<Self>, now: i64) -> InUse<A> {
        self.users.fetch_add(1, Ordering::AcqRel);
        self.last_used.store(now, Ordering::Relaxed);
        InUse(self.clone())
    }

    pub(crate) fn push(&self, item: Item<A>) -> Result<(), (PushError, Item<A>)> {
        if self.inbox.push(item)? {
            self.wake_actor();
        }
        Ok(())
    }

    pub(crate) fn wake_actor(&self) {
        // Before the actor runs there is no one to wake: it looks into the inbox when it starts. A send to one that has stopped is
        // answered by `end`, which empties the inbox.
        if let Some(actor) = self.actor.get() {
            let _ = actor.cast(Wakeup);
        }
    }

    /// The last words: nobody is left waiting. `executed_maybe` says what the callers are told.
    pub(crate) fn end(&self, reason: &str, executed_maybe: bool) {
        self.ended.cancel();
        self.phase.send_replace(Phase::Gone(reason.to_owned()));
        for item in self.inbox.shut() {
            if let Item::Command(waiting) = item {
                let answer = if executed_maybe { Answer::Unknown(reason.to_owned()) } else { Answer::NotExecuted(reason.to_owned()) };
                let _ = waiting.reply.send(answer);
            }
        }
    }
}
