//! Whose agents run while a node starts: what all of them need is found out from those of one owner.

use super::Cell;
use crate::{Slot, ask::HELD};
use cellspace_schemas::Owner;
use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};
use tokio::time::{Instant, timeout_at};

/// Whether all agents run.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Whose run before that; without one all run from the beginning.
    first: OnceLock<Owner>,
    all: AtomicBool,
}

impl Running {
    pub(super) fn all(&self) -> bool {
        self.all.load(Ordering::Acquire) || self.first.get().is_none()
    }

    fn may(&self, owner: &Owner) -> bool {
        self.all() || self.first.get() == Some(owner)
    }
}

impl Cell {
    /// Before [`Cell::run_all`] no agents but this owner's run here, whatever slots are open: what all of them need is found out from these. Before the runtime
    /// starts, and once.
    pub fn run_first(&self, owner: Owner) {
        let _ = self.running.first.set(owner);
    }

    /// All agents run from now on.
    pub fn run_all(&self) {
        self.running.all.store(true, Ordering::Release);
        self.open.tell();
    }

    /// Whether all agents run; waits a moment for it.
    pub async fn runs_all(&self, until: Instant) -> bool {
        let ready = || async { self.open.watch().until(|()| self.running.all()).await };
        // Asked for each request: nothing is waited for where nothing has to be.
        self.running.all() || timeout_at(until.min(Instant::now() + HELD), ready()).await.is_ok()
    }

    /// [`Cell::serves`], of an owner whose agents may run.
    pub(crate) fn serves_of(&self, owner: &Owner) -> Option<u64> {
        self.serves(Slot::of(owner)).filter(|_| self.running.may(owner))
    }
}
