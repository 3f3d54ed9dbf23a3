//! Times of single requests, in turn at every size, so that a machine that becomes slower meanwhile does so for all of them.

use super::{
    catalog::{Catalog, Place, surely},
    model::{Expected, compare},
    shape::{Viewer, asset_id, definition_id, policy_id},
};
use crate::{
    http::Connection,
    measure::{counters::Counters, process::Usage},
    scenario::catalog::must,
    subject::Subject,
    world::Party,
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

/// Pages read at each place.
const PAGES: usize = 300;
/// Changes that the next page must show.
const CHANGES: usize = 60;
/// Commits at a time at each size, and how often.
const COMMITS: usize = 200;
const TURNS: usize = 8;
/// A definition that selects by the beginning of a property.
const BY_PART: usize = 5;

/// A quantile of times, in milliseconds.
pub fn quantile_ms(times: &mut [Duration], quantile: f64) -> f64 {
    times.sort_unstable();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a position in a short list
    let at = ((times.len().saturating_sub(1)) as f64 * quantile).round() as usize;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// A page that is asked for again and again.
pub struct Spot<'a> {
    pub catalog: &'a Catalog,
    pub place: Place,
    pub expected: Vec<Expected>,
    pub times: Vec<Duration>,
}

/// Reads the page at each spot, in turn.
pub async fn pages(c: &mut Connection, party: &Party, spots: &mut [Spot<'_>]) -> Result<()> {
    for round in 0..PAGES + PAGES / 10 {
        for spot in &mut *spots {
            let call = spot.catalog.call(party, &spot.place, spot.expected.len());
            let begun = Instant::now();
            let answer = c.send(call).await?;
            let took = begun.elapsed();
            ensure!(answer.status == 200, "the catalog answered {}", answer.told());
            compare(&answer, &spot.expected)?;
            // The first ones warm up.
            if round >= PAGES / 10 {
                spot.times.push(took);
            }
        }
    }
    Ok(())
}

/// Changes an asset, an access policy and a definition, over and over: the first page that is asked for afterwards must show each. Answers how many.
pub async fn changes(subject: &Subject, catalog: &mut Catalog, party: &Party, viewer: Viewer, page: usize) -> Result<usize> {
    let connection = |base: &str| Connection::new(base, subject.tape.clone());
    let (mut admin, mut public) = (connection(&subject.admin)?, connection(&subject.public)?);
    for n in 0..CHANGES {
        let before: Vec<Expected> = catalog.model.seen_by(viewer).into_iter().take(page).collect();
        let call = match n % 3 {
            0 => {
                let first = before.first().context("nothing is visible")?.asset;
                *catalog.model.revisions.entry(first).or_default() += 1;
                catalog.replace("assets", &catalog.asset(first)?)
            }
            1 => {
                let admits = catalog.model.admits.first_mut().context("a policy")?;
                *admits = if admits.is_none() { Some(viewer) } else { None };
                catalog.replace(&format!("policydefinitions/{}", policy_id(0)), &catalog.policy(0))
            }
            _ => {
                // From a policy that nobody fulfils to one that the viewer does, and back.
                let (hidden, shown) = (1, catalog.model.shape.first_admitting(viewer, 1).context("a policy")?);
                let second = catalog.model.definitions.get_mut(1).context("a definition")?;
                second.policy = if second.policy == hidden { shown } else { hidden };
                catalog.replace("contractdefinitions", &catalog.definition(1)?)
            }
        };
        let after: Vec<Expected> = catalog.model.seen_by(viewer).into_iter().take(page).collect();
        ensure!(after != before, "change {n} changes nothing");
        must(&mut admin, call).await?;
        catalog.page(&mut public, party, &None, page, &after).await.with_context(|| format!("after change {n}"))?;
    }
    Ok(CHANGES)
}

/// What commits took.
#[derive(Debug, Default)]
pub struct Commits {
    pub times: Vec<Duration>,
    pub cpu: Duration,
}

impl Commits {
    /// Processor time of the platform for each, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // a count of commits
        let commits = self.times.len().max(1) as f64;
        self.cpu.as_secs_f64() * 1e6 / commits
    }
}

/// Commits to each catalog, in turn: an asset that is changed, a definition that is written again, an asset that comes, and one that goes.
pub async fn commits(subject: &Subject, catalogs: &mut [&mut Catalog]) -> Result<Vec<Commits>> {
    let mut connection = Connection::new(&subject.admin, None)?;
    let mut found: Vec<Commits> = catalogs.iter().map(|_| Commits::default()).collect();
    for turn in 0..=TURNS {
        for (catalog, commits) in catalogs.iter_mut().zip(&mut found) {
            let before = subject.usage(&Counters::default())?;
            let mut times = Vec::with_capacity(COMMITS);
            for n in 0..COMMITS {
                let changed = (n * 13) % catalog.model.shape.definitions;
                let call = match n % 4 {
                    0 => {
                        *catalog.model.revisions.entry(changed).or_default() += 1;
                        catalog.replace("assets", &catalog.asset(changed)?)
                    }
                    1 => catalog.replace("contractdefinitions", &catalog.definition(BY_PART)?),
                    2 => {
                        let mut asset = catalog.asset(0)?;
                        asset["@id"] = json!("passing");
                        asset["properties"]["batch"] = json!("none");
                        asset["properties"]["part"] = json!("none");
                        catalog.create("assets", &asset)
                    }
                    _ => catalog.delete("assets/passing"),
                };
                let begun = Instant::now();
                let answer = connection.send(call).await?;
                times.push(begun.elapsed());
                ensure!(answer.status.is_success(), "commit {n} answered {}", answer.told());
            }
            let Usage { cpu, .. } = subject.usage(&Counters::default())?;
            // The first turn warms up.
            if turn > 0 {
                commits.times.extend(times);
                commits.cpu += cpu.saturating_sub(before.cpu);
            }
        }
    }
    Ok(found)
}

/// How long a participant that is not in memory takes to answer what its state says: an asset that only a whole index has.
pub async fn activation(subject: &Subject, catalog: &Catalog) -> Result<Duration> {
    let mut connection = Connection::new(&subject.admin, None)?;
    let last = catalog.model.shape.definitions.saturating_sub(1);
    // So that nothing but the participant is new to the connection.
    let unknown = connection.send(catalog.unknown()).await?;
    ensure!(unknown.status == 404, "a participant that does not exist answered {}", unknown.told());
    let begun = Instant::now();
    let answer = surely(&mut connection, catalog.get(&format!("assets/{}", asset_id(last)))).await?;
    let took = begun.elapsed();
    let asset: serde_json::Value = serde_json::from_slice(&answer.body)?;
    ensure!(asset["@id"] == asset_id(last), "{} is not {}", asset["@id"], asset_id(last));
    let definition = surely(&mut connection, catalog.get(&format!("contractdefinitions/{}", definition_id(last)))).await?;
    ensure!(definition.status == 200, "{}", definition.told());
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_times() {
        let mut times: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        assert!((quantile_ms(&mut times, 0.5) - 51.0).abs() < 1e-9 && (quantile_ms(&mut times, 0.95) - 96.0).abs() < 1e-9);
        assert!(quantile_ms(&mut [], 0.5).abs() < 1e-9);
    }
}
