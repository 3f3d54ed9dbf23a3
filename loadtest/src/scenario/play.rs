//! What all scenarios under load do alike: they warm up, measure a window, and tell what the machine can do.

use crate::{
    drive::{Outcome, Pace, Verdict, Worker, drive},
    http::{Call, Connection},
    measure::{
        Meter,
        calibration::{self, Sizes},
    },
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::Result;
use serde_json::Value;
use std::time::Duration;

/// Until memory and caches have settled.
pub const WARM_UP: Duration = Duration::from_secs(2);

/// Lets the workers warm up, makes `ready`, and measures a window. What goes wrong before it counts as well.
pub async fn window<W: Worker>(
    name: &str,
    subject: &Subject,
    common: &Common,
    workers: Vec<W>,
    ready: impl Future<Output = Result<()>>,
) -> Result<(Vec<W>, Outcome, Report)> {
    let pace = common.pace();
    let (workers, warm) = drive(workers, Pace { time: WARM_UP, ..pace }).await?;
    ready.await?;
    eprintln!("measuring for {} s", pace.time.as_secs_f64());
    let meter = Meter::start(subject).await?;
    let (workers, mut outcome) = drive(workers, pace).await?;
    let report = meter.stop(subject, name, &outcome).await?;
    outcome.blame(warm);
    Ok((workers, outcome, report))
}

/// Puts in what went wrong and what the machine can do at the sizes of an exchange, and writes what was sampled. What was shed went wrong.
pub async fn conclude(report: Report, outcome: Outcome, subject: &Subject, common: &Common, sizes: Sizes) -> Result<Report> {
    conclude_overloaded(report, outcome.strict(), subject, common, sizes).await
}

/// The same for a platform that was to shed.
pub async fn conclude_overloaded(mut report: Report, outcome: Outcome, subject: &Subject, common: &Common, sizes: Sizes) -> Result<Report> {
    (report.errors, report.shed, report.told) = (outcome.errors, outcome.shed, outcome.told);
    report.compare(calibration::measure(sizes, &subject.disk()).await?);
    if let (Some(path), Some(tape)) = (&common.transcript, &subject.tape) {
        tape.write(path)?;
    }
    Ok(report)
}

/// Commits, syncs and bytes of the window for each of its operations.
pub fn per_operation(report: &mut Report, outcome: &Outcome, what: &str) {
    for (name, count) in [("commits", report.commits), ("syncs", report.syncs), ("bytes", report.bytes)] {
        #[allow(clippy::cast_precision_loss)] // counts far below 2^52
        let each = count as f64 / outcome.good.max(1) as f64;
        report.more.insert(format!("{name}_per_{what}"), ((each * 100.0).round() / 100.0).into());
    }
}

/// Puts in how many operations followed a change that they had to show. When these are not about this part of all, the run shows something else.
pub fn changes(report: &mut Report, outcome: &mut Outcome, changes: u64, part: f64) {
    report.more.insert("changes".to_owned(), changes.into());
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    let (found, expected) = (changes as f64, outcome.good as f64 * part);
    // Whether one follows is left to chance.
    if (found - expected).abs() > expected / 10.0 + 4.0 * expected.sqrt() + 1.0 {
        outcome.wrong(format!("{changes} operations followed a change, and not about {expected:.0}"));
    }
}

/// An exchange that must be answered with success; its answer as JSON.
pub async fn exchange(connection: &mut Connection, call: Call) -> Result<Value, Verdict> {
    let what = format!("{} {}", call.method, call.path);
    let answer = connection.send(call).await.map_err(|error| Verdict::Wrong(format!("{what}: {error:#}")))?;
    if answer.is_shed() {
        return Err(Verdict::Shed);
    }
    if !answer.status.is_success() {
        return Err(Verdict::Wrong(format!("{what} answered {}", answer.told())));
    }
    serde_json::from_slice(&answer.body).map_err(|_| Verdict::Wrong(format!("{what} answered no JSON: {}", answer.told())))
}

/// Good when the condition holds.
pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Verdict> {
    if holds { Ok(()) } else { Err(Verdict::Wrong(otherwise())) }
}

/// A text field of an answer.
pub fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str, Verdict> {
    value[field].as_str().ok_or_else(|| Verdict::Wrong(format!("no field {field:?} in {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;

    #[test]
    fn about_so_many_operations_follow_a_change() {
        let wrong = |good: u64, changes: u64| {
            let latencies = Histogram::new_with_bounds(1, 2, 1).unwrap();
            let mut outcome = Outcome { latencies, good, shed: 0, errors: 0, told: Vec::new(), elapsed: Duration::ZERO };
            let mut report = Report::default();
            super::changes(&mut report, &mut outcome, changes, 0.01);
            assert_eq!(report.more["changes"], changes);
            outcome.errors == 1
        };
        assert!([(100_000, 1_000), (100_000, 900), (100, 0), (100, 3), (0, 0)].into_iter().all(|(good, changes)| !wrong(good, changes)));
        assert!([(100_000, 420), (100_000, 0), (100_000, 1_300), (100, 20)].into_iter().all(|(good, changes)| wrong(good, changes)));
    }
}
