//! Events fetched and not yet covered by the group's position. Pure.

use cellspace_storage::{EventRecord, Offset};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What a group has in hand. Events of one key start one after the other; the position moves over the longest prefix of finished ones.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// By offset: whether the event has had its effect.
    open: BTreeMap<Offset, bool>,
    /// How many of them have not.
    unfinished: usize,
    /// Events that wait for an earlier one of their key.
    queues: HashMap<String, VecDeque<EventRecord>>,
}

impl Window {
    /// How many events may come in, when `at_work` may be unfinished and `span` may be known at once. An event that waits for long keeps
    /// others finished behind it, which take no part in `at_work`.
    pub(super) fn room(&self, at_work: usize, span: usize) -> usize {
        at_work.saturating_sub(self.unfinished).min(span.saturating_sub(self.open.len()))
    }

    /// Takes an event in; it comes back when it can start at once.
    pub(super) fn admit(&mut self, record: EventRecord) -> Option<EventRecord> {
        self.open.insert(record.offset, false);
        self.unfinished += 1;
        match self.queues.get_mut(&record.key) {
            Some(queue) => {
                queue.push_back(record);
                None
            }
            None => {
                self.queues.insert(record.key.clone(), VecDeque::new());
                Some(record)
            }
        }
    }

    /// An event has had its effect: the next one of its key can start.
    pub(super) fn finish(&mut self, offset: Offset, key: &str) -> Option<EventRecord> {
        self.open.insert(offset, true);
        self.unfinished -= 1;
        let next = self.queues.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.queues.remove(key);
        }
        next
    }

    /// Takes out the finished prefix; its last offset is the new position.
    pub(super) fn settled(&mut self) -> Option<Offset> {
        let mut last = None;
        while let Some(entry) = self.open.first_entry().filter(|entry| *entry.get()) {
            last = Some(*entry.key());
            entry.remove();
        }
        last
    }
}
