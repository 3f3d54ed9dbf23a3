//! When those come again who found no place to wait in for a node that is gone. Pure: moments and counts come in.
//!
//! Until the others have found it dead nobody serves what it had, and who comes before that is turned away once more; and of all who come in the same second most
//! find no place again.

use std::time::Duration;
use tokio::time::Instant;

/// In how many parts those come again who are as many as there are places: each of them may want one.
const PARTS: u64 = 4;
/// Over so many seconds they are spread at most.
const SPREAD: u64 = 8;
/// Longest time after which somebody comes again, in seconds.
const LATEST: u64 = 30;
const SECOND: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Crowd {
    /// When the first one was turned away, and the last one so far.
    began: Instant,
    last: Instant,
    /// When the present second began, and how many were turned away in it, and in the one before.
    since: Instant,
    told: u64,
    before: u64,
}

impl Crowd {
    /// Nobody yet.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { began: now, last: now, since: now, told: 0, before: 0 }
    }

    /// One more is turned away, since all of so many places are taken; a node is found dead within that time. When it comes again, in whole seconds: which of those
    /// there are is said by its participant's number, any but the same each time.
    pub fn come_again(&mut self, now: Instant, number: u64, found_dead: Duration, places: usize) -> Duration {
        if self.told + self.before == 0 || now.saturating_duration_since(self.last) > found_dead + SECOND * 2 {
            *self = Self::new(now);
        }
        self.last = now;
        let took = now.saturating_duration_since(self.since);
        if took >= SECOND {
            self.before = if took < SECOND * 2 { self.told } else { 0 };
            (self.since, self.told) = (now, 0);
        }
        self.told += 1;
        let left = found_dead.saturating_sub(now.saturating_duration_since(self.began));
        let left = (left.as_secs() + u64::from(left.subsec_nanos() > 0)).clamp(1, LATEST - SPREAD);
        let in_a_second = (u64::try_from(places).unwrap_or(u64::MAX) / PARTS).max(1);
        let spread = self.told.max(self.before).div_ceil(in_a_second).min(SPREAD);
        Duration::from_secs(left + number % spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const FOUND_DEAD: Duration = Duration::from_millis(2_750);

    /// How many of so many come again in which second, who are turned away at once.
    fn turned_away(crowd: &mut Crowd, now: Instant, count: u64) -> BTreeMap<u64, u64> {
        let mut seconds = BTreeMap::new();
        for number in 0..count {
            *seconds.entry(crowd.come_again(now, number, FOUND_DEAD, 1_024).as_secs()).or_default() += 1;
        }
        seconds
    }

    #[test]
    fn who_is_turned_away_comes_again_when_there_is_somebody_and_not_all_at_once() {
        let began = Instant::now();
        let mut crowd = Crowd::new(began);
        assert_eq!(turned_away(&mut crowd, began, 100), BTreeMap::from([(3, 100)]), "a few may come together");
        let many = turned_away(&mut crowd, began + Duration::from_millis(10), 1_900);
        assert_eq!(many.keys().copied().collect::<Vec<_>>(), (3..11).collect::<Vec<_>>());
        assert!(many.values().all(|count| *count < 650), "{many:?}");
        // Who comes while the crowd is there waits for what is left, and is spread as far as is due then.
        let later = turned_away(&mut crowd, began + Duration::from_millis(3_010), 200);
        assert_eq!(later, BTreeMap::from([(1, 200)]));
        // The next one waits as long as the first.
        assert_eq!(turned_away(&mut crowd, began + Duration::from_secs(60), 1), BTreeMap::from([(3, 1)]));
        assert_eq!(Crowd::new(began).come_again(began, 9, Duration::from_secs(3_600), 0), Duration::from_secs(22));
    }
}
