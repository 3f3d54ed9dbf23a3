//! The store that a node has: its own, or the cell's keyspace in ScyllaDB or Cassandra, with the log of events in the data directory.

use super::{NodeConfig, StartError, identity::ADDRESSES};
use cellspace_cluster::{Clock, Cluster};
#[cfg(not(feature = "scylla"))]
use cellspace_storage::ScyllaError;
#[cfg(feature = "scylla")]
use cellspace_storage::ScyllaStore;
use cellspace_storage::{Counters, EmbeddedStore, EventLog, Partitions, StoreError, TopicReport, WakeIndex};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{fmt, future::ready, sync::Arc};

const PLACE: &str = "store";
/// In the data directory and in the keyspace: that they belong together.
#[cfg(feature = "scylla")]
const INSTALLATION: &str = "installation";

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

/// The store that agents are in.
trait Agents: Partitions + WakeIndex {
    fn boot(&self) -> u64;
    fn counters(&self) -> Arc<Counters>;
    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
    fn put_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;
    fn close(&self);
}

impl Agents for EmbeddedStore {
    fn boot(&self) -> u64 {
        self.boot()
    }
    fn counters(&self) -> Arc<Counters> {
        self.counters()
    }
    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(ready(self.meta(key)))
    }
    fn put_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.put_meta(key, value))
    }
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
    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(self.meta(key))
    }
    fn put_meta<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.put_meta(key, value))
    }
    fn close(&self) {
        self.close();
    }
}

/// Refuses a keyspace that another data directory began with: its agents' keys and events lie there, and its lock is what keeps a second process out.
#[cfg(feature = "scylla")]
async fn pair(embedded: &EmbeddedStore, store: &ScyllaStore, keyspace: &str) -> Result<(), StartError> {
    let own = match embedded.meta(INSTALLATION)? {
        Some(own) => own,
        None => {
            let own = uuid::Uuid::new_v4().to_string();
            embedded.put_meta(INSTALLATION, &own).await?;
            own
        }
    };
    if store.first_meta(INSTALLATION, &own).await? == own { Ok(()) } else { Err(StartError::OtherInstallation(keyspace.to_owned())) }
}

/// A handle; clones share the store.
#[derive(Clone)]
pub struct NodeStore {
    agents: Arc<dyn Agents>,
    /// Agents too, unless they are in a database; the log of events.
    embedded: EmbeddedStore,
}

impl NodeStore {
    /// Opens the one that the installation began with.
    pub(super) async fn open(config: &NodeConfig) -> Result<Self, StartError> {
        let (dir, options) = (config.data_dir.clone(), config.store.clone());
        // Opening reads and replays files: off the runtime's threads.
        let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(dir, options));
        let embedded = opened.await.map_err(std::io::Error::other)??;
        let wanted = config.scylla.as_ref().map_or(Place::Embedded, |options| Place::Keyspace(options.keyspace.clone()));
        let known: Option<Place> = match embedded.meta(PLACE)? {
            Some(text) => Some(serde_json::from_str(&text).map_err(|_| StartError::Setting(PLACE))?),
            // One from before it was remembered.
            None => embedded.meta(ADDRESSES)?.map(|_| Place::Embedded),
        };
        if let Some(known) = known.as_ref().filter(|known| **known != wanted) {
            return Err(StartError::OtherStore { known: known.to_string(), wanted: wanted.to_string() });
        }
        let agents: Arc<dyn Agents> = match &config.scylla {
            None => Arc::new(embedded.clone()),
            #[cfg(feature = "scylla")]
            Some(options) => {
                let store = ScyllaStore::open(options.clone()).await?;
                pair(&embedded, &store, &options.keyspace).await?;
                store.publish_to(Arc::new(embedded.clone()));
                Arc::new(store)
            }
            #[cfg(not(feature = "scylla"))]
            Some(_) => return Err(ScyllaError::NotBuilt.into()),
        };
        if known.is_none() {
            let text = serde_json::to_string(&wanted).map_err(|_| StartError::Setting(PLACE))?;
            embedded.put_meta(PLACE, &text).await?;
        }
        Ok(Self { agents, embedded })
    }

    /// The runtime over it.
    pub(super) fn cluster(&self, clock: Arc<dyn Clock>, options: cellspace_cluster::Options) -> Cluster {
        Cluster::new(self.agents.clone(), self.agents.clone(), clock, options)
    }

    /// The log of events.
    pub(super) fn events(&self) -> Arc<dyn EventLog> {
        Arc::new(self.embedded.clone())
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

    /// What the store did.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.agents.counters()
    }

    /// Topics of the log.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicReport> {
        self.embedded.topics()
    }

    /// Ends the last writes; blocks for as long as the disk takes.
    pub(super) fn close(&self) {
        self.agents.close();
        self.embedded.close();
    }
}
