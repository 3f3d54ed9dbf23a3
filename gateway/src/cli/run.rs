//! `cellspace run`: one process of a cell, staying.

use super::{args::RunArgs, cell_file::CellFile, signals::Signals, up};
use crate::node::{Ending, Node};
use std::{pin::pin, time::Duration};
use tokio_util::sync::CancellationToken;

const CUT_SHORT: &str = "ended before everything was finished; the others take it over";

/// Runs until a signal comes, an operator says so at another node, or the life of this node in its cell is over.
pub async fn run(args: &RunArgs, file: CellFile) -> anyhow::Result<()> {
    // Before the start, so that a signal during it is not lost.
    let mut signals = Signals::listen()?;
    let mut cell = file.cell();
    if let Some(roles) = args.roles {
        cell.roles = roles;
    }
    let (config, drain) = (file.settings.config(&file.data)?, file.drain_limit);
    let ending = Ending { stop: CancellationToken::new(), limit: drain };
    let mut started = pin!(Node::run(config, cell.clone(), ending.clone()));
    let node = tokio::select! {
        node = &mut started => node?,
        () = signals.next() => {
            ending.stop.cancel();
            tokio::select! {
                // Up at the same moment, it ends as one that is told to.
                node = started => return left(node?, drain, &mut signals).await,
                () = signals.next() => anyhow::bail!(CUT_SHORT),
            }
        }
    };
    if args.json {
        up::say(&up::json_line(&node, &file.data));
    } else {
        up::say(&format!(
            "Cellspace {}: node {} of {} is up ({}), operations at {}/.",
            env!("CARGO_PKG_VERSION"),
            cell.node,
            file.settings.cell,
            cell.roles,
            node.ops_url()
        ));
        if let Some(client) = node.bootstrap.as_ref().filter(|client| client.is_new) {
            up::say(&up::new_client(client));
        }
    }
    let over = tokio::select! {
        () = signals.next() => None,
        () = node.told_to_drain() => None,
        reason = node.life_over() => Some(reason),
    };
    if !args.json {
        up::say("\nending; a signal ends it at once");
    }
    left(node, drain, &mut signals).await?;
    over.map_or(Ok(()), |reason| Err(reason.into()))
}

async fn left(node: Node, limit: Duration, signals: &mut Signals) -> anyhow::Result<()> {
    tokio::select! {
        () = node.drain(limit) => Ok(()),
        () = signals.next() => anyhow::bail!(CUT_SHORT),
    }
}
