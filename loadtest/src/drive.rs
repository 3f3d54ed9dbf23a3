//! Load: workers that operate one after the other (closed loop), or at the times of a rate whatever the platform does (open loop).

use anyhow::Result;
use hdrhistogram::Histogram;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// Longest latency that is told apart, in microseconds.
const HIGHEST: u64 = 120_000_000;
/// How many errors are told.
const TOLD: usize = 5;

/// How much load.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Operations a second, begun on schedule; without it each worker begins the next one when the last one ended.
    pub rate: Option<f64>,
    /// How long operations are begun.
    pub time: Duration,
}

/// How an operation went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it must.
    Good,
    /// The platform asked to come back later.
    Shed,
    /// Not as it must, and why.
    Wrong(String),
    /// Nothing was left to be done: the worker ends.
    Done,
}

/// One of those who operate at once.
pub trait Worker: Send + 'static {
    /// What has to happen before the next operation, and is no part of it.
    fn prepare(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// One operation.
    fn operate(&mut self) -> impl Future<Output = Verdict> + Send;

    /// Whether what a good operation did is as it must be; no part of its time.
    fn check(&mut self) -> impl Future<Output = Verdict> + Send {
        std::future::ready(Verdict::Good)
    }
}

/// What all workers saw.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Latencies of good operations in microseconds. In an open loop they count from when the operation was due.
    pub latencies: Histogram<u64>,
    /// Operations that went as they must.
    pub good: u64,
    /// Operations that the platform shed.
    pub shed: u64,
    /// Operations that went wrong.
    pub errors: u64,
    /// The first few errors.
    pub told: Vec<String>,
    /// From the first beginning to the last end.
    pub elapsed: Duration,
}

impl Outcome {
    fn new() -> Result<Self> {
        let latencies = Histogram::new_with_bounds(1, HIGHEST, 3)?;
        Ok(Self { latencies, good: 0, shed: 0, errors: 0, told: Vec::new(), elapsed: Duration::ZERO })
    }

    fn note(&mut self, verdict: Verdict, took: Duration) {
        match verdict {
            Verdict::Good => {
                self.good += 1;
                let micros = u64::try_from(took.as_micros()).unwrap_or(HIGHEST);
                self.latencies.saturating_record(micros.clamp(1, HIGHEST));
            }
            Verdict::Shed => self.shed += 1,
            Verdict::Done => {}
            Verdict::Wrong(why) => self.wrong(why),
        }
    }

    /// Counts an error that no worker saw.
    pub fn wrong(&mut self, why: String) {
        self.errors += 1;
        if self.told.len() < TOLD {
            self.told.push(why);
        }
    }

    fn merge(&mut self, other: Self) {
        // Both have the same bounds.
        let _ = self.latencies.add(&other.latencies);
        self.good += other.good;
        self.blame(other);
    }

    /// Takes over what went wrong or was shed elsewhere, and nothing else: a wrong answer counts whenever it came.
    pub fn blame(&mut self, other: Self) {
        self.errors += other.errors;
        self.shed += other.shed;
        self.told.extend(other.told.into_iter().take(TOLD.saturating_sub(self.told.len())));
    }

    /// Counts as wrong what was shed, since only a platform that is overloaded may do so, and that nothing went as it must.
    #[must_use]
    pub fn strict(mut self) -> Self {
        if self.shed > 0 {
            self.errors += self.shed - 1;
            self.wrong(format!("{} operations were shed", self.shed));
        }
        if self.good == 0 {
            self.wrong("no operation went as it must".to_owned());
        }
        self
    }

    /// Operations that were answered as they must be, a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // a count of operations
        let good = self.good as f64;
        good / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// A latency in milliseconds.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        quantile_ms(&self.latencies, quantile)
    }
}

/// A latency of these, which are in microseconds, in milliseconds.
#[must_use]
pub fn quantile_ms(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // at most two minutes in microseconds
    let micros = latencies.value_at_quantile(quantile) as f64;
    micros / 1_000.0
}

/// When the operations of an open loop are due.
struct Schedule {
    start: Instant,
    rate: f64,
    next: AtomicU64,
}

impl Schedule {
    fn due(&self) -> Instant {
        #[allow(clippy::cast_precision_loss)] // a count of operations
        let n = self.next.fetch_add(1, Ordering::Relaxed) as f64;
        self.start + Duration::from_secs_f64(n / self.rate)
    }
}

/// Drives the workers at once; gives them back.
///
/// # Errors
/// When latencies cannot be counted.
pub async fn drive<W: Worker>(workers: Vec<W>, pace: Pace) -> Result<(Vec<W>, Outcome)> {
    let start = Instant::now();
    let end = start + pace.time;
    let schedule = pace.rate.map(|rate| Arc::new(Schedule { start, rate, next: AtomicU64::new(0) }));
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(work(worker, Outcome::new()?, schedule.clone(), end));
    }
    let (mut workers, mut all) = (Vec::new(), Outcome::new()?);
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((worker, outcome)) => {
                workers.push(worker);
                all.merge(outcome);
            }
            Err(panic) => all.wrong(format!("a worker ended: {panic}")),
        }
    }
    all.elapsed = start.elapsed();
    Ok((workers, all))
}

async fn work<W: Worker>(mut worker: W, mut outcome: Outcome, schedule: Option<Arc<Schedule>>, end: Instant) -> (W, Outcome) {
    loop {
        worker.prepare().await;
        let due = schedule.as_ref().map_or_else(Instant::now, |schedule| schedule.due());
        if due >= end {
            return (worker, outcome);
        }
        if schedule.is_some() {
            tokio::time::sleep_until(due).await;
        }
        let verdict = worker.operate().await;
        let took = due.elapsed();
        match verdict {
            Verdict::Done => return (worker, outcome),
            Verdict::Good => outcome.note(worker.check().await, took),
            verdict => outcome.note(verdict, took),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow(u32);

    /// Every other one of whose operations turns out to be wrong.
    struct Checked(u32);

    impl Worker for Checked {
        async fn operate(&mut self) -> Verdict {
            self.0 += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
            Verdict::Good
        }

        async fn check(&mut self) -> Verdict {
            tokio::time::sleep(Duration::from_millis(90)).await;
            if self.0.is_multiple_of(2) { Verdict::Wrong("every other one".to_owned()) } else { Verdict::Good }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_decides_and_takes_no_time_of_the_operation() {
        let (_, outcome) = drive(vec![Checked(0)], Pace { rate: None, time: Duration::from_secs(1) }).await.unwrap();
        assert_eq!((outcome.good, outcome.errors), (5, 5));
        assert!(outcome.quantile_ms(1.0) < 12.0, "{}", outcome.quantile_ms(1.0));
    }

    impl Worker for Slow {
        async fn operate(&mut self) -> Verdict {
            self.0 += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.0.is_multiple_of(10) { Verdict::Wrong("tenth".to_owned()) } else { Verdict::Good }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_went_wrong_before_counts_and_is_told() {
        let pace = |seconds| Pace { rate: None, time: Duration::from_secs(seconds) };
        let (workers, warm) = drive(vec![Slow(0)], pace(2)).await.unwrap();
        let (_, mut outcome) = drive(workers, pace(1)).await.unwrap();
        let (good, p99) = (outcome.good, outcome.quantile_ms(0.99));
        outcome.blame(warm);
        assert_eq!((outcome.errors, outcome.told.len(), outcome.good), (3, 3, good));
        assert!((outcome.quantile_ms(0.99) - p99).abs() < f64::EPSILON);
    }

    /// Sheds every third operation, of so many.
    struct Sheds(u32);

    impl Worker for Sheds {
        async fn operate(&mut self) -> Verdict {
            self.0 -= 1;
            match self.0 {
                0 => Verdict::Done,
                left if left.is_multiple_of(3) => Verdict::Shed,
                _ => Verdict::Good,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_shed_is_wrong_unless_it_may_be() {
        let pace = Pace { rate: None, time: Duration::from_secs(1) };
        let (_, warm) = drive(vec![Sheds(4)], pace).await.unwrap();
        let (_, mut outcome) = drive(vec![Sheds(10), Sheds(4)], pace).await.unwrap();
        assert_eq!((outcome.good, outcome.shed, outcome.errors), (8, 4, 0));
        outcome.blame(warm);
        let strict = outcome.strict();
        assert_eq!(
            (strict.good, strict.shed, strict.errors, strict.told.as_slice()),
            (8, 5, 5, ["5 operations were shed".to_owned()].as_slice())
        );
        let nothing = drive(vec![Sheds(1)], pace).await.unwrap().1.strict();
        assert_eq!((nothing.errors, nothing.told.len()), (1, 1));
    }

    struct Few(u32);

    impl Worker for Few {
        async fn operate(&mut self) -> Verdict {
            self.0 = self.0.saturating_sub(1);
            if self.0 == 0 { Verdict::Done } else { Verdict::Good }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_ends_when_nothing_is_left() {
        let (workers, outcome) = drive(vec![Few(3), Few(5)], Pace { rate: None, time: Duration::from_secs(3_600) }).await.unwrap();
        assert_eq!((workers.len(), outcome.good, outcome.errors), (2, 6, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_waits_for_its_operations() {
        let (workers, outcome) = drive(vec![Slow(0), Slow(0)], Pace { rate: None, time: Duration::from_secs(1) }).await.unwrap();
        assert_eq!((workers.len(), outcome.good, outcome.errors), (2, 18, 2));
        assert!((99.0..102.0).contains(&outcome.quantile_ms(0.99)), "{}", outcome.quantile_ms(0.99));
        assert!((17.9..18.1).contains(&outcome.per_second()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_loop_counts_the_time_in_the_queue() {
        // One worker can do ten a second; twenty are due, so the last one waits for a whole second.
        let (_, outcome) = drive(vec![Slow(0)], Pace { rate: Some(20.0), time: Duration::from_secs(1) }).await.unwrap();
        assert_eq!(outcome.good + outcome.errors, 20);
        assert!(outcome.quantile_ms(1.0) > 1_000.0, "{}", outcome.quantile_ms(1.0));
    }
}
