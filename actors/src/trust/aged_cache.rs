//! A bounded cache whose entries end, with one load at a time per key and failures remembered briefly.

use super::PeerError;
use cellspace_schemas::Timestamp;
use quick_cache::{Weighter, sync::Cache};
use std::{future::Future, hash::Hash, time::Duration};

/// How long a failure is remembered, so that a counterparty out of reach is not asked for every message.
pub const FAILURE_AGE: Duration = Duration::from_secs(1);
/// Bytes that an entry costs beside its value.
const OVERHEAD: u64 = 256;

/// What a value costs in memory, in bytes, roughly.
pub trait Weigh: Clone {
    /// The bytes.
    fn weight(&self) -> u64;
}

/// Bounded by bytes; the least useful entries go first.
pub struct AgedCache<K, V: Weigh> {
    cache: Cache<K, Aged<V>, ByWeight>,
    failure_age: Duration,
}

#[derive(Clone)]
struct Aged<V> {
    loaded: Timestamp,
    until: Timestamp,
    value: Result<V, PeerError>,
}

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
        Self { cache: Cache::with_weighter(items, bytes, ByWeight), failure_age }
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
        // By far the most frequent way: nobody has to write.
        if let Some(aged) = self.cache.get(key).filter(|aged| aged.until > now) {
            return aged.value;
        }
        let ended = self.cache.remove_if(key, |aged| aged.until <= now).and_then(|(_, aged)| aged.value.ok());
        let loading = async {
            let (value, until) = match load(ended).await {
                Ok((value, until)) => (Ok(value), until),
                Err(error) => (Err(error), now.plus(self.failure_age)),
            };
            Ok::<_, std::convert::Infallible>(Aged { loaded: now, until, value })
        };
        match self.cache.get_or_insert_async(key, loading).await {
            Ok(aged) => aged.value,
            Err(never) => match never {},
        }
    }

    /// Forgets the entry if it was loaded at least `age` ago; whether it was so. Bounds how often a caller can force a new load.
    pub fn forget_older(&self, key: &K, age: Duration, now: Timestamp) -> bool {
        self.cache.remove_if(key, |aged| aged.loaded.plus(age) <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

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

    #[tokio::test]
    async fn bytes_are_bounded() {
        let cache = AgedCache::new(100, 20_000, FAILURE_AGE);
        for i in 0..1_000 {
            cache.get(&i, Timestamp(0), |_| async { text(&"x".repeat(1_000), 60_000) }).await.unwrap();
        }
        assert!(cache.cache.weight() <= 20_000);
    }
}
