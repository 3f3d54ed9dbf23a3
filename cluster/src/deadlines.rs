//! Deadlines of one activation, computed from its entities' rows.

use cellspace_schemas::{Timestamp, TraceContext};
use std::collections::{BTreeSet, HashMap};

#[derive(Default)]
pub(crate) struct Deadlines {
    by_key: HashMap<String, (Timestamp, Option<TraceContext>)>,
    by_time: BTreeSet<(Timestamp, String)>,
}

impl Deadlines {
    pub(crate) fn set(&mut self, key: String, due: Option<Timestamp>, trace: Option<TraceContext>) {
        self.clear(&key);
        if let Some(due) = due {
            self.by_time.insert((due, key.clone()));
            self.by_key.insert(key, (due, trace));
        }
    }

    pub(crate) fn clear(&mut self, key: &str) {
        if let Some((due, _)) = self.by_key.remove(key) {
            self.by_time.remove(&(due, key.to_owned()));
        }
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// The earliest deadline that has passed, with the trace that set it.
    pub(crate) fn passed(&self, now: Timestamp) -> Option<(String, Option<TraceContext>)> {
        let (due, key) = self.by_time.first()?;
        (*due <= now).then(|| (key.clone(), self.by_key.get(key).and_then(|(_, trace)| trace.clone())))
    }

    /// Whether the deadline under `key` still is the one that had passed at `now`.
    pub(crate) fn still_passed(&self, key: &str, now: Timestamp) -> bool {
        self.by_key.get(key).is_some_and(|(due, _)| *due <= now)
    }
}
