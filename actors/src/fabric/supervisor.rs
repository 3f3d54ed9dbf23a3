//! Keeps consumers running: one that ends by a panic is started again, from its group's position, and shows in the node's readiness until then.

use super::consumer::{Consumer, Pauses};
use futures::FutureExt;
use metrics::counter;
use parking_lot::Mutex;
use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc};
use tokio::sync::watch;

/// Which consumer groups do not run although they should.
#[derive(Debug, Clone, Default)]
pub struct ConsumerHealth(Arc<Mutex<BTreeSet<String>>>);

impl ConsumerHealth {
    /// Whether all of them run.
    ///
    /// # Errors
    /// Names the groups that do not.
    pub fn check(&self) -> Result<(), String> {
        let down: Vec<String> = self.0.lock().iter().cloned().collect();
        if down.is_empty() { Ok(()) } else { Err(format!("consumer groups that failed and start again: {}", down.join(", "))) }
    }
}

/// Runs the consumer until `stop`.
pub(super) async fn keep(consumer: Consumer, mut stop: watch::Receiver<bool>, health: ConsumerHealth) {
    let group = consumer.group.0.clone();
    let mut pauses = Pauses::of(&consumer.settings);
    while AssertUnwindSafe(consumer.run(stop.clone())).catch_unwind().await.is_err() {
        tracing::error!(category = "app", action = "consumer.failed", topic = %consumer.topic, group, "a consumer failed, and starts again");
        counter!("cellspace_consumer_failures_total", "group" => group.clone()).increment(1);
        health.0.lock().insert(group.clone());
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = pauses.rest() => {}
        }
        health.0.lock().remove(&group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::consumer::{
        Failure, Handler, Settings,
        tests::{MemoryLog, consumer},
    };
    use cellspace_schemas::CloudEvent;
    use futures::future::BoxFuture;
    use serde_json::json;
    use std::sync::atomic::Ordering;

    struct Good;

    impl Handler for Good {
        fn handle<'a>(&'a self, _: &'a CloudEvent) -> BoxFuture<'a, Result<(), Failure>> {
            Box::pin(async { Ok(()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_that_fails_starts_again_and_shows_until_then() {
        let log = MemoryLog::new();
        log.panics.store(2, Ordering::Relaxed);
        log.publish("a", json!(1));
        let (stop, stopped) = watch::channel(false);
        let health = ConsumerHealth::default();
        let task = tokio::spawn(keep(consumer(&log, Arc::new(Good), Settings::default()), stopped, health.clone()));
        // No time passes while the task can run, so this is right after the first failure.
        tokio::time::timeout(Settings::default().first_pause / 2, log.reached(1)).await.unwrap_err();
        assert!(health.check().unwrap_err().ends_with(": g"));
        log.reached(1).await;
        assert_eq!(health.check(), Ok(()));
        stop.send_replace(true);
        task.await.unwrap();
    }
}
