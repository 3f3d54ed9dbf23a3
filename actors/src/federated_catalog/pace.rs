//! How often it is looked.

use std::time::Duration;

/// Nobody asked for a view for so long: it is given up.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// That a view was asked for is written down when so long has passed since it was the last time.
pub(super) const NOTED_EVERY: Duration = Duration::from_secs(3_600);

/// How often targets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrawlOptions {
    /// Pause after a crawl that brought a view, as long as somebody has asked for it within the last hour.
    pub refresh: Duration,
    /// Pause after the first one that failed; doubled with each that follows.
    pub first_retry: Duration,
    /// Longest pause after one that failed.
    pub longest_retry: Duration,
}

impl Default for CrawlOptions {
    /// Every quarter of an hour; after a failure from 30 s to an hour.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { refresh: seconds(900), first_retry: seconds(30), longest_retry: seconds(3_600) }
    }
}

/// The options with a chance of their own for one pause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The options.
    pub options: CrawlOptions,
    /// From 0 to 1: which part of a fifth is added, so that what began together does not stay together.
    pub spread: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { options: CrawlOptions::default(), spread: 0.0 }
    }
}

impl Pace {
    /// The pause after a view that somebody asked for so long ago: what is asked for seldom is looked at more seldom.
    #[must_use]
    pub fn after_view(&self, asked_ago: Duration) -> Duration {
        self.spread(self.options.refresh.max(asked_ago / 4))
    }

    /// The pause after so many failures in a row.
    #[must_use]
    pub fn after_failures(&self, failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).and_then(|times| self.options.first_retry.checked_mul(times));
        self.spread(doubled.map_or(self.options.longest_retry, |pause| pause.min(self.options.longest_retry)))
    }

    fn spread(&self, pause: Duration) -> Duration {
        pause + (pause / 5).mul_f64(self.spread.clamp(0.0, 1.0))
    }
}
