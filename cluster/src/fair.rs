//! Places for so many at once, more or fewer as is said, which participants that wait get in turn: who waits with a thousand things keeps nobody waiting who comes with one.

use cellspace_schemas::Owner;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::oneshot;

struct State {
    /// How many there are, and how many are taken: all of them at least, while somebody waits.
    places: usize,
    taken: usize,
    waiting: HashMap<Owner, VecDeque<oneshot::Sender<Place>>>,
    /// Whoever waits, once each, in the order of their turns.
    turns: VecDeque<Owner>,
}

/// The places.
pub(crate) struct Places(Arc<Mutex<State>>);

/// One of them; free when dropped.
pub(crate) struct Place(Arc<Mutex<State>>);

impl Places {
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State { places, taken: 0, waiting: HashMap::new(), turns: VecDeque::new() })))
    }

    /// Waits for a place; those of one owner come in the order in which they began to wait. `None`: there are no places any more.
    pub(crate) async fn enter(&self, owner: &Owner) -> Option<Place> {
        let told = {
            let mut state = self.0.lock();
            if state.taken < state.places {
                state.taken += 1;
                return Some(Place(self.0.clone()));
            }
            let (tell, told) = oneshot::channel();
            let state = &mut *state;
            let own = state.waiting.entry(owner.clone()).or_insert_with(|| {
                state.turns.push_back(owner.clone());
                VecDeque::new()
            });
            own.push_back(tell);
            told
        };
        told.await.ok()
    }

    /// How many owners wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().turns.len()
    }

    /// From now on there are so many places; who has one keeps it.
    pub(crate) fn resize(&self, places: usize) {
        let next: Vec<_> = {
            let mut state = self.0.lock();
            state.places = places;
            std::iter::from_fn(|| state.next()).collect()
        };
        next.into_iter().for_each(|tell| self.give(tell));
    }

    /// A place that is taken for whoever waits; it comes back when that one has just gone.
    fn give(&self, tell: oneshot::Sender<Place>) {
        drop(tell.send(Place(self.0.clone())));
    }
}

impl State {
    /// Whose turn it is, when there is a place, which is taken by that.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        while self.taken < self.places
            && let Some(owner) = self.turns.pop_front()
        {
            let Some(own) = self.waiting.get_mut(&owner) else { continue };
            // Some have gone meanwhile.
            let next = std::iter::from_fn(|| own.pop_front()).find(|tell| !tell.is_closed());
            if own.is_empty() {
                self.waiting.remove(&owner);
            } else {
                self.turns.push_back(owner);
            }
            if next.is_some() {
                self.taken += 1;
                return next;
            }
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.lock();
            state.taken -= 1;
            state.next()
        };
        if let Some(tell) = next {
            Places(self.0.clone()).give(tell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn owner(name: &str) -> Owner {
        Owner::new(name).unwrap()
    }

    #[tokio::test]
    async fn who_waits_with_much_keeps_nobody_waiting() {
        let places = Arc::new(Places::new(4));
        let order = Arc::new(Mutex::new(Vec::new()));
        let all = [("much", 1_000), ("little", 1), ("some", 3)].into_iter().flat_map(|(name, count)| (0..count).map(move |n| (name, n)));
        let running: Vec<_> = all
            .map(|(name, n)| {
                let (places, order) = (places.clone(), order.clone());
                tokio::spawn(async move {
                    let place = places.enter(&owner(name)).await;
                    order.lock().push((name, n));
                    tokio::task::yield_now().await;
                    drop(place);
                })
            })
            .collect();
        futures::future::join_all(running).await;
        let order = order.lock();
        let place = |name, n| order.iter().position(|entered| *entered == (name, n)).unwrap();
        assert_eq!(order.len(), 1_004);
        assert!(place("little", 0) < 12 && place("some", 2) < 24, "{:?}", &order[..30]);
        assert!((1..1_000).all(|n| place("much", n - 1) < place("much", n)), "each in the order of coming");
        let state = places.0.lock();
        assert!(state.taken == 0 && state.waiting.is_empty() && state.turns.is_empty(), "who waits for nothing takes no memory");
    }

    #[tokio::test]
    async fn who_has_gone_takes_no_place() {
        let places = Places::new(1);
        let held = places.enter(&owner("a")).await;
        let b = owner("b");
        let mut gone: Vec<_> = (0..10).map(|_| Box::pin(places.enter(&b))).collect();
        gone.iter_mut().for_each(|waits| assert!(waits.as_mut().now_or_never().is_none()));
        let mut last = gone.pop().unwrap();
        // The first of them has its place before it goes, the others not.
        drop(gone.split_off(1));
        drop(held);
        drop(gone);
        assert!(last.as_mut().now_or_never().flatten().is_some());
        drop(last);
        let state = places.0.lock();
        assert_eq!((state.taken, state.waiting.len()), (0, 0));
    }

    #[tokio::test]
    async fn there_are_as_many_places_as_was_said_last() {
        let places = Places::new(2);
        let names = ["a", "b", "c", "d", "e", "f"].map(owner);
        let mut waits: Vec<_> = names.iter().map(|name| Box::pin(places.enter(name))).collect();
        let mut held: Vec<Place> = Vec::new();
        let mut look = |held: &mut Vec<Place>| {
            waits.retain_mut(|wait| match wait.as_mut().now_or_never() {
                Some(place) => {
                    held.push(place.unwrap());
                    false
                }
                None => true,
            });
            held.len()
        };
        assert_eq!((look(&mut held), places.waiting()), (2, 4));
        places.resize(3);
        assert_eq!((look(&mut held), places.waiting()), (3, 3));
        places.resize(1);
        for left in [2, 1] {
            held.pop();
            assert_eq!((look(&mut held), places.waiting()), (left, 3), "nobody comes before there is one place for all");
        }
        held.pop();
        assert_eq!((look(&mut held), places.waiting()), (1, 2));
        places.resize(9);
        assert_eq!((look(&mut held), places.waiting()), (3, 0));
        held.clear();
        assert_eq!(places.0.lock().taken, 0);
    }
}
