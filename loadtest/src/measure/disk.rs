//! What the disk does while something else is measured: whoever waits for a commit waits for it too.

use anyhow::{Context, Result};
use std::{
    fs::File,
    io::{Seek, Write},
    path::Path,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// A sync that takes at least this long is a stall: some hundred times what one takes.
const STALL: Duration = Duration::from_millis(50);

/// Writes and syncs 4 KiB again and again, by a thread of its own, until it is dropped or asked what it saw.
#[derive(Debug)]
pub struct Probe {
    /// Ends the thread when it goes.
    going: Sender<()>,
    thread: JoinHandle<Result<Syncs>>,
}

impl Probe {
    /// Begins, on the disk of this folder.
    ///
    /// # Errors
    /// When a file cannot be made there.
    pub fn start(folder: &Path) -> Result<Self> {
        let path = folder.join("disk-probe");
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        let (going, gone) = channel();
        let thread = thread::spawn(move || {
            let mut syncs = Syncs::default();
            while gone.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                let from = Instant::now();
                file.rewind()?;
                file.write_all(&[7; 4_096])?;
                file.sync_data()?;
                syncs.0.push(Synced { from, until: Instant::now() });
            }
            Ok(syncs)
        });
        Ok(Self { going, thread })
    }

    /// Ends it; what it saw.
    ///
    /// # Errors
    /// When the disk could not be written.
    pub async fn end(self) -> Result<Syncs> {
        drop(self.going);
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await?;
        joined.map_err(|_| anyhow::anyhow!("the thread that looks at the disk ended early"))?
    }
}

/// One write with its sync.
#[derive(Debug, Clone, Copy)]
struct Synced {
    from: Instant,
    until: Instant,
}

impl Synced {
    fn took(&self) -> Duration {
        self.until - self.from
    }
}

/// All of them, one after the other.
#[derive(Debug, Default)]
pub struct Syncs(Vec<Synced>);

impl Syncs {
    /// Some that began when these did, and took so long.
    #[cfg(test)]
    pub(crate) fn of(syncs: impl IntoIterator<Item = (Instant, Duration)>) -> Self {
        Self(syncs.into_iter().map(|(from, took)| Synced { from, until: from + took }).collect())
    }

    /// Those that ended after a moment.
    #[must_use]
    pub fn since(&self, moment: Instant) -> Self {
        Self(self.0.iter().filter(|sync| sync.until > moment).copied().collect())
    }

    /// How long each took.
    #[must_use]
    pub fn times(&self) -> Vec<Duration> {
        self.0.iter().map(Synced::took).collect()
    }

    /// How much of this time the disk stood still.
    #[must_use]
    pub fn stalled(&self, from: Instant, until: Instant) -> Duration {
        // What ends too early is skipped: they are many, and in order.
        let first = self.0.partition_point(|sync| sync.until <= from);
        let within = self.0.iter().skip(first).take_while(|sync| sync.from < until).filter(|sync| sync.took() >= STALL);
        within.map(|sync| sync.until.min(until).saturating_duration_since(sync.from.max(from))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_disk_is_written_until_somebody_asks() {
        let folder = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let probe = Probe::start(folder.path()).unwrap();
        let written = || std::fs::metadata(folder.path().join("disk-probe")).unwrap().len();
        while written() == 0 {
            tokio::task::yield_now().await;
        }
        let syncs = probe.end().await.unwrap();
        assert!(!syncs.times().is_empty() && syncs.since(began).times().len() == syncs.times().len());
        assert!(syncs.since(Instant::now()).times().is_empty());
        assert!(Probe::start(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_stall_counts_as_far_as_it_lies_within() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let syncs = Syncs::of([(0, 49), (100, 300), (450, 2), (500, 200)].map(|(from, took)| (at(from), Duration::from_millis(took))));
        let stalled = |from, until| syncs.stalled(at(from), at(until)).as_millis();
        assert_eq!([stalled(0, 50), stalled(0, 1_000), stalled(200, 600), stalled(150, 160), stalled(400, 500)], [0, 500, 300, 10, 0]);
        assert_eq!(syncs.since(at(400)).times(), [Duration::from_millis(2), Duration::from_millis(200)]);
    }
}
