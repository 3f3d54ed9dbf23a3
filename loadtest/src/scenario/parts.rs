//! Parts of the product that are measured by themselves: by `loadtest-parts`, which links them.

use crate::platform;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use tokio::process::Command;

/// Measures a part; answers its figures.
///
/// # Errors
/// When `loadtest-parts` is not beside this executable, or finds something wrong.
pub async fn measure(arguments: &[&str]) -> Result<Map<String, Value>> {
    let binary = platform::beside("loadtest-parts")?;
    let output = Command::new(&binary).args(arguments).stderr(std::process::Stdio::inherit()).output().await;
    let output = output.with_context(|| format!("{} cannot be started", binary.display()))?;
    ensure!(output.status.success(), "{} ended with {}", binary.display(), output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
