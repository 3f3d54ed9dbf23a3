//! The command line.

mod admin;
mod args;
mod backup;
mod cell_file;
mod cells;
mod certs;
#[cfg(feature = "failpoints")]
mod crash;
mod nodes;
mod rekey;
mod run;
mod settings;
mod signals;
mod topics;
mod up;

pub use cell_file::CellFile;

use crate::{
    demo,
    node::Bootstrap,
    observe::{LogOptions, logs},
};
use anyhow::{Context, bail};
use args::{Cli, Command, DemoArgs};
use clap::Parser;
use signals::Signals;
use std::{future::Future, pin::pin, process::ExitCode};
use tokio_util::sync::CancellationToken;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    crate::crypto::install();
    #[cfg(feature = "failpoints")]
    if let Err(reason) = crash::listen() {
        eprintln!("error: {reason}");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<demo::Told>() {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    signals::survive_file_size_limit()?;
    match cli.command {
        Command::Up(args) => logged(args.log.options(), up::run(&args)).await,
        Command::Run(args) => {
            let file = CellFile::read(&args.config)?;
            logged(file.log.options(), run::run(&args, file)).await
        }
        Command::Demo(DemoArgs { against: Some(public), client_file: Some(file), json, trust, .. }) => {
            let client = Bootstrap::read_file(file)?.context("there is no such file")?;
            let against = demo::Against { public, client, authorities: trust.authorities()? };
            until_told(|stop| demo::run_against(against, json, stop)).await
        }
        Command::Demo(args) => {
            let place = demo::Place::new(args.data_dir.as_deref())?;
            let log = LogOptions { file: Some(place.log()), ..args.log.options() };
            logged(log, demo(&args, place)).await
        }
        Command::Admin(command) => admin::run(&command).await,
        Command::Rekey(args) => rekey::run(&args).await,
    }
}

async fn demo(args: &DemoArgs, place: demo::Place) -> anyhow::Result<()> {
    let options = demo::Options { keep: args.keep, json: args.json, store: args.store.options()?, events: args.events.options() };
    until_told(|stop| demo::run(options, place, stop)).await
}

/// Plays; a signal ends it in order, a second one at once.
async fn until_told<F: Future<Output = anyhow::Result<()>>>(play: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let mut played = pin!(play(stop.clone()));
    tokio::select! {
        outcome = &mut played => return outcome,
        () = signals.next() => stop.cancel(),
    }
    tokio::select! {
        outcome = played => outcome,
        () = signals.next() => bail!("ended at once"),
    }
}

/// Runs something with logs set up, and sends the last spans afterwards.
async fn logged(options: LogOptions, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let guard = logs::init(&options)?;
    let outcome = work.await;
    guard.flush().await;
    outcome
}
