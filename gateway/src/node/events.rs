//! The log of events that a node has: its own, in the data directory, or Kafka.

#[cfg(feature = "kafka")]
use super::store::installation;
use super::{
    NodeConfig, StartError,
    store::{remember, remembered},
};
#[cfg(not(feature = "kafka"))]
use cellspace_storage::KafkaError;
#[cfg(feature = "kafka")]
use cellspace_storage::KafkaLog;
use cellspace_storage::{EmbeddedStore, EventLog, StoreError};
use serde::{Deserialize, Serialize};
#[cfg(feature = "kafka")]
use std::time::Duration;
use std::{fmt, sync::Arc};
#[cfg(feature = "kafka")]
use tokio::time::{Instant, sleep};

const PLACE: &str = "events";
/// How long the start waits for a Kafka that it has seen before. Without it the platform works, and provisioning waits.
#[cfg(feature = "kafka")]
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the first start waits for it, which needs it, and how soon it tries again.
#[cfg(feature = "kafka")]
const BEGIN: Duration = Duration::from_secs(15);
#[cfg(feature = "kafka")]
const AGAIN: Duration = Duration::from_millis(250);

/// Where the events of a data directory are, remembered there from its first start.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Embedded,
    Kafka(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("the data directory (no --kafka)"),
            Self::Kafka(prefix) => write!(f, "Kafka (--kafka, --kafka-prefix {prefix:?})"),
        }
    }
}

/// A handle; clones share the log.
#[derive(Clone)]
pub(super) enum NodeEvents {
    Embedded(EmbeddedStore),
    #[cfg(feature = "kafka")]
    Kafka(KafkaLog),
}

impl Place {
    fn of(config: &NodeConfig) -> Self {
        config.kafka.as_ref().map_or(Self::Embedded, |options| Self::Kafka(options.prefix.clone()))
    }
}

impl NodeEvents {
    /// Opens the one that the installation began with.
    pub(super) async fn open(config: &NodeConfig, embedded: &EmbeddedStore) -> Result<Self, StartError> {
        let wanted = Place::of(config);
        let known = remembered(embedded, PLACE, Place::Embedded)?;
        if let Some(known) = known.as_ref().filter(|known| **known != wanted) {
            return Err(StartError::OtherEvents { known: known.to_string(), wanted: wanted.to_string() });
        }
        match &config.kafka {
            None => Ok(Self::Embedded(embedded.clone())),
            #[cfg(feature = "kafka")]
            Some(options) => {
                let own = installation(embedded).await?;
                let log = KafkaLog::new(cellspace_storage::KafkaOptions { member: Some(own.clone()), ..options.clone() }, Some(own))?;
                if known.is_none() {
                    begin(&log).await?;
                } else {
                    look(&log).await?;
                }
                Ok(Self::Kafka(log))
            }
            #[cfg(not(feature = "kafka"))]
            Some(_) => Err(KafkaError::NotBuilt.into()),
        }
    }

    /// The cell's Kafka, for the process that is called `node`; the keyspace remembers it.
    #[cfg(all(feature = "scylla", feature = "kafka"))]
    pub(super) async fn open_in_cell(
        config: &NodeConfig,
        store: &cellspace_storage::ScyllaStore,
        installation: String,
        node: &cellspace_storage::NodeName,
    ) -> Result<Self, StartError> {
        let options = config.kafka.clone().ok_or(StartError::CellNeeds("a log of events (kafka-nodes)"))?;
        let (wanted, known) = (Place::of(config), store.meta(PLACE).await?);
        let place = |text: &str| serde_json::from_str::<Place>(text).map_err(|_| StartError::Setting(PLACE));
        let other = |known: Place, wanted: &Place| StartError::OtherEvents { known: known.to_string(), wanted: wanted.to_string() };
        if let Some(known) = known.as_deref().map(place).transpose()?.filter(|known| *known != wanted) {
            return Err(other(known, &wanted));
        }
        let member = format!("{installation}.{node}");
        let log = KafkaLog::new(cellspace_storage::KafkaOptions { member: Some(member), ..options }, Some(installation))?;
        if known.is_some() {
            look(&log).await?;
        } else {
            begin(&log).await?;
            let text = serde_json::to_string(&wanted).map_err(|_| StartError::Setting(PLACE))?;
            let first = place(&store.first_meta(PLACE, &text).await?)?;
            if first != wanted {
                return Err(other(first, &wanted));
            }
        }
        Ok(Self::Kafka(log))
    }

    /// Before the first event.
    pub(super) async fn remember(config: &NodeConfig, embedded: &EmbeddedStore) -> Result<(), StartError> {
        if embedded.meta(PLACE)?.is_none() {
            remember(embedded, PLACE, &Place::of(config)).await?;
        }
        Ok(())
    }

    /// The log.
    pub(super) fn log(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Embedded(log) => Arc::new(log.clone()),
            #[cfg(feature = "kafka")]
            Self::Kafka(log) => Arc::new(log.clone()),
        }
    }

    /// The log, when events of commits in the data directory must be brought there.
    pub(super) fn elsewhere(&self) -> Option<Arc<dyn EventLog>> {
        match self {
            Self::Embedded(_) => None,
            #[cfg(feature = "kafka")]
            Self::Kafka(log) => Some(Arc::new(log.clone())),
        }
    }

    /// Whether the log is of use, when it is not in the data directory.
    pub(super) fn health(&self) -> Option<Result<(), StoreError>> {
        match self {
            Self::Embedded(_) => None,
            #[cfg(feature = "kafka")]
            Self::Kafka(log) => Some(log.health()),
        }
    }

    /// Leaves Kafka.
    pub(super) fn close(&self) {
        match self {
            Self::Embedded(_) => {}
            #[cfg(feature = "kafka")]
            Self::Kafka(log) => log.close(),
        }
    }
}

/// Takes the prefix for the installation. A topic that was made just now may need a moment until it can be read and written.
#[cfg(feature = "kafka")]
async fn begin(log: &KafkaLog) -> Result<(), StartError> {
    let until = Instant::now() + BEGIN;
    loop {
        match log.begin().await {
            Err(cellspace_storage::KafkaError::Store(_)) if Instant::now() < until => sleep(AGAIN).await,
            outcome => return Ok(outcome?),
        }
    }
}

/// Refuses a Kafka that is not the installation's; one that is out of reach is looked at later.
#[cfg(feature = "kafka")]
async fn look(log: &KafkaLog) -> Result<(), StartError> {
    match tokio::time::timeout(PATIENCE, log.look()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(cellspace_storage::KafkaError::Store(error))) => {
            tracing::warn!(category = "app", action = "events.unreachable", %error, "provisioning waits for Kafka");
            Ok(())
        }
        Ok(Err(other)) => Err(other.into()),
        Err(_) => {
            tracing::warn!(category = "app", action = "events.unreachable", "provisioning waits for Kafka, which does not answer");
            Ok(())
        }
    }
}
