//! Readers, kept where they stand for who reads on from there.

use super::{
    clients::{Clients, within},
    reader::{Reader, Stop},
    topics,
};
use crate::{EventRecord, StoreError, Topic};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{Mutex as InUse, OwnedMutexGuard};

/// Readers kept; the one that was not used for longest goes first.
const KEPT: usize = 32;

/// What became of waiting for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// There is one.
    Some,
    /// The topic ends before where somebody waits, here: it was cut short, or made anew.
    PastEnd(u64),
}

/// Where a position lies in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before what is kept.
    Before,
    /// Before an event, or where the next one will be.
    There,
    Past,
}

const fn place(at: u64, first: u64, end: u64) -> Place {
    if at < first {
        Place::Before
    } else if at <= end {
        Place::There
    } else {
        Place::Past
    }
}

/// The readers, those in use among them.
#[derive(Default)]
pub(super) struct Readers {
    kept: Mutex<Vec<(Topic, Arc<InUse<Reader>>)>>,
}

impl Readers {
    /// Waits for an event after Kafka's number `after`.
    pub(super) async fn wait(&self, clients: &Clients, topic: &Topic, after: u64) -> Result<Waited, StoreError> {
        let mut start = after;
        loop {
            let mut reader = self.at(clients, topic, start)?;
            match reader.some().await {
                Ok(()) => return Ok(Waited::Some),
                Err(stop) => self.leave(&reader, stop, topic, start)?,
            }
            let (first, end) = topics::ends(clients, topic).await?;
            match place(start, first, end) {
                Place::Past => return Ok(Waited::PastEnd(end)),
                // It was past the end a moment ago: who waits comes again.
                Place::There => return Err(StoreError::Unavailable(format!("position {start} of {topic} was not there a moment ago"))),
                Place::Before => {}
            }
            tracing::error!(category = "app", action = "events.lost", %topic, after, first, "events that somebody was to read are gone from Kafka");
            start = first;
        }
    }

    /// Events after Kafka's number `after`, at most `limit`.
    pub(super) async fn fetch(&self, clients: &Clients, topic: &Topic, after: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        // Those that somebody has waited for are at hand.
        if let Some(mut reader) = self.standing(topic, after).filter(|reader| reader.has_some()) {
            return Ok(reader.give(limit));
        }
        let (first, end) = topics::ends(clients, topic).await?;
        let start = after.max(first);
        if start >= end {
            return Ok(Vec::new());
        }
        let mut reader = self.at(clients, topic, start)?;
        let filled = within(clients.options().answer, async { Ok(reader.fill(end, limit).await) }).await;
        match filled {
            Ok(Ok(())) => {}
            Ok(Err(stop)) => {
                self.leave(&reader, stop, topic, start)?;
                return Err(StoreError::Unavailable(format!("position {start} of {topic} is not there any more")));
            }
            // Numbers that are no events, such as others' transactions leave: what there is is all.
            Err(_) if reader.has_some() => {}
            Err(error) => return Err(error),
        }
        Ok(reader.give(limit))
    }

    pub(super) fn end(&self) {
        self.kept.lock().clear();
    }

    /// The free reader that stands there, if one does.
    fn standing(&self, topic: &Topic, next: u64) -> Option<OwnedMutexGuard<Reader>> {
        let mut kept = self.kept.lock();
        let stands = |(of, reader): &(Topic, Arc<InUse<Reader>>)| {
            let free = (of == topic).then(|| reader.clone().try_lock_owned().ok()).flatten();
            free.filter(|reader| reader.next() == next)
        };
        let (at, reader) = kept.iter().enumerate().find_map(|(at, entry)| Some((at, stands(entry)?)))?;
        let used = kept.remove(at);
        kept.push(used);
        Some(reader)
    }

    fn at(&self, clients: &Clients, topic: &Topic, next: u64) -> Result<OwnedMutexGuard<Reader>, StoreError> {
        if let Some(reader) = self.standing(topic, next) {
            return Ok(reader);
        }
        let made = Arc::new(InUse::new(Reader::new(clients, topic, next)?));
        let reader = made.clone().try_lock_owned().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((topic.clone(), made));
        Ok(reader)
    }

    /// A reader that has stopped is not used again. Well, when there is nothing where it stood.
    fn leave(&self, reader: &OwnedMutexGuard<Reader>, stop: Stop, topic: &Topic, at: u64) -> Result<(), StoreError> {
        let stopped = OwnedMutexGuard::mutex(reader);
        self.kept.lock().retain(|(_, kept)| !Arc::ptr_eq(kept, stopped));
        tracing::debug!(category = "app", %topic, at, ?stop, "a reader has stopped");
        match stop {
            Stop::NotThere => Ok(()),
            Stop::Failed(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_event_is_not_past_the_end() {
        for (at, expected) in [(2, Place::Before), (3, Place::There), (5, Place::There), (7, Place::There), (8, Place::Past)] {
            assert_eq!(place(at, 3, 7), expected, "{at}");
        }
        assert_eq!((place(0, 0, 0), place(1, 0, 0)), (Place::There, Place::Past));
    }
}
