//! Promises of [`Membership`], and one in memory for nodes of one process.

use crate::{Dead, Deal, Incarnation, Lease, Member, Membership, NodeName, Settled, StoreError, Swap, View};
use cellspace_schemas::Timestamp;
use futures::future::{BoxFuture, join_all, ready};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Runs all checks. Expects a membership without rows.
pub async fn all(membership: &dyn Membership) {
    views_follow_each_other(membership).await;
    one_of_many_changes_a_view(membership).await;
    leases_are_compared_and_set(membership).await;
    one_of_many_renews(membership).await;
}

fn member(n: u64) -> Member {
    Member { node: NodeName(format!("tk-{n}")), incarnation: Incarnation(n) }
}

fn view(version: u64, members: u64) -> View {
    let deal = |members: u64| Deal { from: (0..members).map(member).collect(), to: (0..=members).map(member).collect(), mark: 77 };
    View {
        version,
        format: 3,
        deal: deal(members),
        past: (0..3).map(deal).collect(),
        dead: vec![Dead { member: member(9), until: Timestamp(1_700_000_000_123), settled: None }],
    }
}

fn lease(node: &str, counter: u64) -> Lease {
    Lease {
        node: NodeName(node.to_owned()),
        incarnation: Incarnation(4),
        counter,
        revoked: false,
        level: 2,
        endpoint: "10.0.0.1:7443".to_owned(),
        until: Some(Timestamp(1_700_000_000_000).plus(Duration::from_millis(counter))),
        settled: Some(Settled { view: counter, at: Timestamp(1_699_000_000_000) }),
        follows: Some(2),
    }
}

async fn views_follow_each_other(membership: &dyn Membership) {
    assert_eq!(membership.view().await.unwrap(), None);
    for wrong in [0, 2, u64::MAX] {
        assert_eq!(membership.change_view(view(wrong, 1)).await, Swap::Refused, "{wrong}");
    }
    assert_eq!(membership.view().await.unwrap(), None);
    for version in 1..=3 {
        assert_eq!(membership.change_view(view(version, version)).await, Swap::Applied);
        assert_eq!(membership.view().await.unwrap(), Some(view(version, version)), "as it was put");
        for wrong in [0, 1, version, version + 2] {
            assert_eq!(membership.change_view(view(wrong, 9)).await, Swap::Refused, "{wrong} after {version}");
        }
    }
}

async fn one_of_many_changes_a_view(membership: &dyn Membership) {
    let outcomes = join_all((0..5).map(|n| membership.change_view(view(4, n)))).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Swap::Applied).count(), 1, "{outcomes:?}");
    let winner = outcomes.iter().position(|outcome| *outcome == Swap::Applied).expect("one");
    assert_eq!(membership.view().await.unwrap(), Some(view(4, winner as u64)));
}

async fn leases_are_compared_and_set(membership: &dyn Membership) {
    assert_eq!(membership.leases().await.unwrap(), []);
    assert_eq!(membership.put_lease(Some(lease("b", 0)), lease("b", 1)).await, Swap::Refused, "there is none");
    for node in ["b", "a", "c"] {
        assert_eq!(membership.put_lease(None, lease(node, 0)).await, Swap::Applied);
        assert_eq!(membership.put_lease(None, lease(node, 7)).await, Swap::Refused, "there is one");
    }
    assert_eq!(membership.leases().await.unwrap(), ["a", "b", "c"].map(|node| lease(node, 0)));
    assert_eq!(membership.put_lease(Some(lease("b", 0)), lease("b", 1)).await, Swap::Applied);
    assert_eq!(membership.put_lease(Some(lease("b", 0)), lease("b", 1)).await, Swap::Refused, "another counter");
    let other = Lease { incarnation: Incarnation(5), ..lease("b", 1) };
    assert_eq!(membership.put_lease(Some(other.clone()), lease("b", 2)).await, Swap::Refused, "another incarnation");
    let revoked = Lease { revoked: true, ..lease("b", 1) };
    assert_eq!(membership.put_lease(Some(revoked.clone()), lease("b", 2)).await, Swap::Refused, "it is not revoked");
    assert_eq!(membership.put_lease(Some(lease("b", 1)), revoked.clone()).await, Swap::Applied);
    assert_eq!(membership.put_lease(Some(lease("b", 1)), lease("b", 2)).await, Swap::Refused, "it is revoked");
    assert_eq!(membership.leases().await.unwrap(), [lease("a", 0), revoked.clone(), lease("c", 0)]);
    assert_eq!(membership.put_lease(Some(revoked), other.clone()).await, Swap::Applied, "the node's next life");
    assert_eq!(membership.leases().await.unwrap(), [lease("a", 0), other, lease("c", 0)]);
}

async fn one_of_many_renews(membership: &dyn Membership) {
    let renewals = (1..6).map(|level| membership.put_lease(Some(lease("a", 0)), Lease { level, ..lease("a", 1) }));
    let outcomes = join_all(renewals).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Swap::Applied).count(), 1, "{outcomes:?}");
}

#[derive(Debug, Default)]
struct Rows {
    view: Option<View>,
    leases: BTreeMap<NodeName, Lease>,
    /// Nothing is read or written.
    out: bool,
    /// Version of the view.
    version: watch::Sender<u64>,
}

/// A membership in memory; clones share its rows.
#[derive(Debug, Default, Clone)]
pub struct MemoryMembership(Arc<Mutex<Rows>>);

impl MemoryMembership {
    /// Whether it is out of reach from now on.
    pub fn set_out(&self, out: bool) {
        self.0.lock().out = out;
    }

    /// Version of the view, as it changes.
    #[must_use]
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.0.lock().version.subscribe()
    }

    fn answer<T: Send + 'static>(&self, read: impl FnOnce(&Rows) -> T) -> BoxFuture<'_, Result<T, StoreError>> {
        let rows = self.0.lock();
        let answer = if rows.out { Err(StoreError::Unavailable("as told".to_owned())) } else { Ok(read(&rows)) };
        Box::pin(ready(answer))
    }

    fn swap(&self, change: impl FnOnce(&mut Rows) -> bool) -> BoxFuture<'_, Swap> {
        let mut rows = self.0.lock();
        let outcome = if rows.out {
            Swap::Unknown("as told".to_owned())
        } else if change(&mut rows) {
            Swap::Applied
        } else {
            Swap::Refused
        };
        Box::pin(ready(outcome))
    }
}

impl Membership for MemoryMembership {
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        self.answer(|rows| rows.view.clone())
    }

    fn change_view(&self, next: View) -> BoxFuture<'_, Swap> {
        self.swap(|rows| {
            let follows = rows.view.as_ref().map_or(0, |view| view.version).checked_add(1) == Some(next.version);
            if follows {
                rows.version.send_replace(next.version);
                rows.view = Some(next);
            }
            follows
        })
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        self.answer(|rows| rows.leases.values().cloned().collect())
    }

    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap> {
        let state = |lease: &Lease| (lease.incarnation, lease.counter, lease.revoked);
        self.swap(|rows| {
            let same = rows.leases.get(&next.node).map(state) == before.as_ref().map(state);
            if same {
                rows.leases.insert(next.node.clone(), next);
            }
            same
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_promises_of_all_backends() {
        all(&MemoryMembership::default()).await;
    }
}
