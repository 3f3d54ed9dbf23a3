//! Arguments, as clap reads them. The doc comments are the help texts.

mod admin;
mod places;
#[cfg(test)]
mod tests;

#[cfg(all(feature = "scylla", feature = "kafka"))]
pub use admin::ConfigArgs;
#[cfg(feature = "scylla")]
pub use admin::SchemaArgs;
pub use admin::{
    AdminCommand, AgentArgs, BackupArgs, CertsArgs, DrainArgs, MoveArgs, NodesArgs, OutboxArgs, RebalanceArgs, RestoreArgs, TopicsArgs,
};
pub use places::{EventsArgs, KeyspaceArgs, MasterKeyArgs, NewMasterKeyArgs, PrefixArgs, StoreArgs, VaultArgs};

use super::settings::Settings;
use crate::{
    crypto::authorities,
    node::Roles,
    observe::{LogFormat, LogOptions},
};
use anyhow::Context;
use cellspace_actors::outbound::Certificate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use url::Url;

/// Where data is kept without `--data-dir`.
const DATA_DIR: &str = "cellspace-data";

/// Dataspace participants as virtual actors.
#[derive(Debug, Parser)]
#[command(name = "cellspace", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the platform: one node, with everything in one directory unless another place is named.
    ///
    /// The first start makes the data directory and a first client with all rights, and shows its secret once. Ctrl-C or SIGTERM ends it in
    /// order; a second one at once.
    Up(Box<UpArgs>),
    /// Run one process of a cell: several processes that share participants, a ScyllaDB or Cassandra, a Kafka and a vault, each with a part of the participants.
    ///
    /// Ctrl-C or SIGTERM hands its part over to the others and ends it in order; a second one at once.
    Run(RunArgs),
    /// Play the story of a dataspace on a platform of its own, through the public HTTP APIs, and check every result.
    ///
    /// An operator prepares a dataspace, three tenants are onboarded, data is shared under a contract, refused, cut off and revoked. Ends
    /// with an error at the first thing that does not go as it must.
    Demo(DemoArgs),
    /// Operate a platform: talk to the one that runs, prepare its database, its topics and its certificates.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Give the vault of a platform that is down another master key, or that of a cell, whose processes may go on meanwhile. Copies of its data from before still open with the old one.
    Rekey(RekeyArgs),
}

#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Print one line of JSON when ready: URLs, and the first client; its secret at the first start alone.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Settings of this process, as TOML: those of `cellspace up` except --json, by the names of its options without the dashes before, and those of the cell (see deploy/README.md). Keys
    /// may be gathered in tables: `nodes` in `[cassandra]` is `cassandra-nodes`.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// What this process does, some of gateway, runtime and fabric, in the place of what the file says.
    #[arg(long, value_name = "ROLES")]
    pub roles: Option<Roles>,
    /// Print one line of JSON when ready: URLs, and the first client, if it lies here; its secret at the first start alone.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RekeyArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Of a cell: settings of one of its processes, as `cellspace run` takes them, still with the old key. They alone count then; the new key is brought, not made.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["master_key_file", "master_key_env", "master_key_command"])]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub master_key: MasterKeyArgs,
    #[command(flatten)]
    pub new: NewMasterKeyArgs,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Play on the platform whose public listener has this base URL, on which nobody has played, in the place of one of its own. It stays up.
    #[arg(long, value_name = "URL", requires = "client_file", conflicts_with_all = ["keep", "data_dir", "cassandra", "kafka"])]
    pub against: Option<Url>,
    /// With --against: the file of its first client, bootstrap-client.json in a data directory.
    #[arg(long, value_name = "FILE", requires = "against")]
    pub client_file: Option<PathBuf>,
    /// Leave the platform running afterwards, and print URLs, tokens and curl lines.
    #[arg(long)]
    pub keep: bool,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Keep data and log in this directory, which must be empty [default: a temporary one, removed when the story passed].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub events: EventsArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Debug, Args)]
pub struct DataArgs {
    /// Data directory of the platform; the first start makes it when it is missing.
    #[arg(long, value_name = "DIR", default_value = DATA_DIR, env = "CELLSPACE_DATA_DIR")]
    pub data_dir: PathBuf,
}

/// How a platform that is up is reached by an operator.
#[derive(Debug, Args)]
pub struct PlatformArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Admin listener to ask, in the place of the one that the first client's file names: nodes, drain, finalize and parked are about the cell of the process that is reached.
    #[arg(long, value_name = "URL")]
    pub at: Option<Url>,
}

#[derive(Debug, Args)]
pub struct TrustArgs {
    /// File with authorities (PEM) whose certificates are believed beside those that the system believes, read at the start.
    #[arg(long, value_name = "FILE", env = "CELLSPACE_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

impl TrustArgs {
    /// The authorities of the file, when one is named.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn authorities(&self) -> anyhow::Result<Vec<Certificate>> {
        self.ca_file.as_deref().map_or(Ok(Vec::new()), |file| authorities(file).context("--ca-file"))
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs and traces")]
pub struct LogArgs {
    /// What is logged, in the syntax of RUST_LOG, for example debug or info,cellspace_cluster=debug [default: info].
    #[arg(long, value_name = "FILTER", env = "CELLSPACE_LOG")]
    pub log: Option<String>,
    /// How log lines look. They go to standard error, those of a demo to the file that it names.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "auto", env = "CELLSPACE_LOG_FORMAT")]
    pub log_format: Format,
    /// Base URL of an OTLP collector (HTTP, protobuf) that traces are sent to, for example http://localhost:4318.
    #[arg(long, value_name = "URL", env = "CELLSPACE_OTLP")]
    pub otlp: Option<Url>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

impl LogArgs {
    /// What logs are set up with.
    pub fn options(&self) -> LogOptions {
        let format = match self.log_format {
            Format::Auto => LogFormat::Auto,
            Format::Json => LogFormat::Json,
            Format::Human => LogFormat::Human,
        };
        LogOptions { format, filter: self.log.clone(), otlp: self.otlp.clone(), file: None }
    }
}
