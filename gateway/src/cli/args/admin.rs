//! What `cellspace admin` does.

use super::{DataArgs, KeyspaceArgs, PlatformArgs, PrefixArgs, StoreArgs};
use crate::cli::settings::cell_name;
use cellspace_storage::Replication;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct TopicsArgs {
    /// HOST:PORT of some brokers of the Kafka, separated by commas.
    #[arg(long, value_name = "HOSTS", value_delimiter = ',', env = "CELLSPACE_KAFKA", required = true)]
    pub kafka: Vec<String>,
    #[command(flatten)]
    pub topics: PrefixArgs,
    /// Make the platform's topics that are missing. It makes them itself as it needs them, where it may.
    #[arg(long)]
    pub create: bool,
    /// Show this topic's dead letters: events that could not be handled, and why.
    #[arg(long, value_name = "TOPIC", conflicts_with = "create")]
    pub dead_letters: Option<String>,
    /// With --dead-letters: those after this position.
    #[arg(long, value_name = "POSITION", default_value = "0", requires = "dead_letters")]
    pub after: u64,
    /// Publish this topic's dead letters again, each of them once.
    #[arg(long, value_name = "TOPIC", conflicts_with_all = ["create", "dead_letters"])]
    pub replay: Option<String>,
}

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// HOST:PORT of some nodes of the ScyllaDB or Cassandra, separated by commas.
    #[arg(long, value_name = "HOSTS", value_delimiter = ',', env = "CELLSPACE_CASSANDRA", required = true)]
    pub cassandra: Vec<String>,
    #[command(flatten)]
    pub keyspace: KeyspaceArgs,
    /// How often each row is kept, when the keyspace is made: a number, or DATACENTER=NUMBER for each datacenter, separated by commas.
    #[arg(long, value_name = "N", default_value = "3")]
    pub replication: Replication,
}

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Print an access token of the first client, for example for curl.
    Token(TokenArgs),
    /// Show the nodes of the cell: what each does, how many slots it has, whether its lease is renewed, and how it stands to the others.
    Nodes(NodesArgs),
    /// Have a node of the cell that serves slots hand them over and end; waits until it has none.
    Drain(DrainArgs),
    /// End an upgrade of the cell, when all of its processes run the new build: from then on it writes rows that no earlier build reads.
    Finalize(PlatformArgs),
    /// Have a participant moved to another cell of the installation, while it is in use. May be repeated, by whichever node, and goes on where it was; with the cell
    /// that has the participant, a move that is not decided yet is given up.
    Move(MoveArgs),
    /// Have participants moved, one after another, until each cell of the installation has its share of them by the number of its nodes. May be ended and repeated.
    Rebalance(RebalanceArgs),
    /// List agents that were taken out of service after repeated failures, of all nodes of a cell.
    Parked(PlatformArgs),
    /// Put an agent back into service.
    Unpark(AgentArgs),
    /// Show what an agent has still to tell others, and what was given up; send such a dead letter again or throw it away.
    Outbox(OutboxArgs),
    /// Show how an agent stands, and what its last commits were about.
    Explain(AgentArgs),
    /// Make the keyspace of a cell in ScyllaDB or Cassandra, or bring it to the schema of this build. May be repeated.
    Schema(SchemaArgs),
    /// Show the topics of the log of events in Kafka: what they hold, who reads them and how far, which have dead letters.
    Topics(TopicsArgs),
    /// Give a cell whose processes have all ended the terms of this file: how they judge each other, lease, margin and the like.
    Terms(ConfigArgs),
    /// Write everything that a platform which is down keeps in its data directory and its keyspace, or a cell in its keyspace, to one file, but for the vault's
    /// master key and a log that is in Kafka.
    Backup(BackupArgs),
    /// Put a backup where there is no data. Nothing is restored from a file that is not whole.
    Restore(RestoreArgs),
    /// Make certificates with which the nodes of a cell know each other: an authority for development, kept in the directory, and one for each node.
    Certs(CertsArgs),
}

/// Where all that a backup is of lies.
#[derive(Debug, Args)]
pub struct KeptArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Of a cell: settings of one of its processes, as `cellspace run` takes them. They alone count then.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    // Last: what comes after it stands under its heading.
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file, which must not be there. Who reads it knows the data of all participants, but no key or secret.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    #[command(flatten)]
    pub kept: KeptArgs,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The file.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    #[command(flatten)]
    pub kept: KeptArgs,
}

#[derive(Debug, Args)]
pub struct CertsArgs {
    /// Name of the cell.
    #[arg(long, value_name = "NAME", value_parser = cell_name)]
    pub cell: String,
    /// A node of it; may be repeated. One that has a certificate gets another.
    #[arg(long = "node", value_name = "NAME", required_unless_present = "hosts")]
    pub nodes: Vec<String>,
    /// A name or address under which clients reach the listeners, for --tls-cert; may be repeated.
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Directory for the files, made when missing: ca.pem and ca-key.pem, for each node NAME.pem and NAME-key.pem, for hosts listeners.pem and listeners-key.pem.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Settings of a process of the cell, as `cellspace run` takes them.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct NodesArgs {
    #[command(flatten)]
    pub platform: PlatformArgs,
    /// Print JSON in the place of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    pub platform: PlatformArgs,
    /// The node.
    pub node: String,
}

#[derive(Debug, Args)]
pub struct MoveArgs {
    #[command(flatten)]
    pub platform: PlatformArgs,
    /// Id of the participant context.
    pub participant: String,
    /// Name of the cell.
    #[arg(long, value_name = "CELL")]
    pub to: String,
}

#[derive(Debug, Args)]
pub struct RebalanceArgs {
    #[command(flatten)]
    pub platform: PlatformArgs,
    /// Show what would be moved, and move nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    #[command(flatten)]
    pub platform: PlatformArgs,
    /// The agent, as logs name it: kind/owner, for example control-plane/4be1c0, or kind/owner/name.
    pub address: String,
}

#[derive(Debug, Args)]
pub struct OutboxArgs {
    #[command(flatten)]
    pub agent: AgentArgs,
    /// Send this dead letter again.
    #[arg(long, value_name = "ID", conflicts_with = "discard")]
    pub redrive: Option<String>,
    /// Throw this dead letter away.
    #[arg(long, value_name = "ID")]
    pub discard: Option<String>,
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    pub platform: PlatformArgs,
    /// Only these scopes, separated by spaces [default: all that the client holds].
    #[arg(long)]
    pub scope: Option<String>,
}
