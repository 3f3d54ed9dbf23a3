//! Parts of the product that are measured by themselves: by `loadtest-parts`, which links them.

use crate::platform;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use tokio::process::Command;

/// Measures a part; answers its figures.
///
/// # Errors
/// When `loadtest-parts` cannot be built, or finds something wrong.
pub async fn measure(arguments: &[&str]) -> Result<Map<String, Value>> {
    let binary = platform::built("loadtest-parts").await?;
    let output = Command::new(&binary).args(arguments).stderr(std::process::Stdio::inherit()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("{} cannot be started", binary.display()))?;
    ensure!(output.status.success(), "{} ended with {}", binary.display(), output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
