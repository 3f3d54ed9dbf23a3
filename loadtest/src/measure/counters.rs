//! Counters of the platform, from its operations listener (Prometheus text format).

use crate::subject::Subject;
use anyhow::{Context, Result};

/// Totals since the platform started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// Batches applied by the store.
    pub commits: u64,
    /// Syncs to disk.
    pub syncs: u64,
    /// Bytes handed to the store.
    pub bytes: u64,
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident: u64,
}

/// Everything that the platform counts.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks the platform.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn read(subject: &Subject) -> Result<Self> {
        Self::at(&subject.http, &subject.ops).await
    }

    /// Asks an operations listener.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn at(http: &reqwest::Client, ops: &str) -> Result<Self> {
        let url = format!("{ops}/metrics");
        let text = http.get(&url).send().await.and_then(reqwest::Response::error_for_status).with_context(|| url.clone())?;
        Ok(Self(text.text().await?))
    }

    /// The value of a series, named with its labels as the text has them. 0 when there is none yet.
    #[must_use]
    pub fn value(&self, series: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    /// What all series of a metric with labels have together; `None` when there are none.
    #[must_use]
    pub fn sum(&self, metric: &str) -> Option<f64> {
        let value = |line: &str| {
            let (_, value) = line.strip_prefix(metric)?.strip_prefix('{')?.rsplit_once("} ")?;
            value.trim().parse::<f64>().ok()
        };
        self.0.lines().filter_map(value).reduce(|all, one| all + one)
    }
}

impl Counters {
    /// Asks the platform.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn read(subject: &Subject) -> Result<Self> {
        Ok(Self::of(&Metrics::read(subject).await?))
    }

    /// Those among everything.
    #[must_use]
    pub fn of(metrics: &Metrics) -> Self {
        let value = |name: &str| metrics.value(name);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // totals are whole and not negative
        let total = |name: &str| value(name) as u64;
        Self {
            commits: total("cellspace_store_commits_total"),
            syncs: total("cellspace_store_syncs_total"),
            bytes: total("cellspace_store_bytes_total"),
            cpu_seconds: value("process_cpu_seconds_total"),
            resident: total("process_resident_memory_bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found() {
        let text = "# TYPE cellspace_store_commits_total counter\ncellspace_store_commits_total 12\ncellspace_store_syncs_total 7\n\
                    cellspace_store_commits_total_other 9\nprocess_cpu_seconds_total 1.25\n";
        let kinds = "cellspace_activations{kind=\"control-plane\"} 7\ncellspace_activations{kind=\"issuer\"} 2\n";
        let metrics = Metrics(format!("{text}cellspace_activations_waiting{{kind=\"issuer\"}} 1\n{kinds}"));
        let counters = Counters::of(&metrics);
        assert_eq!((counters.commits, counters.syncs, counters.bytes), (12, 7, 0));
        assert!((counters.cpu_seconds - 1.25).abs() < 1e-9);
        assert!((metrics.value("cellspace_activations{kind=\"control-plane\"}") - 7.0).abs() < 1e-9);
        assert_eq!((metrics.sum("cellspace_activations"), metrics.sum("cellspace_nothing")), (Some(9.0), None));
    }
}
