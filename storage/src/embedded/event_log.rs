//! The event log of the embedded store: events are published by commits, and readers see synced ones alone.

use super::{EmbeddedStore, committer::Write, durable::read_error, keys, partitions::blocking, values};
use crate::{EventLog, EventRecord, Group, Offset, Publication, StoreError, Topic};
use fjall::Readable;
use futures::future::BoxFuture;

impl EventLog for EmbeddedStore {
    fn publish(&self, events: Vec<Publication>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(Write::Publish(events)))
    }

    fn fetch<'a>(&'a self, topic: &'a Topic, after: Offset, limit: usize) -> BoxFuture<'a, Result<Vec<EventRecord>, StoreError>> {
        let prefix = keys::topic(topic);
        let Some(start) = self.shared().views.of(topic).start(after) else {
            return Box::pin(async { Ok(Vec::new()) });
        };
        blocking(self, move |shared| {
            let snapshot = shared.view.snapshot()?;
            let range = keys::event(&prefix, start)..keys::after_prefix(&prefix);
            let entries = snapshot.range(&shared.tables.events, range).take(limit);
            entries
                .map(|entry| {
                    let (key, value) = entry.into_inner().map_err(read_error)?;
                    let offset = keys::read_event(&key).ok_or_else(|| values::unreadable("event"))?;
                    let (key, payload) = values::decode_event(&value)?;
                    Ok(EventRecord { offset, key, payload })
                })
                .collect()
        })
    }

    fn wait<'a>(&'a self, topic: &'a Topic, after: Offset) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut newest = self.shared().views.of(topic).newest.subscribe();
            loop {
                self.alive()?;
                if *newest.borrow_and_update() > after.0 {
                    return Ok(());
                }
                if newest.changed().await.is_err() {
                    return Err(StoreError::Unavailable("the store is closed".to_owned()));
                }
            }
        })
    }

    fn committed<'a>(&'a self, topic: &'a Topic, group: &'a Group) -> BoxFuture<'a, Result<Offset, StoreError>> {
        Box::pin(async move {
            let key = keys::group(&keys::topic(topic), group);
            let stored = blocking(self, move |shared| {
                let value = shared.view.snapshot()?.get(&shared.tables.groups, key).map_err(read_error)?;
                value.map(|value| values::decode_number(&value, "group")).transpose()
            });
            if let Some(position) = stored.await? {
                return Ok(Offset(position));
            }
            self.write(Write::Join(topic.clone(), group.clone())).await?;
            Ok(Offset(0))
        })
    }

    fn commit<'a>(&'a self, topic: &'a Topic, group: &'a Group, offset: Offset) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.write(Write::Advance(topic.clone(), group.clone(), offset)))
    }

    fn dead_letter<'a>(&'a self, topic: &'a Topic, event: EventRecord, reason: String) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.write(Write::DeadLetter(topic.clone(), event, reason)))
    }

    fn topics_with_dead_letters(&self) -> BoxFuture<'_, Result<Vec<Topic>, StoreError>> {
        blocking(self, |shared| {
            let snapshot = shared.view.snapshot()?;
            let mut topics = Vec::new();
            for entry in snapshot.iter(&shared.tables.topics) {
                let (key, _) = entry.into_inner().map_err(read_error)?;
                let topic = keys::read_topic(&key).ok_or_else(|| values::unreadable("topic"))?;
                topics.extend(topic.of_dead());
            }
            topics.sort();
            Ok(topics)
        })
    }
}
