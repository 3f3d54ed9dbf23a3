//! A Cellspace that a conformance suite is run against: the product's library, with the wiring that a suite needs of a system under test. No part
//! of the product: `deploy/conformance` builds and starts it.
//!
//! For the Dataspace Protocol, what the suite cannot do is done for it in front of the platform (`front`): it has no DID, so that its messages get the
//! tokens of one, and it listens late, so that messages to it are repeated until it does. What the suite expects the system under test to do "by itself" (`script`) are
//! ordinary commands of the product (`steps`), which otherwise leaves every step to them (`Held`). The participant and its datasets are made through
//! the product's APIs (`operator`, `participant`), agreements by negotiating (`agreements`). What the platform sends and answers meanwhile is held against the
//! suite's JSON schemas (`schemas`). For the Decentralized Claims Protocol the suite is a party
//! like any other (`dcp`).

#![forbid(unsafe_code)]

mod agreements;
mod counterpart;
mod dcp;
mod desk;
mod front;
mod operator;
mod participant;
mod patience;
mod platform;
mod properties;
mod proxy;
mod relay;
mod schemas;
mod script;
mod steps;

use anyhow::{Context, Result, bail};
use cellspace::{
    Node, NodeConfig,
    cli::CellFile,
    node::Ending,
    observe::{LogOptions, logs},
};
use cellspace_actors::control_plane::{
    dsp::Steering,
    negotiation::{self, Negotiation},
    transfer::{self, Transfer},
};
use cellspace_schemas::AgreementId;
use clap::{Parser, ValueEnum};
use counterpart::Counterpart;
use front::Front;
use parking_lot::Mutex;
use participant::UnderTest;
use platform::{CellArgs, Platform};
use schemas::Judge;
use std::{
    env,
    ffi::{OsStr, OsString},
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

/// The system under test of a conformance suite.
#[derive(Debug, Parser)]
enum Command {
    /// For the Dataspace Protocol 2025-1: in the foreground until SIGINT or SIGTERM. The last line is the path of the suite's properties.
    Dsp(Args),
    /// The same for the Decentralized Claims Protocol 1.0, as holder.
    DcpHolder(Args),
    /// As issuer.
    DcpIssuer(Args),
    /// As verifier.
    DcpVerifier(Args),
    /// One process of a cell that is the system under test of a suite, as `cellspace run`.
    Run(RunArgs),
}

#[derive(Debug, clap::Args)]
struct Args {
    /// Port under which everything is reached on loopback; a free one by default.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// An empty directory for data, log and properties; a temporary one by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Class path of the suite of the Dataspace Protocol, whose jars carry the JSON schemas of its messages. What was sent and answered is then held against
    /// them, and `messages` in the directory tells at the end what came of it.
    #[arg(long)]
    schemas: Option<OsString>,
    #[command(flatten)]
    cell: CellArgs,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The suite.
    #[arg(long)]
    suite: Suite,
    /// Settings of the process, as `cellspace run` takes them.
    #[arg(long)]
    config: PathBuf,
    /// As that says it, when it is ready.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Suite {
    /// Dataspace Protocol 2025-1.
    Dsp,
    /// Decentralized Claims Protocol 1.0, as holder.
    DcpHolder,
    /// As issuer.
    DcpIssuer,
    /// As verifier.
    DcpVerifier,
}

/// Nothing by itself: the script says what is done when.
#[derive(Debug)]
struct Held;

impl Steering for Held {
    fn negotiation(&self, _: &Negotiation, _: &AgreementId) -> Option<negotiation::Act> {
        None
    }

    fn transfer(&self, _: &Transfer) -> Option<transfer::Act> {
        None
    }
}

impl Suite {
    /// What is chosen for it where agents are.
    fn wire(self, config: &mut NodeConfig) {
        match self {
            Self::Dsp => config.steering = Arc::new(Held),
            Self::DcpHolder | Self::DcpIssuer | Self::DcpVerifier => dcp::of_the_suites_level(config),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    // Before the start, so that a signal during it is not lost.
    let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    match Command::parse() {
        Command::Dsp(args) => stay(Suite::Dsp, &args, signals).await,
        Command::DcpHolder(args) => stay(Suite::DcpHolder, &args, signals).await,
        Command::DcpIssuer(args) => stay(Suite::DcpIssuer, &args, signals).await,
        Command::DcpVerifier(args) => stay(Suite::DcpVerifier, &args, signals).await,
        Command::Run(args) => run(&args, signals).await,
    }
}

async fn stay(suite: Suite, args: &Args, mut signals: (Signal, Signal)) -> Result<()> {
    // Removed at the end.
    let (dir, _temporary) = match &args.dir {
        Some(dir) => (std::path::absolute(dir)?, None),
        None => {
            let made = tempfile::Builder::new().prefix("cellspace-conformance-").tempdir()?;
            (made.path().to_owned(), Some(made))
        }
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let guard = logs::init(&LogOptions { file: Some(dir.join("log")), ..LogOptions::default() })?;
    let judge = match &args.schemas {
        Some(class_path) => Some(Arc::new(Mutex::new(judge(class_path)?))),
        None => None,
    };
    let outcome = tokio::select! {
        outcome = serve(suite, args, &dir, judge.clone()) => outcome,
        () = next(&mut signals) => return Ok(()),
    };
    let platform = outcome?;
    next(&mut signals).await;
    platform.drain().await;
    guard.flush().await;
    if let Some(judge) = judge {
        std::fs::write(dir.join("messages"), format!("{}\n", judge.lock()))?;
    }
    Ok(())
}

async fn run(args: &RunArgs, mut signals: (Signal, Signal)) -> Result<()> {
    if !args.json {
        bail!("run is told with --json how it stands");
    }
    let file = CellFile::read(&args.config)?;
    let guard = logs::init(&file.log.options())?;
    let mut config = file.settings.config(&file.data)?;
    args.suite.wire(&mut config);
    let node = Node::run(config, file.cell(), Ending::default()).await?;
    desk::open(node.app.services.clone(), &file.data.data_dir).await?;
    say(&serde_json::json!({"ops": node.ops_url()}).to_string())?;
    tokio::select! {
        () = next(&mut signals) => {}
        () = node.told_to_drain() => {}
        over = node.life_over() => return Err(over.into()),
    }
    node.drain(file.drain_limit).await;
    guard.flush().await;
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// With the schemas of the suite's own jars.
fn judge(class_path: &OsStr) -> Result<Judge> {
    let of_suite = |jar: &PathBuf| jar.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dsp-"));
    Judge::new(&schemas::DSP, env::split_paths(class_path).filter(of_suite)).context("the suite's schemas cannot be used")
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Starts everything for the suite, and says where its properties are.
async fn serve(suite: Suite, args: &Args, dir: &Path, judge: Option<Arc<Mutex<Judge>>>) -> Result<Platform> {
    let (platform, properties) = match suite {
        Suite::Dsp => dsp(args, dir, judge).await?,
        Suite::DcpHolder => dcp::holder(args.port, dir, &args.cell).await?,
        Suite::DcpIssuer => dcp::issuer(args.port, dir, &args.cell).await?,
        Suite::DcpVerifier => dcp::verifier(args.port, dir, &args.cell).await?,
    };
    let path = dir.join("suite.properties");
    std::fs::write(&path, properties).with_context(|| format!("{} cannot be written", path.display()))?;
    say(&path.display().to_string())?;
    Ok(platform)
}

async fn dsp(args: &Args, dir: &Path, judge: Option<Arc<Mutex<Judge>>>) -> Result<(Platform, String)> {
    let (platform, listener) = Platform::behind(args.port, dir, &args.cell, |config| Suite::Dsp.wire(config)).await?;
    let public = platform.urls.public("");
    let counterpart = Arc::new(Counterpart::new(&public)?);
    let under_test = Arc::new(UnderTest::make(&platform).await?);
    let front = Front::new(platform.address, counterpart.clone(), under_test.clone(), judge)?;
    tokio::spawn(proxy::serve(front, listener, true));
    let offers = participant::offers(&counterpart, &under_test).await?;
    agreements::make(&counterpart, &under_test, &offers).await?;
    tokio::spawn(steps::of_providers(under_test.clone()));
    let suite_port = free_port().await?;
    Ok((platform, properties::dsp(&public, suite_port, &under_test, &offers)))
}

/// A port that nobody listens on, for the suite's own server.
async fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    Ok(listener.local_addr()?.port())
}
