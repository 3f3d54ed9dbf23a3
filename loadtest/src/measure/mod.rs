//! What a run cost the platform: processor time, memory, commits.

pub mod calibration;
pub mod counters;
pub mod disk;
pub mod process;

use crate::{drive::Outcome, report::Report, subject::Subject};
use anyhow::Result;
use counters::Counters;
use process::Usage;

/// The platform as it stood when the measured window began.
#[derive(Debug)]
pub struct Meter {
    usage: Usage,
    counters: Counters,
}

impl Meter {
    /// Begins a window.
    ///
    /// # Errors
    /// When the platform cannot be read.
    pub async fn start(subject: &Subject) -> Result<Self> {
        let counters = Counters::read(subject).await?;
        Ok(Self { usage: subject.usage(&counters)?, counters })
    }

    /// Ends the window: what was done in it, and what it cost.
    ///
    /// # Errors
    /// When the platform cannot be read.
    pub async fn stop(self, subject: &Subject, scenario: &str, outcome: &Outcome) -> Result<Report> {
        let counters = Counters::read(subject).await?;
        let usage = subject.usage(&counters)?;
        #[allow(clippy::cast_precision_loss)] // counts and bytes far below 2^52
        // By good operations alone: what was refused or went wrong was paid for too.
        let (per_op, mib) = (
            usage.cpu.saturating_sub(self.usage.cpu).as_secs_f64() * 1e6 / outcome.good.max(1) as f64,
            usage.resident as f64 / 1_048_576.0,
        );
        Ok(Report {
            scenario: scenario.to_owned(),
            ops_per_s: outcome.per_second(),
            p50_ms: outcome.quantile_ms(0.5),
            p95_ms: outcome.quantile_ms(0.95),
            p99_ms: outcome.quantile_ms(0.99),
            errors: outcome.errors,
            shed: outcome.shed,
            server_cpu_us_per_op: per_op,
            server_rss_mib: mib,
            commits: counters.commits.saturating_sub(self.counters.commits),
            syncs: counters.syncs.saturating_sub(self.counters.syncs),
            bytes: counters.bytes.saturating_sub(self.counters.bytes),
            told: outcome.told.clone(),
            ..Report::default()
        })
    }
}
