//! Hosts that deliveries go to. Each has room for so many at once; one that does not answer opens its breaker and is probed by one delivery at a
//! time, while all others to it wait in a queue and take no room from anybody else.

use crate::Track;
use metrics::counter;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};

/// Deliveries to one host under way at once.
const PER_HOST: usize = 256;
/// The same in the background.
const BACKGROUND_PER_HOST: usize = 4;
/// Attempts in a row without an answer that open the breaker.
const FAILURES: u32 = 5;
/// Pause before the first probe; doubled after each that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Hosts remembered without a delivery on its way to them.
const KEPT: usize = 4_096;

#[derive(Debug, Clone)]
struct Open {
    until: Instant,
    pause: Duration,
    reason: String,
}

#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    open: Option<Open>,
}

struct Host {
    room: Arc<Semaphore>,
    /// Held by the first of those who wait for the time to probe; the queue of all others.
    turn: Arc<Semaphore>,
    /// Held by the one that probes.
    probing: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
}

impl Host {
    fn new(track: Track) -> Self {
        let room = match track {
            Track::Main | Track::Aside => PER_HOST,
            Track::Background => BACKGROUND_PER_HOST,
        };
        let one = || Arc::new(Semaphore::new(1));
        Self { room: Arc::new(Semaphore::new(room)), turn: one(), probing: one(), breaker: Mutex::default() }
    }

    fn open(&self) -> Option<Open> {
        self.breaker.lock().open.clone()
    }

    /// Whether the time to probe it has come.
    fn is_due(&self) -> bool {
        self.open().is_some_and(|open| open.until <= Instant::now())
    }

    /// Why nothing is sent to it.
    fn reason(&self) -> String {
        self.open().map_or_else(|| "the host did not answer".to_owned(), |open| open.reason)
    }
}

/// Room at a host for one attempt.
pub(crate) struct AtHost {
    host: Arc<Host>,
    _room: OwnedSemaphorePermit,
    probe: Option<OwnedSemaphorePermit>,
    /// Given back after the probe, so that whose turn is next finds it free.
    _turn: Option<OwnedSemaphorePermit>,
}

impl AtHost {
    /// The host answered, whatever it said.
    pub(crate) fn reached(&self) {
        *self.host.breaker.lock() = Breaker::default();
    }

    /// The attempt failed, maybe before the host was called. A probe ends with that: should the host be down, it is found out again.
    pub(crate) fn unclear(&self) {
        if self.probe.is_some() {
            self.reached();
        }
    }

    /// The host did not answer.
    pub(crate) fn unreached(&self, reason: &str) {
        let mut breaker = self.host.breaker.lock();
        breaker.failures = breaker.failures.saturating_add(1);
        let pause = match &breaker.open {
            Some(open) if self.probe.is_some() => (open.pause * 2).min(LONGEST_PAUSE),
            // It was on its way when the breaker opened.
            Some(_) => return,
            None if breaker.failures < FAILURES => return,
            None => {
                counter!("cellspace_breakers_opened_total").increment(1);
                FIRST_PAUSE
            }
        };
        breaker.open = Some(Open { until: Instant::now() + pause, pause, reason: reason.to_owned() });
    }
}

#[derive(Default)]
pub(crate) struct Destinations {
    /// By track, so that what is slow or fails on one of them is felt on no other.
    hosts: Mutex<HashMap<(Track, String), Arc<Host>>>,
}

impl Destinations {
    fn host(&self, track: Track, name: String) -> Arc<Host> {
        let mut hosts = self.hosts.lock();
        let key = (track, name);
        if hosts.len() >= KEPT && !hosts.contains_key(&key) {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        hosts.entry(key).or_insert_with(|| Arc::new(Host::new(track))).clone()
    }

    /// Room at a host that answers, or that is to be probed, when there is some now. It goes before those who wait for their turn: they may have nothing
    /// to probe with, while who comes here has.
    pub(crate) fn try_enter(&self, track: Track, name: String) -> Option<AtHost> {
        let host = self.host(track, name);
        let room = host.room.clone().try_acquire_owned().ok()?;
        let mut probe = None;
        if host.open().is_some() {
            probe = Some(host.probing.clone().try_acquire_owned().ok()?);
            // Asked afterwards: a probe that has just failed puts the next one off.
            if !host.is_due() {
                return None;
            }
        }
        Some(AtHost { host, _room: room, probe, _turn: None })
    }

    /// Waits for room at the host.
    ///
    /// # Errors
    /// Why the host is not called, when it still is not at `patience`.
    pub(crate) async fn enter(&self, track: Track, name: String, patience: Instant) -> Result<AtHost, String> {
        let host = self.host(track, name);
        // The semaphores are never closed.
        let stopping = |_| "the node is stopping".to_owned();
        loop {
            if host.open().is_none() {
                let room = host.room.clone().acquire_owned().await.map_err(stopping)?;
                if host.open().is_none() {
                    return Ok(AtHost { host, _room: room, probe: None, _turn: None });
                }
                continue;
            }
            let turn = timeout_at(patience, host.turn.clone().acquire_owned()).await.map_err(|_| host.reason())?.map_err(stopping)?;
            // Closed meanwhile: the queue comes in by this way, one after the other.
            while let Some(open) = host.open() {
                timeout_at(patience, sleep_until(open.until)).await.map_err(|_| open.reason)?;
                let probe =
                    timeout_at(patience, host.probing.clone().acquire_owned()).await.map_err(|_| host.reason())?.map_err(stopping)?;
                // Somebody may have gone ahead.
                if host.is_due() {
                    let room = host.room.clone().acquire_owned().await.map_err(stopping)?;
                    return Ok(AtHost { host, _room: room, probe: Some(probe), _turn: Some(turn) });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    async fn fail(destinations: &Destinations, times: u32) {
        for _ in 0..times {
            destinations.enter(Track::Main, "a".into(), far()).await.ok().unwrap().unreached("down");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_does_not_answer_is_probed_once_for_all() {
        let destinations = Arc::new(Destinations::default());
        fail(&destinations, FAILURES).await;
        let began = Instant::now();
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let all = (0..100).map(|_| {
            let (destinations, attempts) = (destinations.clone(), attempts.clone());
            tokio::spawn(async move {
                let place = destinations.enter(Track::Main, "a".into(), far()).await.ok().unwrap();
                let number = {
                    let mut attempts = attempts.lock();
                    attempts.push(began.elapsed().as_secs());
                    attempts.len()
                };
                if number < 4 { place.unreached("down") } else { place.reached() }
            })
        });
        futures::future::join_all(all).await;
        let attempts = attempts.lock();
        // Pauses of 1, 2, 4 and 8 s; with the probe that is answered everybody goes.
        assert_eq!(attempts.get(..4), Some(&[1, 3, 7, 15][..]));
        assert!(attempts.iter().skip(4).all(|at| *at == 15) && attempts.len() == 100, "{attempts:?}");
    }

    /// Whoever waits for a turn gives it up where it has no lane, and waits for one; who has a lane must find the probe then.
    #[tokio::test(start_paused = true)]
    async fn who_can_probe_goes_before_those_who_wait_for_their_turn() {
        let destinations = Destinations::default();
        fail(&destinations, FAILURES).await;
        let mut queue: Vec<_> = (0..3).map(|_| Box::pin(destinations.enter(Track::Main, "a".into(), far()))).collect();
        for waiting in &mut queue {
            assert!(futures::poll!(waiting).is_pending());
        }
        assert!(destinations.try_enter(Track::Main, "a".into()).is_none(), "not yet");
        tokio::time::sleep(FIRST_PAUSE).await;
        let probe = destinations.try_enter(Track::Main, "a".into()).unwrap();
        assert!(destinations.try_enter(Track::Main, "a".into()).is_none(), "one at a time");
        assert!(futures::poll!(&mut queue[0]).is_pending(), "one at a time");
        probe.unreached("down");
        drop(probe);
        assert!(
            destinations.try_enter(Track::Main, "a".into()).is_none() && futures::poll!(&mut queue[0]).is_pending(),
            "it was put off for all"
        );
        // Who is first in the queue still is.
        let began = Instant::now();
        queue.remove(0).await.ok().unwrap().reached();
        assert_eq!(began.elapsed(), 2 * FIRST_PAUSE);
        for waiting in queue {
            assert!(waiting.await.is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_patience_left_is_told_why() {
        let destinations = Destinations::default();
        fail(&destinations, FAILURES).await;
        let soon = Instant::now() + Duration::from_millis(500);
        assert_eq!(destinations.enter(Track::Main, "a".into(), soon).await.err().as_deref(), Some("down"));
        assert!(destinations.enter(Track::Main, "b".into(), soon).await.is_ok(), "another host");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_between_keeps_the_breaker_closed() {
        let destinations = Destinations::default();
        fail(&destinations, FAILURES - 1).await;
        destinations.enter(Track::Main, "a".into(), far()).await.ok().unwrap().reached();
        fail(&destinations, FAILURES - 1).await;
        let soon = Instant::now() + Duration::from_millis(1);
        assert!(destinations.enter(Track::Main, "a".into(), soon).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_cut_off_leaves_the_next_one_its_turn() {
        let destinations = Destinations::default();
        fail(&destinations, FAILURES).await;
        drop(destinations.enter(Track::Main, "a".into(), far()).await.ok().unwrap());
        destinations.enter(Track::Main, "a".into(), far()).await.ok().unwrap().reached();
        assert!(destinations.enter(Track::Main, "a".into(), Instant::now()).await.is_ok());
    }
}
