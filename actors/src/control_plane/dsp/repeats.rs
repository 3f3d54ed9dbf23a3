//! Repeats: the same message again, because its sender did not see our answer.
//!
//! A repeat has the same sender and `@id`; without an `@id` it has the same bytes as the last message accepted in that process. It is answered
//! again and changes nothing. The same kind of message with another `@id` is no repeat: the state table judges it.

use cellspace_schemas::MessageId;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_128;

/// Messages remembered per process. A sender has one message under way, so an older one can only be a straggler.
const REMEMBERED: usize = 8;

/// What identifies one received message within a process: type and `@id`, or type and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mark(String);

impl Mark {
    /// The mark of a message: `kind` is its `@type`, `bytes` the whole message.
    #[must_use]
    pub fn of(kind: &str, id: Option<&MessageId>, bytes: &[u8]) -> Self {
        let hash = |what: &[u8]| {
            let mut text = Vec::with_capacity(kind.len() + 1 + what.len());
            text.extend_from_slice(kind.as_bytes());
            text.push(0);
            text.extend_from_slice(what);
            xxh3_128(&text)
        };
        Self(match id {
            Some(id) => format!("i{:032x}", hash(id.as_str().as_bytes())),
            None => format!("b{:032x}", hash(bytes)),
        })
    }

    fn is_by_id(&self) -> bool {
        self.0.starts_with('i')
    }
}

/// The messages last accepted in one process, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Repeats(VecDeque<Mark>);

impl Repeats {
    /// With the message that the process began with.
    #[must_use]
    pub fn of(first: Mark) -> Self {
        Self(VecDeque::from([first]))
    }

    /// Whether the message was accepted before.
    #[must_use]
    pub fn contains(&self, mark: &Mark) -> bool {
        if mark.is_by_id() { self.0.contains(mark) } else { self.0.back() == Some(mark) }
    }

    /// Remembers an accepted message.
    pub fn remember(&mut self, mark: Mark) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MessageId {
        MessageId::new(text).unwrap()
    }

    #[test]
    fn by_id_whatever_the_bytes() {
        let mut repeats = Repeats::default();
        repeats.remember(Mark::of("A", Some(&id("1")), b"x"));
        repeats.remember(Mark::of("B", Some(&id("2")), b"y"));
        assert!(repeats.contains(&Mark::of("A", Some(&id("1")), b"other")));
        assert!(!repeats.contains(&Mark::of("B", Some(&id("1")), b"x")));
        assert!(!repeats.contains(&Mark::of("A", Some(&id("3")), b"x")));
    }

    #[test]
    fn without_id_only_the_last_bytes() {
        let mut repeats = Repeats::default();
        repeats.remember(Mark::of("A", None, b"x"));
        assert!(repeats.contains(&Mark::of("A", None, b"x")));
        repeats.remember(Mark::of("A", None, b"y"));
        assert!(!repeats.contains(&Mark::of("A", None, b"x")));
        assert!(repeats.contains(&Mark::of("A", None, b"y")));
        // The text of an id is not the bytes of a message.
        assert!(!repeats.contains(&Mark::of("A", Some(&id("y")), b"y")));
    }

    #[test]
    fn bounded() {
        let mut repeats = Repeats::default();
        for n in 0..20 {
            repeats.remember(Mark::of("A", Some(&id(&n.to_string())), b""));
        }
        assert_eq!(repeats.0.len(), REMEMBERED);
        assert!(repeats.contains(&Mark::of("A", Some(&id("19")), b"")) && !repeats.contains(&Mark::of("A", Some(&id("3")), b"")));
    }
}
