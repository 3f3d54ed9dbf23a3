//! How many agents are loaded at once, and when those are to come again for whom there is no time. Pure: what came of each load comes in, and when it ended.
//!
//! A store that gets too much says so by its latency, and who is active on the node already waits behind it, for the store and for the processor. So more are
//! loaded at once, step by step, while claims take about as long as they usually do, and by a part fewer when they take much longer (as TCP does it with packets).
//! A claim is one write of the same size for each agent: what an agent has makes no difference.

use std::time::Duration;

/// Agents loaded at once: at the least, at first, and at the most.
const LEAST: f64 = 16.0;
const FIRST: f64 = 64.0;
const MOST: f64 = 256.0;
/// A window has so many loads at least, and lasts so long.
const LOADS: u32 = 16;
const WINDOW: Duration = Duration::from_millis(50);
/// A claim that takes no longer than this is quick, whatever is usual.
pub(crate) const QUICK: Duration = Duration::from_millis(20);
/// Above this nothing is usual.
const SLOW: Duration = Duration::from_millis(50);
/// So many times the usual is too long.
const TOO_LONG: f64 = 3.0;
/// How much the usual becomes longer with each window that does not show otherwise: it may be another store by now.
const DRIFT: f64 = 1.000_2;
/// How many more are loaded at once after a window, and what is left of them after one in which that was too much.
const MORE: f64 = 8.0;
const LESS: f64 = 0.75;
/// The longest time after which somebody is told to come again, in seconds.
const LATEST: u64 = 30;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    limit: f64,
    /// Seconds that a claim usually takes.
    usual: Option<f64>,
    /// Loads a second while somebody waited.
    rate: Option<f64>,
    /// Of the present window: when it began, with the end of a load; loads that ended in it, seconds of their claims, and whether somebody waited all the time.
    since: Option<Duration>,
    loads: u32,
    claims: f64,
    crowded: bool,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { limit: FIRST, usual: None, rate: None, since: None, loads: 0, claims: 0.0, crowded: true }
    }

    /// How many are loaded at once.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from LEAST to MOST
    pub(crate) const fn limit(&self) -> usize {
        self.limit as usize
    }

    /// A load has ended `at` that moment since the node began, whose claim took so long, while so many participants waited for a place.
    pub(crate) fn ended(&mut self, claim: Duration, at: Duration, waiting: usize) {
        // Before it nothing may have been to be loaded for hours.
        let Some(since) = self.since else { return self.since = Some(at) };
        self.loads += 1;
        self.claims += claim.as_secs_f64();
        self.crowded &= waiting > 0;
        let took = at.saturating_sub(since);
        if self.loads < LOADS || took < WINDOW {
            return;
        }
        let (loads, mean) = (f64::from(self.loads), self.claims / f64::from(self.loads));
        let usual = self.usual.map_or(mean, |usual| mean.min(usual * DRIFT)).min(SLOW.as_secs_f64());
        if mean > QUICK.as_secs_f64().max(usual * TOO_LONG) {
            self.limit = (self.limit * LESS).max(LEAST);
        } else if self.crowded {
            self.limit = (self.limit + MORE).min(MOST);
        }
        let rate = loads / took.as_secs_f64();
        self.rate = match self.rate {
            Some(before) if self.crowded => Some(f64::midpoint(before, rate)),
            // More could have been, and is not known to be less.
            Some(before) => Some(before.max(rate)),
            None => self.crowded.then_some(rate),
        };
        (self.usual, self.since, self.loads, self.claims, self.crowded) = (Some(usual), None, 0, 0.0, true);
    }

    /// Seconds until those have a place who wait now; `None` before it is known how many come to one in a second.
    fn until_clear(&self, waiting: usize) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // a count
        self.rate.map(|rate| waiting as f64 / rate)
    }

    /// Whether one who comes now, behind so many, has no place within this time.
    pub(crate) fn is_hopeless(&self, waiting: usize, within: Duration) -> bool {
        self.until_clear(waiting).is_some_and(|clear| clear > within.as_secs_f64())
    }

    /// When a participant is to come again for whom there was no time, in whole seconds: when those have their places who wait now, or as much later, so that not all
    /// come in the same second; which of them is said by the participant's number, any but the same each time.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 1 to LATEST / 2
    pub(crate) fn come_again(&self, waiting: usize, number: u64) -> Duration {
        #[allow(clippy::cast_precision_loss)] // a small number
        let most = (LATEST / 2) as f64;
        let clear = self.until_clear(waiting).unwrap_or(1.0).ceil().clamp(1.0, most) as u64;
        Duration::from_secs(clear + number % clear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::testkit;
    use proptest::prelude::*;

    /// A store that takes `base` seconds for a claim, and that does `rate` of them in a second: the pace after so many loads, as many at once as there may be, some of
    /// which nobody else waited for at first.
    fn driven(base: f64, rate: f64, loads: u32) -> Pace {
        let (mut pace, mut at) = (Pace::new(), 0.0);
        for _ in 0..100 {
            at += 0.1;
            pace.ended(Duration::from_secs_f64(base), Duration::from_secs_f64(at), 0);
        }
        for _ in 0..loads {
            // Little's law: what is above the rate stands in a queue.
            #[allow(clippy::cast_precision_loss)]
            let at_once = pace.limit() as f64;
            let took = base.max(at_once / rate);
            at += took / at_once;
            pace.ended(Duration::from_secs_f64(took), Duration::from_secs_f64(at), 1_000);
        }
        pace
    }

    #[test]
    fn as_many_are_loaded_at_once_as_the_store_bears() {
        for (base, rate, loads, least, most) in [
            // In memory, and a database of many nodes.
            (0.000_5, 1_000_000.0, 1_000_000, 256, 256),
            (0.002, 100_000.0, 1_000_000, 256, 256),
            // One that shares two processors with the node.
            (0.003, 500.0, 20_000, 16, 20),
            (0.003, 2_000.0, 40_000, 24, 56),
            (0.000_1, 10.0, 2_000, 16, 16),
        ] {
            let pace = driven(base, rate, loads);
            assert!((least..=most).contains(&pace.limit()), "{base} s, {rate}/s: {pace:?}");
            let found = pace.rate.unwrap();
            assert!((found / rate.min(256.0 / base) - 1.0).abs() < 0.2, "{base} s, {rate}/s: {found}");
        }
    }

    /// What is seldom and takes its time is no crowd.
    #[test]
    fn loads_for_which_nobody_waits_raise_nothing() {
        let mut pace = Pace::new();
        for n in 1..10_000 {
            pace.ended(Duration::from_millis(1), Duration::from_millis(10 * n), 0);
        }
        assert_eq!((pace.limit(), pace.rate), (64, None));
        assert!(!pace.is_hopeless(1_000_000, Duration::ZERO), "how quick it is was never seen");
    }

    #[test]
    fn who_is_told_to_come_again_comes_when_there_is_time() {
        let pace = driven(0.003, 500.0, 20_000);
        let seconds = |waiting: usize| (0..1_000).map(|number| pace.come_again(waiting, number).as_secs()).collect::<Vec<_>>();
        for (waiting, first, last) in [(0, 1, 1), (400, 1, 1), (1_400, 3, 5), (4_900, 10, 19), (1_000_000, 15, 29)] {
            let told = seconds(waiting);
            assert_eq!((told.iter().min(), told.iter().max()), (Some(&first), Some(&last)), "{waiting}");
            let most = (first..=last).map(|second| told.iter().filter(|told| **told == second).count()).max().unwrap();
            let even = told.len() / usize::try_from(last - first + 1).unwrap();
            assert!(most <= even + 1, "{waiting}: {most} come in one second");
        }
        assert!(pace.is_hopeless(1_400, Duration::from_secs(2)) && !pace.is_hopeless(1_400, Duration::from_secs(4)));
        assert_eq!(Pace::new().come_again(1_000_000, 7), Duration::from_secs(1), "nothing is known yet");
    }

    /// The time in which nothing is to be loaded says nothing of how many can be; a store that was slow once is not taken for slow for good.
    #[test]
    fn a_storm_after_a_long_rest_is_not_hopeless() {
        let burst = |pace: &mut Pace, at: f64, of: u32, rate: f64, waiting: usize| {
            for n in 0..of {
                pace.ended(Duration::from_millis(5), Duration::from_secs_f64(at + f64::from(n) / rate), waiting);
            }
        };
        let mut pace = Pace::new();
        burst(&mut pace, 3_600.0, 60, 1_000.0, 1_000);
        assert!(!pace.is_hopeless(1_000, Duration::from_secs(2)), "{pace:?}");
        burst(&mut pace, 7_200.0, 600, 10.0, 100);
        assert!(pace.is_hopeless(100, Duration::from_secs(2)), "{pace:?}");
        // Nobody waits, since everybody is told that it is hopeless.
        burst(&mut pace, 10_800.0, 60, 1_000.0, 0);
        assert!(!pace.is_hopeless(1_000, Duration::from_secs(2)), "{pace:?}");
    }

    proptest! {
        #![proptest_config(testkit::proptest_config())]
        /// Whatever a store does, there are bounds; and when it is quick again, so is the node.
        #[test]
        fn whatever_the_store_does_there_are_bounds(
            loads in prop::collection::vec((0_u64..5_000_000, 0_u64..200_000, 0_usize..3), 0..2_000), waiting in 0_usize..1_000_000, number in any::<u64>(),
        ) {
            let (mut pace, mut at) = (Pace::new(), Duration::ZERO);
            for (claim, after, waiting) in loads {
                at += Duration::from_micros(after);
                pace.ended(Duration::from_micros(claim), at, waiting);
                prop_assert!((16..=256).contains(&pace.limit()), "{pace:?}");
            }
            let told = pace.come_again(waiting, number);
            prop_assert!((1..LATEST).contains(&told.as_secs()) && told.subsec_nanos() == 0, "{told:?}");
            for _ in 0..4_000 {
                at += Duration::from_millis(5);
                pace.ended(Duration::from_millis(1), at, 1);
            }
            prop_assert_eq!(pace.limit(), 256);
        }
    }
}
