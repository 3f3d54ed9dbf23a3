//! What a process has used, as the kernel counts it.

use anyhow::{Context, Result};
use std::time::Duration;

/// Length of a tick of `/proc/<pid>/stat`: 1/100 s on every Linux.
const TICK: Duration = Duration::from_millis(10);
/// Size of a page; what `/proc/<pid>/statm` counts.
const PAGE: u64 = 4_096;

/// Processor time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
}

impl Usage {
    /// Of a process.
    ///
    /// # Errors
    /// When it is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).with_context(|| format!("process {pid}"));
        let resident: u64 = read("statm")?.split(' ').nth(1).and_then(|pages| pages.parse().ok()).context("statm")?;
        Ok(Self { cpu: cpu(&read("stat")?).context("stat")?, resident: resident * PAGE })
    }
}

/// Fields 14 and 15 of the line; the second one is a name in parentheses that may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_process_is_read() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 100 1000 200";
        assert_eq!(cpu(line), Some(Duration::from_secs(2)));
        assert_eq!(cpu("nothing"), None);
        assert!(Usage::of(std::process::id()).unwrap().resident > 0);
    }
}
