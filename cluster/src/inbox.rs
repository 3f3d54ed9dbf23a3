//! The bounded inbox in front of an activation. The actor's own mailbox carries only wake-ups, so that a turn can take all that waits.

use crate::{Agent, Call, OutboxId, admin::Inspection, dead_letters::Redress, reply::ReplyTo};
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::{Notify, oneshot};

/// A prepared command on its way to a turn.
pub(crate) struct Waiting<A: Agent> {
    pub(crate) prepared: A::Prepared,
    pub(crate) call: Call,
    /// Hash of the command as received, when the call has an idempotency key.
    pub(crate) request_hash: Option<u128>,
    pub(crate) reply: ReplyTo<A>,
}

/// One thing for a turn to do.
pub(crate) enum Item<A: Agent> {
    Command(Box<Waiting<A>>),
    Delivered(OutboxId, A::Outcome),
    GivenUp(OutboxId, String),
    /// A deadline may have passed.
    Tick,
    /// Write what waits to ride on a commit.
    Flush,
    /// Say how the activation stands.
    Inspect(oneshot::Sender<Inspection>),
    /// Do something about a dead letter.
    Redress(Box<Redress<A>>),
    /// Release the partition and stop.
    Close,
}

/// Why a push was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closing,
}

struct State<A: Agent> {
    items: VecDeque<Item<A>>,
    commands: usize,
    /// A wake-up is in the actor's mailbox, or a turn is running.
    scheduled: bool,
    closing: bool,
}

pub(crate) struct Inbox<A: Agent> {
    state: Mutex<State<A>>,
    limit: usize,
    /// It was told to close, for the one who loads.
    closed: Notify,
}

impl<A: Agent> Inbox<A> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State { items: VecDeque::new(), commands: 0, scheduled: true, closing: false }),
            limit,
            closed: Notify::new(),
        }
    }

    /// Adds an item; `Ok(true)` when the actor must be woken. Only commands count against the bound: everything else is bounded by the
    /// number of lanes under way.
    pub(crate) fn push(&self, item: Item<A>) -> Result<bool, (PushError, Item<A>)> {
        let mut state = self.state.lock();
        if state.closing {
            return Err((PushError::Closing, item));
        }
        if matches!(item, Item::Command(_)) {
            if state.commands >= self.limit {
                return Err((PushError::Full, item));
            }
            state.commands += 1;
        }
        if matches!(item, Item::Close) {
            state.closing = true;
            self.closed.notify_one();
        }
        state.items.push_back(item);
        Ok(!std::mem::replace(&mut state.scheduled, true))
    }

    /// Closes the inbox if nothing waits, nothing runs and `unused` says so; `true` when it did. No turn ends between the question and the closing.
    pub(crate) fn close_if_idle(&self, unused: impl FnOnce() -> bool) -> bool {
        let mut state = self.state.lock();
        if state.closing || state.scheduled || !state.items.is_empty() || !unused() {
            return false;
        }
        state.closing = true;
        state.scheduled = true;
        state.items.push_back(Item::Close);
        true
    }

    /// Waits until it is told to close; for the one who loads.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    pub(crate) fn take(&self) -> Option<Item<A>> {
        let mut state = self.state.lock();
        let item = state.items.pop_front();
        if matches!(item, Some(Item::Command(_))) {
            state.commands -= 1;
        }
        item
    }

    /// Ends a round of turns; `false` when more came in and another turn must run.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.state.lock();
        state.scheduled = !state.items.is_empty();
        !state.scheduled
    }

    /// From now on nothing is taken in.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
    }

    /// Closes the inbox and gives back what still waits, so that it can be answered.
    pub(crate) fn shut(&self) -> Vec<Item<A>> {
        let mut state = self.state.lock();
        state.closing = true;
        state.commands = 0;
        state.items.drain(..).collect()
    }
}
