//! Failed activations of one kind: when an agent is parked, and when it comes back.

use crate::Address;
use dashmap::DashMap;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Failures of its own within [`PARK_WINDOW`] after which an agent is parked.
const PARK_AFTER: usize = 3;
const PARK_WINDOW: Duration = Duration::from_secs(60);
/// Pause before a failed agent with work of its own is activated again; doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An agent that did not fail for so long starts anew. More than the longest pause.
const FORGIVEN: Duration = Duration::from_secs(180);
/// Agents remembered before those are dropped that are forgiven.
const KEPT: usize = 1_024;

#[derive(Debug, Default)]
struct Record {
    own: VecDeque<Instant>,
    in_a_row: u32,
    last: Option<Instant>,
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) park: bool,
    pub(crate) pause: Duration,
}

#[derive(Default)]
pub(crate) struct Failures(DashMap<Address, Record>);

impl Failures {
    /// `own_fault`: a panic or an unreadable row, not the store or a fence.
    pub(crate) fn count(&self, address: &Address, own_fault: bool) -> Failure {
        let now = Instant::now();
        let forgiven = |last: Option<Instant>| last.is_none_or(|last| now.duration_since(last) > FORGIVEN);
        if self.0.len() >= KEPT {
            self.0.retain(|_, record| !forgiven(record.last));
        }
        let mut record = self.0.entry(address.clone()).or_default();
        if forgiven(record.last) {
            *record = Record::default();
        }
        record.last = Some(now);
        let pause = FIRST_PAUSE.saturating_mul(1 << record.in_a_row.min(16)).min(LONGEST_PAUSE);
        record.in_a_row = record.in_a_row.saturating_add(1);
        if own_fault {
            record.own.push_back(now);
        }
        while record.own.front().is_some_and(|first| now.duration_since(*first) >= PARK_WINDOW) {
            record.own.pop_front();
        }
        Failure { park: own_fault && record.own.len() >= PARK_AFTER, pause }
    }

    pub(crate) fn forget(&self, address: &Address) {
        self.0.remove(address);
    }

    pub(crate) fn forget_those(&self, meant: impl Fn(&Address) -> bool) {
        self.0.retain(|address, _| !meant(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::Owner;
    use cellspace_storage::AgentKind;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_own_failures_park() {
        let failures = Failures::default();
        let address = Address { owner: Owner::new("a").unwrap(), kind: AgentKind("k"), name: String::new() };
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let failure = failures.count(&address, false);
            assert!(!failure.park, "the store's fault");
            pauses.push(failure.pause.as_millis());
            tokio::time::advance(failure.pause).await;
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        tokio::time::advance(FORGIVEN * 2).await;
        assert_eq!(failures.count(&address, true), Failure { park: false, pause: FIRST_PAUSE });
        tokio::time::advance(PARK_WINDOW).await;
        let parked = [(); 3].map(|()| failures.count(&address, true).park);
        assert_eq!(parked, [false, false, true], "the first one is too long ago");
    }
}
