//! Requests on schedule, whatever the platform does; each connection has one under way at most.

use crate::{
    drive::{Verdict, Worker},
    http::Connection,
    scenario::catalog::Cast,
    subject::Subject,
};
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// How late a request may be sent: what finds no free connection by then is not sent, and counted as that.
const LATE: Duration = Duration::from_millis(10);

/// Longest time until a request is shed that is told apart, in microseconds.
const LONGEST: u64 = 120_000_000;

/// When requests are due.
pub struct Offered {
    /// The first one.
    pub start: Instant,
    rate: f64,
    next: AtomicU64,
    missed: AtomicU64,
    /// Times until requests were shed, in microseconds.
    shed: Mutex<Histogram<u64>>,
}

impl Offered {
    /// So many a second, from now on.
    pub fn new(rate: f64) -> Result<Self> {
        let shed = Mutex::new(Histogram::new_with_bounds(1, LONGEST, 3)?);
        Ok(Self { start: Instant::now(), rate, next: AtomicU64::new(0), missed: AtomicU64::new(0), shed })
    }

    /// When the next request is due that can still be sent in time.
    fn due(&self) -> Instant {
        let at = |n: u64| {
            #[allow(clippy::cast_precision_loss)] // a count of requests
            let n = n as f64;
            self.start + Duration::from_secs_f64(n / self.rate)
        };
        let oldest = Instant::now().checked_sub(LATE).unwrap_or(self.start);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count of requests
        let least = (oldest.saturating_duration_since(self.start).as_secs_f64() * self.rate).ceil() as u64;
        // All that are due before are skipped at once.
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| Some(next.max(least) + 1)).unwrap_or_default();
        self.missed.fetch_add(least.saturating_sub(taken), Ordering::Relaxed);
        at(taken.max(least))
    }

    /// Until so long, 95 of 100 of those that were shed were told so, in milliseconds.
    pub fn shed_p95_ms(&self) -> f64 {
        Duration::from_micros(self.shed.lock().value_at_quantile(0.95)).as_secs_f64() * 1_000.0
    }

    /// Requests that found no free connection when they were due.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// One connection, open and used.
pub struct Open {
    connection: Connection,
    random: StdRng,
}

impl Open {
    /// Opens it by a first request.
    pub async fn new(cast: &Cast, subject: &Subject, seed: u64) -> Result<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut connection = Connection::new(&subject.public, subject.tape.clone())?;
        let verdict = cast.next(&mut random)?.ask(&mut connection).await;
        ensure!(verdict == Verdict::Good, "the first request of a connection: {verdict:?}");
        Ok(Self { connection, random })
    }
}

/// A connection of the flood.
pub struct Flooder {
    cast: Arc<Cast>,
    offered: Arc<Offered>,
    open: Open,
}

impl Flooder {
    pub fn new(cast: &Arc<Cast>, offered: &Arc<Offered>, open: Open) -> Self {
        Self { cast: cast.clone(), offered: offered.clone(), open }
    }
}

impl Worker for Flooder {
    async fn prepare(&mut self) {
        sleep_until(self.offered.due()).await;
    }

    async fn operate(&mut self) -> Verdict {
        let began = Instant::now();
        let verdict = match self.cast.next(&mut self.open.random) {
            Ok(request) => request.ask(&mut self.open.connection).await,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        };
        if verdict == Verdict::Shed {
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.offered.shed.lock().saturating_record(micros);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn what_is_late_is_not_sent() {
        let offered = Offered::new(1_000.0).unwrap();
        let first: Vec<_> = (0..3).map(|_| offered.due() - offered.start).collect();
        assert_eq!(first, [0, 1, 2].map(Duration::from_millis), "on schedule");
        // Nobody was free for a second: of the requests that were due, those of the last 10 ms are left.
        advance(Duration::from_secs(1)).await;
        assert_eq!(offered.due() - offered.start, Duration::from_millis(990));
        assert_eq!(offered.missed(), 987);
        assert_eq!(offered.due() - offered.start, Duration::from_millis(991));
        assert_eq!(offered.missed(), 987);
    }
}
