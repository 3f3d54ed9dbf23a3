//! Room to load agents: as much as the store bears, given to participants in turn.

use crate::{
    Slot,
    fair::{Place, Places},
    pace::{Pace, QUICK},
};
use cellspace_schemas::Owner;
use metrics::gauge;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// See the module.
pub(crate) struct Loading {
    places: Places,
    pace: Mutex<Pace>,
    began: Instant,
}

impl Loading {
    pub(crate) fn new() -> Self {
        let pace = Pace::new();
        Self { places: Places::new(pace.limit()), pace: Mutex::new(pace), began: Instant::now() }
    }

    /// Waits for a place to load in; `None`: there are none any more.
    pub(crate) async fn enter(&self, owner: &Owner) -> Option<Place> {
        self.places.enter(owner).await
    }

    /// A load has ended whose claim took so long, and was made or not. One that fails at once says nothing of how much the store bears.
    pub(crate) fn ended(&self, claim: Duration, made: bool) {
        if !made && claim <= QUICK {
            return;
        }
        let mut pace = self.pace.lock();
        let before = pace.limit();
        pace.ended(claim, self.began.elapsed(), self.places.waiting());
        let limit = pace.limit();
        if limit != before {
            #[allow(clippy::cast_precision_loss)] // some hundreds
            gauge!("cellspace_activations_limit").set(limit as f64);
            // With the pace, so that the last limit is the one that counts.
            self.places.resize(limit);
        }
    }

    /// Whether an agent whose load begins to wait now is not loaded within this time.
    pub(crate) fn is_hopeless(&self, within: Duration) -> bool {
        self.pace.lock().is_hopeless(self.places.waiting(), within)
    }

    /// When somebody is to come again whose agent was not loaded in time.
    pub(crate) fn come_again(&self, owner: &Owner) -> Duration {
        self.pace.lock().come_again(self.places.waiting(), u64::from(Slot::of(owner).number()))
    }
}
