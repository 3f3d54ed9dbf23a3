//! Where a demo keeps its platform's data and log.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A directory of the demo's own.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    /// Removed at the end of a story that passed.
    temporary: Option<tempfile::TempDir>,
}

impl Place {
    /// The chosen directory, which must be empty or missing; a temporary one without.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn new(chosen: Option<&Path>) -> Result<Self> {
        let Some(dir) = chosen else {
            let folder = tempfile::Builder::new().prefix("cellspace-demo-").tempdir().context("no temporary folder")?;
            return Ok(Self { dir: folder.path().to_owned(), temporary: Some(folder) });
        };
        fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        if fs::read_dir(dir)?.next().is_some() {
            bail!("{} is not empty, and the demo begins with nothing: choose another --data-dir", dir.display());
        }
        Ok(Self { dir: dir.to_owned(), temporary: None })
    }

    /// The platform's data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The platform's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Leaves a temporary directory where it is, for those who look for the reason of a failure.
    pub fn keep(&mut self) {
        if let Some(folder) = self.temporary.take() {
            let _ = folder.keep();
        }
    }
}
