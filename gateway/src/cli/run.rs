//! `cellspace run`: one process of a cell, staying.

use super::{args::RunArgs, cell_file::CellFile, signals::Signals, up};
use crate::node::{Node, StartError};

/// Runs until a signal comes, an operator says so at another node, or the life of this node in its cell is over.
pub async fn run(args: &RunArgs, file: CellFile) -> anyhow::Result<()> {
    // Before the start, so that a signal during it is not lost.
    let mut signals = Signals::listen()?;
    let mut cell = file.cell();
    if let Some(roles) = args.roles {
        cell.roles = roles;
    }
    let (config, drain) = (file.settings.config(&file.data)?, file.drain_limit);
    let started = Node::run(config, cell.clone());
    let node = tokio::select! {
        node = started => node?,
        () = signals.next() => anyhow::bail!("ended by a signal before the node was up"),
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
    let is_over = tokio::select! {
        () = signals.next() => false,
        () = node.told_to_drain() => false,
        () = node.life_over() => true,
    };
    if !args.json {
        up::say("\nending; a signal ends it at once");
    }
    tokio::select! {
        () = node.drain(drain) => {}
        () = signals.next() => anyhow::bail!("ended before everything was finished; the others take it over"),
    }
    if is_over { Err(StartError::LifeOver.into()) } else { Ok(()) }
}
