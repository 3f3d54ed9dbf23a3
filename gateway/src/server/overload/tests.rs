//! Windows as tables, and a server that works requests off one after the other.

use super::*;
use proptest::prelude::*;
use std::{cmp::Reverse, collections::BinaryHeap};

const MILLI: Duration = Duration::from_millis(1);

/// Windows one after the other.
struct Windows {
    overload: Overload,
    now: Instant,
    turns: u64,
}

impl Windows {
    fn new() -> Self {
        let now = Instant::now();
        Self { overload: Overload::new(now), now, turns: 0 }
    }

    /// A window of this length with these requests at the public listener, at whose end so many tasks stand in the queue, which costs one who comes
    /// so long; answers how many were let in.
    fn pass(&mut self, length: Duration, requests: u32, standing: u64, lag: Duration) -> u32 {
        let admitted = (0..requests).filter(|n| self.overload.admits(self.now + length * *n / requests, Listener::Public, MILLI)).count();
        self.now += length;
        self.turns += u64::try_from(u128::from(standing) * length.as_nanos() / lag.as_nanos()).unwrap();
        assert!(self.overload.is_due(self.now) && !self.overload.is_due(self.now - MILLI.max(length - WINDOW + MILLI)));
        self.overload.look(self.now, Queue { standing, turns: self.turns });
        u32::try_from(admitted).unwrap()
    }
}

#[test]
fn a_long_queue_limits_when_it_lasts_and_is_one() {
    let (long, short) = (TARGET * 2, TARGET / 2);
    for (what, windows, limits) in [
        ("once", vec![(WINDOW, 500, long)], false),
        ("twice", vec![(WINDOW, 500, long); 2], true),
        ("twice, but not one after the other", vec![(WINDOW, 500, long), (WINDOW, 500, short), (WINDOW, 500, long)], false),
        ("short", vec![(WINDOW, 500, short); 5], false),
        ("few clients of a slow machine", vec![(WINDOW, 64, long * 10); 5], false),
        ("a stall of the machine", vec![(WINDOW * 4, 500, long), (WINDOW, 200, short), (WINDOW, 0, short)], false),
        ("rare requests", vec![(SILENCE, 500, long); 5], false),
        ("it is over", vec![(WINDOW, 500, long), (WINDOW, 500, long), (WINDOW, 5, short), (WINDOW, 5, short)], false),
        ("silence", vec![(WINDOW, 500, long), (WINDOW, 500, long), (SILENCE, 500, long)], false),
    ] {
        let mut all = Windows::new();
        for (length, standing, lag) in windows {
            all.pass(length, 1, standing, lag);
        }
        assert_eq!(all.overload.is_limiting(), limits, "{what}");
    }
}

#[test]
fn the_rate_begins_with_what_was_worked_off_and_follows_the_queue() {
    let mut all = Windows::new();
    assert_eq!(all.pass(WINDOW, 400, 1_000, TARGET * 2), 400);
    assert_eq!(all.pass(WINDOW, 400, 1_000, TARGET * 4), 400);
    let near = |admitted: u32, expected: u32| assert!(admitted.abs_diff(expected) <= 2, "{admitted} and not {expected}");
    // Half of it at once, a quarter at least, and up again by halves.
    near(all.pass(WINDOW, 4_000, 1_000, TARGET), 200);
    near(all.pass(WINDOW, 4_000, 1_000, TARGET * 3), 200);
    near(all.pass(WINDOW, 4_000, 1_000, TARGET * 3), 100);
    near(all.pass(WINDOW, 4_000, 1_000, TARGET / 2), 100);
    near(all.pass(WINDOW, 4_000, 1_000, TARGET / 2), 150);
    // Long times of few tasks are no reason.
    near(all.pass(WINDOW, 4_000, 50, TARGET * 3), 225);
    near(all.pass(WINDOW, 4_000, 1_000, TARGET), 337);
    // Less than the rate comes: once all of a window are let in, the next one is open.
    near(all.pass(WINDOW, 100, 10, MILLI), 100);
    assert_eq!(all.pass(WINDOW, 100, 10, MILLI), 100);
    assert!(!all.overload.is_limiting());
}

#[test]
fn admin_goes_ahead_and_operations_always_go() {
    let mut all = Windows::new();
    for _ in 0..2 {
        all.pass(WINDOW, 100, 1_000, TARGET);
        all.pass(WINDOW, 100, 1_000, TARGET + MILLI);
    }
    all.pass(WINDOW, 100, 1_000, TARGET + MILLI);
    let (overload, now) = (&mut all.overload, all.now);
    assert!(overload.is_limiting());
    while overload.admits(now, Listener::Public, MILLI) {}
    let ahead = (0..5_000).take_while(|_| overload.admits(now, Listener::Admin, MILLI)).count();
    assert!((950..=1_000).contains(&ahead), "a second's: {ahead}");
    assert!(overload.admits(now, Listener::Ops, SILENCE));
    assert!(!overload.admits(now + WINDOW * 5, Listener::Public, MILLI), "what was taken ahead is not there for others");
}

#[test]
fn who_stood_much_longer_than_others_is_refused() {
    let mut all = Windows::new();
    all.pass(WINDOW, 400, 1_000, TARGET * 2);
    all.pass(WINDOW, 400, 1_000, TARGET * 2);
    let (overload, now) = (&mut all.overload, all.now + WINDOW);
    let (usual, late) = (TARGET * 2, TARGET * 4 + MILLI);
    assert!(!overload.admits(now, Listener::Public, late) && overload.admits(now, Listener::Public, usual));
    assert!(overload.admits(now, Listener::Public, TARGET * 4));
}

/// A server with one processor that works off requests in the order in which they come.
struct Server {
    overload: Overload,
    turns: u64,
    now: Instant,
    /// Processor time of a request that is let in, and of one that is not.
    costs: (Duration, Duration),
}

/// What became of requests.
#[derive(Debug, Default)]
struct Seen {
    admitted: u32,
    refused: u32,
    waits: Vec<Duration>,
}

impl Server {
    fn new(costs: (Duration, Duration)) -> Self {
        let now = Instant::now();
        Self { overload: Overload::new(now), turns: 0, now, costs }
    }

    /// Clients that ask again `think` after each answer, for so long; the first half of the time is not counted.
    fn serve(&mut self, clients: u32, think: Duration, time: Duration) -> Seen {
        let (half, end) = (self.now + time / 2, self.now + time);
        let mut due: BinaryHeap<_> = (0..clients).map(|n| Reverse(self.now + think * n / clients)).collect();
        let mut seen = Seen::default();
        while self.now < end {
            let Some(Reverse(came)) = due.pop() else { break };
            self.now = self.now.max(came);
            let wait = self.now - came;
            self.turns += 1;
            if self.overload.is_due(self.now) {
                let standing = due.iter().filter(|came| came.0 <= self.now).count() as u64;
                self.overload.look(self.now, Queue { standing, turns: self.turns });
            }
            let admits = self.overload.admits(self.now, Listener::Public, wait);
            self.now += if admits { self.costs.0 } else { self.costs.1 };
            if self.now > half {
                if admits {
                    seen.admitted += 1;
                    seen.waits.push(wait);
                } else {
                    seen.refused += 1;
                }
            }
            due.push(Reverse(self.now + think));
        }
        seen.waits.sort_unstable();
        seen
    }
}

impl Seen {
    fn p95(&self) -> Duration {
        self.waits.get(self.waits.len() * 95 / 100).copied().unwrap_or_default()
    }
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]

    /// Ten times what can be worked off: who is let in waits a bounded time, the processor does what refusing leaves of it, and when it is over
    /// nothing is refused any more.
    #[test]
    fn a_flood_is_cut_to_what_can_be_worked_off(
        work in 100_u64..2_000,
        part in 15_u32..60,
        clients in 1_000_u32..8_000,
    ) {
        let work = Duration::from_micros(work);
        let refusal = work / part;
        let mut server = Server::new((work, refusal));
        let second = Duration::from_secs(1);
        // Each client asks so often that ten times as much comes, when nobody waits.
        let think = work * clients / 10;
        let flood = server.serve(clients, think, second * 8);
        // Few clients with little work each cannot wait longer than they may.
        prop_assert!(flood.refused > 0 || work * clients <= TARGET * 2);
        let demand = 10.0 / work.as_secs_f64();
        let left = ((1.0 - demand * refusal.as_secs_f64()) / (work - refusal).as_secs_f64()).max(LEAST / work.as_secs_f64());
        let goodput = f64::from(flood.admitted) / 4.0;
        prop_assert!(goodput > left * 0.7, "{goodput} of {left} a second");
        prop_assert!(flood.p95() < TARGET * 5 / 2, "{:?}", flood.p95());
        let calm = server.serve(8, work * 10, second);
        prop_assert_eq!(calm.refused, 0);
    }

    /// What can be worked off is never refused.
    #[test]
    fn usual_load_is_let_in(work in 100_u64..20_000, clients in 1_u32..100) {
        let work = Duration::from_micros(work);
        let mut server = Server::new((work, work / 20));
        let seen = server.serve(clients, Duration::ZERO, Duration::from_secs(4));
        prop_assert_eq!(seen.refused, 0);
    }
}
