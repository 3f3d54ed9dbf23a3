//! Topics as the committer knows them, and the handles by which readers wait for new events.

use super::{durable::read_error, keys, publishing::ELSEWHERE, tables::Tables, values};
use crate::{Group, Offset, StoreError, Topic};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::watch;
use values::{StoredTopic, decode_number};

/// A topic in the committer's hands; group positions and offsets include what is being committed.
#[derive(Debug, Clone)]
pub(super) struct TopicState {
    pub(super) stored: StoredTopic,
    pub(super) groups: BTreeMap<Group, Offset>,
    /// Events that went over the bound since the store was opened.
    pub(super) lost: u64,
}

impl Default for TopicState {
    fn default() -> Self {
        Self { stored: StoredTopic { next: 1, oldest: 1 }, groups: BTreeMap::new(), lost: 0 }
    }
}

impl TopicState {
    /// Offset of the newest event, 0 before the first.
    pub(super) const fn newest(&self) -> Offset {
        Offset(self.stored.next.saturating_sub(1))
    }

    /// Whether its events are here alone to be brought to a log elsewhere.
    pub(super) fn only_waits(&self) -> bool {
        self.groups.keys().map(|group| group.0.as_str()).eq([ELSEWHERE])
    }

    /// Up to where events are needed by nobody: every known group has moved past them. `None` without groups.
    pub(super) fn needless(&self) -> Option<Offset> {
        self.groups.values().min().copied()
    }
}

/// Reads all topics and groups; both are few.
pub(super) fn load(tables: &Tables) -> Result<HashMap<Topic, TopicState>, StoreError> {
    let mut topics = HashMap::new();
    for entry in tables.topics.iter() {
        let (key, value) = entry.into_inner().map_err(read_error)?;
        let topic = keys::read_topic(&key).ok_or_else(|| values::unreadable("topic"))?;
        topics.insert(topic, TopicState { stored: StoredTopic::decode(&value)?, ..TopicState::default() });
    }
    for entry in tables.groups.iter() {
        let (key, value) = entry.into_inner().map_err(read_error)?;
        let (topic, group) = keys::read_group(&key).ok_or_else(|| values::unreadable("group"))?;
        let position = Offset(decode_number(&value, "group")?);
        topics.entry(topic).or_insert_with(TopicState::default).groups.insert(group, position);
    }
    Ok(topics)
}

/// What readers see of a topic: synced events alone.
#[derive(Debug)]
pub(super) struct TopicView {
    /// Offset of the newest synced event.
    pub(super) newest: watch::Sender<u64>,
    /// Lowest offset that may still be there; a read starts here and not in the range of trimmed events.
    oldest: AtomicU64,
    /// Whether a consumer group is known.
    read: AtomicBool,
    /// Events that went over the bound since the store was opened.
    lost: AtomicU64,
}

/// What is kept of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// Which.
    pub topic: Topic,
    /// Events kept.
    pub kept: u64,
    /// Events that went although nobody had read them: those over the bound of a topic without a consumer group, and of facts that wait for a log elsewhere.
    /// Of the latter, and of a topic that a group came to read, those since the store was opened.
    pub lost: u64,
}

/// The views of all topics, by name.
#[derive(Debug, Default)]
pub(super) struct TopicViews {
    views: Mutex<HashMap<Topic, Arc<TopicView>>>,
    /// Told of each new one.
    new: watch::Sender<()>,
}

impl TopicViews {
    /// The topic's view; one that has no events yet gets an empty one.
    pub(super) fn of(&self, topic: &Topic) -> Arc<TopicView> {
        let mut views = self.views.lock();
        if let Some(view) = views.get(topic) {
            return view.clone();
        }
        let view = Arc::new(TopicView {
            newest: watch::Sender::new(0),
            oldest: AtomicU64::new(1),
            read: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        });
        views.insert(topic.clone(), view.clone());
        self.new.send_replace(());
        view
    }

    /// The names of all topics.
    pub(super) fn names(&self) -> Vec<Topic> {
        self.views.lock().keys().cloned().collect()
    }

    /// Changes with each new topic.
    pub(super) fn new_ones(&self) -> watch::Receiver<()> {
        self.new.subscribe()
    }

    /// Shows readers what has been synced.
    pub(super) fn show(&self, topic: &Topic, state: &TopicState) {
        let view = self.of(topic);
        view.oldest.store(state.stored.oldest, Ordering::Relaxed);
        view.read.store(!state.groups.is_empty(), Ordering::Relaxed);
        view.lost.store(state.lost, Ordering::Relaxed);
        view.newest.send_replace(state.newest().0);
    }

    /// What is kept of each topic.
    pub(super) fn report(&self) -> Vec<TopicReport> {
        let report = |(topic, view): (&Topic, &Arc<TopicView>)| {
            let before = view.oldest.load(Ordering::Relaxed).saturating_sub(1);
            // Without groups nothing goes but for the bound.
            let lost = if view.read.load(Ordering::Relaxed) { view.lost.load(Ordering::Relaxed) } else { before };
            TopicReport { topic: topic.clone(), kept: view.newest.borrow().saturating_sub(before), lost }
        };
        self.views.lock().iter().map(report).collect()
    }

    /// Wakes all who wait, so that they find the store closed.
    pub(super) fn wake_all(&self) {
        for view in self.views.lock().values() {
            view.newest.send_modify(|_| {});
        }
    }
}

impl TopicView {
    /// The first offset worth looking at for a reader that knows everything up to `after`; `None` at the end of all offsets.
    pub(super) fn start(&self, after: Offset) -> Option<Offset> {
        after.0.checked_add(1).map(|next| Offset(next.max(self.oldest.load(Ordering::Relaxed))))
    }
}
