//! All nodes are ended and started again, one after the other, under load: nobody notices.

use super::{Stage, book::Invariant, figures, load::Rates, patient::Honours, put_added};
use crate::{
    cell::{NODES, Plan},
    report::Report,
};
use anyhow::Result;
use figures::ms;
use serde_json::json;
use std::time::Instant;

/// 200 negotiations a minute, and 200 catalog requests a second.
pub const RATES: Rates = Rates { negotiations: 200.0 / 60.0, transfers: 0.0, catalogs: 200.0, writes: 0.0, reads: 0.0, looks: 0.0 };

/// Plays it.
///
/// # Errors
/// When the cell cannot be brought to where it begins, or looked at in the end.
pub async fn run(plan: &Plan) -> Result<Report> {
    let mut stage = Stage::open(plan, Honours::Once, RATES).await?;
    let mut took = Vec::new();
    for node in NODES {
        let began = Instant::now();
        eprintln!("restarting {node}");
        let restarted = async {
            stage.cell.end(node).await?;
            let ended = began.elapsed();
            stage.cell.up(node).await?;
            stage.cell.settled(&NODES).await?;
            anyhow::Ok((ended, began.elapsed()))
        };
        match restarted.await {
            Ok(one) => took.push(one),
            Err(error) => stage.load.place.book.violated(Invariant::Live, format!("{node} was restarted: {error:#}")),
        }
    }
    let (quiet, begun) = (stage.quiet, stage.began);
    let (mut cell, place, disk) = stage.close().await?;
    let samples = place.book.samples();
    let mut report = figures::report("rolling", &place.book, &samples, begun);
    put_added(&mut report, &samples, quiet, &place.world, &disk);
    report.more.insert("found_dead".to_owned(), json!(cell.revived()));
    report.more.insert("restarts".to_owned(), json!(took.len()));
    report.more.insert("ended_after_ms".to_owned(), json!(took.iter().map(|(ended, _)| ms(*ended)).collect::<Vec<_>>()));
    report.more.insert("whole_after_ms".to_owned(), json!(took.iter().map(|(_, whole)| ms(*whole)).collect::<Vec<_>>()));
    if report.errors > 0 {
        eprintln!("data and logs are kept in {}", cell.keep().display());
    }
    Ok(report)
}
