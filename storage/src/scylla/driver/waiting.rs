//! How many events wait for the event log, as far as this process knows, and which facts are left out when there are too many.

use crate::{Publication, Topic, TopicReport};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Of a topic.
#[derive(Debug, Default)]
struct Count {
    waiting: u64,
    /// Since the store was opened.
    left_out: u64,
}

/// Counts by topic. About right is enough: what a crash leaves is counted at the next start, and all counts begin anew whenever nothing waits any more.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<BTreeMap<Topic, Count>>);

impl Waiting {
    /// Takes out the facts for which there is no room: those on topics that are named in `bounds` with so many events at most.
    pub(super) fn leave_out(&self, events: &mut Vec<Publication>, bounds: &BTreeMap<Topic, u64>) {
        events.retain(|event| {
            let Some(bound) = bounds.get(&event.topic) else { return true };
            let mut counts = self.0.lock();
            let Some(count) = counts.get_mut(&event.topic).filter(|count| count.waiting >= *bound) else { return true };
            count.left_out += 1;
            // Every one of very many would be no message any more.
            if count.left_out.is_power_of_two() {
                let (topic, lost) = (&event.topic, count.left_out);
                tracing::warn!(category = "app", action = "events.lost", %topic, lost, "too many of this topic's events wait for the log: new ones are left out");
            }
            false
        });
    }

    pub(super) fn add<'a>(&self, topics: impl IntoIterator<Item = &'a Topic>) {
        let mut counts = self.0.lock();
        for topic in topics {
            counts.entry(topic.clone()).or_default().waiting += 1;
        }
    }

    pub(super) fn remove<'a>(&self, topics: impl IntoIterator<Item = &'a Topic>) {
        let mut counts = self.0.lock();
        for topic in topics {
            let count = counts.entry(topic.clone()).or_default();
            count.waiting = count.waiting.saturating_sub(1);
        }
    }

    /// Nothing waits any more.
    pub(super) fn clear(&self) {
        self.0.lock().values_mut().for_each(|count| count.waiting = 0);
    }

    pub(super) fn report(&self) -> Vec<TopicReport> {
        let report = |(topic, count): (&Topic, &Count)| TopicReport { topic: topic.clone(), kept: count.waiting, lost: count.left_out };
        self.0.lock().iter().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_without_room_are_left_out_and_requests_never() {
        let (waiting, bounds) = (Waiting::default(), BTreeMap::from([(Topic("facts".to_owned()), 2)]));
        let event = |topic: &str| Publication { topic: Topic(topic.to_owned()), key: String::new(), payload: "p".into() };
        let commit = || {
            let mut events = vec![event("facts"), event("requests")];
            waiting.leave_out(&mut events, &bounds);
            waiting.add(events.iter().map(|event| &event.topic));
            events.len()
        };
        let told = || waiting.report().into_iter().map(|report| (report.kept, report.lost)).collect::<Vec<_>>();
        assert_eq!([(); 4].map(|()| commit()), [2, 2, 1, 1]);
        assert_eq!(told(), [(2, 2), (4, 0)]);
        waiting.remove([&Topic("facts".to_owned())]);
        assert_eq!([commit(), commit()], [2, 1]);
        waiting.clear();
        assert_eq!((commit(), told()), (2, vec![(1, 3), (1, 0)]));
    }
}
