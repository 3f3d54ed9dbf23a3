//! How many requests are let in while more come than can be worked off. Pure: the queue and the time come in, a yes or a no goes out.
//!
//! Most of a request's work runs in one go, so that no count of requests under way sees those that wait: their connections stand in the executor's
//! queue. What is looked at is the time that the queue costs, since neither processor time nor lengths of queues say whether clients wait (RFC 8289 does
//! the same with packets); not the time that those have waited who just got their turn, which tells of the past, but that of one who comes now:
//! how many stand there by how many get their turn in a time (Little's law). When it becomes too long, requests get a rate, which begins with what
//! was worked off then and follows that time up and down. What is above the rate is refused.

use crate::http::Listener;
use std::time::Duration;
use tokio::time::Instant;

/// How often is looked.
const WINDOW: Duration = Duration::from_millis(100);
/// Time in the queue that is too long, when it lasts for two windows.
const TARGET: Duration = Duration::from_millis(100);
/// So many must stand in the queue: a slow machine with few clients has a long time too, and refusing them makes nothing better.
const STANDING: u64 = 100;
/// After so long without a request, nothing is known of the queue any more.
const SILENCE: Duration = Duration::from_secs(1);
/// What the rate may become in one window, as a multiple.
const STEP: (f64, f64) = (0.5, 1.5);
/// While requests are refused, so many times the usual time in the queue is too much for a single one: the queue is not in order, and clients of
/// those that come late are the likeliest to be gone.
const LATE: u32 = 2;
/// The lowest rate, as a part of what was worked off when it began: refusing costs time too, and when that alone fills the queue, what is
/// refused beyond that would serve nobody.
const LEAST: f64 = 0.25;
/// The lowest rate of all, in requests a second.
const LEAST_OF_ALL: f64 = 10.0;
/// For how long the rate may be saved up.
const BURST: Duration = Duration::from_millis(25);
/// For how long ahead the admin listener may take from the rate, so that a flood from outside locks nobody out who could end it.
const ADVANCE: Duration = Duration::from_secs(1);

/// The executor's queue, as far as connections stand in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many stand there now.
    pub standing: u64,
    /// How many times one got its turn so far.
    pub turns: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Overload {
    /// When the present window began, and how many turns there had been until then.
    since: Instant,
    turns: u64,
    admitted: u32,
    refused: u32,
    state: State,
}

/// ```text
/// Open -- too long --> Strained -- again too long --> Limited
///  ^--------- not ---------'                             |
///  '----- not, and nothing was refused; or silence ------'
/// ```
#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    Strained,
    Limited(Limit),
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Requests a second.
    rate: f64,
    least: f64,
    /// The longest time in the queue of a request that is let in.
    longest: Duration,
    /// What of the rate is saved up, or taken ahead, at that time.
    saved: f64,
    at: Instant,
}

impl Overload {
    /// Of a process that begins.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { since: now, turns: 0, admitted: 0, refused: 0, state: State::Open }
    }

    /// Whether requests are refused at all.
    #[must_use]
    pub const fn is_limiting(&self) -> bool {
        matches!(self.state, State::Limited(_))
    }

    /// Whether it is time to [`look`](Self::look).
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }

    /// Ends a window; answers the time in the queue of one who comes now.
    pub fn look(&mut self, now: Instant, queue: Queue) -> Duration {
        let took = now.saturating_duration_since(self.since);
        let turns = queue.turns.saturating_sub(self.turns).max(1);
        let lag = ratio(took, queue.standing, turns);
        let crowded = queue.standing > STANDING;
        let too_long = crowded && lag > TARGET;
        let quiet = took >= SILENCE;
        self.state = match self.state {
            _ if quiet => State::Open,
            State::Open if too_long => State::Strained,
            State::Strained if too_long => {
                State::Limited(Limit::new(f64::from(self.admitted) / took.as_secs_f64().max(1e-9), now).after(lag))
            }
            State::Open | State::Strained => State::Open,
            State::Limited(_) if self.refused == 0 && !too_long => State::Open,
            State::Limited(limit) => State::Limited(limit.after(if crowded { lag } else { Duration::ZERO })),
        };
        (self.since, self.turns, self.admitted, self.refused) = (now, queue.turns, 0, 0);
        lag
    }

    /// Whether a request at this listener is let in that stood so long in the queue. Operations always are.
    pub fn admits(&mut self, now: Instant, listener: Listener, waited: Duration) -> bool {
        let admits = match &mut self.state {
            State::Open | State::Strained => true,
            State::Limited(limit) => limit.takes(now, listener, waited),
        };
        let count = if admits { &mut self.admitted } else { &mut self.refused };
        *count = count.saturating_add(1);
        admits
    }
}

/// `time` by `parts` and `whole`.
fn ratio(time: Duration, parts: u64, whole: u64) -> Duration {
    #[allow(clippy::cast_precision_loss)] // counts of tasks
    let ratio = parts as f64 / whole as f64;
    Duration::try_from_secs_f64(time.as_secs_f64() * ratio).unwrap_or(Duration::MAX)
}

impl Limit {
    fn new(rate: f64, now: Instant) -> Self {
        Self { rate, least: (rate * LEAST).max(LEAST_OF_ALL), longest: TARGET * LATE, saved: 0.0, at: now }
    }

    /// The rate that would have brought the queue to the target.
    fn after(self, lag: Duration) -> Self {
        let step = TARGET.as_secs_f64() / lag.as_secs_f64().max(1e-9);
        Self { rate: (self.rate * step.clamp(STEP.0, STEP.1)).max(self.least), longest: lag.max(TARGET).saturating_mul(LATE), ..self }
    }

    fn takes(&mut self, now: Instant, listener: Listener, waited: Duration) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.saved = (self.saved + self.rate * since).min((self.rate * BURST.as_secs_f64()).max(1.0));
        self.at = now;
        let least = match listener {
            Listener::Ops => return true,
            Listener::Admin => 1.0 - self.rate * ADVANCE.as_secs_f64(),
            Listener::Public => 1.0,
        };
        let takes = self.saved >= least && waited <= self.longest;
        if takes {
            self.saved -= 1.0;
        }
        takes
    }
}

#[cfg(test)]
mod tests;
