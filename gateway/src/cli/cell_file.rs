//! The file of `cellspace run`: TOML whose keys are the options of [`CellFile`], which clap reads as it reads those of a command line. So the settings that a process of a
//! cell shares with `cellspace up` are the same, with the same bounds and the same words for what is wrong.

use super::{
    args::{DataArgs, LogArgs},
    settings::{Settings, duration},
};
use crate::node::{CellConfig, Roles};
use anyhow::{Context, Result, anyhow, bail};
use cellspace_cluster::{NodeName, membership::Terms};
use cellspace_storage::{CellName, slot::SLOTS};
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, error::ContextKind};
use std::{collections::BTreeMap, error::Error as _, fs, net::SocketAddr, path::Path, path::PathBuf, time::Duration};
use toml::{Table, Value};

/// Largest file that is read.
const MAX_FILE: u64 = 256 << 10;

/// What the file says.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct CellFile {
    /// Name of the node, its own in the cell and the same at each start.
    #[arg(long)]
    pub node: String,
    /// What it does.
    #[arg(long, default_value_t = Roles::ALL)]
    pub roles: Roles,
    /// Where it listens to its peers.
    #[arg(long)]
    pub link_listen: SocketAddr,
    /// Where they reach it.
    #[arg(long)]
    pub link_endpoint: Option<String>,
    /// Directory with its certificates, as `cellspace admin certs` makes them.
    #[arg(long)]
    pub link_certificates: PathBuf,
    /// Another cell of the installation, and its keyspace in the same database.
    #[arg(long = "other-cells", value_parser = other_cell)]
    pub other_cells: Vec<(CellName, String)>,
    /// The cell that has what was not moved to another one; not in its own files.
    #[arg(long)]
    pub main_cell: Option<String>,
    /// Longest time for its end.
    #[arg(long, default_value = "120s", value_parser = duration)]
    pub drain_limit: Duration,
    /// How it is a member.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// Where its directory is.
    #[command(flatten)]
    pub data: DataArgs,
    /// What `cellspace up` has too.
    #[command(flatten)]
    pub settings: Settings,
    /// What is logged, and where.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Terms of the membership, the same for all nodes from the cell's first start on.
#[derive(Debug, Args)]
pub struct TermsArgs {
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub terms_renew: Duration,
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub terms_lease: Duration,
    #[arg(long, default_value = "250ms", value_parser = duration)]
    pub terms_margin: Duration,
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub terms_pace: Duration,
    #[arg(long, default_value = "32")]
    pub terms_step: u16,
}

impl CellFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Name the file, the key, and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self> {
        let told = || path.display().to_string();
        let length = fs::metadata(path).with_context(told)?.len();
        if length > MAX_FILE {
            bail!("{}: {length} bytes, at most {MAX_FILE} are read", path.display());
        }
        Self::parse_text(&fs::read_to_string(path).with_context(told)?).with_context(told)
    }

    fn parse_text(text: &str) -> Result<Self> {
        let table: Table = toml::from_str(text).map_err(|error| anyhow!("{}", error.to_string().trim_end().to_owned()))?;
        let mut keys = BTreeMap::new();
        flatten("", table, &mut keys)?;
        let mut command = Self::command();
        let named = |option: &Arg| Some((option.get_long()?.to_owned(), (*option.get_all_aliases()?.first()?).to_owned()));
        let aliases: BTreeMap<String, String> = command.get_arguments().filter_map(named).collect();
        let mut arguments = vec!["cellspace".to_owned()];
        for (key, value) in keys {
            let option = command.get_arguments().find(|option| {
                let aliases = option.get_all_aliases().unwrap_or_default();
                option.get_long() == Some(key.as_str()) || aliases.contains(&key.as_str())
            });
            let option = option.with_context(|| format!("there is no key {key}"))?;
            let (id, action) = (option.get_id().clone(), option.get_action().clone());
            // What the file says counts, also where that is no argument: off, or none.
            command = command.mut_arg(id, |option| option.env(None::<&'static str>));
            match (action, value) {
                (ArgAction::SetTrue, Value::Boolean(true)) => arguments.push(format!("--{key}")),
                (ArgAction::SetTrue, Value::Boolean(false)) => {}
                (ArgAction::SetTrue, _) => bail!("{key}: expected true or false"),
                (ArgAction::Append, Value::Array(all)) => {
                    for value in all {
                        arguments.push(format!("--{key}={}", scalar(&key, value)?));
                    }
                }
                (ArgAction::Append, _) => bail!("{key}: expected an array"),
                (_, value) => arguments.push(format!("--{key}={}", scalar(&key, value)?)),
            }
        }
        let file = command.try_get_matches_from(arguments).and_then(|found| Self::from_arg_matches(&found));
        file.map_err(|error| plain(&error, &aliases))?.complete()
    }

    /// What several processes must have in common is said, not left to what is usual.
    fn complete(self) -> Result<Self> {
        let Settings { public_url, admin_url, master_key, vault, store, events, port, .. } = &self.settings;
        for (key, is_there) in [
            ("public-url", public_url.is_some()),
            ("admin-url", admin_url.is_some()),
            ("port", port.is_some()),
            ("cassandra-nodes", !store.cassandra.is_empty()),
            ("kafka-nodes", !events.kafka.is_empty()),
            (
                "master-key-file, master-key-env, master-key-command or vault-addr",
                master_key.source().is_some() || vault.vault_addr.is_some(),
            ),
        ] {
            if !is_there {
                bail!("{key} is missing");
            }
        }
        self.cell().check()?;
        Ok(self)
    }

    /// Which process this is.
    pub fn cell(&self) -> CellConfig {
        let TermsArgs { terms_renew: renew, terms_lease: lease, terms_margin: margin, terms_pace: pace, terms_step: step } = self.terms;
        CellConfig {
            node: NodeName(self.node.clone()),
            roles: self.roles,
            listen: self.link_listen,
            endpoint: self.link_endpoint.clone(),
            certificates: self.link_certificates.clone(),
            terms: Terms { renew, lease, margin, pace, step, slots: SLOTS },
            others: self.other_cells.clone(),
            main: self.main_cell.clone().map(CellName),
        }
    }
}

fn other_cell(text: &str) -> Result<(CellName, String), String> {
    let (cell, keyspace) = text.split_once('=').ok_or("expected CELL=KEYSPACE")?;
    Ok((CellName(cell.to_owned()), keyspace.to_owned()))
}

/// Keys of tables within tables, joined by hyphens.
fn flatten(before: &str, table: Table, keys: &mut BTreeMap<String, Value>) -> Result<()> {
    for (name, value) in table {
        let key = if before.is_empty() { name } else { format!("{before}-{name}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, keys)?,
            value => {
                if keys.insert(key.clone(), value).is_some() {
                    bail!("{key} is there twice");
                }
            }
        }
    }
    Ok(())
}

fn scalar(key: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(answer) => Ok(answer.to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            bail!("{key}: expected a text, a whole number, or true or false")
        }
    }
}

/// What clap has to say, in the words of the file, where an option that is the head of a table has another name.
fn plain(error: &clap::Error, aliases: &BTreeMap<String, String>) -> anyhow::Error {
    let context = |kind| error.get(kind).map(|value| value.to_string().trim_start_matches("--").to_owned());
    let key = context(ContextKind::InvalidArg).unwrap_or_default();
    let key = key.split([' ', '=']).next().unwrap_or_default();
    let key = aliases.get(key).map_or(key, String::as_str);
    match (context(ContextKind::InvalidValue), error.source()) {
        (Some(value), Some(reason)) => anyhow!("{key}: {value:?}: {reason}"),
        (Some(value), None) => anyhow!("{key}: {value:?} is none of {}", context(ContextKind::ValidValue).unwrap_or_default()),
        (None, _) if error.kind() == clap::error::ErrorKind::MissingRequiredArgument => anyhow!("{key} is missing"),
        (None, _) => {
            anyhow!("{}", error.render().to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").replace("--", ""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        node = "a"
        cell = "c"
        roles = "gateway,runtime"
        port = 7170
        public-url = "http://localhost:7070"
        admin-url = "http://localhost:7071"
        other-cells = ["d=kd"]
        main-cell = "d"
        every-profile = true
        allow-private-targets = true
        issuer = ["https://idp=https://idp/jwks,cells"]
        status-list-age = "2s"
        link = { listen = "127.0.0.1:7173", certificates = "certs" }
        cassandra = { nodes = ["h:1", "h:2"], keyspace = "k" }
        kafka = { nodes = ["h:3"], prefix = "p." }
        master-key = { file = "m" }
        tls = { cert = "t.pem", key = "t-key.pem" }
        ca-file = "ca.pem"
        [terms]
        step = 64
        pace = "250ms"
    "#;

    #[test]
    fn a_file_has_the_settings_of_up_and_those_of_the_cell() {
        let file = CellFile::parse_text(WHOLE).unwrap();
        let (config, cell) = (file.settings.config(&file.data).unwrap(), file.cell());
        assert_eq!((cell.node.0.as_str(), cell.roles.to_string().as_str(), config.cell.as_str()), ("a", "gateway,runtime", "c"));
        assert_eq!((cell.terms.step, cell.terms.pace, cell.terms.lease), (64, Duration::from_millis(250), Duration::from_secs(2)));
        assert_eq!(config.scylla.unwrap().contact_points, ["h:1", "h:2"]);
        let kafka = config.kafka.unwrap();
        assert_eq!((kafka.servers, kafka.prefix), (vec!["h:3".to_owned()], "p.".to_owned()));
        let tls = config.tls.unwrap();
        assert_eq!((tls.certificate.as_path(), tls.key.as_path()), (Path::new("t.pem"), Path::new("t-key.pem")));
        assert_eq!(config.authorities.as_deref(), Some(Path::new("ca.pem")));
        assert_eq!((config.every_profile, config.allow_private_targets, config.issuers.len()), (true, Some(true), 1));
        assert_eq!(config.status_list_age, Duration::from_secs(2));
        assert_eq!(cell.others, [(CellName("d".to_owned()), "kd".to_owned())]);
        assert_eq!(cell.main, Some(CellName("d".to_owned())));
        let minimal = CellFile::parse_text(&WHOLE.replace("roles = \"gateway,runtime\"", "")).unwrap();
        assert_eq!(minimal.roles, Roles::ALL);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        for (from, to, said) in [
            ("node = \"a\"", "", "node is missing"),
            ("node = \"a\"", "nodes = \"a\"", "there is no key nodes"),
            ("port = 7170", "", "port is missing"),
            ("port = 7170", "port = 70000", "port: \"70000\": 70000 is not in 0..=65535"),
            ("port = 7170", "port = 1.5", "port: expected a text, a whole number"),
            ("port = 7170", "port = [1]", "port: expected a text, a whole number"),
            ("every-profile = true", "every-profile = 1", "every-profile: expected true or false"),
            ("\"2s\"", "\"soon\"", "status-list-age: \"soon\": expected a number of seconds"),
            ("[\"h:3\"]", "\"h:3\"", "kafka-nodes: expected an array"),
            ("nodes = [\"h:3\"], ", "", "kafka-nodes is missing"),
            ("\"m\"", "\"m\", env = \"E\"", "cannot be used with"),
            ("master-key = { file = \"m\" }", "", "master-key-file, master-key-env, master-key-command or vault-addr is missing"),
            ("\"127.0.0.1:7173\"", "\"here\"", "link-listen: \"here\": "),
            ("step = 64", "step = 0", "terms-step: 0 is not from 1 to 4096"),
            ("step = 64", "steps = 64", "there is no key terms-steps"),
            ("step = 64", "step = 64\nstep = 64", "duplicate key"),
            ("gateway,runtime", "gateway,fabric", "roles: fabric goes with runtime"),
            ("gateway,runtime", "runner", "roles: \"runner\": \"runner\" is no role"),
            ("admin-url = \"http://localhost:7071\"", "admin-url = \"x\"", "admin-url: \"x\": "),
            ("port = 7170", "port = 7170\nlink-listen = \"127.0.0.1:1\"", "link-listen is there twice"),
            ("\"d=kd\"", "\"d\"", "other-cells: \"d\": expected CELL=KEYSPACE"),
            ("main-cell = \"d\"", "main-cell = \"e\"", "main-cell: e is none of other-cells"),
            ("port = 7170", "help = true", "there is no key help"),
        ] {
            assert!(WHOLE.contains(from), "{from}");
            let error = format!("{:#}", CellFile::parse_text(&WHOLE.replacen(from, to, 1)).unwrap_err());
            assert!(error.contains(said), "{to}: {error}");
        }
    }
}
