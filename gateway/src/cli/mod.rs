//! The command line.

mod admin;
mod args;
mod signals;
mod up;

use crate::{demo, observe::logs};
use args::{Cli, Command};
use clap::Parser;
use signals::Signals;
use std::{future::Future, process::ExitCode};

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    crate::crypto::install();
    #[cfg(feature = "failpoints")]
    if let Err(reason) = cellspace_cluster::arm_crash_point() {
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
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Up(args) => logged(&args.log, up::run(&args)).await,
        Command::Demo(args) => logged(&args.log.or("warn"), demo(&args)).await,
        Command::Admin(command) => admin::run(&command).await,
    }
}

async fn demo(args: &args::DemoArgs) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let options = demo::Options { keep: args.keep, json: args.json };
    demo::run(options, signals.next()).await
}

/// Runs something with logs set up, and sends the last spans afterwards.
async fn logged(args: &args::LogArgs, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let guard = logs::init(&args.options())?;
    let outcome = work.await;
    guard.flush().await;
    outcome
}
