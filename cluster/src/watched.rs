//! A value that tasks watch. Who waits for a change is woken in the order in which it began to wait, so that what a change leads to can be repeated;
//! `tokio::sync::watch` has several queues for those who wait, and chooses one by chance.

use parking_lot::{RwLock, RwLockReadGuard};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::Notify;

struct Shared<T> {
    value: RwLock<T>,
    /// Changes so far; counted while the value is locked.
    changes: AtomicU64,
    changed: Notify,
}

/// Holds the value. Reading it waits for nobody but who is just writing it.
pub(crate) struct Watched<T>(Arc<Shared<T>>);

/// Waits for changes of it that it has not seen.
pub(crate) struct Watcher<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Shared { value: RwLock::new(value), changes: AtomicU64::new(0), changed: Notify::new() }))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.value.read()
    }

    pub(crate) fn set(&self, value: T) {
        let mut held = self.0.value.write();
        let before = std::mem::replace(&mut *held, value);
        self.0.changes.fetch_add(1, Ordering::Release);
        drop(held);
        self.0.changed.notify_waiters();
        // Last: nobody waits for what goes with it.
        drop(before);
    }

    /// Watches for changes from now on.
    pub(crate) fn watch(&self) -> Watcher<T> {
        Watcher { shared: self.0.clone(), seen: self.0.changes.load(Ordering::Acquire) }
    }
}

impl<T> Watcher<T> {
    /// The value as it is now, which is seen with that.
    pub(crate) fn see(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.value.read();
        self.seen = self.shared.changes.load(Ordering::Acquire);
        value
    }

    /// Waits for a change that was not seen, and sees it.
    pub(crate) async fn changed(&mut self) {
        loop {
            // Made before it is looked: it resolves for every change after that.
            let changed = self.shared.changed.notified();
            let changes = self.shared.changes.load(Ordering::Acquire);
            if changes != self.seen {
                self.seen = changes;
                return;
            }
            changed.await;
        }
    }
}

impl<T: Clone> Watcher<T> {
    /// Waits for a value that is as `meant`, and sees it; one that already is counts.
    pub(crate) async fn until(&mut self, meant: impl Fn(&T) -> bool) -> T {
        loop {
            if let Some(value) = Some(self.see()).filter(|value| meant(value)).map(|value| value.clone()) {
                return value;
            }
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use parking_lot::Mutex;
    use tokio::task::yield_now;

    #[tokio::test]
    async fn who_waited_first_goes_on_first() {
        let (watched, order) = (Watched::new(0), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..100)
            .map(|n| {
                let (mut watcher, order) = (watched.watch(), order.clone());
                tokio::spawn(async move {
                    watcher.until(|value| *value > 1).await;
                    order.lock().push(n);
                })
            })
            .collect();
        // All look at one that is not meant, and wait again.
        for value in [1, 2] {
            for _ in 0..10 {
                yield_now().await;
            }
            watched.set(value);
        }
        for waited in waiting {
            waited.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn each_change_is_seen_once() {
        let watched = Watched::new("a");
        let mut watcher = watched.watch();
        assert!(watcher.changed().now_or_never().is_none(), "what was there before");
        watched.set("b");
        assert_eq!(watcher.changed().now_or_never(), Some(()), "nobody had to wait yet");
        assert!(watcher.changed().now_or_never().is_none());
        watched.set("c");
        assert_eq!(*watcher.see(), "c");
        assert!(watcher.changed().now_or_never().is_none(), "it has been looked at");
        assert_eq!(watcher.until(|value| *value == "c").now_or_never(), Some("c"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_change_is_missed() {
        let watched = Arc::new(Watched::new(0));
        let mut watcher = watched.watch();
        let writer = tokio::task::spawn_blocking(move || (1..=100_000).for_each(|n| watched.set(n)));
        watcher.until(|value| *value == 100_000).await;
        writer.await.unwrap();
    }
}
