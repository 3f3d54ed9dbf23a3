//! When the latency is what it was before.

use crate::{
    drive::{Verdict, Worker},
    http::Connection,
    scenario::catalog::Cast,
    subject::Subject,
};
use anyhow::Result;
use rand::{SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Probes at once.
pub const PROBES: usize = 4;
/// How long they go on.
pub const WATCH: Duration = Duration::from_secs(5);
/// What latencies are looked at together.
const SPAN: Duration = Duration::from_millis(100);
/// How many such spans without anything unusual are a recovery.
const SPANS: usize = 5;
/// Up to this multiple of the usual one, a span's 95th percentile is usual; and up to this time, which a shared machine alone can add.
const TOLERANCE: u32 = 2;
const NOISE: Duration = Duration::from_millis(5);

/// A probe and its answer.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    pub at: Instant,
    pub took: Duration,
    pub good: bool,
}

/// Asks one request after the other, and remembers how long each took.
pub struct Prober {
    cast: Arc<Cast>,
    connection: Connection,
    random: StdRng,
    pub answered: Vec<Answered>,
}

impl Prober {
    pub fn new(cast: &Arc<Cast>, subject: &Subject, seed: u64) -> Result<Self> {
        let connection = Connection::new(&subject.public, None)?;
        Ok(Self { cast: cast.clone(), connection, random: StdRng::seed_from_u64(seed), answered: Vec::new() })
    }
}

impl Worker for Prober {
    async fn operate(&mut self) -> Verdict {
        let began = Instant::now();
        let verdict = match self.cast.random(&mut self.random) {
            Ok(request) => request.ask(&mut self.connection).await,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        };
        self.answered.push(Answered { at: Instant::now(), took: began.elapsed(), good: verdict == Verdict::Good });
        verdict
    }
}

/// How long after the end everything was as usual again, and stayed so for a while. `None` when it never was.
pub fn recovered(answered: &[Answered], end: Instant, usual: Duration) -> Option<Duration> {
    let mut spans = BTreeMap::<u128, Vec<&Answered>>::new();
    let span = |at: Option<Instant>| at.map_or(0, |at| at.saturating_duration_since(end).as_millis() / SPAN.as_millis());
    for answer in answered {
        // Who waits tells of the whole time that it waits.
        for n in span(answer.at.checked_sub(answer.took))..=span(Some(answer.at)) {
            spans.entry(n).or_default().push(answer);
        }
    }
    let is_usual = |n: u128| {
        spans.get(&n).is_some_and(|answers| {
            let mut took: Vec<_> = answers.iter().map(|answer| answer.took).collect();
            took.sort_unstable();
            let slow = took.get(took.len() * 95 / 100).copied().unwrap_or(Duration::MAX);
            answers.iter().all(|answer| answer.good) && slow <= NOISE.max(usual * TOLERANCE)
        })
    };
    let last = *spans.keys().next_back()?;
    let first = (0..=last).find(|n| (0..SPANS as u128).all(|more| is_usual(n + more)))?;
    Some(SPAN * u32::try_from(first).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer every 10 ms; its latency by the time.
    fn answers(end: Instant, millis: impl Fn(u64) -> (u64, bool)) -> Vec<Answered> {
        let answer = |n: u64| {
            let (took, good) = millis(n * 10);
            Answered { at: end + Duration::from_millis(n * 10), took: Duration::from_millis(took), good }
        };
        (0..300).map(answer).collect()
    }

    #[test]
    fn recovery_is_when_it_stays_as_usual() {
        let (end, usual) = (Instant::now(), Duration::from_millis(2));
        let after = |answers: Vec<Answered>| recovered(&answers, end, usual).map(|took| took.as_millis());
        assert_eq!(after(answers(end, |_| (2, true))), Some(0));
        assert_eq!(after(answers(end, |at| (if at < 730 { 50 } else { 3 }, true))), Some(800));
        assert_eq!(after(answers(end, |at| (2, at >= 1_000))), Some(1_000), "shed until then");
        assert_eq!(after(answers(end, |at| (if (560..600).contains(&at) { 50 } else { 2 }, true))), Some(0), "half a second is a while");
        assert_eq!(after(answers(end, |at| (if (300..400).contains(&at) { 50 } else { 2 }, true))), Some(400), "a short calm is none");
        assert_eq!(after(answers(end, |_| (50, true))), None);
        // One that is never answered is not forgotten for those that are.
        let hung = Answered { at: end + Duration::from_secs(5), took: Duration::from_secs(5), good: false };
        assert_eq!(after(answers(end, |_| (2, true)).into_iter().chain([hung]).collect()), None);
        assert_eq!(after(Vec::new()), None);
    }
}
