//! The executor's queue, as far as tasks of connections stand in it: who was woken stands there until it runs.
//!
//! Nothing runs by itself and nothing is kept of those that stand idle: the waker notes when it wakes, and the task counts when it runs.

use super::{activity::Activity, overload::Queue};
use futures::task::{ArcWake, AtomicWaker, waker_ref};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};
use tokio::time::Instant;

/// All tasks of connections.
#[derive(Debug, Clone, Default)]
pub struct Lag(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    woken: AtomicU64,
    turns: AtomicU64,
}

/// When a task was woken first since it ran.
struct Woken {
    counts: Arc<Counts>,
    task: AtomicWaker,
    began: Instant,
    /// Nanoseconds after `began`, or [`ASLEEP`], or [`ENDED`].
    at: AtomicU64,
}

const ASLEEP: u64 = 0;
const ENDED: u64 = u64::MAX;

impl Woken {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(ENDED).clamp(ASLEEP + 1, ENDED - 1)
    }

    /// The task leaves the queue; how long it stood there, when it did.
    fn leaves(&self, then: u64) -> Option<Duration> {
        let at = self.at.swap(then, Ordering::AcqRel);
        (at != ASLEEP && at != ENDED).then(|| {
            self.counts.turns.fetch_add(1, Ordering::Relaxed);
            Duration::from_nanos(self.elapsed().saturating_sub(at))
        })
    }
}

impl ArcWake for Woken {
    fn wake_by_ref(woken: &Arc<Self>) {
        if woken.at.compare_exchange(ASLEEP, woken.elapsed(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            woken.counts.woken.fetch_add(1, Ordering::Relaxed);
        }
        woken.task.wake();
    }
}

/// However a task ends, it stands in no queue any more.
struct Ends(Arc<Woken>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.leaves(ENDED);
    }
}

impl Lag {
    /// Runs a task of a connection; what it waits for each turn is told to its `activity`.
    pub async fn watch<F: Future>(self, activity: Arc<Activity>, task: F) -> F::Output {
        let mut task = pin!(task);
        let (task_waker, at) = (AtomicWaker::new(), AtomicU64::new(ASLEEP));
        let ends = Ends(Arc::new(Woken { counts: self.0, task: task_waker, began: Instant::now(), at }));
        poll_fn(move |cx| {
            let woken = &ends.0;
            if let Some(stood) = woken.leaves(ASLEEP) {
                activity.ran_after(stood);
            }
            woken.task.register(cx.waker());
            task.as_mut().poll(&mut Context::from_waker(&waker_ref(woken)))
        })
        .await
    }

    /// The queue now.
    #[must_use]
    pub fn queue(&self) -> Queue {
        let turns = self.0.turns.load(Ordering::Relaxed);
        Queue { standing: self.0.woken.load(Ordering::Relaxed).saturating_sub(turns), turns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;

    #[tokio::test(start_paused = true)]
    async fn a_task_stands_in_the_queue_from_its_first_wake_until_it_runs_or_ends() {
        let (lag, activity, go) = (Lag::default(), Activity::new(), Notify::new());
        let task = || async {
            go.notified().await;
            go.notified().await;
        };
        let mut watched = Box::pin(lag.clone().watch(activity.clone(), task()));
        assert!(futures::poll!(&mut watched).is_pending());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(lag.queue(), Queue::default(), "it was not woken");
        for (wait, turns) in [(30, 1), (50, 2)] {
            go.notify_one();
            tokio::time::advance(Duration::from_millis(wait)).await;
            assert_eq!(lag.queue().standing, 1);
            let ended = futures::poll!(&mut watched).is_ready();
            assert_eq!((lag.queue(), activity.ran_last_after().as_millis()), (Queue { standing: 0, turns }, u128::from(wait)));
            assert_eq!(ended, turns == 2);
        }
        let mut watched = Box::pin(lag.clone().watch(activity, task()));
        assert!(futures::poll!(&mut watched).is_pending());
        go.notify_one();
        assert_eq!(lag.queue().standing, 1);
        drop(watched);
        assert_eq!(lag.queue().standing, 0, "it is gone");
    }
}
