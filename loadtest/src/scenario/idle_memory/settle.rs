//! When a platform is at rest, and what it takes then.

use crate::{
    measure::{counters::Counters, process::Usage},
    subject::Subject,
};
use anyhow::Result;
use std::{collections::VecDeque, os::unix::fs::MetadataExt, path::Path, time::Duration};
use tokio::time::{Instant, sleep};

/// Shortest time after a start.
const SETTLED: Duration = Duration::from_secs(60);
/// Longest.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks that must find the same.
const LOOKS: usize = 15;
/// Processor time in that time that counts as none.
const STILL: Duration = Duration::from_millis(150);
/// Change of resident memory in that time that counts as none.
const FLAT: u64 = 256 << 10;

/// Whether nothing happened between these looks.
fn is_still<'a>(looks: impl IntoIterator<Item = &'a Usage>) -> bool {
    let (resident, cpu): (Vec<_>, Vec<_>) = looks.into_iter().map(|look| (look.resident, look.cpu)).unzip();
    let (Some(most), Some(least)) = (resident.iter().max(), resident.iter().min()) else { return false };
    let (Some(last), Some(first)) = (cpu.iter().max(), cpu.iter().min()) else { return false };
    most - least <= FLAT && last.saturating_sub(*first) <= STILL
}

/// What a platform takes at rest.
#[derive(Debug)]
pub struct Rest {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// What it did at last, when it did not come to rest.
    pub restless: Option<String>,
}

/// Waits a minute, and until memory and processor are still. One that does not come to rest is taken as it is after five minutes.
///
/// # Errors
/// When the platform has ended.
pub async fn at_rest(subject: &Subject) -> Result<Rest> {
    let start = Instant::now();
    let mut looks = VecDeque::with_capacity(LOOKS);
    loop {
        let usage = subject.usage(&Counters::default())?;
        if looks.len() == LOOKS {
            looks.pop_front();
        }
        looks.push_back(usage);
        let still = looks.len() == LOOKS && is_still(&looks);
        if start.elapsed() >= SETTLED && still {
            return Ok(Rest { resident: usage.resident, restless: None });
        }
        if start.elapsed() >= PATIENCE {
            let restless = format!("the platform does not come to rest: {:?} to {usage:?} in {LOOKS} s", looks.front());
            return Ok(Rest { resident: usage.resident, restless: Some(restless) });
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
        assert!(is_still(&[look(1_000, 50 << 20), look(1_100, 50 << 20), look(1_150, (50 << 20) + FLAT)]));
        assert!(!is_still(&[look(1_000, 50 << 20), look(1_200, 50 << 20)]), "it works");
        assert!(!is_still(&[look(1_000, 60 << 20), look(1_000, 50 << 20)]), "it gives memory back");
        assert!(!is_still(&[]));
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
