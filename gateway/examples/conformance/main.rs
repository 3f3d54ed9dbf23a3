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
mod front;
mod operator;
mod participant;
mod properties;
mod proxy;
mod schemas;
mod script;
mod steps;

use anyhow::{Context, Result};
use cellspace::{
    Node, NodeConfig, Ports,
    observe::{LogOptions, logs},
};
use cellspace_actors::control_plane::{
    dsp::Steering,
    negotiation::{self, Negotiation},
    transfer::{self, Transfer},
};
use cellspace_schemas::AgreementId;
use cellspace_storage::MasterKey;
use clap::{Parser, ValueEnum};
use counterpart::Counterpart;
use front::Front;
use parking_lot::Mutex;
use participant::UnderTest;
use schemas::Judge;
use std::{
    env,
    ffi::{OsStr, OsString},
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

/// How long the platform may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// The system under test of a conformance suite, in the foreground until SIGINT or SIGTERM. Its last line is the path of the suite's properties.
#[derive(Debug, Parser)]
struct Args {
    /// The suite.
    suite: Suite,
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

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    // Before the start, so that a signal during it is not lost.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
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
        outcome = serve(args.suite, args.port, &dir, judge.clone()) => outcome,
        () = next(&mut interrupt, &mut terminate) => return Ok(()),
    };
    let node = outcome?;
    next(&mut interrupt, &mut terminate).await;
    node.drain(STOP).await;
    guard.flush().await;
    if let Some(judge) = judge {
        std::fs::write(dir.join("messages"), format!("{}\n", judge.lock()))?;
    }
    Ok(())
}

/// With the schemas of the suite's own jars.
fn judge(class_path: &OsStr) -> Result<Judge> {
    let of_suite = |jar: &PathBuf| jar.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dsp-"));
    Judge::new(&schemas::DSP, env::split_paths(class_path).filter(of_suite)).context("the suite's schemas cannot be used")
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Starts everything for the suite, and says where its properties are.
async fn serve(suite: Suite, port: u16, dir: &Path, judge: Option<Arc<Mutex<Judge>>>) -> Result<Node> {
    let (node, properties) = match suite {
        Suite::Dsp => dsp(port, dir, judge).await?,
        Suite::DcpHolder => dcp::holder(port, dir).await?,
        Suite::DcpIssuer => dcp::issuer(port, dir).await?,
        Suite::DcpVerifier => dcp::verifier(port, dir).await?,
    };
    let path = dir.join("suite.properties");
    std::fs::write(&path, properties).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", path.display())?;
    out.flush()?;
    Ok(node)
}

/// A listener on the port of loopback, its URL, and the configuration of a node that is reached there.
async fn reached_on(port: u16, dir: &Path) -> Result<(TcpListener, String, NodeConfig)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| format!("port {port} cannot be used"))?;
    let public = format!("http://localhost:{}", listener.local_addr()?.port());
    let mut config = NodeConfig { ports: Ports::Free, public_url: Some(public.parse()?), ..NodeConfig::new(dir.join("data")) };
    config.master_key = Some(MasterKey::File(dir.join("data/master.key")));
    Ok((listener, public, config))
}

async fn dsp(port: u16, dir: &Path, judge: Option<Arc<Mutex<Judge>>>) -> Result<(Node, String)> {
    let (listener, public, mut config) = reached_on(port, dir).await?;
    config.steering = Arc::new(Held);
    let node = Node::start(config).await?;
    let counterpart = Arc::new(Counterpart::new(&public)?);
    let under_test = Arc::new(UnderTest::make(&node).await?);
    let front = Front::new(node.public_address().context("there is no public listener")?, counterpart.clone(), under_test.clone(), judge)?;
    tokio::spawn(proxy::serve(front, listener, true));
    let offers = participant::offers(&counterpart, &under_test).await?;
    agreements::make(&counterpart, &under_test, &offers).await?;
    tokio::spawn(steps::of_providers(under_test.clone()));
    let suite_port = free_port().await?;
    Ok((node, properties::dsp(&public, suite_port, &under_test, &offers)))
}

/// A port that nobody listens on, for the suite's own server.
async fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    Ok(listener.local_addr()?.port())
}
