//! Events of commits on their way to an event log that is elsewhere. They wait in the store's own log, where one more group reads them, and go from there once
//! the other log has them; so that one may be away for as long as it likes. An event may come twice: when the process ends between the two.

use super::EmbeddedStore;
use crate::{EventLog, Group, Publication, StoreError, Topic, backoff::Backoff, event_log::publish_each};
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::{JoinHandle, JoinSet};

/// The group of the store's own log that brings events away.
pub(super) const ELSEWHERE: &str = "elsewhere";
/// Events that are handed over at once. After a failure half as many are: one of them may be what the log does not take, or all may be too much in its time.
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
    let (mut pauses, mut at_once) = (Backoff::default(), AT_ONCE);
    while store.alive().is_ok() {
        match bring_some(&store, &*log, &topic, at_once).await {
            Ok(()) => (pauses, at_once) = (Backoff::default(), (at_once * 2).min(AT_ONCE)),
            // One of several: the others need not wait for long.
            Err(StoreError::Refused(_)) if at_once > 1 => at_once /= 2,
            Err(error) => {
                tracing::warn!(category = "app", %topic, %error, "events wait for the log");
                at_once = (at_once / 2).max(1);
                pauses.rest().await;
            }
        }
    }
}

/// Brings away at most so many of those that are there, as soon as there are some.
async fn bring_some(store: &EmbeddedStore, log: &dyn EventLog, topic: &Topic, at_once: usize) -> Result<(), StoreError> {
    let group = Group(ELSEWHERE.to_owned());
    let after = store.committed(topic, &group).await?;
    store.wait(topic, after).await?;
    let events = store.fetch(topic, after, at_once).await?;
    let Some(last) = events.last().map(|event| event.offset) else { return Ok(()) };
    let publication = |event: crate::EventRecord| Publication { topic: topic.clone(), key: event.key, payload: event.payload };
    let publications = events.into_iter().map(publication).collect();
    if at_once > 1 {
        log.publish(publications).await?
    } else {
        publish_each(log, publications).await?
    }
    store.commit(topic, &group, last).await
}
