//! The store that a node has: its own, or the cell's keyspace in ScyllaDB or Cassandra; and how the events of its commits come to the log.

use super::{NodeConfig, StartError, events::NodeEvents, identity::ADDRESSES};
use cellspace_actors::fabric::{Backlog, topics::is_provisioning};
use cellspace_cluster::{Cell, Clock, Cluster};
#[cfg(all(feature = "scylla", feature = "kafka"))]
use cellspace_storage::NodeName;
#[cfg(not(feature = "scylla"))]
use cellspace_storage::ScyllaError;
use cellspace_storage::{Counters, EmbeddedStore, EventLog, Partitions, Publishing, StoreError, Topic, TopicReport, WakeIndex};
#[cfg(feature = "scylla")]
use cellspace_storage::{ScyllaOptions, ScyllaStore};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt, future::ready, sync::Arc};

/// Setting of a data directory: where its agents are.
pub const PLACE: &str = "store";
/// Setting of a data directory and of its keyspace, and mark of its topics in Kafka: that they belong together.
pub const INSTALLATION: &str = "installation";
/// In the keyspace of several processes: the name of their cell. One that goes with a data directory has none.
#[cfg(all(feature = "scylla", feature = "kafka"))]
pub(super) const CELL: &str = "cell";

/// Where the agents of a data directory are, remembered there from its first start.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Embedded,
    Keyspace(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("the data directory (no --cassandra)"),
            Self::Keyspace(name) => write!(f, "a keyspace (--cassandra, --cassandra-keyspace {name})"),
        }
    }
}

/// The keyspace that the setting [`PLACE`] names, if it names one.
///
/// # Errors
/// [`StartError::Setting`]
pub fn keyspace_of(place: Option<&str>) -> Result<Option<String>, StartError> {
    match place.map(serde_json::from_str).transpose().map_err(|_| StartError::Setting(PLACE))? {
        Some(Place::Keyspace(name)) => Ok(Some(name)),
        Some(Place::Embedded) | None => Ok(None),
    }
}

/// The store that agents are in.
trait Agents: Partitions + WakeIndex {
    fn boot(&self) -> u64;
    fn counters(&self) -> Arc<Counters>;
    fn topics(&self) -> Vec<TopicReport>;
    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
    fn put_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Stores a setting unless it is there; what it is from now on.
    fn first_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<String, StoreError>>;
    /// Brings events to the log that another process has left behind.
    fn adopt_events(&self);
    fn close(&self);
}

impl Agents for EmbeddedStore {
    fn boot(&self) -> u64 {
        self.boot()
    }
    fn counters(&self) -> Arc<Counters> {
        self.counters()
    }
    fn topics(&self) -> Vec<TopicReport> {
        self.topics()
    }
    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(ready(self.meta(key)))
    }
    fn put_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.put_meta(key, value))
    }
    /// One process has the store.
    fn first_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<String, StoreError>> {
        Box::pin(async move {
            if let Some(found) = self.meta(key)? {
                return Ok(found);
            }
            self.put_meta(key, value).await?;
            Ok(value.to_owned())
        })
    }
    fn adopt_events(&self) {}
    fn close(&self) {
        self.close();
    }
}

#[cfg(feature = "scylla")]
impl Agents for ScyllaStore {
    fn boot(&self) -> u64 {
        self.boot()
    }
    fn counters(&self) -> Arc<Counters> {
        self.counters()
    }
    fn topics(&self) -> Vec<TopicReport> {
        self.topics()
    }
    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(self.meta(key))
    }
    fn put_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.put_meta(key, value))
    }
    fn first_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<String, StoreError>> {
        Box::pin(self.first_meta(key, value))
    }
    fn adopt_events(&self) {
        self.adopt_publications();
    }
    fn close(&self) {
        self.close();
    }
}

/// The name of the installation, given when it is first needed.
#[cfg(any(feature = "scylla", feature = "kafka"))]
pub(super) async fn installation(embedded: &EmbeddedStore) -> Result<String, StartError> {
    if let Some(own) = embedded.meta(INSTALLATION)? {
        return Ok(own);
    }
    let own = uuid::Uuid::new_v4().to_string();
    embedded.put_meta(INSTALLATION, &own).await?;
    Ok(own)
}

/// Refuses a keyspace that another data directory began with: its agents' keys and events lie there, and its lock is what keeps a second process out.
#[cfg(feature = "scylla")]
async fn pair(embedded: &EmbeddedStore, store: &ScyllaStore, keyspace: &str) -> Result<(), StartError> {
    let own = installation(embedded).await?;
    if store.first_meta(INSTALLATION, &own).await? == own { Ok(()) } else { Err(StartError::OtherInstallation(keyspace.to_owned())) }
}

/// What the data directory remembers under `key`; `Some(before)` when it is from before that was remembered, and `None` at its first start.
pub(super) fn remembered<T: DeserializeOwned>(embedded: &EmbeddedStore, key: &'static str, before: T) -> Result<Option<T>, StartError> {
    match embedded.meta(key)? {
        Some(text) => serde_json::from_str(&text).map(Some).map_err(|_| StartError::Setting(key)),
        None => Ok((embedded.meta(PLACE)?.is_some() || embedded.meta(ADDRESSES)?.is_some()).then_some(before)),
    }
}

/// Remembers it from now on.
pub(super) async fn remember<T: Serialize>(embedded: &EmbeddedStore, key: &'static str, value: &T) -> Result<(), StartError> {
    let text = serde_json::to_string(value).map_err(|_| StartError::Setting(key))?;
    Ok(embedded.put_meta(key, &text).await?)
}

/// The options of the store, with the topics of which not all events must wait for their log.
#[cfg(feature = "scylla")]
fn with_facts(config: &NodeConfig, options: &ScyllaOptions) -> ScyllaOptions {
    let bound = |topic: &Topic| (topic.clone(), config.store.unread_events_of(topic));
    ScyllaOptions { facts: config.store.facts.iter().map(bound).collect(), ..options.clone() }
}

/// A handle; clones share the store.
#[derive(Clone)]
pub struct NodeStore {
    agents: Arc<dyn Agents>,
    /// Agents too, unless they are in a database; the log of events, unless it is in Kafka. A process of a cell keeps nothing of its own.
    embedded: Option<EmbeddedStore>,
    events: NodeEvents,
    in_database: bool,
    /// Brings events of commits in the data directory to Kafka.
    publishing: Arc<Mutex<Option<Publishing>>>,
}

impl NodeStore {
    /// Opens the one that the installation began with.
    pub(super) async fn open(config: &NodeConfig) -> Result<Self, StartError> {
        let (dir, options) = (config.data_dir.clone(), config.store.clone());
        // Opening reads and replays files: off the runtime's threads.
        let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(dir, options));
        let embedded = opened.await.map_err(std::io::Error::other)??;
        let wanted = config.scylla.as_ref().map_or(Place::Embedded, |options| Place::Keyspace(options.keyspace.clone()));
        let known = remembered(&embedded, PLACE, Place::Embedded)?;
        if let Some(known) = known.as_ref().filter(|known| **known != wanted) {
            return Err(StartError::OtherStore { known: known.to_string(), wanted: wanted.to_string() });
        }
        let events = NodeEvents::open(config, &embedded).await?;
        let (agents, publishing): (Arc<dyn Agents>, Option<Publishing>) = match &config.scylla {
            None => (Arc::new(embedded.clone()), events.elsewhere().map(|log| embedded.publish_to(log))),
            #[cfg(feature = "scylla")]
            Some(options) => {
                let store = ScyllaStore::open(with_facts(config, options)).await?;
                pair(&embedded, &store, &options.keyspace).await?;
                store.publish_to(events.log());
                (Arc::new(store), None)
            }
            #[cfg(not(feature = "scylla"))]
            Some(_) => return Err(ScyllaError::NotBuilt.into()),
        };
        // The place last: it says that the directory is begun, and one without a word of events has them in itself.
        NodeEvents::remember(config, &embedded).await?;
        if known.is_none() {
            remember(&embedded, PLACE, &wanted).await?;
        }
        Ok(Self {
            agents,
            embedded: Some(embedded),
            events,
            in_database: config.scylla.is_some(),
            publishing: Arc::new(Mutex::new(publishing)),
        })
    }

    /// The cell's keyspace and Kafka, which several processes share, for the one that is called `node`.
    #[cfg(all(feature = "scylla", feature = "kafka"))]
    pub(super) async fn open_in_cell(
        config: &NodeConfig,
        node: &NodeName,
        main: Option<&ScyllaStore>,
        others: &[String],
    ) -> Result<(Self, ScyllaStore), StartError> {
        let options = config.scylla.as_ref().ok_or(StartError::CellNeeds("a database (cassandra-nodes)"))?;
        let keyspace = options.keyspace.clone();
        let store = ScyllaStore::open(with_facts(config, options)).await?;
        // In this order: a process that is starting too says first which cell it is.
        let known = store.meta(INSTALLATION).await?;
        // The main cell comes first. One that others know of, and that has begun alone, or begins so, is another installation's.
        let is_anothers = main.is_none() && others.iter().any(|other| Some(other) != known.as_ref());
        if is_anothers || known.is_some() && store.meta(CELL).await?.is_none() {
            return Err(StartError::OtherInstallation(keyspace));
        }
        Self::is_of_cell(config, &keyspace, Some(store.first_meta(CELL, &config.cell).await?))?;
        let of_main = match main {
            Some(main) => Some(main.meta(INSTALLATION).await?.ok_or(StartError::CellNeeds("its main cell, which has never been up"))?),
            None => None,
        };
        let first = of_main.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let installation = store.first_meta(INSTALLATION, &first).await?;
        if of_main.is_some_and(|of_main| of_main != installation) {
            return Err(StartError::OtherInstallation(keyspace));
        }
        let events = NodeEvents::open_in_cell(config, &store, installation, node).await?;
        store.publish_to(events.log());
        Ok((Self { agents: Arc::new(store.clone()), embedded: None, events, in_database: true, publishing: Arc::default() }, store))
    }

    /// Refuses a keyspace in which another cell was found, or none.
    #[cfg(all(feature = "scylla", feature = "kafka"))]
    pub(super) fn is_of_cell(config: &NodeConfig, keyspace: &str, found: Option<String>) -> Result<(), StartError> {
        match found {
            Some(found) if found == config.cell => Ok(()),
            Some(found) => Err(StartError::OtherCell { keyspace: keyspace.to_owned(), found, wanted: config.cell.clone() }),
            None => Err(StartError::NoCell(keyspace.to_owned())),
        }
    }

    /// The runtime over it.
    pub(super) fn cluster(&self, clock: Arc<dyn Clock>, options: cellspace_cluster::Options, cell: Option<Arc<Cell>>) -> Cluster {
        match cell {
            None => Cluster::new(self.agents.clone(), self.agents.clone(), clock, options),
            Some(cell) => Cluster::in_cell(self.agents.clone(), self.agents.clone(), clock, options, cell),
        }
    }

    /// The log of events.
    pub(super) fn events(&self) -> Arc<dyn EventLog> {
        self.events.log()
    }

    /// Whether the log of events is of use, when it is not in the data directory.
    pub fn events_health(&self) -> Option<Result<(), StoreError>> {
        self.events.health()
    }

    /// How often the store was opened.
    pub(super) fn boot(&self) -> u64 {
        self.agents.boot()
    }

    /// A setting of the installation.
    pub(super) async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.agents.meta(key).await
    }

    /// Stores a setting; durable when this answers.
    pub(super) async fn put_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.agents.put_meta(key, value).await
    }

    /// Stores a setting of the installation unless another process has; what it is from now on.
    pub(super) async fn first_meta(&self, key: &str, value: &str) -> Result<String, StoreError> {
        self.agents.first_meta(key, value).await
    }

    /// Brings events to the log that a process of the cell has left behind.
    pub(super) fn adopt_events(&self) {
        self.agents.adopt_events();
    }

    /// What the store did.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.agents.counters()
    }

    /// Topics in the store, and in the data directory: the log's, and what waits for a log elsewhere.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicReport> {
        let own = self.embedded.as_ref().filter(|_| self.in_database).map_or_else(Vec::new, EmbeddedStore::topics);
        let mut all: BTreeMap<Topic, TopicReport> = BTreeMap::new();
        for report in self.agents.topics().into_iter().chain(own) {
            let sum = all.entry(report.topic.clone()).or_insert(TopicReport { topic: report.topic, kept: 0, lost: 0 });
            (sum.kept, sum.lost) = (sum.kept + report.kept, sum.lost + report.lost);
        }
        all.into_values().collect()
    }

    /// Where provisioning stands with a log that is elsewhere.
    pub(super) fn backlog(&self, bound: u64) -> Backlog {
        if !self.in_database && self.publishing.lock().is_none() {
            return Backlog::default();
        }
        let (agents, events) = (self.agents.clone(), self.events.clone());
        let waiting = move || agents.topics().iter().filter(|report| is_provisioning(&report.topic.0)).map(|report| report.kept).sum();
        Backlog::new(bound, waiting, move || events.health().is_some_and(|health| health.is_err()))
    }

    /// Ends the last writes; blocks for as long as the disk takes.
    pub(super) fn close(&self) {
        self.publishing.lock().take();
        self.events.close();
        self.agents.close();
        if let Some(embedded) = &self.embedded {
            embedded.close();
        }
    }
}
