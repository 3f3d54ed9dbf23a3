//! An empty platform: how long `cellspace up` takes on an empty directory until it can be used, and what it takes then that nobody uses.

use crate::{
    drive::quantile_ms,
    measure::{
        calibration::{self, Sizes},
        counters::{Counters, Metrics},
        process::Usage,
    },
    options::Common,
    platform::{self, Launch, Platform},
    report::Report,
};
use anyhow::{Context, Result};
use cellspace_client::{Client, Silent};
use hdrhistogram::Histogram;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How often it is started.
const STARTS: u32 = 5;
/// How long the last one is left alone before its memory is looked at.
const REST: Duration = Duration::from_secs(10);
/// Longest start that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;
/// About those of a call for a token.
const SIZES: Sizes = Sizes { request: 100, token: 0, answer: 600, connections: 1 };

/// Whether the first client gets its token and with it an answer.
async fn usable(http: &reqwest::Client, platform: &Platform) -> Result<()> {
    let to = &platform.endpoints;
    let mut client = Client::new(http.clone(), to.admin.clone(), to.public.clone(), Box::new(Silent));
    let admin = client.client_token("admin", &to.client_id, &to.client_secret).await?;
    let found = client.exchange(Some(&admin), reqwest::Method::GET, "/api/v1/clients", None).await?;
    anyhow::ensure!(found.status == 200, "the clients of an empty platform are answered {}", found.status);
    Ok(())
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    let why = "it is started five times, each time on an empty directory";
    common.own(why)?;
    common.no_rate(why)?;
    common.no_concurrency(why)?;
    common.no_window(why);
    let binary = platform::binary().await?;
    let folder = platform::workspace(None)?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let mut ready = Histogram::<u64>::new_with_bounds(1, LONGEST, 3)?;
    let (mut cpu, mut told, mut last) = (Duration::ZERO, Vec::new(), None);
    for start in 0..STARTS {
        let (data, log) = (folder.path().join(format!("data-{start}")), folder.path().join(format!("log-{start}")));
        let launch = Launch { binary: binary.clone(), data, log, crash: None, arguments: Vec::new() };
        let begun = Instant::now();
        let mut platform = launch.start().await?.ready()?;
        if let Err(error) = usable(&http, &platform).await {
            told.push(format!("{error:#}"));
        }
        ready.saturating_record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(LONGEST));
        cpu += Usage::of(platform.pid()?)?.cpu;
        if start + 1 == STARTS {
            sleep(REST).await;
            let counted = Counters::of(&Metrics::at(&http, &platform.endpoints.ops).await?);
            last = Some((Usage::of(platform.pid()?)?.resident, counted));
        }
        platform.end().await?;
    }
    let (resident, counted) = last.context("a start")?;
    let mut report = Report {
        scenario: "up".to_owned(),
        ops_per_s: 1_000.0 / quantile_ms(&ready, 0.5),
        p50_ms: quantile_ms(&ready, 0.5),
        p95_ms: quantile_ms(&ready, 0.95),
        p99_ms: quantile_ms(&ready, 0.99),
        errors: told.len() as u64,
        server_cpu_us_per_op: cpu.as_secs_f64() * 1e6 / f64::from(STARTS),
        #[allow(clippy::cast_precision_loss)] // bytes far below 2^52
        server_rss_mib: resident as f64 / 1_048_576.0,
        commits: counted.commits,
        syncs: counted.syncs,
        bytes: counted.bytes,
        told,
        ..Report::default()
    };
    report.more.insert("starts".to_owned(), json!(STARTS));
    report.compare(calibration::measure(SIZES, folder.path()).await?);
    Ok(report)
}
