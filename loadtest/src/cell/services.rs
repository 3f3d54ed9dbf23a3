//! Cassandra and Kafka of our own, as `deploy/dev` starts them; they end with this.

use crate::dev::{self, Environment, Server, free_ports};
use anyhow::{Result, ensure};
use std::path::Path;

/// What is acknowledged was synced before. And they get less of the processor, where all want it: a third of what the cell's processes get together, since a cell that is
/// more than a test has them on machines of their own.
const OF_A_CELL: Environment = &[("CASSANDRA_SYNC", "batch"), ("CELLSPACE_DEV_NICE", "5")];

/// Both servers.
pub struct Services {
    database: Server,
    log: Server,
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
        let (cassandra, kafka) = (free_ports(&addresses, 2)?, free_ports(&[dev::HOST], 2)?);
        let arguments = ["--nodes".to_owned(), nodes.to_string(), "--port".to_owned(), cassandra.to_string()];
        let database = Server::start("cassandra", folder, OF_A_CELL, &arguments).await?;
        let log = Server::start("kafka", folder, OF_A_CELL, &["--port".to_owned(), kafka.to_string()]).await?;
        Ok(Self { database, log, nodes, cassandra, kafka })
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
        self.database.script(&["stop", "--kill", "--node", &node.to_string()]).await
    }

    /// Starts what is down of Cassandra, and waits until all nodes see each other.
    ///
    /// # Errors
    /// When the script fails.
    pub async fn mend_cassandra(&self) -> Result<()> {
        self.database.script(&["start"]).await
    }

    /// Kills Kafka (SIGKILL).
    ///
    /// # Errors
    /// When the script fails.
    pub async fn kill_kafka(&self) -> Result<()> {
        self.log.script(&["stop", "--kill"]).await
    }

    /// Starts Kafka again, and waits until it is ready.
    ///
    /// # Errors
    /// When the script fails.
    pub async fn mend_kafka(&self) -> Result<()> {
        self.log.script(&["start"]).await
    }
}
