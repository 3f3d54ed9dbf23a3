//! Events of commits on their way to an event log that is elsewhere. They wait in the store's own log, where one more group reads them, and go from there once
//! the other log has them; so that one may be away for as long as it likes. An event may come twice: when the process ends between the two.

use super::EmbeddedStore;
use crate::{EventLog, Group, Publication, StoreError, Topic, backoff::Backoff};
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::{JoinHandle, JoinSet};

/// The group of the store's own log that brings events away.
const GROUP: &str = "elsewhere";
/// Events that are handed over at once.
const AT_ONCE: usize = 64;

/// Brings events away until it is dropped.
#[derive(Debug)]
pub struct Publishing(JoinHandle<()>);

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl EmbeddedStore {
    /// Brings the events of commits to `log` from now on, those that wait here first.
    pub fn publish_to(&self, log: Arc<dyn EventLog>) -> Publishing {
        Publishing(tokio::spawn(bring(self.clone(), log)))
    }
}

async fn bring(store: EmbeddedStore, log: Arc<dyn EventLog>) {
    let views = store.shared().views.clone();
    let (mut known, mut new) = (BTreeSet::new(), views.new_ones());
    // Apart from each other: a topic that the log does not take holds up no other.
    let mut topics = JoinSet::new();
    loop {
        new.mark_unchanged();
        for topic in views.names() {
            if known.insert(topic.clone()) {
                topics.spawn(bring_topic(store.clone(), log.clone(), topic));
            }
        }
        if new.changed().await.is_err() {
            return;
        }
    }
}

async fn bring_topic(store: EmbeddedStore, log: Arc<dyn EventLog>, topic: Topic) {
    let mut pauses = Backoff::default();
    while store.alive().is_ok() {
        match bring_some(&store, &*log, &topic).await {
            Ok(()) => pauses = Backoff::default(),
            Err(error) => {
                tracing::warn!(category = "app", %topic, %error, "events wait for the log");
                pauses.rest().await;
            }
        }
    }
}

/// Brings away what is there, as soon as there is something.
async fn bring_some(store: &EmbeddedStore, log: &dyn EventLog, topic: &Topic) -> Result<(), StoreError> {
    let group = Group(GROUP.to_owned());
    let after = store.committed(topic, &group).await?;
    store.wait(topic, after).await?;
    let events = store.fetch(topic, after, AT_ONCE).await?;
    let Some(last) = events.last().map(|event| event.offset) else { return Ok(()) };
    let publication = |event: crate::EventRecord| Publication { topic: topic.clone(), key: event.key, payload: event.payload };
    log.publish(events.into_iter().map(publication).collect()).await?;
    store.commit(topic, &group, last).await
}
