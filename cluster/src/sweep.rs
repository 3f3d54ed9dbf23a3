//! Passivation: of what is idle, and under memory pressure of what was least recently used. One task per node.

use crate::Cluster;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::{task::yield_now, time::sleep};

/// Pause between two sweeps: each walks over all that is in memory. A quarter of the time after which an agent is idle, within these bounds.
const LEAST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Behind a sweep that memory pressure asked for, so that one that finds little to passivate does not go on and on.
const UNDER_PRESSURE: Duration = Duration::from_secs(1);
/// Agents passivated before others get their turn: what leaves at once must not stand in the way of what comes.
const AT_ONCE: usize = 16;

impl Cluster {
    pub(crate) async fn sweep(self) {
        let pause = (self.inner.options.idle_after / 4).clamp(LEAST_PAUSE, LONGEST_PAUSE);
        loop {
            let pressed = tokio::select! {
                biased;
                () = sleep(pause) => false,
                () = self.inner.pressure.notified() => true,
                () = self.inner.draining.cancelled() => return,
            };
            self.sweep_once().await;
            if pressed && self.inner.draining.run_until_cancelled(sleep(UNDER_PRESSURE)).await.is_none() {
                return;
            }
        }
    }

    async fn sweep_once(&self) {
        let hosts: Vec<_> = self.inner.hosts.read().values().cloned().collect();
        let mut unused: Vec<_> = hosts.iter().flat_map(|host| host.unused().into_iter().map(move |r| (host, r))).collect();
        unused.sort_by(|(_, a), (_, b)| a.last_used.cmp(&b.last_used).then_with(|| a.address.cmp(&b.address)));
        let idle_before = self.now().millis().saturating_sub(i64::try_from(self.inner.options.idle_after.as_millis()).unwrap_or(i64::MAX));
        // A tenth of room, so that the next activation does not start the sweep again.
        let cap = self.inner.options.resident_bytes;
        let resident = self.inner.resident_bytes.load(Ordering::Acquire);
        let mut over = if resident > cap { resident - (cap - cap / 10) } else { 0 };
        let mut passivated = 0_usize;
        for (host, resident) in unused {
            if resident.last_used <= idle_before || over > 0 {
                over = over.saturating_sub(resident.bytes);
                host.passivate(&resident);
                passivated += 1;
                if passivated.is_multiple_of(AT_ONCE) {
                    yield_now().await;
                }
            }
        }
    }
}
