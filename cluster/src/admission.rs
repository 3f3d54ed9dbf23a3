//! Who may have how many of something at once: commands on this node, from their arrival to their answer; connections of a peer.

use cellspace_schemas::Owner;
use dashmap::DashMap;
use std::{hash::Hash, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A limit for each key; keys in use take memory, all others none.
pub(crate) struct Keyed<K: Eq + Hash> {
    counts: DashMap<K, usize>,
    limit: usize,
}

/// One of the places of a key.
pub(crate) struct Entered<K: Eq + Hash> {
    places: Arc<Keyed<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Keyed<K> {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { counts: DashMap::new(), limit })
    }

    /// One of its places until what is answered is dropped; `None` when it has none left.
    pub(crate) fn enter(self: &Arc<Self>, key: K) -> Option<Entered<K>> {
        let mut count = self.counts.entry(key.clone()).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Entered { places: self.clone(), key })
    }
}

impl<K: Eq + Hash> Drop for Entered<K> {
    fn drop(&mut self) {
        if let Some(mut count) = self.places.counts.get_mut(&self.key) {
            *count -= 1;
        }
        self.places.counts.remove_if(&self.key, |_, count| *count == 0);
    }
}

/// Whose budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    Node,
    /// The participant's, or that of a counterparty with it.
    Owner,
}

/// A command's places; free when dropped.
pub(crate) struct Admitted {
    _node: OwnedSemaphorePermit,
    _owner: Entered<Owner>,
    _counterparty: Option<Entered<(Owner, String)>>,
}

pub(crate) struct Admission {
    node: Arc<Semaphore>,
    owners: Arc<Keyed<Owner>>,
    counterparties: Arc<Keyed<(Owner, String)>>,
}

impl Admission {
    pub(crate) fn new(node: usize, owner: usize, counterparty: usize) -> Self {
        Self { node: Arc::new(Semaphore::new(node)), owners: Keyed::new(owner), counterparties: Keyed::new(counterparty) }
    }

    /// Admits a command to an agent of `owner` that acts on a message of `counterparty`; never waits.
    pub(crate) fn admit(&self, owner: &Owner, counterparty: Option<String>) -> Result<Admitted, Spent> {
        // The participant first: one that has spent its own budget is told so, whatever else is going on.
        let own = self.owners.enter(owner.clone()).ok_or(Spent::Owner)?;
        let other = match counterparty {
            None => None,
            Some(counterparty) => Some(self.counterparties.enter((owner.clone(), counterparty)).ok_or(Spent::Owner)?),
        };
        let node = self.node.clone().try_acquire_owned().map_err(|_| Spent::Node)?;
        Ok(Admitted { _node: node, _owner: own, _counterparty: other })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_places_of_its_own() {
        let places = Keyed::new(8);
        let mut taken: Vec<_> = (0..8).map(|_| places.enter("a").unwrap()).collect();
        assert!(places.enter("a").is_none());
        let other = places.enter("b").unwrap();
        taken.pop();
        taken.push(places.enter("a").unwrap());
        drop((taken, other));
        assert!(places.counts.is_empty());
    }

    #[test]
    fn one_participant_or_counterparty_cannot_take_all_places() {
        let owner = |name: &str| Owner::new(name).unwrap();
        let admission = Admission::new(5, 3, 2);
        let admit = |name: &str, counterparty: Option<&str>| admission.admit(&owner(name), counterparty.map(str::to_owned));
        let held: Vec<_> = [("a", Some("x")), ("a", Some("x")), ("a", None)].map(|(o, c)| admit(o, c).ok().unwrap()).into();
        assert_eq!(admit("a", None).err(), Some(Spent::Owner));
        let other = admit("b", Some("x")).ok().unwrap();
        let more = admit("b", Some("x")).ok().unwrap();
        assert_eq!(admit("b", Some("x")).err(), Some(Spent::Owner), "the counterparty's");
        assert_eq!(admit("b", Some("y")).err(), Some(Spent::Node));
        drop(other);
        assert!(admit("b", Some("y")).is_ok());
        drop((held, more));
        assert!(admission.owners.counts.is_empty() && admission.counterparties.counts.is_empty(), "who is idle takes no memory");
    }
}
