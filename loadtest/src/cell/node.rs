//! One process of a cell.

use crate::platform::{self, Process};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};
use tokio::{
    process::{ChildStdin, Command},
    sync::mpsc,
};

/// Longest start: as a member of a cell whose last hand-over is under way.
const START: Duration = Duration::from_secs(180);

/// A process that is killed when this is dropped.
pub struct Running {
    process: Process,
    /// Open for as long as the process is to live.
    _orders: ChildStdin,
    said: mpsc::UnboundedReceiver<Value>,
    log: PathBuf,
}

impl Running {
    /// Starts `cellspace run` with this file.
    pub fn start(binary: &Path, config: &Path, log: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["run", "--json", "--config"]).arg(config);
        let (process, orders, said) = platform::spawn(command, log)?;
        Ok(Self { process, _orders: orders, said, log: log.to_owned() })
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        match tokio::time::timeout(START, self.said.recv()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                bail!("it ended with {} before it was ready; its log ends with\n{}", self.ended().await?, platform::told(&self.log))
            }
            Err(_) => bail!("it was not ready within {START:?}; its log ends with\n{}", platform::told(&self.log)),
        }
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        self.process.0.id().context("the process has ended")
    }

    /// Kills it at once.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.0.start_kill().ok();
        self.process.0.wait().await?;
        Ok(())
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.process.0.wait().await?)
    }

    /// Whether it has not ended.
    pub fn is_there(&mut self) -> bool {
        matches!(self.process.0.try_wait(), Ok(None))
    }
}
