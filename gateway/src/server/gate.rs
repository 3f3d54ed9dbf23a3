//! Whether a request is let in by what the executor can do: [`Overload`] with its clock, its measure and its metrics.
//!
//! Nothing runs by itself: an arriving request looks when it is time to.

use super::{lag::Lag, overload::Overload};
use crate::http::Listener;
use metrics::Gauge;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// One for all listeners of a node, since they share an executor.
pub struct Gate {
    lag: Lag,
    overload: Mutex<Overload>,
    gauge: Gauge,
}

impl Gate {
    /// Open.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let overload = Mutex::new(Overload::new(Instant::now()));
        Arc::new(Self { lag: Lag::default(), overload, gauge: metrics::gauge!("cellspace_http_lag_seconds") })
    }

    /// Where tasks of connections are watched.
    #[must_use]
    pub const fn lag(&self) -> &Lag {
        &self.lag
    }

    /// Whether a request at this listener is let in, whose connection waited so long for its turn.
    pub fn admits(&self, listener: Listener, waited: Duration) -> bool {
        let now = Instant::now();
        let mut overload = self.overload.lock();
        if overload.is_due(now) {
            let before = overload.is_limiting();
            let lag = overload.look(now, self.lag.queue());
            self.gauge.set(lag.as_secs_f64());
            match (before, overload.is_limiting()) {
                (false, true) => tracing::warn!(category = "app", ?lag, "more requests come than can be worked off: some are refused"),
                (true, false) => tracing::info!(category = "app", "all requests are let in again"),
                _ => {}
            }
        }
        overload.admits(now, listener, waited)
    }
}
