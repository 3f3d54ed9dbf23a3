//! From the counterparty's process id to ours.

use cellspace_schemas::{Did, Pid};
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// Our processes by (counterparty's process id, counterparty). Process ids are chosen by their owners, so the same one may come from two parties.
#[derive(Debug, Clone)]
pub struct Correlations<I>(RedBlackTreeMapSync<Arc<str>, I>);

impl<I> Default for Correlations<I> {
    fn default() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }
}

/// Neither part has white space, so the separator is unambiguous.
fn key(pid: &Pid, peer: &Did) -> Arc<str> {
    format!("{pid}\n{peer}").into()
}

impl<I: PartialEq> Correlations<I> {
    /// Remembers our process for the counterparty's.
    pub fn insert(&mut self, peer: &Did, pid: &Pid, ours: I) {
        self.0.insert_mut(key(pid, peer), ours);
    }

    /// Forgets it. A counterparty may have given one id to two of our processes: the other one keeps it.
    pub fn remove(&mut self, peer: &Did, pid: &Pid, ours: &I) {
        let key = key(pid, peer);
        if self.0.get(key.as_ref()) == Some(ours) {
            self.0.remove_mut(key.as_ref());
        }
    }

    /// Our process for that of `peer`.
    #[must_use]
    pub fn get(&self, peer: &Did, pid: &Pid) -> Option<&I> {
        self.0.get(key(pid, peer).as_ref())
    }

    /// Our processes for this process id of any counterparty.
    pub fn of_any(&self, pid: &Pid) -> impl Iterator<Item = &I> {
        let prefix: Arc<str> = format!("{pid}\n").into();
        self.0.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(prefix.as_ref())).map(|(_, ours)| ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_id_of_two_parties() {
        let (a, b) = (Did::new("did:web:a").unwrap(), Did::new("did:web:b").unwrap());
        let pid = |text: &str| Pid::new(text).unwrap();
        let mut map = Correlations::default();
        map.insert(&a, &pid("1"), "a1");
        map.insert(&b, &pid("1"), "b1");
        map.insert(&a, &pid("10"), "a10");
        assert_eq!(map.get(&a, &pid("1")), Some(&"a1"));
        assert_eq!(map.get(&b, &pid("10")), None);
        assert_eq!(map.of_any(&pid("1")).copied().collect::<Vec<_>>(), ["a1", "b1"]);
        map.remove(&a, &pid("1"), &"another");
        assert_eq!(map.get(&a, &pid("1")), Some(&"a1"));
        map.remove(&a, &pid("1"), &"a1");
        assert_eq!(map.of_any(&pid("1")).copied().collect::<Vec<_>>(), ["b1"]);
        assert_eq!(map.of_any(&pid("2")).count(), 0);
    }
}
