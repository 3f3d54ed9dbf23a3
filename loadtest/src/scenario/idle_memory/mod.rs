//! What a registered participant costs that nobody uses: memory and disk, from two numbers of participants, each after a restart and a settled minute.

mod register;
pub(super) mod settle;

use crate::{
    drive::{Outcome, Pace, drive},
    measure::{Meter, calibration::Sizes, counters::Counters},
    options::Common,
    report::Report,
    scenario::{catalog::Dataspace, play},
    subject::Subject,
    world::World,
};
use anyhow::{Context, Result, ensure};
use register::{Registrar, Registry};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// The smaller number, unless fewer than twice as many are asked for.
const FIRST: usize = 10_000;
/// Participants registered at once, when nothing else is asked for.
const CONNECTIONS: usize = 32;
/// Participants that are looked at afterwards.
const SAMPLES: usize = 100;
/// Until then the platform keeps in memory what is not used: room for those that are being registered.
const IDLE_AFTER: &str = "5s";
/// Longest time of a registration.
const LONGEST: Duration = Duration::from_secs(6 * 3_600);

/// What so many participants take.
#[derive(Debug)]
struct Taken {
    participants: usize,
    resident: u64,
    /// What it did at last, when it did not come to rest.
    restless: Option<String>,
    disk: u64,
}

/// Bytes that each participant adds, between two numbers of them.
pub(super) fn slope(few: (usize, u64), many: (usize, u64)) -> f64 {
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let difference = |more: u64, less: u64| more as f64 - less as f64;
    difference(many.1, few.1) / difference(many.0 as u64, few.0 as u64)
}

/// Registers participants until there are so many, ends the platform and starts it again, and waits until it is at rest.
async fn grow(subject: &mut Subject, registry: &Arc<Registry>, workers: usize, to: usize) -> Result<(Report, Outcome, Taken)> {
    eprintln!("registering participants, up to {to}");
    registry.allow(to);
    let registrar = |_| Registrar::new(registry, subject);
    let registrars = (0..workers).map(registrar).collect::<Result<Vec<_>>>()?;
    let meter = Meter::start(subject).await?;
    let (registrars, outcome) = drive(registrars, Pace { rate: None, time: LONGEST }).await?;
    drop(registrars);
    let report = meter.stop(subject, "idle-memory", &outcome).await?;
    ensure!(outcome.errors + outcome.shed == 0, "{} participants were not registered: {:?}", outcome.errors + outcome.shed, outcome.told);
    eprintln!("registered {} a second; restarting, and waiting for rest", outcome.per_second().round());
    subject.restart().await?;
    let rest = settle::at_rest(settle::ALONE, || Ok(vec![subject.usage(&Counters::default())?])).await?;
    let resident = rest.resident.first().copied().unwrap_or_default();
    let disk = settle::disk_usage(&subject.data().context("a data directory")?)?;
    eprintln!("{to} participants: {resident} bytes resident, {disk} bytes on disk");
    Ok((report, outcome, Taken { participants: to, resident, restless: rest.restless, disk }))
}

/// Plays the scenario.
pub async fn run(participants: usize, common: &Common) -> Result<Report> {
    ensure!(participants >= 10, "--participants must be at least 10");
    common.own("it is started again, and its data directory measured")?;
    common.no_rate("participants are registered as fast as --concurrency goes")?;
    common.no_window("participants are registered until there are so many");
    let mut subject = Subject::open(common, &["--idle-after", IDLE_AFTER]).await?;
    let seed = common.seed.unwrap_or_default();
    let world = World::open(seed, 0).await?;
    let space = Dataspace::open(&subject, &world).await?;
    let registry = Arc::new(Registry::new(world, space));
    let workers = common.workers(CONNECTIONS);

    let first = if participants >= 2 * FIRST { FIRST } else { participants / 5 };
    let (_, _, few) = grow(&mut subject, &registry, workers, first).await?;
    let (mut report, mut outcome, many) = grow(&mut subject, &registry, workers, participants).await?;
    for wrong in registry.sample(&subject, participants, SAMPLES).await? {
        outcome.wrong(wrong);
    }
    let resident = slope((few.participants, few.resident), (many.participants, many.resident));
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let each = many.disk as f64 / many.participants as f64;
    report.more.insert("resident_bytes_per_participant".to_owned(), json!(resident.round()));
    report.more.insert("disk_bytes_per_participant".to_owned(), json!(each.round()));
    for taken in [few, many] {
        report.more.insert(format!("resident_bytes_at_{}", taken.participants), json!(taken.resident));
        report.more.insert(format!("disk_bytes_at_{}", taken.participants), json!(taken.disk));
        taken.restless.into_iter().for_each(|wrong| outcome.wrong(wrong));
    }
    let sizes = Sizes { request: 600, token: registry.token_length(), answer: 100, connections: workers };
    play::conclude(report, outcome, &subject, common, sizes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_leaves_out_what_is_there_anyway() {
        assert!((slope((10, 1_000_000), (50, 1_008_000)) - 200.0).abs() < 1e-9);
        assert!((slope((10, 1_000), (20, 900)) + 10.0).abs() < 1e-9);
    }
}
