//! A node comes, and goes again, under load: it has its share soon, no more moves than has to, and nobody notices.

use super::{Stage, book::Invariant, figures, load::Rates, patient::Honours, put_added};
use crate::{
    cell::{Cell, NEWCOMER, NODES, Plan},
    measure::counters::Metrics,
    report::Report,
};
use anyhow::Result;
use figures::ms;
use serde_json::json;
use std::{collections::BTreeMap, time::Instant};

const RATES: Rates = super::rolling::RATES;
/// Slots that a node has given away, among its metrics.
const GIVEN_AWAY: &str = "cellspace_cell_slots_closed_total";

/// Slots that changed their owner so far, as the nodes count them.
async fn moved(cell: &Cell, nodes: &[&str]) -> Result<f64> {
    let (http, mut all) = (reqwest::Client::new(), 0.0);
    for node in nodes {
        all += Metrics::at(&http, &cell.ops(node)).await?.value(GIVEN_AWAY);
    }
    Ok(all)
}

/// What has to move when one comes, or goes: the fair share of one of them all.
fn ideal(slots: &BTreeMap<String, u64>) -> u64 {
    slots.values().sum::<u64>() / (slots.len() as u64).max(1)
}

/// Slots of the node that has most by those of one on average.
fn most_to_mean(slots: &BTreeMap<String, u64>) -> f64 {
    let (most, all) = (slots.values().max().copied().unwrap_or_default(), slots.values().sum::<u64>());
    #[allow(clippy::cast_precision_loss)] // at most 4096, of a few nodes
    let ratio = (most * slots.len() as u64) as f64 / all as f64;
    ratio
}

/// Plays it.
///
/// # Errors
/// When the cell cannot be brought to where it begins, or looked at in the end.
pub async fn run(plan: &Plan) -> Result<Report> {
    let mut stage = Stage::open(plan, Honours::Once, RATES).await?;
    let mut more = BTreeMap::new();
    let resized = async {
        let (before, began) = (moved(&stage.cell, &NODES).await?, Instant::now());
        eprintln!("{NEWCOMER} comes");
        stage.cell.up(NEWCOMER).await?;
        let slots = stage.cell.settled(&[NODES[0], NODES[1], NODES[2], NEWCOMER]).await?;
        more.insert("share_after_ms", json!(ms(began.elapsed())));
        let (came, ideal) = (moved(&stage.cell, &NODES).await? - before, ideal(&slots));
        more.insert("slots_most_to_mean", json!(most_to_mean(&slots)));
        let had = slots.get(NEWCOMER).copied().unwrap_or_default();
        more.insert("slots", json!(slots));
        #[allow(clippy::cast_precision_loss)] // at most 4096
        more.insert("moved_when_it_came", json!(came / ideal as f64));
        let (before, began) = (moved(&stage.cell, &NODES).await?, Instant::now());
        eprintln!("{NEWCOMER} goes");
        stage.cell.end(NEWCOMER).await?;
        stage.cell.settled(&NODES).await?;
        more.insert("gone_after_ms", json!(ms(began.elapsed())));
        // Its own count of what it gave away ended with it: all that it had.
        #[allow(clippy::cast_precision_loss)] // at most 4096
        let went = had as f64 + moved(&stage.cell, &NODES).await? - before;
        #[allow(clippy::cast_precision_loss)] // at most 4096
        more.insert("moved_when_it_went", json!(went / ideal as f64));
        anyhow::Ok(())
    };
    if let Err(error) = resized.await {
        stage.load.place.book.violated(Invariant::Live, format!("{error:#}"));
    }
    let (quiet, begun) = (stage.quiet, stage.began);
    let (mut cell, place, disk) = stage.close().await?;
    let samples = place.book.samples();
    let mut report = figures::report("resize", &place.book, &samples, begun);
    put_added(&mut report, &samples, quiet, &place.world, &disk);
    report.more.insert("found_dead".to_owned(), json!(cell.revived()));
    report.more.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    if report.errors > 0 {
        eprintln!("data and logs are kept in {}", cell.keep().display());
    }
    Ok(report)
}
