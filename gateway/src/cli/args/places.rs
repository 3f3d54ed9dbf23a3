//! Where things are kept: the store, the log of events, the vault and its master key.

use anyhow::Context;
use cellspace_storage::{KafkaOptions, Login, MasterKey, ParticipantLogin, RemoteVaultOptions, ScyllaOptions, Secret};
use clap::Args;
use std::{fs, path::PathBuf};

/// Environment variable with the password of the database.
const PASSWORD: &str = "CELLSPACE_CASSANDRA_PASSWORD";

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
#[group(requires = "cassandra")]
pub struct KeyspaceArgs {
    /// Keyspace of the cell.
    #[arg(long, value_name = "NAME", default_value = "cellspace", env = "CELLSPACE_CASSANDRA_KEYSPACE")]
    pub cassandra_keyspace: String,
    /// Datacenter that serves the cell, the same for all nodes [default: the only one].
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
