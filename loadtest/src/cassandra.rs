//! The Cassandra that a platform of our own keeps its agents in: one of our own, or one that runs already.

use crate::dev::{Environment, HOST, Server, free_ports};
use anyhow::{Result, ensure};
use std::{path::Path, process::Stdio};
use tokio::process::Command;

/// As it is by itself, whatever is said of others of `deploy/dev`.
const ALONE: Environment = &[("CASSANDRA_SYNC", "periodic"), ("CELLSPACE_DEV_NICE", "0")];
/// Where one that runs is named, as `deploy/dev/cassandra env` does.
const NAMED: &str = "CELLSPACE_TEST_CASSANDRA";

/// A database, and a keyspace in it that nobody else has.
#[derive(Debug)]
pub struct Cassandra {
    /// `host:port` of its nodes, separated by commas.
    pub nodes: String,
    /// The keyspace.
    pub keyspace: String,
    own: Option<Server>,
}

impl Cassandra {
    /// The one at `nodes`; where these are empty the one that `CELLSPACE_TEST_CASSANDRA` names, else one of our own, which keeps what it has in `folder`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn open(nodes: &str, folder: &Path) -> Result<Self> {
        let keyspace = format!("loadtest_{}", uuid::Uuid::new_v4().simple());
        let named = if nodes.is_empty() { std::env::var(NAMED).unwrap_or_default() } else { nodes.to_owned() };
        if !named.is_empty() {
            return Ok(Self { nodes: named, keyspace, own: None });
        }
        let port = free_ports(&[HOST], 2)?;
        let own = Some(Server::start("cassandra", folder, ALONE, &["--port".to_owned(), port.to_string()]).await?);
        Ok(Self { nodes: format!("{HOST}:{port}"), keyspace, own })
    }

    /// Makes the keyspace by `cellspace admin schema`, with one replica of everything; arguments of `cellspace up` that name it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn schema(&self, cellspace: &Path) -> Result<Vec<String>> {
        let store = ["--cassandra", &self.nodes, "--cassandra-keyspace", &self.keyspace].map(str::to_owned);
        let mut schema = Command::new(cellspace);
        schema.args(["admin", "schema", "--replication", "1"]).args(&store).stdin(Stdio::null()).kill_on_drop(true);
        let output = schema.output().await?;
        ensure!(output.status.success(), "cellspace admin schema: {}", String::from_utf8_lossy(&output.stderr).trim());
        if self.own.is_none() {
            eprintln!("keyspace {} of {} stays when this has ended", self.keyspace, self.nodes);
        }
        Ok(store.into())
    }
}
