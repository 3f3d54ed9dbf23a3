//! Cassandra and Kafka of our own, as `deploy/dev` starts them; they end with this.

use anyhow::{Context, Result, ensure};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
};
use tokio::process::Command;

const DEV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev");
/// Where ports are looked for: below those that the system gives to whoever asks for any.
const PORTS: std::ops::Range<u16> = 21_000..31_000;

/// Both servers.
pub struct Services {
    state: PathBuf,
    /// Cassandra's nodes, and its port on each.
    pub nodes: u8,
    cassandra: u16,
    kafka: u16,
}

impl Services {
    /// Starts both, with this many nodes of Cassandra, and everything they keep in this folder. What is acknowledged is synced by each replica that did so.
    ///
    /// # Errors
    /// When one does not start; nothing stays.
    pub async fn start(folder: &Path, nodes: u8) -> Result<Self> {
        ensure!((1..=9).contains(&nodes), "1 to 9 nodes of Cassandra");
        let addresses: Vec<String> = (1..=nodes).map(|n| format!("127.0.0.{n}")).collect();
        let services =
            Self { state: folder.join("services"), nodes, cassandra: free_ports(&addresses, 2)?, kafka: free_ports(&["127.0.0.1"], 2)? };
        std::fs::create_dir_all(&services.state)?;
        eprintln!("starting Cassandra ({nodes} nodes) and Kafka");
        let (nodes, port, kafka) = (nodes.to_string(), services.cassandra.to_string(), services.kafka.to_string());
        services.script("cassandra", &["start", "--nodes", &nodes, "--port", &port]).await?;
        services.script("kafka", &["start", "--port", &kafka]).await?;
        Ok(services)
    }

    /// All nodes of Cassandra, for a list in a file.
    #[must_use]
    pub fn cassandra(&self) -> Vec<String> {
        (1..=self.nodes).map(|n| format!("127.0.0.{n}:{}", self.cassandra)).collect()
    }

    /// Kafka.
    #[must_use]
    pub fn kafka(&self) -> String {
        format!("127.0.0.1:{}", self.kafka)
    }

    /// Kills a node of Cassandra (SIGKILL), the first of which has the number 1.
    ///
    /// # Errors
    /// When the script fails.
    pub async fn kill_cassandra(&self, node: u8) -> Result<()> {
        self.script("cassandra", &["stop", "--kill", "--node", &node.to_string()]).await
    }

    /// Starts what is down of Cassandra, and waits until all nodes see each other.
    ///
    /// # Errors
    /// When the script fails.
    pub async fn mend_cassandra(&self) -> Result<()> {
        self.script("cassandra", &["start"]).await
    }

    async fn script(&self, service: &str, arguments: &[&str]) -> Result<()> {
        let mut script = Command::new(format!("{DEV}/{service}"));
        script.args(arguments).env("CELLSPACE_DEV_STATE", &self.state).env("CASSANDRA_SYNC", "batch");
        let output = script.stdin(Stdio::null()).kill_on_drop(true).output().await.with_context(|| format!("{DEV}/{service}"))?;
        ensure!(output.status.success(), "deploy/dev/{service} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for service in ["cassandra", "kafka"] {
            let mut script = Blocking::new(format!("{DEV}/{service}"));
            script.arg("reset").env("CELLSPACE_DEV_STATE", &self.state);
            let ended = script.stdin(Stdio::null()).stdout(Stdio::null()).status();
            if !ended.is_ok_and(|status| status.success()) {
                eprintln!("{service} did not end; what it keeps is in {}", self.state.display());
            }
        }
    }
}

/// The first of so many ports one after the other that are free on all these addresses.
///
/// # Errors
/// When there are none.
pub fn free_ports(addresses: &[impl AsRef<str>], count: u16) -> Result<u16> {
    let is_free = |port: u16| addresses.iter().all(|address| TcpListener::bind((address.as_ref(), port)).is_ok());
    // From a random one on: whoever looks at the same time finds others.
    let first = PORTS.start + rand::random_range(0..PORTS.end - PORTS.start);
    let bases = (first..PORTS.end).chain(PORTS.start..first).step_by(usize::from(count));
    bases.into_iter().find(|base| (0..count).all(|n| is_free(base + n))).context("no free ports")
}
