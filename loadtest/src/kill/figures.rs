//! What a run of rounds took and cost, as other scenarios tell it.

use super::{Plan, Report, run};
use crate::{
    measure::{
        calibration::{self, Sizes},
        process::Usage,
    },
    report,
};
use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::Value;
use std::time::Instant;

/// About those of a call of the work.
const SIZES: Sizes = Sizes { request: 500, token: 600, answer: 500, connections: super::LANES as usize };

/// Longest round that is told apart, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// Plays a plan. An operation is a round, from the beginning of its work until it was done, deaths and starts included. Commits, syncs, bytes and
/// resident memory are those of the last processes, which are asked before they are killed: what others counted died with them.
///
/// # Errors
/// When the machine cannot be measured. A promise that was not kept is told in the report, whose only error it is, since it ends the run.
pub async fn measured(plan: &Plan, tell: impl Fn(String) + Sync) -> Result<report::Report> {
    let (cpu, start) = (Usage::of_children()?, Instant::now());
    let played = run(plan, tell).await;
    let (cpu, elapsed) = (Usage::of_children()?.saturating_sub(cpu), start.elapsed());
    let (played, told) = match played {
        Ok(played) => (played, None),
        Err(error) => (Report::default(), Some(format!("{error:#}"))),
    };
    let mut latencies = Histogram::<u64>::new_with_bounds(1, LONGEST, 3)?;
    for took in &played.took {
        latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
    #[allow(clippy::cast_precision_loss)] // microseconds and bytes far below 2^52
    let (quantile_ms, mib) = (|quantile| latencies.value_at_quantile(quantile) as f64 / 1_000.0, played.last.resident as f64 / 1_048_576.0);
    let more = match serde_json::to_value(&played)? {
        Value::Object(more) => more.into_iter().collect(),
        _ => Default::default(),
    };
    let mut report = report::Report {
        scenario: "kill".to_owned(),
        ops_per_s: f64::from(played.rounds) / elapsed.as_secs_f64(),
        p50_ms: quantile_ms(0.5),
        p95_ms: quantile_ms(0.95),
        p99_ms: quantile_ms(0.99),
        errors: u64::from(told.is_some()),
        server_cpu_us_per_op: cpu.as_secs_f64() * 1e6 / f64::from(played.rounds.max(1)),
        server_rss_mib: mib,
        commits: played.last.commits,
        syncs: played.last.syncs,
        bytes: played.last.bytes,
        more,
        told: told.into_iter().collect(),
        ..Default::default()
    };
    report.compare(calibration::measure(SIZES, &plan.folder).await?);
    Ok(report)
}
