//! The platform as a cell of several processes on a real Cassandra and Kafka, on this machine: three nodes, a gateway alone in front of them, and one node more
//! for when it is to grow. Nodes reach each other directly, or by way of relays that can be cut.

mod cut;
mod node;
mod plan;
mod services;

pub use cut::Network;
pub use plan::{HandOver, Links, Plan};
pub use services::Services;

use crate::{
    dev,
    measure::process::Usage,
    platform::{self, secret},
    subject::Subject,
};
use anyhow::{Context, Result, bail, ensure};
use cellspace_client::{Caller, Client};
use node::Running;
use reqwest::Method;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::process::Command;

/// The nodes that serve from the beginning on.
pub const NODES: [&str; 3] = ["a", "b", "c"];
/// The one that comes and goes.
pub const NEWCOMER: &str = "d";
/// The process that is a gateway alone.
pub const GATEWAY: &str = "gateway";
/// All, in the order of their ports.
const ALL: [&str; 5] = [GATEWAY, "a", "b", "c", NEWCOMER];
/// Ports of each: public, admin, operations, link.
const EACH: u16 = 4;
const NAME: &str = "chaos";
/// Longest time until a change of the membership is through.
const SETTLES: Duration = Duration::from_secs(180);

/// What a node says whose lease the others have taken away.
const REVOKED: &str = "taken this node's lease away";

/// The cell; everything that it started ends with it.
pub struct Cell {
    // In this order: nodes end before what they use.
    running: BTreeMap<&'static str, Running>,
    network: Arc<Network>,
    services: Services,
    binary: PathBuf,
    port: u16,
    /// Times that a node had to end, since the others had found it dead, and was started again.
    revived: u64,
    /// The token of the client with all rights, and who asks with it.
    operator: Option<(Client, Caller)>,
    folder: tempfile::TempDir,
}

/// A node as the cell's list of nodes has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub node: String,
    /// How it stands to the cell.
    pub state: String,
    /// Whether its lease is renewed.
    pub lease: String,
    /// Slots that it owns.
    pub slots: u64,
}

impl Cell {
    /// Starts everything.
    ///
    /// # Errors
    /// When something does not start; nothing stays.
    pub async fn start(plan: &Plan) -> Result<Self> {
        let Plan { cassandra, links, .. } = *plan;
        let binary = platform::binary_for_cells().await?;
        let folder = platform::workspace(None)?;
        let services = Services::start(folder.path(), cassandra).await?;
        let port = dev::free_ports(&[dev::HOST], EACH * ALL.len() as u16)?;
        let mut cell =
            Self { running: BTreeMap::new(), network: Arc::default(), services, binary, port, revived: 0, operator: None, folder };
        let (nodes, replicas) = (cell.services.cassandra().join(","), cassandra.to_string());
        let schema = ["admin", "schema", "--cassandra", &nodes, "--cassandra-keyspace", NAME, "--replication", &replicas];
        cell.program(&schema.map(str::to_owned)).await?;
        let mut arguments: Vec<String> = ["admin", "certs", "--cell", NAME, "--out"].map(str::to_owned).into();
        arguments.push(cell.path("certs").display().to_string());
        arguments.extend(ALL.iter().flat_map(|node| ["--node", node]).map(str::to_owned));
        cell.program(&arguments).await?;
        std::fs::write(cell.path("master.key"), master_key())?;
        for node in ALL {
            let own: SocketAddr = ([127, 0, 0, 1], cell.port_of(node) + 3).into();
            let link = if links == Links::Relayed { cell.network.in_front(node, own).await? } else { own };
            std::fs::write(cell.path(&format!("{node}.toml")), cell.config(node, &link.to_string(), plan))?;
        }
        eprintln!("starting nodes a, b, c and a gateway");
        // The first one makes the first client.
        cell.up("a").await?;
        for node in ["b", "c", GATEWAY] {
            cell.up(node).await?;
        }
        let subject = cell.subject()?;
        cell.operator = Some(subject.client().await?);
        cell.settled(&NODES).await?;
        Ok(cell)
    }

    /// Where everything is that it keeps.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn port_of(&self, node: &str) -> u16 {
        let place = ALL.iter().position(|name| *name == node).unwrap_or_default();
        self.port + EACH * u16::try_from(place).unwrap_or_default()
    }

    /// Where an admin listener is: the gateway's, or a node's own.
    #[must_use]
    pub fn admin(&self, node: &str) -> String {
        format!("http://localhost:{}", self.port_of(node) + 1)
    }

    /// Where a public listener is: the gateway's, or a node's own.
    #[must_use]
    pub fn public(&self, node: &str) -> String {
        format!("http://localhost:{}", self.port_of(node))
    }

    /// Where an operations listener is.
    #[must_use]
    pub fn ops(&self, node: &str) -> String {
        format!("http://localhost:{}", self.port_of(node) + 2)
    }

    /// The ways between nodes.
    #[must_use]
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The database and the log.
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// The cell as its users see it: by way of the gateway.
    ///
    /// # Errors
    /// When the file of its first client is not there.
    pub fn subject(&self) -> Result<Subject> {
        let file = self.path("a").join("bootstrap-client.json");
        let client: Value = serde_json::from_slice(&std::fs::read(&file).with_context(|| file.display().to_string())?)?;
        let id = client["clientId"].as_str().context("no clientId")?;
        Subject::at(self.public(GATEWAY), self.admin(GATEWAY), self.ops(GATEWAY), (id.to_owned(), secret(&file)?))
    }

    fn config(&self, node: &str, endpoint: &str, plan: &Plan) -> String {
        let (port, gateway) = (self.port_of(node), self.port_of(GATEWAY));
        let roles = if node == GATEWAY { "gateway" } else { "gateway,runtime,fabric" };
        let (data, certificates, key) = (self.path(node), self.path("certs"), self.path("master.key"));
        let idle = plan.idle_after.map_or_else(String::new, |time| format!("idle-after = {time:?}\n"));
        let mut text = format!(
            "{idle}node = {node:?}\ncell = {NAME:?}\nroles = {roles:?}\ndata-dir = {data:?}\nport = {port}\n\
             public-url = \"http://localhost:{gateway}\"\nadmin-url = \"http://localhost:{}\"\ndrain-limit = \"120s\"\n\
             [link]\nlisten = \"127.0.0.1:{}\"\nendpoint = {endpoint:?}\ncertificates = {certificates:?}\n\
             [cassandra]\nnodes = {:?}\nkeyspace = {NAME:?}\n[kafka]\nnodes = [{:?}]\nprefix = \"{NAME}.\"\n[master-key]\nfile = {key:?}\n",
            gateway + 1,
            port + 3,
            self.services.cassandra(),
            self.services.kafka(),
        );
        if plan.hand_over == HandOver::Quick {
            // Writing to a text does not fail.
            let _ = write!(text, "[terms]\nstep = 256\npace = \"100ms\"\n");
        }
        text
    }

    /// Runs the program to its end.
    async fn program(&self, arguments: &[String]) -> Result<()> {
        let output = Command::new(&self.binary).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await?;
        ensure!(output.status.success(), "cellspace {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Starts a node, and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends before, or takes too long.
    pub async fn up(&mut self, node: &'static str) -> Result<()> {
        let running = Running::start(&self.binary, &self.path(&format!("{node}.toml")), &self.path(&format!("{node}.log")))?;
        self.network.is(node, running.pid()?);
        // Before it is waited for: it ends with this, whatever happens.
        self.running.insert(node, running);
        self.running(node)?.ready().await.with_context(|| format!("node {node}"))
    }

    fn running(&mut self, node: &str) -> Result<&mut Running> {
        self.running.get_mut(node).with_context(|| format!("node {node} does not run"))
    }

    /// Kills a node (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, node: &str) -> Result<()> {
        self.running(node)?.kill().await
    }

    /// Sends a node a signal, named as `kill` names it.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn signal(&mut self, node: &str, signal: &str) -> Result<()> {
        platform::signal(self.running(node)?.pid()?, signal).await
    }

    /// Waits until a node has ended by itself; how.
    ///
    /// # Errors
    /// When it takes longer than `limit`.
    pub async fn ended(&mut self, node: &str, limit: Duration) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(limit, self.running(node)?.ended()).await;
        let status =
            ended.map_err(|_| anyhow::anyhow!("node {node} did not end within {limit:?}; its log ends with\n{}", self.told(node)))??;
        self.running.remove(node);
        Ok(status)
    }

    /// What a process of the cell has used.
    ///
    /// # Errors
    /// When it does not run.
    pub fn usage(&self, node: &str) -> Result<Usage> {
        let running = self.running.get(node).with_context(|| format!("node {node} does not run"))?;
        Usage::of(running.pid()?)
    }

    /// Whether a node's process is there.
    fn is_running(&mut self, node: &str) -> bool {
        self.running.get_mut(node).is_some_and(Running::is_there)
    }

    /// Ends a node in order.
    ///
    /// # Errors
    /// When it does not end, or not in order.
    pub async fn end(&mut self, node: &str) -> Result<()> {
        self.signal(node, "TERM").await?;
        let status = self.ended(node, SETTLES).await?;
        ensure!(status.success(), "node {node} ended with {status}; its log ends with\n{}", self.told(node));
        Ok(())
    }

    /// What a node's log ends with.
    #[must_use]
    pub fn told(&self, node: &str) -> String {
        platform::told(&self.path(&format!("{node}.log")))
    }

    /// Tells a node by way of another to drain.
    ///
    /// # Errors
    /// When it is not told.
    pub async fn drain(&self, node: &str) -> Result<()> {
        let (client, operator) = self.operator.as_ref().context("no operator")?;
        let answer = client.exchange(Some(operator), Method::POST, &format!("/api/runtime/nodes/{node}/drain"), None).await?;
        ensure!(answer.status == 202, "the drain of {node} answered {}: {}", answer.status, answer.body);
        Ok(())
    }

    /// The nodes that are part of the cell.
    ///
    /// # Errors
    /// When nobody says.
    pub async fn members(&self) -> Result<Vec<Seen>> {
        let (client, operator) = self.operator.as_ref().context("no operator")?;
        let answer = client.exchange(Some(operator), Method::GET, "/api/runtime/nodes", None).await?;
        let nodes = answer.body.as_array().with_context(|| format!("the nodes are answered {}: {}", answer.status, answer.body))?;
        let seen = |node: &Value| {
            let text = |field: &str| node[field].as_str().unwrap_or_default().to_owned();
            Seen { node: text("node"), state: text("state"), lease: text("lease"), slots: node["slots"].as_u64().unwrap_or_default() }
        };
        Ok(nodes.iter().map(seen).filter(|node| node.state != "outside").collect())
    }

    /// The node that serves this participant now, or would, if there is none of this id.
    ///
    /// # Errors
    /// When nobody says, or no node serves it.
    pub async fn home(&self, context: &str) -> Result<&'static str> {
        let (client, operator) = self.operator.as_ref().context("no operator")?;
        let answer = client.exchange(Some(operator), Method::GET, &format!("/api/runtime/agents/control-plane/{context}"), None).await?;
        let node = NODES.into_iter().find(|node| answer.body["node"] == *node);
        node.with_context(|| format!("where {context} is served is answered {}: {}", answer.status, answer.body))
    }

    /// Waits until these nodes, in order of their names, and no others share the slots and renew their leases; how many each has. One of them that had to end, since the
    /// others had found it dead, is started again, as whoever runs it would.
    ///
    /// # Errors
    /// When that takes too long, or one has ended for another reason.
    pub async fn settled(&mut self, names: &[&'static str]) -> Result<BTreeMap<String, u64>> {
        let began = Instant::now();
        loop {
            for name in names {
                self.revive(name).await?;
            }
            let members = self.members().await;
            if let Ok(members) = &members {
                let settled = members.iter().all(|node| node.state == "member" && node.lease == "renewed" && node.slots > 0);
                if settled && members.iter().map(|node| node.node.as_str()).eq(names.iter().copied()) {
                    return Ok(members.iter().map(|node| (node.node.clone(), node.slots)).collect());
                }
            }
            if began.elapsed() > SETTLES {
                bail!("after {SETTLES:?} the cell is not one of {names:?}: {members:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn revive(&mut self, node: &'static str) -> Result<()> {
        if self.is_running(node) {
            return Ok(());
        }
        let status = self.ended(node, SETTLES).await?;
        let told = self.told(node);
        ensure!(status.code() == Some(1) && told.contains(REVOKED), "node {node} ended by itself with {status}; its log ends with\n{told}");
        eprintln!("        node {node} was found dead by the others, and is started again");
        self.revived += 1;
        self.up(node).await
    }

    /// How often a node was started again that the others had found dead.
    #[must_use]
    pub const fn revived(&self) -> u64 {
        self.revived
    }

    /// Keeps data and logs where they are.
    pub fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }
}

/// A fresh master key, as a file has it.
fn master_key() -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 32]>())
}
