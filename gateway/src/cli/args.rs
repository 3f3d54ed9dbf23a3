//! Arguments, as clap reads them. The doc comments are the help texts.

use super::settings::{Settings, cell_name};
use crate::{
    crypto::authorities,
    node::Roles,
    observe::{LogFormat, LogOptions},
};
use anyhow::Context;
use cellspace_actors::outbound::Certificate;
use cellspace_storage::{KafkaOptions, Login, MasterKey, ParticipantLogin, RemoteVaultOptions, Replication, ScyllaOptions, Secret};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{fs, path::PathBuf};
use url::Url;

/// Where data is kept without `--data-dir`.
const DATA_DIR: &str = "cellspace-data";
/// Environment variable with the password of the database.
const PASSWORD: &str = "CELLSPACE_CASSANDRA_PASSWORD";

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
    /// Give the vault of a platform that is down another master key. Copies of its data from before still open with the old one.
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
#[group(multiple = false)]
pub struct MasterKeyArgs {
    /// File with the vault's master key (32 bytes in base64 or hexadecimal), made at the first start when missing [default: master.key in the data directory].
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Environment variable with the vault's master key.
    #[arg(long, value_name = "NAME")]
    pub master_key_env: Option<String>,
    /// Command of the shell that writes the vault's master key to its standard output, within 30 seconds.
    #[arg(long, value_name = "COMMAND")]
    pub master_key_command: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Vault")]
#[group(requires = "vault_addr")]
pub struct VaultArgs {
    /// Keep keys and secrets in this HashiCorp Vault or OpenBao (transit engine, KV engine version 2) instead of the data directory: https://HOST[:PORT].
    #[arg(long, value_name = "URL", env = "CELLSPACE_VAULT_ADDR", requires = "vault_role", conflicts_with_all = ["master_key_file", "master_key_env", "master_key_command"])]
    pub vault_addr: Option<String>,
    /// Role that is asked for when signing in.
    #[arg(long, value_name = "ROLE", env = "CELLSPACE_VAULT_ROLE")]
    pub vault_role: Option<String>,
    /// File with the JWT to sign in with, read at every login.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token",
        env = "CELLSPACE_VAULT_JWT_FILE"
    )]
    pub vault_jwt_file: PathBuf,
    /// Where the login by JWT is mounted.
    #[arg(long, value_name = "MOUNT", default_value = "jwt", env = "CELLSPACE_VAULT_LOGIN")]
    pub vault_login: String,
    /// Role that each participant signs in with by itself, so that the vault lets nobody out of its own folder; without it all is done with the node's own role.
    #[arg(long, value_name = "ROLE", env = "CELLSPACE_VAULT_PARTICIPANT_ROLE", requires = "vault_addr")]
    pub vault_participant_role: Option<String>,
    /// Where the login by JWT of participants is mounted, which takes what is signed by this installation.
    #[arg(long, value_name = "MOUNT", default_value = "cellspace", env = "CELLSPACE_VAULT_PARTICIPANT_LOGIN")]
    pub vault_participant_login: String,
    /// Namespace, for a vault that has namespaces.
    #[arg(long, value_name = "NAME", env = "CELLSPACE_VAULT_NAMESPACE")]
    pub vault_namespace: Option<String>,
    /// Where the KV engine is mounted.
    #[arg(long, value_name = "MOUNT", default_value = "secret", env = "CELLSPACE_VAULT_KV")]
    pub vault_kv: String,
    /// Where the transit engine is mounted.
    #[arg(long, value_name = "MOUNT", default_value = "transit", env = "CELLSPACE_VAULT_TRANSIT")]
    pub vault_transit: String,
    /// Folder of this installation in the KV engine.
    #[arg(long, value_name = "PATH", default_value = "cellspace", env = "CELLSPACE_VAULT_FOLDER")]
    pub vault_folder: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Keep agents in this ScyllaDB or Cassandra instead of the data directory: HOST:PORT of some of its nodes, separated by commas. The schema comes from
    /// `cellspace admin schema`. The log of events and the vault stay in the data directory, unless they are elsewhere.
    #[arg(long, alias = "cassandra-nodes", value_name = "HOSTS", value_delimiter = ',', env = "CELLSPACE_CASSANDRA")]
    pub cassandra: Vec<String>,
    #[command(flatten)]
    pub keyspace: KeyspaceArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Events")]
pub struct EventsArgs {
    /// Keep the log of events, over which participants are provisioned, in this Kafka instead of the data directory: HOST:PORT of some of its brokers,
    /// separated by commas. Kept from the first start, as is the prefix. While Kafka is away, provisioning waits.
    #[arg(long, alias = "kafka-nodes", value_name = "HOSTS", value_delimiter = ',', env = "CELLSPACE_KAFKA")]
    pub kafka: Vec<String>,
    #[command(flatten)]
    pub topics: PrefixArgs,
}

#[derive(Debug, Args)]
#[group(requires = "kafka")]
pub struct PrefixArgs {
    /// What the names of this installation's topics and groups begin with [default: nothing].
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, env = "CELLSPACE_KAFKA_PREFIX")]
    pub kafka_prefix: String,
    /// Replicas of topics that are made [default: what the brokers choose].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9), env = "CELLSPACE_KAFKA_REPLICATION")]
    pub kafka_replication: Option<u8>,
}

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
#[group(requires = "cassandra")]
pub struct KeyspaceArgs {
    /// Keyspace of the cell.
    #[arg(long, value_name = "NAME", default_value = "cellspace", env = "CELLSPACE_CASSANDRA_KEYSPACE")]
    pub cassandra_keyspace: String,
    /// Datacenter whose nodes are asked [default: all].
    #[arg(long, value_name = "NAME", env = "CELLSPACE_CASSANDRA_DATACENTER")]
    pub cassandra_datacenter: Option<String>,
    /// User that the database knows; its password comes from --cassandra-password-file, or from the environment variable CELLSPACE_CASSANDRA_PASSWORD.
    #[arg(long, value_name = "NAME", env = "CELLSPACE_CASSANDRA_USER")]
    pub cassandra_user: Option<String>,
    /// File with the user's password.
    #[arg(long, value_name = "FILE", env = "CELLSPACE_CASSANDRA_PASSWORD_FILE", requires = "cassandra_user")]
    pub cassandra_password_file: Option<PathBuf>,
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

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct NewMasterKeyArgs {
    /// File with the new master key; made when missing.
    #[arg(long, value_name = "FILE")]
    pub new_master_key_file: Option<PathBuf>,
    /// Environment variable with the new master key.
    #[arg(long, value_name = "NAME")]
    pub new_master_key_env: Option<String>,
    /// Command that writes the new master key.
    #[arg(long, value_name = "COMMAND")]
    pub new_master_key_command: Option<String>,
}

#[derive(Debug, Args)]
pub struct RekeyArgs {
    #[command(flatten)]
    pub data: DataArgs,
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

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Print an access token of the first client, for example for curl.
    Token(TokenArgs),
    /// Show the nodes of the cell: what each does, how many slots it has, whether its lease is renewed, and how it stands to the others.
    Nodes(NodesArgs),
    /// Have a node of the cell that serves slots hand them over and end; waits until it has none.
    Drain(DrainArgs),
    /// Have a participant moved to another cell of the installation, while it is in use. May be repeated, by whichever node, and goes on where it was; with the cell
    /// that has the participant, a move that is not decided yet is given up.
    Move(MoveArgs),
    /// Have participants moved, one after another, until each cell of the installation has its share of them by the number of its nodes. May be ended and repeated.
    Rebalance(RebalanceArgs),
    /// List agents that were taken out of service after repeated failures.
    Parked(PlatformArgs),
    /// Put an agent back into service.
    Unpark(AgentArgs),
    /// Show what an agent has still to tell others, and what was given up; send such a dead letter again or throw it away.
    Outbox(OutboxArgs),
    /// Show how an agent stands.
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

#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Of a cell: settings of one of its processes, as `cellspace run` takes them. They alone count then.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The file, which must not be there. Who reads it knows the data of all participants, but no key or secret.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Of a cell: settings of one of its processes, as `cellspace run` takes them. They alone count then.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The file.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
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

impl MasterKeyArgs {
    /// Where the key comes from, when that was said.
    pub fn source(&self) -> Option<MasterKey> {
        source(self.master_key_file.as_ref(), self.master_key_env.as_ref(), self.master_key_command.as_ref())
    }
}

impl VaultArgs {
    /// The installation's own vault, when one is named.
    pub fn options(&self) -> Option<RemoteVaultOptions> {
        let (address, role) = (self.vault_addr.clone()?, self.vault_role.clone()?);
        let login = Login::Jwt { mount: self.vault_login.clone(), role, file: self.vault_jwt_file.clone() };
        let mount = self.vault_participant_login.clone();
        Some(RemoteVaultOptions {
            participants: self.vault_participant_role.clone().map(|role| ParticipantLogin { mount, role }),
            namespace: self.vault_namespace.clone(),
            kv: self.vault_kv.clone(),
            transit: self.vault_transit.clone(),
            folder: self.vault_folder.clone(),
            ..RemoteVaultOptions::new(address, login)
        })
    }
}

impl StoreArgs {
    /// The cell's keyspace, when one is named.
    ///
    /// # Errors
    /// When the password cannot be read.
    pub fn options(&self) -> anyhow::Result<Option<ScyllaOptions>> {
        if self.cassandra.is_empty() { Ok(None) } else { self.keyspace.options(&self.cassandra).map(Some) }
    }
}

impl EventsArgs {
    /// The log in Kafka, when one is named.
    pub fn options(&self) -> Option<KafkaOptions> {
        (!self.kafka.is_empty()).then(|| self.topics.options(&self.kafka))
    }
}

impl PrefixArgs {
    /// The log on these brokers.
    pub fn options(&self, brokers: &[String]) -> KafkaOptions {
        KafkaOptions { replication: self.kafka_replication, ..KafkaOptions::new(brokers.to_vec(), &self.kafka_prefix) }
    }
}

impl KeyspaceArgs {
    /// The keyspace on these nodes.
    ///
    /// # Errors
    /// When the password cannot be read.
    pub fn options(&self, nodes: &[String]) -> anyhow::Result<ScyllaOptions> {
        let login = match (&self.cassandra_user, &self.cassandra_password_file) {
            (None, _) => None,
            (Some(user), Some(file)) => {
                let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
                Some((user.clone(), Secret::from(text.trim_end_matches(['\r', '\n']))))
            }
            (Some(user), None) => {
                let text = std::env::var(PASSWORD).with_context(|| format!("neither --cassandra-password-file nor {PASSWORD} is given"))?;
                Some((user.clone(), Secret::from(text)))
            }
        };
        let datacenter = self.cassandra_datacenter.clone();
        Ok(ScyllaOptions { datacenter, login, ..ScyllaOptions::new(nodes.to_vec(), &self.cassandra_keyspace) })
    }
}

impl NewMasterKeyArgs {
    /// Where the key comes from.
    pub fn source(&self) -> Option<MasterKey> {
        source(self.new_master_key_file.as_ref(), self.new_master_key_env.as_ref(), self.new_master_key_command.as_ref())
    }
}

fn source(file: Option<&PathBuf>, variable: Option<&String>, command: Option<&String>) -> Option<MasterKey> {
    let file = file.cloned().map(MasterKey::File);
    file.or_else(|| variable.cloned().map(MasterKey::Environment)).or_else(|| command.cloned().map(MasterKey::Command))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{NodeConfig, Ports};
    use cellspace_actors::issuer::ListBits;
    use clap::CommandFactory;
    use std::time::Duration;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// Options of `up` stand under what they belong to.
    #[test]
    fn only_options_of_events_stand_below_events() {
        let mut cli = Cli::command();
        let help = cli.find_subcommand_mut("up").unwrap().render_long_help().to_string();
        let (_, events) = help.split_once("\nEvents:\n").unwrap();
        let (events, _) = events.split_once("\nLogs and traces:\n").unwrap();
        let options: Vec<_> = events.lines().filter_map(|line| line.trim_start().strip_prefix("--")).collect();
        assert!(options.len() == 3 && options.iter().all(|option| option.starts_with("kafka")), "{options:?}");
    }

    fn up(args: &[&str]) -> NodeConfig {
        let cli = Cli::try_parse_from(["cellspace", "up"].iter().chain(args)).unwrap();
        match cli.command {
            Command::Up(args) => args.settings.config(&args.data).unwrap(),
            Command::Run(_) | Command::Demo(_) | Command::Admin(_) | Command::Rekey(_) => panic!("not up"),
        }
    }

    #[test]
    fn a_demo_is_played_on_a_platform_of_its_own_or_on_another() {
        let demo = |args: &[&str]| Cli::try_parse_from(["cellspace", "demo"].iter().chain(args)).is_ok();
        assert!(demo(&[]) && demo(&["--against", "http://localhost:1", "--client-file", "f"]));
        assert!(!demo(&["--against", "http://localhost:1"]) && !demo(&["--client-file", "f"]));
        assert!(!demo(&["--against", "http://localhost:1", "--client-file", "f", "--keep"]));
    }

    #[test]
    fn up_reads_its_arguments() {
        let config =
            up(&["--port", "0", "--status-list-age", "2s", "--idle-after", "100ms", "--issuer", "https://idp/a=b=https://idp/jwks"]);
        assert_eq!(config.ports, Ports::Free);
        assert_eq!((config.status_list_age, config.cluster.idle_after), (Duration::from_secs(2), Duration::from_millis(100)));
        assert_eq!((config.issuers[0].issuer.as_str(), config.issuers[0].jwks.as_str()), ("https://idp/a=b", "https://idp/jwks"));
        assert_eq!(config.issuers[0].audience, None);
        let config = up(&["--issuer", "i=https://idp/jwks,cells"]);
        assert_eq!((config.issuers[0].jwks.as_str(), config.issuers[0].audience.as_deref()), ("https://idp/jwks", Some("cells")));
        assert_eq!(up(&["--single-participant", "acme"]).single_participant, Some("acme".parse().unwrap()));
        assert_eq!(up(&[]).single_participant, None);
        assert_eq!((up(&["--every-profile"]).every_profile, up(&[]).every_profile), (true, false));
        let lenient = |arguments: &[&str]| {
            let trust = up(arguments).trust;
            [trust.lenient_relationships, trust.lenient_ids, trust.lenient_schemas, trust.lenient_lists]
        };
        assert_eq!((lenient(&[]), lenient(&["--tolerate", "ids"])), ([false; 4], [false, true, false, false]));
        assert_eq!(lenient(&["--tolerate", "relationships", "--tolerate", "schemas"]), [true, false, true, false]);
        assert_eq!(lenient(&["--tolerate", "lists"]), [false, false, false, true]);
        assert!(Cli::try_parse_from(["cellspace", "up", "--tolerate", "signatures"]).is_err());
        assert_eq!(up(&["--status-list-bits", "1048576"]).status_list_bits, ListBits::new(1 << 20).unwrap());
        assert_eq!(up(&[]).status_list_bits, ListBits::LEAST);
        for bad in ["0", "1000000", "65536", "16777216", "many"] {
            assert!(Cli::try_parse_from(["cellspace", "up", "--status-list-bits", bad]).is_err(), "{bad}");
        }
        assert_eq!((up(&["--cell", "eu-2"]).cell.as_str(), up(&[]).cell.as_str()), ("eu-2", "cell-1"));
        assert_eq!(up(&["--port", "9000"]).ports, Ports::Base(9000));
        assert_eq!(up(&[]).ports, Ports::Remembered);
        assert!(matches!(up(&["--master-key-command", "pass show cells"]).master_key, Some(MasterKey::Command(_))));
        assert!(up(&[]).master_key.is_none() && up(&[]).vault.is_none());
        let vault = up(&["--vault-addr", "https://v:8200", "--vault-role", "cells", "--vault-login", "kubernetes"]).vault.unwrap();
        assert_eq!((vault.address.as_str(), vault.kv.as_str(), vault.folder.as_str()), ("https://v:8200", "secret", "cellspace"));
        assert!(matches!(&vault.login, Login::Jwt { mount, role, .. } if mount == "kubernetes" && role == "cells"));
        assert!(vault.participants.is_none());
        let apart = ["--vault-addr", "https://v:8200", "--vault-role", "cells", "--vault-participant-role", "one"];
        let participants = up(&apart).vault.and_then(|vault| vault.participants).unwrap();
        assert_eq!((participants.mount.as_str(), participants.role.as_str()), ("cellspace", "one"));
        for bad in [
            ["--port", "x"],
            ["--issuer", "x"],
            ["--issuer", "i=https://idp/jwks,"],
            ["--idle-after", "soon"],
            ["--single-participant", ""],
            ["--host", "example.com"],
            ["--cell", ""],
            ["--cell", "A B"],
            // Of what is not named itself.
            ["--cassandra-keyspace", "x"],
            ["--cassandra-user", "x"],
            ["--kafka-prefix", "x."],
            ["--vault-role", "x"],
            ["--vault-folder", "x"],
        ] {
            assert!(Cli::try_parse_from(["cellspace", "up"].iter().chain(&bad)).is_err(), "{bad:?}");
        }
        let store = up(&["--cassandra", "a:1,b:2", "--cassandra-datacenter", "dc"]).scylla.unwrap();
        assert_eq!(
            (store.contact_points.join(" "), store.keyspace.as_str(), store.datacenter.as_deref()),
            ("a:1 b:2".into(), "cellspace", Some("dc"))
        );
        let log = up(&["--kafka", "a:1,b:2", "--kafka-prefix", "x.", "--kafka-replication", "3"]).kafka.unwrap();
        assert_eq!((log.servers.join(" "), log.prefix.as_str(), log.replication), ("a:1 b:2".into(), "x.", Some(3)));
        let topics = |args: &[&str]| Cli::try_parse_from(["cellspace", "admin", "topics", "--kafka", "a:1"].iter().chain(args)).is_ok();
        assert!(topics(&[]) && topics(&["--create"]) && topics(&["--dead-letters", "t", "--after", "3"]) && topics(&["--replay", "t"]));
        assert!(!topics(&["--replay", "t", "--create"]) && !topics(&["--after", "3"]));
        let schema = |args: &[&str]| Cli::try_parse_from(["cellspace", "admin", "schema", "--cassandra", "a:1"].iter().chain(args)).is_ok();
        assert!(schema(&[]) && schema(&["--replication", "a=3,b=2"]) && !schema(&["--replication", "0"]));
        let rekey = |args: &[&str]| Cli::try_parse_from(["cellspace", "rekey"].iter().chain(args)).is_ok();
        assert!(rekey(&["--new-master-key-file", "f"]) && rekey(&["--master-key-env", "A", "--new-master-key-env", "B"]));
        assert!(!rekey(&[]) && !rekey(&["--new-master-key-file", "f", "--new-master-key-env", "B"]));
        assert!(Cli::try_parse_from(["cellspace", "up", "--vault-addr", "https://v"]).is_err());
        assert!(Cli::try_parse_from(["cellspace", "up", "--master-key-file", "f", "--master-key-command", "c"]).is_err());
    }
}
