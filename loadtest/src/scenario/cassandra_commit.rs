//! What a turn of the runtime takes on Cassandra, beside a bare lightweight transaction of as many bytes by its driver.
//!
//! Both are measured in a process of its own, `loadtest-parts`, which links the product.

use super::parts;
use crate::{
    cassandra::Cassandra,
    measure::calibration::{self, Sizes},
    options::Common,
    platform,
    report::Report,
};
use anyhow::{Context, Result};
use serde_json::Value;

/// About those of an exchange with the database.
const SIZES: Sizes = Sizes { request: 1_200, token: 0, answer: 100, connections: 1 };

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    common.own("its parts are measured without a platform around them")?;
    let why = "turns are taken one after the other";
    common.no_rate(why)?;
    common.no_concurrency(why)?;
    let folder = platform::workspace(None)?;
    let cassandra = Cassandra::open(common.cassandra.as_deref().unwrap_or_default(), folder.path()).await?;
    let seconds = common.pace().time.as_secs_f64().to_string();
    eprintln!("measuring for {seconds} s");
    let part = ["turns", "--cassandra", &cassandra.nodes, "--keyspace", &cassandra.keyspace, "--seconds", &seconds];
    let mut found = parts::measure_store(&part).await?;
    let turn = found.remove("turn").context("no figures of a turn")?;
    let time = |name: &str| turn[name].as_f64().with_context(|| format!("no {name} of a turn"));
    let mut report = Report {
        scenario: "cassandra-commit".to_owned(),
        ops_per_s: 1_000.0 / time("p50_ms")?,
        p50_ms: time("p50_ms")?,
        p95_ms: time("p95_ms")?,
        p99_ms: time("p99_ms")?,
        ..Report::default()
    };
    for (name, value) in found {
        match value {
            Value::Object(times) => report.more.extend(times.into_iter().map(|(time, value)| (format!("{name}_{time}"), value))),
            figure => drop(report.more.insert(name, figure)),
        }
    }
    report.compare(calibration::measure(SIZES, folder.path()).await?);
    Ok(report)
}
