//! Places for so many at once, which participants that wait get in turn: who waits with a thousand things keeps nobody waiting who comes with one.

use cellspace_schemas::Owner;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::oneshot;

struct State {
    /// None is free while somebody waits.
    free: usize,
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
        Self(Arc::new(Mutex::new(State { free: places, waiting: HashMap::new(), turns: VecDeque::new() })))
    }

    /// Waits for a place; those of one owner come in the order in which they began to wait. `None`: there are no places any more.
    pub(crate) async fn enter(&self, owner: &Owner) -> Option<Place> {
        let told = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
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
}

impl State {
    /// Whose turn it is; the place is free when nobody waits.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        while let Some(owner) = self.turns.pop_front() {
            let Some(own) = self.waiting.get_mut(&owner) else { continue };
            // Some have gone meanwhile.
            let next = std::iter::from_fn(|| own.pop_front()).find(|tell| !tell.is_closed());
            if own.is_empty() {
                self.waiting.remove(&owner);
            } else {
                self.turns.push_back(owner);
            }
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = self.0.lock().next();
        if let Some(tell) = next {
            // Comes back here when whoever waited has just gone.
            drop(tell.send(Self(self.0.clone())));
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
        assert!(state.free == 4 && state.waiting.is_empty() && state.turns.is_empty(), "who waits for nothing takes no memory");
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
        assert_eq!((state.free, state.waiting.len()), (1, 0));
    }
}
