//! Where in a cell something is done.

use super::{Cell, Peer};
use crate::{
    Slot,
    ask::HELD,
    membership::{Route, Terms},
};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Where something is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// On this node, now or in a moment.
    Here,
    /// On that one, with so many hops behind it.
    There(Peer, u8),
    /// Nowhere now, for this reason.
    Nowhere(String),
}

impl Cell {
    /// Where a slot of this cell is.
    pub(super) async fn located_here(&self, slot: Slot, version: u64, hops: u8, until: Instant) -> Whereabouts {
        if self.serves(slot).is_some() {
            return Whereabouts::Here;
        }
        let until = until.min(Instant::now() + HELD);
        loop {
            let now = self.open.now();
            let starting = Route::Unavailable("the node is starting");
            let route = self.node.lock().as_ref().map_or(starting, |node| node.route(slot.number(), version, hops, now));
            match route {
                Route::Here | Route::Hold => return Whereabouts::Here,
                Route::Unavailable(reason) => return Whereabouts::Nowhere(reason.to_owned()),
                Route::Forward(member, hops) => {
                    let endpoint = self.endpoints.read().get(&member).cloned();
                    match endpoint {
                        Some(endpoint) => return Whereabouts::There(Peer { member, endpoint, cell: None }, hops),
                        // A view that was shown does not say where its nodes are.
                        None if Instant::now() < until => self.looked(until).await,
                        None => return Whereabouts::Nowhere(format!("it is not known where node {} is reached", member.node)),
                    }
                }
                Route::Refresh if Instant::now() >= until => {
                    return Whereabouts::Nowhere("this node does not know the newest view yet".to_owned());
                }
                Route::Refresh => self.news(self.version(), until).await,
            }
        }
    }

    /// Looks for a view that is newer than `version`, and waits a moment for it. Whether it came is seen by who looks again.
    pub async fn news(&self, version: u64, until: Instant) {
        let mut versions = self.version.watch();
        if *versions.see() <= version {
            self.look.notify_one();
            let _ = timeout_at(until.min(Instant::now() + HELD), versions.until(|applied| *applied > version)).await;
        }
    }

    /// Until when it is worth while to look again where something is to be done whose node did not take it: longer than it takes to hand a slot over, or to
    /// find a node dead.
    #[must_use]
    pub fn moved_by(&self, until: Instant) -> Instant {
        until.min(Instant::now() + self.options.terms.patience() * 2)
    }

    /// Within this time the others find a node dead that has gone.
    #[must_use]
    pub fn found_dead_within(&self) -> Duration {
        let Terms { renew, .. } = &self.options.terms;
        self.options.terms.patience() + *renew
    }

    /// Waits until the rows were looked at once more.
    async fn looked(&self, until: Instant) {
        let mut changes = self.open.watch();
        self.look.notify_one();
        let _ = timeout_at(until, changes.changed()).await;
    }

    /// Whether another node owns the slot.
    pub fn is_elsewhere(&self, slot: Slot) -> bool {
        self.serves(slot).is_none() && matches!(self.route(slot), Route::Forward(..))
    }

    /// Where in this cell a request goes that came in here.
    pub(crate) fn route(&self, slot: Slot) -> Route {
        let now = self.open.now();
        self.node.lock().as_ref().map_or(Route::Unavailable("the node is starting"), |node| node.route(slot.number(), 0, 0, now))
    }
}
