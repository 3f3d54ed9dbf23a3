//! Requests on schedule, whatever the platform does; each connection has one under way at most.

use crate::{
    drive::{Verdict, Worker},
    http::Connection,
    scenario::catalog::Cast,
    subject::Subject,
};
use anyhow::Result;
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

/// When requests are due.
pub struct Offered {
    /// The first one.
    pub start: Instant,
    rate: f64,
    next: AtomicU64,
    missed: AtomicU64,
}

impl Offered {
    /// So many a second, from now on.
    pub fn new(rate: f64) -> Self {
        Self { start: Instant::now(), rate, next: AtomicU64::new(0), missed: AtomicU64::new(0) }
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

    /// Requests that found no free connection when they were due.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// One connection.
pub struct Flooder {
    cast: Arc<Cast>,
    offered: Arc<Offered>,
    connection: Connection,
    random: StdRng,
}

impl Flooder {
    pub fn new(cast: &Arc<Cast>, subject: &Subject, offered: &Arc<Offered>, seed: u64) -> Result<Self> {
        let connection = Connection::new(&subject.public, subject.tape.clone())?;
        Ok(Self { cast: cast.clone(), offered: offered.clone(), connection, random: StdRng::seed_from_u64(seed) })
    }
}

impl Worker for Flooder {
    async fn prepare(&mut self) {
        sleep_until(self.offered.due()).await;
    }

    async fn operate(&mut self) -> Verdict {
        match self.cast.next(&mut self.random) {
            Ok(request) => request.ask(&mut self.connection).await,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn what_is_late_is_not_sent() {
        let offered = Offered::new(1_000.0);
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
