//! How evenly the slots of a cell are dealt over its nodes, and how many move when one comes; by the product's ring, in a process of its own, `loadtest-parts`.

use super::parts;
use crate::{options::Told, report::Report};
use anyhow::{Context, Result};
use std::time::Instant;

/// Plays the scenario.
///
/// # Errors
/// When `loadtest-parts` cannot be built, or finds a slot that nobody has.
pub async fn run(told: &Told) -> Result<Report> {
    let seed = told.begin("placement")?.to_string();
    let began = Instant::now();
    let found = parts::measure(&["placement", "--seed", &seed]).await?;
    let cells = found.get("cells").and_then(serde_json::Value::as_f64).context("no cells")?;
    let mut report = Report { scenario: "placement".to_owned(), ops_per_s: cells / began.elapsed().as_secs_f64(), ..Report::default() };
    report.more.extend(found);
    Ok(report)
}
