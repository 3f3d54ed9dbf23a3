//! Who may be connected: peers have places of their own, which nobody else takes.

use cellspace_storage::NodeName;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
};
use tokio_util::sync::CancellationToken;

/// Of whom it is not known yet who they are, at once.
pub(super) const STRANGERS: usize = 128;
/// Connections of one peer at once. It needs one for each kind of traffic; those that only end what is under way take none.
pub(super) const OF_ONE: usize = 8;

/// Those who have not shown a certificate of the cell yet: the oldest makes room for the next, so that who does not show one keeps nobody out.
#[derive(Debug, Default)]
pub(super) struct Strangers(VecDeque<Weak<CancellationToken>>);

impl Strangers {
    /// One more, until what is answered is dropped; it is to go when that is cancelled.
    pub(super) fn enter(&mut self) -> Arc<CancellationToken> {
        if self.0.len() >= STRANGERS {
            self.0.retain(|other| other.strong_count() > 0);
        }
        if self.0.len() >= STRANGERS
            && let Some(oldest) = self.0.pop_front().and_then(|oldest| oldest.upgrade())
        {
            oldest.cancel();
        }
        let stranger = Arc::new(CancellationToken::new());
        self.0.push_back(Arc::downgrade(&stranger));
        stranger
    }
}

/// Places of peers. Their names are in certificates of the cell's authority, so that there are no more of them than nodes.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<NodeName, usize>>);

impl Places {
    /// A place until what is answered is dropped; `None` when this peer has all of its own.
    pub(super) fn enter(self: &Arc<Self>, peer: &NodeName) -> Option<Place> {
        let mut taken = self.0.lock();
        let count = taken.entry(peer.clone()).or_default();
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), peer: peer.clone() })
    }
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    peer: NodeName,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_goes_when_there_are_too_many() {
        let mut strangers = Strangers::default();
        let mut there: Vec<_> = (0..STRANGERS).map(|_| strangers.enter()).collect();
        // Who has shown who it is makes room, whichever it was.
        there.remove(7);
        there.push(strangers.enter());
        assert!(there.iter().all(|stranger| !stranger.is_cancelled()));
        there.push(strangers.enter());
        let gone = |n: usize| there[n].is_cancelled();
        assert!(gone(0) && (1..there.len()).all(|n| !gone(n)));
    }

    #[test]
    fn each_peer_has_places_of_its_own() {
        let places = Arc::new(Places::default());
        let name = |name: &str| NodeName(name.to_owned());
        let mut taken: Vec<_> = (0..OF_ONE).map(|_| places.enter(&name("a")).unwrap()).collect();
        assert!(places.enter(&name("a")).is_none());
        let other = places.enter(&name("b")).unwrap();
        taken.pop();
        taken.push(places.enter(&name("a")).unwrap());
        drop((taken, other));
        assert!(places.0.lock().is_empty());
    }
}
