//! Ten times what the platform can answer: it must answer what it can and shed the rest, grow no further, and be itself again at once afterwards.
//!
//! The providers have thousands of access policies that nobody fulfils, so that a request costs the platform many times what it costs the client, and ten times as
//! many as it sustains can be sent.

mod flood;
mod recovery;

use super::{
    catalog::{self, Asker, Cast, probes::Message},
    play,
};
use crate::{
    drive::{Outcome, Pace, drive},
    measure::Meter,
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::Result;
use flood::{Flooder, Offered, Open};
use futures::{StreamExt, TryStreamExt, stream};
use recovery::{Answered, PROBES, Prober, WATCH, recovered};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};

const PROVIDERS: usize = 2;
const PARTIES: usize = 50;
/// Access policies of each provider that nobody fulfils.
const HIDDEN: usize = 6_000;
/// Connections with which the sustainable rate is found.
const CONNECTIONS: usize = 64;
/// Connections of the flood, when nothing else is asked for: the most requests under way at once.
const FLOOD: usize = 3_000;
/// What is to be sent, as a multiple of the sustainable rate: some of it finds no free connection in time.
const TIMES: f64 = 11.0;
/// What must at least be sent of it: less would be another load.
const LEAST_TIMES: f64 = 10.0;
/// How long the sustainable rate and the normal latency are looked for.
const NORMAL: Duration = Duration::from_secs(3);
/// Connections of the flood that are opened at once.
const OPENED_AT_ONCE: usize = 16;
/// Tokens signed ahead, for each second in which the sustainable rate is found. Beyond that they are signed when they are needed.
const AHEAD_PER_SECOND: f64 = 2_500.0;
/// What a request under way may add to the memory of its open connection, in bytes: the buffer that it is read into.
const UNDER_WAY: u64 = 8 << 10;
/// Longest recovery.
const RECOVERY: Duration = Duration::from_secs(2);
/// Between two looks at the resident memory.
const LOOK: Duration = Duration::from_millis(100);

/// The highest resident memory until then, in bytes.
async fn peak(subject: &Subject, until: Instant) -> Result<u64> {
    let mut peak = 0;
    while Instant::now() < until {
        peak = peak.max(subject.resident().await?);
        sleep(LOOK).await;
    }
    Ok(peak)
}

/// Probes from then on, for as long as recovery is watched.
async fn probe_from(probers: Vec<Prober>, start: Instant) -> Result<(Vec<Answered>, Outcome)> {
    sleep_until(start).await;
    let (probers, outcome) = drive(probers, Pace { rate: None, time: WATCH }).await?;
    Ok((probers.into_iter().flat_map(|prober| prober.answered).collect(), outcome))
}

/// What shows that there was no overload, or that nothing was done about it, is wrong.
fn overloaded(outcome: &mut Outcome, times: f64) {
    if times < LEAST_TIMES {
        outcome.wrong(format!("only {times:.1} times the sustainable rate was sent"));
    }
    if outcome.shed == 0 {
        outcome.wrong("nothing was shed".to_owned());
    }
    if outcome.good == 0 {
        outcome.wrong("nothing was answered".to_owned());
    }
}

fn thousandths(ratio: f64) -> f64 {
    (ratio * 1_000.0).round() / 1_000.0
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    common.no_rate("it is ten times what is found to be sustainable")?;
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let cast = Cast::open(&subject, seed, PROVIDERS, PARTIES, 10).await?;
    for provider in &cast.providers {
        cast.space.judge_more(&subject, provider, HIDDEN).await?;
    }
    catalog::touch(&cast, &subject).await?;

    let asker = |n: usize| Asker::reader(&cast, &subject, seed.wrapping_add(n as u64), None);
    let askers = (0..CONNECTIONS).map(asker).collect::<Result<Vec<_>>>()?;
    let (askers, warm) = drive(askers, Pace { rate: None, time: play::WARM_UP }).await?;
    cast.sign_ahead(catalog::ahead(NORMAL, AHEAD_PER_SECOND), seed).await?;
    let (askers, sustained) = drive(askers, Pace { rate: None, time: NORMAL }).await?;
    drop(askers);
    let prober = |n: usize| Prober::new(&cast, &subject, seed.wrapping_add(n as u64));
    let probers = (0..PROBES).map(prober).collect::<Result<Vec<_>>>()?;
    let (probers, normal) = drive(probers, Pace { rate: None, time: NORMAL }).await?;
    drop(probers);
    let sustainable = sustained.per_second();
    let usual_p95 = normal.quantile_ms(0.95);
    let usual = Duration::from_secs_f64(usual_p95 / 1_000.0);

    let pace = Pace { rate: None, ..common.pace() };
    let workers = common.workers(FLOOD);
    eprintln!("sustainable: {sustainable:.0}/s; offering {TIMES} times that over {workers} connections");
    cast.sign_ahead(catalog::ahead(pace.time, sustainable * TIMES), seed.wrapping_add(2)).await?;
    let before = subject.resident().await?;
    // What is measured is the flood, and not what open connections take.
    let open = stream::iter(0..workers).map(|n| Open::new(&cast, &subject, seed.wrapping_add(n as u64)));
    let open: Vec<Open> = open.buffer_unordered(OPENED_AT_ONCE).try_collect().await?;
    let opened = subject.resident().await?;
    let meter = Meter::start(&subject).await?;
    let offered = Arc::new(Offered::new(sustainable * TIMES)?);
    let end = offered.start + pace.time;
    let flooders = open.into_iter().map(|open| Flooder::new(&cast, &offered, open)).collect();
    let probers = (0..PROBES).map(prober).collect::<Result<Vec<_>>>()?;
    let (flooded, answered, peak) = tokio::join!(drive(flooders, pace), probe_from(probers, end), peak(&subject, end + WATCH));
    let ((flooders, mut outcome), (answered, probed), peak) = (flooded?, answered?, peak?);
    let mut report = meter.stop(&subject, "overload", &outcome).await?;
    drop(flooders);
    let sent = outcome.good + outcome.shed + outcome.errors;
    #[allow(clippy::cast_precision_loss)] // a count of requests
    let rate = sent as f64 / pace.time.as_secs_f64();
    overloaded(&mut outcome, rate / sustainable);
    for wrong in catalog::probes::all(&cast, &subject, Message::Catalog).await? {
        outcome.wrong(wrong);
    }
    [warm, sustained, normal].into_iter().for_each(|other| outcome.blame(other.strict()));
    // Of the flood's rest some are still shed.
    outcome.blame(probed);
    let recovery = recovered(&answered, end.into_std(), usual);
    if recovery.is_none_or(|took| took > RECOVERY) {
        outcome.wrong(format!("the latency is not as usual again within {RECOVERY:?}: {recovery:?}"));
    }
    #[allow(clippy::cast_precision_loss)] // bytes far below 2^52
    let growth = peak as f64 / opened as f64;
    if peak > opened + UNDER_WAY * workers as u64 {
        outcome.wrong(format!("resident memory is {growth:.2} times that with all connections open, {peak} bytes"));
    }
    let after = subject.resident().await?;
    for (name, value) in [
        ("sustainable_per_s", json!(sustainable.round())),
        ("asked_for_per_s", json!((sustainable * TIMES).round())),
        ("offered_per_s", json!(rate.round())),
        ("offered_per_sustainable", json!(thousandths(rate / sustainable))),
        ("offered", json!(sent)),
        ("not_sent", json!(offered.missed())),
        ("goodput_per_sustainable", json!(thousandths(outcome.per_second() / sustainable))),
        ("shed_p95_ms", json!(offered.shed_p95_ms())),
        ("usual_p95_ms", json!(usual_p95)),
        ("recovery_ms", json!(recovery.map(|took| took.as_millis()))),
        ("rss_before_bytes", json!(before)),
        ("rss_open_bytes", json!(opened)),
        ("rss_peak_bytes", json!(peak)),
        ("rss_growth", json!(thousandths(growth))),
        ("bytes_per_connection", json!(opened.saturating_sub(before) / workers as u64)),
        ("rss_after_bytes", json!(after)),
    ] {
        report.more.insert(name.to_owned(), value);
    }
    play::conclude_overloaded(report, outcome, &subject, common, cast.sizes(&subject, CONNECTIONS).await?).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;

    #[test]
    fn a_flood_that_is_none_shows_nothing() {
        let wrong = |good, shed, times| {
            let latencies = Histogram::new_with_bounds(1, 2, 1).unwrap();
            let mut outcome = Outcome { latencies, good, shed, errors: 0, told: Vec::new(), elapsed: Duration::ZERO };
            overloaded(&mut outcome, times);
            outcome.errors
        };
        assert_eq!([wrong(1, 1, 10.1), wrong(1, 1, 9.9), wrong(1, 0, 10.1), wrong(0, 1, 10.1), wrong(0, 0, 0.0)], [0, 1, 1, 1, 3]);
    }
}
