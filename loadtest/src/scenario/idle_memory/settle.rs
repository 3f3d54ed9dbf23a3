//! When processes are at rest, and what they take then.

use crate::measure::process::Usage;
use anyhow::Result;
use std::{collections::VecDeque, os::unix::fs::MetadataExt, path::Path, time::Duration};
use tokio::time::{Instant, sleep};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time until all is still.
const PATIENCE: Duration = Duration::from_secs(300);
/// Looks that must find the same.
const LOOKS: usize = 15;
/// Change of resident memory in that time that counts as none.
const FLAT: u64 = 256 << 10;

/// When processes are at rest.
#[derive(Debug, Clone, Copy)]
pub struct Stillness {
    /// Shortest time after a start.
    pub settled: Duration,
    /// Processor time between all looks that counts as none.
    pub cpu: Duration,
}

/// A platform by itself.
pub const ALONE: Stillness = Stillness { settled: Duration::from_secs(60), cpu: Duration::from_millis(150) };

/// Whether nothing happened between these looks at a process.
fn is_still<'a>(looks: impl IntoIterator<Item = &'a Usage>, stillness: Stillness) -> bool {
    let (resident, cpu): (Vec<_>, Vec<_>) = looks.into_iter().map(|look| (look.resident, look.cpu)).unzip();
    let (Some(most), Some(least)) = (resident.iter().max(), resident.iter().min()) else { return false };
    let (Some(last), Some(first)) = (cpu.iter().max(), cpu.iter().min()) else { return false };
    most - least <= FLAT && last.saturating_sub(*first) <= stillness.cpu
}

/// What processes take at rest.
#[derive(Debug)]
pub struct Rest {
    /// Resident memory of each, in bytes.
    pub resident: Vec<u64>,
    /// What they did at last, when they did not come to rest.
    pub restless: Option<String>,
}

/// Waits until memory and processor time of processes are still, which `look` reads. What does not come to rest is taken as it is after five minutes.
///
/// # Errors
/// When a process has ended.
pub async fn at_rest(stillness: Stillness, look: impl Fn() -> Result<Vec<Usage>>) -> Result<Rest> {
    let start = Instant::now();
    let mut looks = VecDeque::with_capacity(LOOKS);
    loop {
        let usages = look()?;
        if looks.len() == LOOKS {
            looks.pop_front();
        }
        looks.push_back(usages.clone());
        let resident = usages.iter().map(|usage| usage.resident).collect();
        let still = |process: usize| is_still(looks.iter().filter_map(|look| look.get(process)), stillness);
        if start.elapsed() >= stillness.settled && looks.len() == LOOKS && (0..usages.len()).all(still) {
            return Ok(Rest { resident, restless: None });
        }
        if start.elapsed() >= PATIENCE {
            let restless = format!("it does not come to rest: {:?} to {usages:?} in {LOOKS} s", looks.front());
            return Ok(Rest { resident, restless: Some(restless) });
        }
        sleep(PAUSE).await;
    }
}

/// What a folder takes on its disk, in bytes.
///
/// # Errors
/// When it cannot be read.
pub fn disk_usage(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        // `st_blocks` counts 512 bytes each, whatever the file system.
        bytes += if meta.is_dir() { disk_usage(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(cpu: u64, resident: u64) -> Usage {
        Usage { cpu: Duration::from_millis(cpu), resident }
    }

    #[test]
    fn rest_is_neither_work_nor_growth() {
        assert!(is_still(&[look(1_000, 50 << 20), look(1_100, 50 << 20), look(1_150, (50 << 20) + FLAT)], ALONE));
        assert!(!is_still(&[look(1_000, 50 << 20), look(1_200, 50 << 20)], ALONE), "it works");
        assert!(!is_still(&[look(1_000, 60 << 20), look(1_000, 50 << 20)], ALONE), "it gives memory back");
        assert!(!is_still(&[], ALONE));
    }

    #[test]
    fn a_folder_takes_what_its_files_take() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("inner/file"), vec![7; 100_000]).unwrap();
        let taken = disk_usage(folder.path()).unwrap();
        assert!((100_000..200_000).contains(&taken), "{taken}");
    }
}
