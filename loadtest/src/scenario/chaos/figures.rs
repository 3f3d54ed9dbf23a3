//! What the samples say.

use super::{
    book::{Book, Invariant, Kind, Sample},
    faults::{Killed, WATCHED},
    kafka::Away,
    world::World,
};
use crate::{measure::disk::Syncs, report::Report};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Answers of each kind that are told of because they took longest.
const SLOWEST: usize = 8;

pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

/// A quantile of these times; 0 of none.
pub fn quantile(mut times: Vec<Duration>, quantile: f64) -> Duration {
    times.sort_unstable();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a place in a list
    let place = ((times.len() as f64 * quantile).ceil() as usize).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

/// Times of what was due within.
pub fn times(samples: &[Sample], kind: Kind, from: Instant, to: Instant) -> Vec<Duration> {
    samples.iter().filter(|sample| sample.kind == kind && sample.due >= from && sample.due < to).map(|sample| sample.took).collect()
}

/// What is asked of a participant whose node has died.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// Something by its own clients.
    ByItself,
    /// Its catalog by others, whose message must not have been taken before.
    ByOthers,
}

/// From each death to the first good answer of each of the node's participants, to a request that was made after it: of those with which nothing else was done
/// when they are to be `alone`, and otherwise of the rest.
pub fn failovers(samples: &[Sample], world: &World, killed: &[Killed], asked: Asked, alone: bool) -> Vec<Duration> {
    let is_of = |sample: &Sample, party: usize| match asked {
        Asked::ByItself => sample.party == party && [Kind::Read, Kind::Write].contains(&sample.kind),
        Asked::ByOthers => sample.other == Some(party),
    };
    let of = |killed: &Killed| {
        let first = |party: usize| {
            let answers = samples.iter().filter(|sample| is_of(sample, party) && sample.due >= killed.at);
            answers.map(|sample| sample.due + sample.took - killed.at).min()
        };
        world.of(killed.node).into_iter().filter_map(first).collect::<Vec<_>>()
    };
    killed.iter().filter(|killed| killed.known && killed.usual.is_some() == alone).flat_map(of).collect()
}

/// Questions to participants of nodes that live: just before deaths, and after them.
#[derive(Default)]
pub struct Others {
    usual: Vec<Duration>,
    /// While the dead node's process was not started again.
    dead: Vec<After>,
    /// Where it was.
    started: Vec<After>,
}

/// One after a death.
struct After {
    /// From the death until it was due.
    since: Duration,
    took: Duration,
}

impl Others {
    /// Of the deaths of nodes whose participants are known, and with which nothing else was done.
    pub fn of(samples: &[Sample], world: &World, killed: &[Killed]) -> Self {
        let homes: Vec<_> = world.parties.iter().map(|party| party.home).collect();
        let mut all = Self::default();
        for killed in killed {
            let Some(usual) = killed.usual.filter(|_| killed.known) else { continue };
            let between = |from, to| others(samples, &homes, killed.node, from, to);
            let after = between(killed.at, killed.at + WATCHED).map(|sample| After { since: sample.due - killed.at, took: sample.took });
            if killed.stayed_dead() {
                all.dead.extend(after)
            } else {
                all.started.extend(after)
            }
            all.usual.extend(between(usual, killed.at).map(|sample| sample.took));
        }
        all
    }

    fn usual(&self) -> Option<Duration> {
        p95(self.usual.iter().copied())
    }

    fn ratio(&self, of: &[After]) -> Option<f64> {
        ratio(p95(of.iter().map(|after| after.took)), self.usual())
    }

    /// What a report says of it.
    pub fn told(&self) -> [(&'static str, Value); 5] {
        let second = |n: u64| p95(self.dead.iter().filter(|after| after.since.as_secs() == n).map(|after| after.took)).map(ms);
        [
            ("others", json!(self.dead.len())),
            ("others_usual_p95_ms", json!(self.usual().map(ms))),
            ("others_p95_ratio", json!(self.ratio(&self.dead))),
            ("others_by_second_p95_ms", json!((0..WATCHED.as_secs()).map(second).collect::<Vec<_>>())),
            ("others_started_p95_ratio", json!(self.ratio(&self.started))),
        ]
    }
}

/// Questions while Kafka was away, and just before.
#[derive(Default)]
pub struct WithoutKafka {
    usual: Vec<Duration>,
    /// From its death until it was started again, which takes from the processor what all others share.
    away: Vec<Duration>,
}

impl WithoutKafka {
    /// Of all times when it was away.
    pub fn of(samples: &[Sample], aways: &[Away]) -> Self {
        let mut all = Self::default();
        for Away { usual, at, again } in aways {
            all.usual.extend(times(samples, Kind::Read, *usual, *at));
            all.away.extend(times(samples, Kind::Read, *at, *again));
        }
        all
    }

    fn ratio(&self) -> Option<f64> {
        let [away, usual] = [&self.away, &self.usual].map(|took| p95(took.iter().copied()));
        ratio(away, usual)
    }

    /// What a report says of it.
    pub fn told(&self) -> [(&'static str, Value); 2] {
        [("kafka_aways", json!(self.away.len())), ("kafka_away_p95_ratio", json!(self.ratio()))]
    }
}

/// What 95 of 100 took at most; `None` of none.
fn p95(took: impl Iterator<Item = Duration>) -> Option<Duration> {
    let took: Vec<_> = took.collect();
    (!took.is_empty()).then(|| quantile(took, 0.95))
}

fn ratio(of: Option<Duration>, to: Option<Duration>) -> Option<f64> {
    Some(of?.as_secs_f64() / to?.as_secs_f64())
}

/// Questions that were due within, to participants of other nodes than this one.
fn others<'a>(samples: &'a [Sample], homes: &'a [&str], node: &'a str, from: Instant, to: Instant) -> impl Iterator<Item = &'a Sample> {
    samples.iter().filter(move |sample| {
        sample.kind == Kind::Read && sample.due >= from && sample.due < to && homes.get(sample.party).is_some_and(|home| *home != node)
    })
}

/// What requests of one kind took when the cell was disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// The median before that.
    pub usual: Duration,
    /// How much longer the slowest took.
    pub most: Duration,
    /// The same of what each took beside the time in which the disk stood still.
    pub without_stalls: Duration,
}

/// How much longer than usually the slowest of each kind took.
pub fn added(samples: &[Sample], quiet: (Instant, Instant), since: Instant, disk: &Syncs) -> BTreeMap<Kind, Added> {
    let of = |kind| {
        let usual = quantile(times(samples, kind, quiet.0, quiet.1), 0.5);
        let after = || samples.iter().filter(|sample| sample.kind == kind && sample.due >= since);
        let most = after().map(|sample| sample.took).max().filter(|_| !usual.is_zero())?;
        let without = |sample: &Sample| sample.took.saturating_sub(disk.stalled(sample.due, sample.due + sample.took));
        let without_stalls = after().map(without).max()?;
        Some((kind, Added { usual, most: most.saturating_sub(usual), without_stalls: without_stalls.saturating_sub(usual) }))
    };
    Kind::ALL.into_iter().filter_map(of).collect()
}

/// Tells on standard error which answers took longest, so that they are found in logs and traces.
pub fn tell_slowest(samples: &[Sample], world: &World, since: Instant, disk: &Syncs) {
    let (now, clock) = (Instant::now(), SystemTime::now());
    for kind in Kind::ALL {
        let mut slowest: Vec<_> = samples.iter().filter(|sample| sample.kind == kind && sample.due >= since).collect();
        slowest.sort_by_key(|sample| std::cmp::Reverse(sample.took));
        for Sample { due, took, party, .. } in slowest.into_iter().take(SLOWEST) {
            let at = (clock - now.duration_since(*due)).duration_since(UNIX_EPOCH).unwrap_or_default();
            let who = world.party(*party).map_or("nobody", |party| &party.participant().caller.name);
            let stalled = ms(disk.stalled(*due, *due + *took));
            eprintln!(
                "{kind:?} of {who}, due at {:.3}, took {} ms, of which the disk stood still for {stalled}",
                at.as_secs_f64(),
                ms(*took)
            );
        }
    }
}

/// What all of these commands tell alike.
pub fn report(scenario: &str, book: &Book, samples: &[Sample], began: Instant) -> Report {
    let took: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    let at = |part: f64| ms(quantile(took.clone(), part));
    let (failed, mut told) = book.failures();
    let violations = book.violations();
    let violated: u64 = violations.values().map(|(count, _)| count).sum();
    #[allow(clippy::cast_precision_loss)] // a count
    let rate = samples.len() as f64 / began.elapsed().as_secs_f64();
    let mut report = Report {
        scenario: scenario.to_owned(),
        ops_per_s: rate,
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        errors: failed + violated,
        ..Report::default()
    };
    let named = |invariant: Invariant| (invariant.name().to_owned(), json!(violations.get(&invariant).map_or(0, |(count, _)| *count)));
    let mut put = |name: &str, value: Value| report.more.insert(name.to_owned(), value);
    put("violations", json!(violated));
    put("invariants", Invariant::ALL.into_iter().map(named).collect::<serde_json::Map<_, _>>().into());
    put("failed_requests", json!(failed));
    put("operations", json!(samples.len()));
    told.splice(0..0, violations.into_values().flat_map(|(_, told)| told));
    report.told = told;
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        let at = |part| quantile(times.clone(), part).as_millis();
        assert_eq!([at(0.5), at(0.95), at(0.99), at(1.0)], [50, 95, 99, 100]);
        assert_eq!(quantile(Vec::new(), 0.99), Duration::ZERO);
        assert_eq!(quantile(vec![Duration::from_secs(1)], 0.01), Duration::from_secs(1));
    }

    /// Who is served by a node that is killed a moment later is not taken for one whose node lives.
    #[test]
    fn a_death_is_looked_at_when_nothing_else_was_done() {
        let (second, began) = (Duration::from_secs(1), Instant::now());
        let at = began + second * 10;
        let killed = Killed { node: "a", usual: Some(at - second), at, again: at + WATCHED, known: true };
        assert!(killed.stayed_dead() && !Killed { again: at + second * 7, ..killed }.stayed_dead());
        let sample = |kind, party, due, took| Sample { kind, party, other: None, due, took };
        let samples = [
            sample(Kind::Read, 1, at - second * 2, second),
            sample(Kind::Read, 1, at - second, second * 2),
            sample(Kind::Read, 0, at, second * 3),
            sample(Kind::Write, 1, at, second * 4),
            sample(Kind::Read, 1, at + second, second * 5),
            sample(Kind::Read, 1, at + WATCHED, second * 6),
        ];
        let took = |from, to| others(&samples, &["a", "b"], "a", from, to).map(|sample| sample.took).collect::<Vec<_>>();
        assert_eq!((took(at - second, at), took(at, at + WATCHED)), (vec![second * 2], vec![second * 5]));
        let dead = vec![After { since: second, took: second * 5 }];
        let all = Others { usual: vec![second * 2], dead, ..Others::default() };
        assert_eq!((all.ratio(&all.dead), all.ratio(&all.started)), (Some(2.5), None));
    }

    #[test]
    fn what_a_request_took_is_told_with_and_without_the_stalls_of_the_disk() {
        let (second, began) = (Duration::from_secs(1), Instant::now());
        let since = began + second * 2;
        let sample = |kind, due, took| Sample { kind, party: 0, other: None, due: began + second * due, took: second * took };
        let samples = [
            sample(Kind::Read, 0, 1),
            sample(Kind::Read, 1, 9),
            sample(Kind::Read, 2, 5),
            sample(Kind::Read, 20, 4),
            sample(Kind::Write, 2, 5),
        ];
        let stalls = Syncs::of([(began + second * 3, second * 2), (began + second * 12, second)]);
        let added = |disk| super::added(&samples, (began, began + second), since, disk);
        let read =
            |most, without| BTreeMap::from([(Kind::Read, Added { usual: second, most: second * most, without_stalls: second * without })]);
        assert_eq!((added(&Syncs::default()), added(&stalls)), (read(4, 4), read(4, 3)));
    }

    /// What is asked while Kafka starts is not held against its absence.
    #[test]
    fn questions_count_from_kafkas_death_until_it_is_started_again() {
        let (second, began) = (Duration::from_secs(1), Instant::now());
        let (usual, at, again) = (began + second, began + second * 3, began + second * 13);
        let sample = |kind, due, took| Sample { kind, party: 0, other: None, due, took };
        let samples = [
            sample(Kind::Read, began, second * 9),
            sample(Kind::Read, usual, second * 2),
            sample(Kind::Write, usual, second * 9),
            sample(Kind::Read, at, second * 3),
            sample(Kind::Catalog, at, second * 9),
            sample(Kind::Read, again, second * 9),
        ];
        let away = WithoutKafka::of(&samples, &[Away { usual, at, again }]);
        assert_eq!((&away.usual, &away.away), (&vec![second * 2], &vec![second * 3]));
        assert_eq!(away.told(), [("kafka_aways", json!(1)), ("kafka_away_p95_ratio", json!(1.5))]);
        assert_eq!(WithoutKafka::default().told(), [("kafka_aways", json!(0)), ("kafka_away_p95_ratio", Value::Null)]);
    }
}
