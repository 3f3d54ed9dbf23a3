//! How long an owner may be sealed. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// After so long it is given up.
pub(super) const SEALED: Duration = Duration::from_secs(30);

/// Until when that is: counted from when it began (`age` ago, by the clocks of two nodes when another one has begun, which agree as tokens need it), and no longer than
/// from when this node knows, whatever they say.
pub(super) fn until(known: Instant, age: Option<Duration>, now: Instant) -> Instant {
    let known = known + SEALED;
    age.map_or(known, |age| known.min(now + SEALED.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_counted_from_its_begin_whoever_goes_on_and_clocks_make_it_no_longer() {
        let (second, begin) = (Duration::from_secs(1), Instant::now() + Duration::from_secs(100));
        for (known, age, expected) in [
            // Who has begun it.
            (0, Some(0), 30),
            // Who goes on with it after 20 s knows of it since then.
            (20, Some(20), 30),
            // It is over already.
            (40, Some(40), 40),
            (40, Some(9_000), 40),
            // By a clock that is behind it has just begun.
            (20, Some(0), 50),
            // Begun by an earlier build, which has not said when.
            (20, None, 50),
        ] {
            let at = |seconds: u32| begin + second * seconds;
            assert_eq!(until(at(known), age.map(|age| second * age), at(known)), at(expected), "{known} {age:?}");
        }
        // A look that is late does not make it longer.
        for late in 0..60 {
            let left = until(begin, Some(Duration::ZERO), begin + second * late);
            assert_eq!(left, begin + SEALED, "{late}");
        }
    }
}
