//! Plays scenarios against the platform; see `--help`.

#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use loadtest::{
    cell::{HandOver, Links, Plan as CellPlan},
    kill::{self, Plan},
    measure::calibration,
    options::{Common, Told, at_least_one, positive},
    platform,
    report::Report,
    scenario::{
        Scenario, cell_memory,
        chaos::{self, Fault},
        hop, placement, run, storm,
    },
    transcript::Tape,
};
use std::{process::ExitCode, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

// The client shares the machine with what it measures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plays scenarios on the platform and checks every answer: load with figures, and deaths in the middle of work.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Load(LoadCommand),
    /// Kill the platform during negotiations, transfers and onboarding; check that nothing acknowledged is lost or doubled.
    ///
    /// Builds a `cellspace` with its named crash points (feature `failpoints`) into a folder of its own, unless CELLSPACE_BINARY names one. Takes no --concurrency,
    /// --rate or --seconds: three platforms side by side do the same work in every round.
    Kill {
        /// Rounds, one or two deaths each.
        #[arg(long, default_value_t = 30)]
        rounds: u32,
        #[command(flatten)]
        told: Told,
    },
    /// A cell of three nodes on Cassandra and Kafka that is disturbed while participants negotiate and transfer; both sides are looked at all the time and in the end.
    ///
    /// Starts and ends all that it needs by deploy/dev (Java, Maven): each thing of Cassandra has a replica on each of its nodes, which sync before they acknowledge, and are killed one at a
    /// time. Kafka is one process, which is killed too. An operation is an answer that was as it must be.
    Chaos {
        /// How long faults begin, and until each kind came once; the last one is seen to its end.
        #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = positive)]
        minutes: f64,
        /// Only these; without it all that can happen.
        #[arg(long, value_name = "FAULT", value_delimiter = ',')]
        faults: Vec<Fault>,
        #[command(flatten)]
        cell: CellArguments,
        #[command(flatten)]
        told: Told,
    },
    /// The nodes of such a cell are ended and started again one after the other, under 200 negotiations a minute and 200 catalog requests a second.
    Rolling {
        #[command(flatten)]
        cell: CellArguments,
        #[command(flatten)]
        told: Told,
    },
    /// A node comes to such a cell, and goes again, under the same load.
    Resize {
        #[command(flatten)]
        cell: CellArguments,
        #[command(flatten)]
        told: Told,
    },
    /// The same requests to their participant's node of such a cell, and to another one.
    Hop {
        /// Length of the measured window.
        #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = positive)]
        seconds: f64,
        #[command(flatten)]
        cell: CellArguments,
        #[command(flatten)]
        told: Told,
    },
    /// A node of such a cell is killed, and all of its participants are asked at once.
    Storm {
        /// How many it has.
        #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = at_least_one())]
        participants: usize,
        #[command(flatten)]
        cell: CellArguments,
        #[command(flatten)]
        told: Told,
    },
    /// What processes of such a cell take for participants that nobody uses, and for ids that nobody has.
    CellMemory {
        /// How many participants there are at last, ten times as many as before.
        #[arg(long, value_name = "N", default_value_t = 20_000)]
        participants: usize,
        #[command(flatten)]
        cell: CellArguments,
        #[command(flatten)]
        told: Told,
    },
    /// How evenly the slots of a cell are dealt over 3 to 12 nodes, whatever these are called, and how many move when one comes.
    Placement {
        #[command(flatten)]
        told: Told,
    },
    /// Serve what the platform is compared with; started by the scenarios.
    #[command(hide = true)]
    Echo {
        /// Bytes of an answer.
        answer: usize,
    },
}

/// The cell that is disturbed.
#[derive(clap::Args)]
struct CellArguments {
    /// Nodes of Cassandra, each with a replica of everything.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    cassandra: u8,
    /// Hand slots over as quickly as the example of three nodes does, and not as a cell does that says nothing of it; `chaos` always does.
    #[arg(long)]
    quick: bool,
}

/// Plays something with a cell.
async fn with_cell(
    name: &str,
    cell: &CellArguments,
    links: Links,
    told: &Told,
    play: impl AsyncFnOnce(&CellPlan) -> Result<Report>,
) -> Result<ExitCode> {
    let seed = told.begin(name)?;
    let tape = told.transcript.as_deref().map(Tape::begin).transpose()?;
    let hand_over = if cell.quick { HandOver::Quick } else { HandOver::Usual };
    let plan = CellPlan { cassandra: cell.cassandra, hand_over, links, idle_after: None, seed, tape };
    let report = play(&plan).await?;
    if let (Some(path), Some(tape)) = (&told.transcript, &plan.tape) {
        tape.write(path)?;
    }
    tell(&report, told.json)
}

#[derive(Subcommand)]
enum LoadCommand {
    /// Counterparties ask providers for their catalogs, presentations verified before.
    Catalog {
        /// Offers that a counterparty sees; more than 50 are asked for by their first page.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one())]
        offers: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Participants of one platform negotiate contracts, to FINALIZED on both sides; providers and consumers have credentials of its issuer.
    Negotiation {
        #[command(flatten)]
        common: Common,
    },
    /// Participants of one platform start transfers under agreements made before, to STARTED on both sides; tokens are fetched and used.
    Transfer {
        #[command(flatten)]
        common: Common,
    },
    /// Tenants come in, until all agents of their participants are active and their credentials issued.
    Provision {
        #[command(flatten)]
        common: Common,
    },
    /// Catalogs again, but every request comes from a counterparty that nobody knows: DID document, presentation, two credentials.
    CatalogCold {
        /// Offers that a counterparty sees.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one())]
        offers: usize,
        #[command(flatten)]
        common: Common,
    },
    /// The verification of such a counterparty by itself beside its bare signature checks, and the same requests.
    VerifyCold {
        /// Offers that a counterparty sees.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one())]
        offers: usize,
        #[command(flatten)]
        common: Common,
    },
    /// A provider with a large catalog: pages, changes, commits and cold activations at 100, 10,000 and more definitions.
    CatalogLarge {
        /// Definitions of the largest catalog, over as many assets.
        #[arg(long, value_name = "N", default_value_t = 99_999)]
        definitions: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Verifiers ask participants of the platform for presentations of two credentials.
    Presentation {
        #[command(flatten)]
        common: Common,
    },
    /// Participants of the platform ask its issuer for credentials, until they hold them; the books of both sides are compared.
    Issuance {
        #[command(flatten)]
        common: Common,
    },
    /// Verifiers fetch a status list of the platform's issuer, while credentials on it are suspended and resumed.
    StatusList {
        /// Credentials that lists are for, on a platform of our own: their length is the next power of two.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8_388_608))]
        entries: Option<u32>,
        #[command(flatten)]
        common: Common,
    },
    /// Requests to participants that have left memory.
    Activation {
        /// Compare a participant with so many negotiations that have ended with one that has a thousand.
        #[arg(long, value_name = "N")]
        finished: Option<usize>,
        #[command(flatten)]
        common: Common,
    },
    /// Negotiations and catalog requests, alone and beside a participant whose negotiations stay open.
    NegotiationsOpen {
        /// Open negotiations of that one.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        open: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Queries of a participant's negotiations by their fields, and its other commands meanwhile.
    NegotiationsMany {
        /// How many it has.
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        negotiations: usize,
        #[command(flatten)]
        common: Common,
    },
    /// What registered participants take that nobody uses: memory and disk, after a restart and a minute.
    IdleMemory {
        /// How many there are at last.
        #[arg(long, value_name = "N", default_value_t = 50_000)]
        participants: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Ten times what the platform can answer, over --concurrency connections.
    Overload {
        #[command(flatten)]
        common: Common,
    },
    /// A provider's catalog, alone and while hostile counterparties keep its neighbours busy.
    NoisyNeighbour {
        #[command(flatten)]
        common: Common,
    },
    /// An empty platform: how soon it is ready, and its memory ten seconds later.
    Up {
        #[command(flatten)]
        common: Common,
    },
    /// Turns of the runtime on Cassandra, one at a time, beside bare lightweight transactions of as many bytes by its driver.
    CassandraCommit {
        #[command(flatten)]
        common: Common,
    },
}

impl LoadCommand {
    fn split(self) -> (Scenario, Common) {
        match self {
            Self::Catalog { offers, common } => (Scenario::Catalog { offers }, common),
            Self::Negotiation { common } => (Scenario::Negotiation, common),
            Self::Transfer { common } => (Scenario::Transfer, common),
            Self::Provision { common } => (Scenario::Provision, common),
            Self::CatalogCold { offers, common } => (Scenario::CatalogCold { offers }, common),
            Self::VerifyCold { offers, common } => (Scenario::VerifyCold { offers }, common),
            Self::CatalogLarge { definitions, common } => (Scenario::CatalogLarge { definitions }, common),
            Self::Presentation { common } => (Scenario::Presentation, common),
            Self::Issuance { common } => (Scenario::Issuance, common),
            Self::StatusList { entries, common } => (Scenario::StatusList { entries }, common),
            Self::Activation { finished, common } => (Scenario::Activation { finished }, common),
            Self::NegotiationsOpen { open, common } => (Scenario::NegotiationsOpen { open }, common),
            Self::NegotiationsMany { negotiations, common } => (Scenario::NegotiationsMany { negotiations }, common),
            Self::IdleMemory { participants, common } => (Scenario::IdleMemory { participants }, common),
            Self::Overload { common } => (Scenario::Overload, common),
            Self::NoisyNeighbour { common } => (Scenario::NoisyNeighbour, common),
            Self::Up { common } => (Scenario::Up, common),
            Self::CassandraCommit { common } => (Scenario::CassandraCommit, common),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let played = tokio::select! {
        biased;
        ended = told_to_end() => match ended {
            // What was played is dropped by now, and platform and folder with it. Threads that still sign are not waited for.
            Ok(signal) => std::process::exit(128 + signal),
            Err(error) => Err(error),
        },
        played = play(Arguments::parse().command) => played,
    };
    played.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Waits for a signal that ends us; answers its number.
async fn told_to_end() -> Result<i32> {
    let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
    let mut signals = kinds.into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
    let received = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    let (_, first, _) = futures::future::select_all(received).await;
    Ok(kinds.get(first).map_or(0, SignalKind::as_raw_value))
}

async fn play(command: Command) -> Result<ExitCode> {
    match command {
        Command::Load(load) => {
            let (scenario, mut common) = load.split();
            eprintln!("seed {}", common.seed());
            let report = run(scenario, &common).await?;
            tell(&report, common.json)
        }
        Command::Kill { rounds, told } => tell(&kill(rounds, &told).await?, told.json),
        Command::Chaos { minutes, faults, cell, told } => {
            let faults = if faults.is_empty() { Fault::possible(cell.cassandra) } else { faults };
            let cell = CellArguments { quick: true, ..cell };
            let time = Duration::from_secs_f64(minutes * 60.0);
            with_cell("chaos", &cell, Links::Relayed, &told, async |plan| chaos::run(plan, time, &faults).await).await
        }
        Command::Rolling { cell, told } => with_cell("rolling", &cell, Links::Direct, &told, async |plan| chaos::rolling(plan).await).await,
        Command::Resize { cell, told } => with_cell("resize", &cell, Links::Direct, &told, async |plan| chaos::resize(plan).await).await,
        Command::Hop { seconds, cell, told } => {
            let time = Duration::from_secs_f64(seconds);
            with_cell("hop", &cell, Links::Direct, &told, async |plan| hop::run(plan, time).await).await
        }
        Command::Storm { participants, cell, told } => {
            with_cell("storm", &cell, Links::Direct, &told, async |plan| storm::run(plan, participants).await).await
        }
        Command::CellMemory { participants, cell, told } => {
            let cell = CellArguments { quick: true, ..cell };
            with_cell("cell-memory", &cell, Links::Direct, &told, async |plan| cell_memory::run(plan, participants).await).await
        }
        Command::Placement { told } => tell(&placement::run(&told).await?, told.json),
        Command::Echo { answer } => calibration::serve_echo(answer).await.map(|()| ExitCode::SUCCESS),
    }
}

fn tell(report: &Report, json: bool) -> Result<ExitCode> {
    if json {
        eprint!("{}", report.text());
        println!("{}", serde_json::to_string(report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn kill(rounds: u32, told: &Told) -> Result<Report> {
    ensure!(rounds > 0, "no rounds");
    let seed = told.begin("kill")?;
    let folder = platform::workspace(None)?;
    let tape = told.transcript.as_deref().map(Tape::begin).transpose()?;
    let plan = Plan { binary: platform::binary_with_crash_points().await?, folder: folder.path().to_owned(), rounds, seed, tape };
    let report = kill::measured(&plan, |line| eprintln!("{line}")).await?;
    if let (Some(path), Some(tape)) = (&told.transcript, &plan.tape) {
        tape.write(path)?;
    }
    if report.errors > 0 {
        eprintln!("data and log are kept in {}", folder.keep().display());
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        let reads = |arguments: &[&str]| Arguments::try_parse_from(["loadtest"].iter().chain(arguments)).is_ok();
        assert!(reads(&["catalog", "--rate", "0.5", "--offers", "1", "--seconds", "0.2"]) && reads(&["catalog", "--concurrency", "1"]));
        for option in ["--rate", "--offers", "--concurrency", "--seconds"] {
            for bad in ["0", "-1", "x"] {
                assert!(!reads(&["catalog", option, bad]), "{option} {bad}");
            }
        }
        for option in ["--rate", "--seconds"] {
            assert!(!reads(&["catalog", option, "nan"]) && !reads(&["catalog", option, "inf"]), "{option}");
        }
        let entries = |entries: &str| reads(&["status-list", "--entries", entries]);
        assert!(entries("1") && entries("8388608") && !entries("0") && !entries("8388609"));
    }
}
