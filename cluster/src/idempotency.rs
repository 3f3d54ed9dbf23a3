//! Replies under idempotency keys: kept 24 hours, at most so many per agent, the oldest going first.

use cellspace_schemas::Timestamp;
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// Table of stored replies.
pub(crate) const IDEMPOTENCY: &str = "~idempotency";
/// How long a reply is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Replies kept per agent.
pub(crate) const KEPT_REPLIES: usize = 10_000;

/// A stored reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredReply {
    pub(crate) key: String,
    /// Lower-case hex of the request's hash.
    pub(crate) request: String,
    pub(crate) reply: Box<RawValue>,
    pub(crate) at: Timestamp,
}

#[derive(Default)]
pub(crate) struct Replies {
    by_key: HashMap<String, StoredReply>,
    by_age: VecDeque<(Timestamp, String)>,
}

impl Replies {
    pub(crate) fn get(&self, key: &str, now: Timestamp) -> Option<&StoredReply> {
        self.by_key.get(key).filter(|stored| now.since(stored.at) < KEPT)
    }

    pub(crate) fn insert(&mut self, stored: StoredReply) {
        // Rows load in order of their keys, not of their age.
        let place = self.by_age.partition_point(|(at, _)| *at <= stored.at);
        self.by_age.insert(place, (stored.at, stored.key.clone()));
        self.by_key.insert(stored.key.clone(), stored);
    }

    /// Forgets replies that are too old or too many, at most `limit` at a time; their rows are to be deleted.
    pub(crate) fn expire(&mut self, now: Timestamp, limit: usize) -> Vec<RowKey> {
        let mut gone = Vec::new();
        while gone.len() < limit {
            let over = self.by_key.len() > KEPT_REPLIES;
            match self.by_age.front() {
                Some((at, _)) if over || now.since(*at) >= KEPT => {}
                _ => break,
            }
            let Some((at, key)) = self.by_age.pop_front() else { break };
            if self.by_key.get(&key).is_some_and(|stored| stored.at == at) {
                self.by_key.remove(&key);
                gone.push(RowKey::new(IDEMPOTENCY, &key));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(key: &str, at: i64) -> StoredReply {
        StoredReply { key: key.into(), request: "0".into(), reply: RawValue::from_string("1".into()).unwrap(), at: Timestamp(at) }
    }

    #[test]
    fn old_replies_go() {
        let mut replies = Replies::default();
        let day = 24 * 3600 * 1000;
        replies.insert(stored("b", 1000));
        replies.insert(stored("a", 0));
        assert!(replies.get("a", Timestamp(day - 1)).is_some());
        assert!(replies.get("a", Timestamp(day)).is_none());
        assert_eq!(replies.expire(Timestamp(day), 10), vec![RowKey::new(IDEMPOTENCY, "a")]);
        assert!(replies.get("b", Timestamp(day)).is_some());
    }

    #[test]
    fn the_number_is_bounded() {
        let mut replies = Replies::default();
        for n in 0..=KEPT_REPLIES {
            replies.insert(stored(&n.to_string(), i64::try_from(n).unwrap()));
        }
        assert_eq!(replies.expire(Timestamp(0), 10), vec![RowKey::new(IDEMPOTENCY, "0")]);
    }
}
