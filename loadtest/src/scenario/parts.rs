//! Parts of the product that are measured by themselves: by `loadtest-parts`, which links them.

use crate::platform;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::path::Path;
use tokio::process::Command;

/// Measures a part; answers its figures.
///
/// # Errors
/// When `loadtest-parts` cannot be built, or finds something wrong.
pub async fn measure(arguments: &[&str]) -> Result<Map<String, Value>> {
    run(&platform::built("loadtest-parts").await?, arguments).await
}

/// The same of a part that has to do with ScyllaDB or Cassandra.
///
/// # Errors
/// When `loadtest-parts` cannot be built, or finds something wrong.
pub async fn measure_store(arguments: &[&str]) -> Result<Map<String, Value>> {
    run(&platform::built_with("loadtest-parts", &["--features", "scylla"]).await?, arguments).await
}

async fn run(binary: &Path, arguments: &[&str]) -> Result<Map<String, Value>> {
    let output = Command::new(binary).args(arguments).stderr(std::process::Stdio::inherit()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("{} cannot be started", binary.display()))?;
    ensure!(output.status.success(), "{} ended with {}", binary.display(), output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
