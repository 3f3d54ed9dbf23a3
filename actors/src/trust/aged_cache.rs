//! A bounded cache whose entries end, with one load at a time per key and failures remembered briefly. What is in use may be loaded anew before its end, beside
//! those who use it.

use super::PeerError;
use cellspace_schemas::Timestamp;
use quick_cache::{
    Weighter,
    sync::{Cache, EntryAction},
};
use std::{
    future::Future,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a failure is remembered, so that a counterparty out of reach is not asked for every message.
pub const FAILURE_AGE: Duration = Duration::from_secs(1);
/// How many entries of a cache are loaded anew beside their users at a time. Strangers choose what is in use here, and how slowly it is sent: what finds no
/// place is loaded when it has ended, by those who wait for it.
const RENEWALS_AT_ONCE: usize = 64;
/// Bytes that an entry costs beside its value.
const OVERHEAD: u64 = 256;

/// What a value costs in memory, in bytes, roughly.
pub trait Weigh: Clone {
    /// The bytes.
    fn weight(&self) -> u64;
}

/// Bounded by bytes; the least useful entries go first. A clone is the same cache.
pub struct AgedCache<K, V: Weigh> {
    cache: Arc<Cache<K, Aged<V>, ByWeight>>,
    failure_age: Duration,
    renewals: Arc<Semaphore>,
}

impl<K, V: Weigh> Clone for AgedCache<K, V> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), failure_age: self.failure_age, renewals: self.renewals.clone() }
    }
}

#[derive(Clone)]
struct Aged<V> {
    loaded: Timestamp,
    until: Timestamp,
    value: Result<V, PeerError>,
    /// From when on who uses it has it loaded anew; [`i64::MAX`] while that is under way. Clones share it.
    renewed_from: Arc<AtomicI64>,
}

impl<V> Aged<V> {
    /// Half of its life is over before it is loaded anew.
    fn new(value: Result<V, PeerError>, loaded: Timestamp, until: Timestamp) -> Self {
        let from = if value.is_ok() { loaded.plus(until.since(loaded) / 2).0 } else { i64::MAX };
        Self { loaded, until, value, renewed_from: Arc::new(AtomicI64::new(from)) }
    }

    /// A place for the caller who is the one that has it loaded anew.
    fn begin_renewal(&self, now: Timestamp, renewals: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let from = self.renewed_from.load(Ordering::Relaxed);
        if from > now.0 {
            return None;
        }
        let place = renewals.clone().try_acquire_owned().ok()?;
        self.renewed_from.compare_exchange(from, i64::MAX, Ordering::Relaxed, Ordering::Relaxed).ok().map(|_| place)
    }
}

/// An entry that something newer may take the place of, if it is still there by then.
pub struct Held(Arc<AtomicI64>);

#[derive(Clone)]
struct ByWeight;

impl<K, V: Weigh> Weighter<K, Aged<V>> for ByWeight {
    fn weight(&self, _key: &K, aged: &Aged<V>) -> u64 {
        OVERHEAD + aged.value.as_ref().map_or(0, Weigh::weight)
    }
}

impl<K: Clone + Eq + Hash, V: Weigh> AgedCache<K, V> {
    /// A cache for about `items` entries of at most `bytes` in all, that remembers failures for `failure_age`.
    #[must_use]
    pub fn new(items: usize, bytes: u64, failure_age: Duration) -> Self {
        Self {
            cache: Arc::new(Cache::with_weighter(items, bytes, ByWeight)),
            failure_age,
            renewals: Arc::new(Semaphore::new(RENEWALS_AT_ONCE)),
        }
    }

    /// The value, from the cache while it lasts. `load` gets the value that has just ended, if one has, and brings one with the time until which it
    /// may be used; of many callers for one key only one loads, the others wait for it. A failure is shared with those who waited for it, and
    /// remembered for the failure age.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn get<F>(&self, key: &K, now: Timestamp, load: impl FnOnce(Option<V>) -> F) -> Result<V, PeerError>
    where
        F: Future<Output = Result<(V, Timestamp), PeerError>>,
    {
        let ended = match self.cache.get(key) {
            // By far the most frequent way: nobody has to write.
            Some(aged) if aged.until > now => return aged.value,
            Some(_) => self.cache.remove_if(key, |aged| aged.until <= now).and_then(|(_, aged)| aged.value.ok()),
            None => None,
        };
        let loading = async { Ok::<_, std::convert::Infallible>(self.aged(load(ended).await, now)) };
        match self.cache.get_or_insert_async(key, loading).await {
            Ok(aged) => aged.value,
            Err(never) => match never {},
        }
    }

    fn aged(&self, loaded: Result<(V, Timestamp), PeerError>, now: Timestamp) -> Aged<V> {
        match loaded {
            Ok((value, until)) => Aged::new(Ok(value), now, until),
            Err(error) => Aged::new(Err(error), now, now.plus(self.failure_age)),
        }
    }

    /// As [`Self::get`], but an entry that is used in the second half of its life is loaded anew beside those who use it, once at a time and
    /// not too many at once. They get the one that is there, never one past its end. A new one takes its place when it comes, also one that is refused; one that cannot be had leaves it
    /// there, and is tried again after the failure age.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn get_renewed<F>(&self, key: &K, now: Timestamp, load: impl FnOnce(Option<V>) -> F) -> Result<V, PeerError>
    where
        K: Send + Sync + 'static,
        V: Send + Sync + 'static,
        F: Future<Output = Result<(V, Timestamp), PeerError>> + Send + 'static,
    {
        let Some(aged) = self.cache.get(key).filter(|aged| aged.until > now) else { return self.get(key, now, load).await };
        if let Ok(value) = &aged.value
            && let Some(place) = aged.begin_renewal(now, &self.renewals)
        {
            let (cache, key, loading, old) = (self.clone(), key.clone(), load(Some(value.clone())), Held(aged.renewed_from));
            tokio::spawn(async move {
                let loaded = loading.await;
                if let Err(error @ (PeerError::Unreachable(_) | PeerError::TooEarly)) = &loaded {
                    tracing::debug!(category = "dcp", action = "trust.renewal.failed", %error);
                    old.0.store(now.plus(cache.failure_age).0, Ordering::Relaxed);
                }
                cache.replace(&key, &old, loaded, now);
                drop(place);
            });
        }
        aged.value
    }

    /// The entry, if it was loaded at least `age` ago: to be replaced.
    #[must_use]
    pub fn older(&self, key: &K, age: Duration, now: Timestamp) -> Option<Held> {
        self.cache.get(key).filter(|aged| aged.loaded.plus(age) <= now).map(|aged| Held(aged.renewed_from))
    }

    /// Puts what was loaded into the place of an entry, if that is still there. What could not be had leaves it there.
    pub fn replace(&self, key: &K, old: &Held, loaded: Result<(V, Timestamp), PeerError>, now: Timestamp) {
        if matches!(loaded, Err(PeerError::Unreachable(_) | PeerError::TooEarly)) {
            return;
        }
        let aged = self.aged(loaded, now);
        // Whoever is loading it has begun later.
        drop(self.cache.entry(key, Some(Duration::ZERO), |_, held| {
            if Arc::ptr_eq(&held.renewed_from, &old.0) {
                *held = aged;
            }
            EntryAction::Retain(())
        }));
    }

    /// Forgets the entry if it was loaded at least `age` ago; whether it was so. Bounds how often a caller can force a new load.
    pub fn forget_older(&self, key: &K, age: Duration, now: Timestamp) -> bool {
        self.cache.remove_if(key, |aged| aged.loaded.plus(age) <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::sync::atomic::AtomicU32;
    use tokio::sync::oneshot;

    #[derive(Clone, Debug, PartialEq)]
    struct Text(String);

    impl Weigh for Text {
        fn weight(&self) -> u64 {
            self.0.len() as u64
        }
    }

    fn text(value: &str, until: i64) -> Result<(Text, Timestamp), PeerError> {
        Ok((Text(value.to_owned()), Timestamp(until)))
    }

    #[tokio::test]
    async fn entries_end_and_are_loaded_once() {
        let cache = AgedCache::new(10, 10_000, FAILURE_AGE);
        let loads = AtomicU32::new(0);
        let load = |value: &'static str, until| {
            let loads = &loads;
            move |_| async move {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                text(value, until)
            }
        };
        let both =
            futures::future::join(cache.get(&"k", Timestamp(0), load("a", 100)), cache.get(&"k", Timestamp(0), load("b", 100))).await;
        assert_eq!((both.0.unwrap().0, both.1.unwrap().0), ("a".to_owned(), "a".to_owned()));
        assert_eq!(cache.get(&"k", Timestamp(99), load("c", 200)).await.unwrap().0, "a");
        assert_eq!(cache.get(&"k", Timestamp(100), load("d", 200)).await.unwrap().0, "d");
        assert_eq!(loads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_has_ended_helps_to_load_anew() {
        let cache = AgedCache::new(10, 10_000, FAILURE_AGE);
        let ended = |ended: Option<Text>| async move { text(&ended.map_or("none".to_owned(), |text| format!("after {}", text.0)), 100) };
        assert_eq!(cache.get(&"k", Timestamp(0), ended).await.unwrap().0, "none");
        assert_eq!(cache.get(&"k", Timestamp(100), ended).await.unwrap().0, "after none");
    }

    #[tokio::test]
    async fn failures_are_remembered_briefly() {
        let cache = AgedCache::<_, Text>::new(10, 10_000, FAILURE_AGE);
        let fails = |_| async { Err(PeerError::Unreachable("down".to_owned())) };
        assert!(cache.get(&"k", Timestamp(0), fails).await.is_err());
        assert!(cache.get(&"k", Timestamp(999), |_| async { text("a", 5_000) }).await.is_err());
        assert_eq!(cache.get(&"k", Timestamp(1_000), |_| async { text("a", 5_000) }).await.unwrap().0, "a");
    }

    #[tokio::test]
    async fn forgetting_is_bounded_by_age() {
        let cache = AgedCache::new(10, 10_000, FAILURE_AGE);
        cache.get(&"k", Timestamp(0), |_| async { text("a", 60_000) }).await.unwrap();
        assert!(!cache.forget_older(&"k", Duration::from_secs(1), Timestamp(999)));
        assert!(cache.forget_older(&"k", Duration::from_secs(1), Timestamp(1_000)));
        assert_eq!(cache.get(&"k", Timestamp(1_000), |_| async { text("b", 60_000) }).await.unwrap().0, "b");
    }

    /// What a task does that waits for nothing.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_in_use_is_loaded_anew_beside_its_users() {
        let cache = AgedCache::new(10, 10_000, FAILURE_AGE);
        let at = |now| (cache.clone(), Timestamp(now));
        let held = |(cache, now): (AgedCache<&'static str, Text>, Timestamp)| {
            let never = |_: Option<Text>| -> std::future::Ready<Result<(Text, Timestamp), PeerError>> { panic!("loaded") };
            cache.get_renewed(&"k", now, never).now_or_never().expect("nobody waits").unwrap().0
        };
        cache.get_renewed(&"k", Timestamp(0), |_| async { text("a", 100) }).await.unwrap();
        assert_eq!(held(at(49)), "a");
        // In the second half of its life, by the first who asks.
        let (answer, answered) = oneshot::channel();
        let load = |old: Option<Text>| async move {
            assert_eq!(old.unwrap().0, "a");
            answered.await.unwrap()
        };
        assert_eq!(cache.get_renewed(&"k", Timestamp(50), load).now_or_never().unwrap().unwrap().0, "a");
        settle().await;
        // The others get what is there, and load nothing.
        assert_eq!((held(at(51)), held(at(99))), ("a".to_owned(), "a".to_owned()));
        answer.send(text("b", 150)).unwrap();
        settle().await;
        assert_eq!((held(at(52)), held(at(74))), ("b".to_owned(), "b".to_owned()));
        // Nothing counts beyond its end: who comes then waits.
        let (answer, answered) = oneshot::channel();
        let load = |_| async move { answered.await.unwrap() };
        assert_eq!(cache.get_renewed(&"k", Timestamp(140), load).await.unwrap().0, "b");
        assert_eq!(cache.get_renewed(&"k", Timestamp(150), |_| async { text("c", 400) }).await.unwrap().0, "c");
        // What was begun before that comes too late.
        answer.send(text("late", 240)).unwrap();
        settle().await;
        assert_eq!(held(at(151)), "c");
        // Nor does it come back when the entry was forgotten.
        let (answer, answered) = oneshot::channel();
        cache.get_renewed(&"k", Timestamp(300), |_| async move { answered.await.unwrap() }).await.unwrap();
        assert!(cache.forget_older(&"k", Duration::ZERO, Timestamp(300)));
        answer.send(text("late", 500)).unwrap();
        settle().await;
        assert_eq!(cache.get_renewed(&"k", Timestamp(301), |_| async { text("d", 400) }).await.unwrap().0, "d");
    }

    #[tokio::test]
    async fn what_cannot_be_had_anew_stays_until_its_end_and_what_is_refused_does_not() {
        let cache = AgedCache::new(10, 10_000, Duration::from_millis(20));
        let loads = Arc::new(AtomicU32::new(0));
        let get = |now: i64, outcome: Result<(Text, Timestamp), PeerError>| {
            let (cache, loads) = (cache.clone(), loads.clone());
            async move {
                let load = |_| async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    outcome
                };
                let got = cache.get_renewed(&"k", Timestamp(now), load).await;
                settle().await;
                got.map(|text| text.0)
            }
        };
        let down = || Err(PeerError::Unreachable("down".to_owned()));
        assert_eq!(get(0, text("a", 100)).await.unwrap(), "a");
        for (now, tried) in [(50, 2), (69, 2), (70, 3), (89, 3), (90, 4)] {
            assert_eq!(get(now, down()).await.unwrap(), "a", "{now}");
            assert_eq!(loads.load(Ordering::Relaxed), tried, "{now}");
        }
        assert!(matches!(get(100, down()).await, Err(PeerError::Unreachable(_))));
        // Nothing that failed is loaded anew before it is forgotten.
        assert!(get(119, text("b", 300)).await.is_err());
        assert_eq!(get(120, text("b", 320)).await.unwrap(), "b");
        assert_eq!(get(220, Err(PeerError::Refused("gone".to_owned()))).await.unwrap(), "b");
        assert!(matches!(get(221, text("c", 400)).await, Err(PeerError::Refused(_))));
        assert_eq!(get(240, text("c", 400)).await.unwrap(), "c");
    }

    #[tokio::test]
    async fn what_never_ends_begins_no_renewals_without_end() {
        let cache = AgedCache::new(1_000, 1 << 20, FAILURE_AGE);
        let begun = Arc::new(AtomicU32::new(0));
        for key in 0..3 * RENEWALS_AT_ONCE {
            cache.get_renewed(&key, Timestamp(0), |_| async { text("a", 100) }).await.unwrap();
            let endless = |_| {
                begun.fetch_add(1, Ordering::Relaxed);
                std::future::pending()
            };
            assert_eq!(cache.get_renewed(&key, Timestamp(50), endless).now_or_never().unwrap().unwrap().0, "a");
        }
        settle().await;
        assert_eq!(begun.load(Ordering::Relaxed), u32::try_from(RENEWALS_AT_ONCE).unwrap());
        // Whoever comes after the end loads it, begun or not.
        for key in [0, RENEWALS_AT_ONCE] {
            assert_eq!(cache.get_renewed(&key, Timestamp(100), |_| async { text("b", 200) }).await.unwrap().0, "b");
        }
    }

    #[tokio::test]
    async fn a_place_is_free_again_after_each_renewal() {
        let cache = AgedCache::new(1_000, 1 << 20, FAILURE_AGE);
        for key in 0..3 * RENEWALS_AT_ONCE {
            cache.get_renewed(&key, Timestamp(0), |_| async { text("a", 100) }).await.unwrap();
            let outcome = if key % 2 == 0 { text("b", 200) } else { Err(PeerError::Unreachable("down".to_owned())) };
            cache.get_renewed(&key, Timestamp(50), |_| async { outcome }).await.unwrap();
            settle().await;
        }
        assert_eq!(cache.renewals.available_permits(), RENEWALS_AT_ONCE);
        assert_eq!(cache.get(&(2 * RENEWALS_AT_ONCE), Timestamp(51), |_| async { text("c", 200) }).await.unwrap().0, "b");
    }

    #[tokio::test]
    async fn bytes_are_bounded() {
        let cache = AgedCache::new(100, 20_000, FAILURE_AGE);
        for i in 0..1_000 {
            cache.get(&i, Timestamp(0), |_| async { text(&"x".repeat(1_000), 60_000) }).await.unwrap();
        }
        assert!(cache.cache.weight() <= 20_000);
    }
}
