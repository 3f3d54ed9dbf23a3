//! One platform and its rounds: work while the process dies, and comes back.

use super::{Plan, Report, point_of, verify, work};
use crate::{
    measure::counters::{Counters, Metrics},
    platform::{Launch, Platform, Start, aborted, killed},
    relay,
};
use anyhow::{Context, Result, bail, ensure};
use cellspace_client::{Client, Patience, Silent};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    pin::pin,
    time::{Duration, Instant},
};

/// Longest random moment after the beginning of a round's work.
const MOMENT: Duration = Duration::from_millis(1_500);
/// How long an armed process may live on after the work is done: agents that were used leave memory only some time later.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Points that are passed often while the process starts again.
const RELAPSES: [&str; 3] = ["in-activation", "before-commit", "after-commit-before-reply"];

/// How a round's process ends.
enum End {
    /// At a random moment.
    After(Duration),
    /// At this point, passed for the n-th time.
    At(&'static str, u32),
}

/// Plays the rounds with these numbers.
pub async fn play(launch: &Launch, lane: u32, rounds: Vec<u32>, plan: &Plan, tell: &(impl Fn(String) + Sync)) -> Result<Report> {
    let seed = plan.seed;
    let mut random = StdRng::seed_from_u64(seed.wrapping_add(u64::from(lane)));
    let mut platform = launch.start().await?.ready()?;
    let endpoints = platform.endpoints.clone();
    let http = reqwest::Client::builder().timeout(Duration::from_secs(40)).build()?;
    let admin = match &plan.tape {
        Some(tape) => relay::open(&endpoints.admin, tape.clone()).await?,
        None => endpoints.admin.clone(),
    };
    let mut client = Client::new(http, admin, endpoints.public.clone(), Box::new(Silent));
    client.patience = Some(Patience { limit: Duration::from_secs(60), pause: Duration::from_millis(20) });
    let cast = work::prepare(&mut client, &endpoints.client_id, &endpoints.client_secret).await?;
    let (mut ledger, mut report) = (work::Ledger::default(), Report::default());
    for round in rounds {
        let end = match point_of(round) {
            None => End::After(random.random_range(Duration::ZERO..MOMENT)),
            // The rare points are passed only a few times in a round.
            Some(point @ ("in-activity" | "in-passivation" | "in-activation")) => End::At(point, random.random_range(1..=2)),
            Some(point) => End::At(point, random.random_range(1..=6)),
        };
        let relapse = random
            .random_bool(1.0 / 3.0)
            .then(|| format!("{}:{}", RELAPSES[random.random_range(0..RELAPSES.len())], random.random_range(1..=3)));
        let named = match end {
            End::After(moment) => format!("lane {lane}, round {round} of seed {seed}, killed after {moment:?}, then {relapse:?}"),
            End::At(point, times) => format!("lane {lane}, round {round} of seed {seed}, {point}:{times}, then {relapse:?}"),
        };
        tell(named.clone());
        let began = Instant::now();
        let newcomer = matches!(end, End::At("in-activity", _)) || round % 5 == 0;
        let work = work::round(&mut client, &cast, &mut ledger, round, newcomer);
        under_fire(launch, &mut platform, work, &end, relapse, &mut report).await.with_context(|| named)?;
        report.rounds += 1;
        report.took.push(began.elapsed());
    }
    verify::all(&client, &cast, &ledger).await.with_context(|| format!("after all rounds of lane {lane}, seed {seed}"))?;
    report.last = Counters::of(&Metrics::at(&client.http, &endpoints.ops).await?);
    ensure!(killed(platform.kill().await?), "the platform ended by itself before its last kill");
    report.negotiations = ledger.negotiations.len();
    report.transfers = ledger.transfers.len();
    report.pulls = ledger.pulls;
    report.assets = ledger.assets.len();
    report.participants = ledger.holders.len() + ledger.disposed.len();
    report.disposed = ledger.disposed.len();
    Ok(report)
}

/// Does the work while the process dies as it shall, and is started again.
async fn under_fire(
    launch: &Launch,
    platform: &mut Platform,
    work: impl Future<Output = Result<()>>,
    end: &End,
    relapse: Option<String>,
    report: &mut Report,
) -> Result<()> {
    let mut work = pin!(work);
    let mut done = false;
    match end {
        End::At(point, times) => {
            platform.arm(&format!("{point}:{times}")).await?;
            let hits = report.points.entry(point).or_default();
            let status = tokio::select! {
                outcome = &mut work => {
                    outcome?;
                    done = true;
                    tokio::time::timeout(AFTERMATH, platform.ended()).await.ok().transpose()?
                }
                status = platform.ended() => Some(status?),
            };
            match status {
                Some(status) => {
                    ensure!(aborted(status), "the platform ended with {status} and not at {point}; see {}", launch.log.display());
                    *hits += 1;
                }
                // Passed fewer times than it was armed for: disarmed by an ordinary kill.
                None => ensure!(killed(platform.kill().await?), "the platform ended by itself"),
            }
        }
        End::After(moment) => {
            tokio::select! {
                outcome = &mut work => { outcome?; done = true; }
                () = tokio::time::sleep(*moment) => {}
                status = platform.ended() => bail!("the platform ended by itself: {}; see {}", status?, launch.log.display()),
            }
            ensure!(killed(platform.kill().await?), "the platform ended by itself; see {}", launch.log.display());
            report.kills += 1;
        }
    }
    *platform = match relapse {
        None => launch.start().await?.ready()?,
        Some(crash) => again(launch, crash, &mut report.relapses).await?,
    };
    if done {
        return Ok(());
    }
    tokio::select! {
        outcome = work => outcome,
        status = platform.ended() => bail!("the platform ended again by itself: {}; see {}", status?, launch.log.display()),
    }
}

/// Starts with a point armed that may end the process while it takes up what was left, and then without.
async fn again(launch: &Launch, crash: String, relapses: &mut u32) -> Result<Platform> {
    let armed = Launch { crash: Some(crash), ..launch.clone() };
    let status = match armed.start().await? {
        Start::Died { status, .. } => status,
        Start::Ready(mut platform) => match tokio::time::timeout(Duration::from_millis(500), platform.ended()).await {
            Ok(status) => status?,
            Err(_) => {
                ensure!(killed(platform.kill().await?), "the platform ended by itself");
                return launch.start().await?.ready();
            }
        },
    };
    ensure!(aborted(status), "the platform ended with {status} while it started; see {}", launch.log.display());
    *relapses += 1;
    launch.start().await?.ready()
}
