//! The verification of senders that nobody knows: the product's function by itself, beside the signature checks in it, and whole requests over HTTP.
//!
//! The function is measured in a process of its own, `loadtest-parts`, which links the product. The requests are those of `catalog-cold`.

use super::{catalog, parts};
use crate::{options::Common, report::Report};
use anyhow::Result;

/// How long the function is measured, in seconds.
const SECONDS: &str = "5";

/// Plays the scenario.
pub async fn run(offers: usize, common: &Common) -> Result<Report> {
    let seed = common.seed.unwrap_or_default().to_string();
    eprintln!("measuring the verification by itself for {SECONDS} s");
    let function = parts::measure(&["verify", "--seconds", SECONDS, "--seed", &seed]).await?;
    let mut report = catalog::run_cold(offers, common).await?;
    "verify-cold".clone_into(&mut report.scenario);
    report.more.extend(function.into_iter().map(|(name, value)| (format!("function_{name}"), value)));
    Ok(report)
}
