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
        Ok(Self { cpu: cpu(&read("stat")?, OWN).context("stat")?, resident: resident * PAGE })
    }

    /// Processor time of all children of this process that have ended.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn of_children() -> Result<Duration> {
        cpu(&std::fs::read_to_string("/proc/self/stat")?, CHILDREN).context("stat")
    }
}

/// Number of the first of two fields with processor time: a process's own, and that of its children.
const OWN: usize = 14;
const CHILDREN: usize = 16;

/// Two fields of the line; the second field of it is a name in parentheses that may hold anything.
fn cpu(stat: &str, first: usize) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(first - 3);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_process_is_read() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 4 3 20 0 1 0 100 1000 200";
        assert_eq!(cpu(line, OWN), Some(Duration::from_secs(2)));
        assert_eq!(cpu(line, CHILDREN), Some(Duration::from_millis(70)));
        assert_eq!(cpu("nothing", OWN), None);
        assert!(Usage::of(std::process::id()).unwrap().resident > 0);
    }
}
